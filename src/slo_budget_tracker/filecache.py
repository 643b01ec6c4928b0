"""The file cache: what files were understood as, on disk, so that a restart need not understand them again.

Nothing depends on it. It is taken only where this very program wrote it and every byte of it is as it was
written; otherwise there is none, and the files are read as if there had never been one. What lies in it are
values only: thawing makes objects of the classes that it is told, and of nothing else.
"""

from __future__ import annotations

import hashlib
import io
import os
import pickle
import stat
import sys
from contextlib import suppress
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

HERE = Path(__file__).parent
SUFFIXES = {".py", ".yaml"}  # the program and its presets
BESIDE = ("pydantic", "pydantic-core", "promql-parser", "pyyaml", "python-dateutil", "tzdata")
MOST_BYTES = 256 << 20
_PROTOCOL = 5
_DIGEST = hashlib.sha256().digest_size

Print = tuple[str, int, bytes]  # a file, the tick that its windows were checked against, what was in it


class FileCache(NamedTuple):
    """Where a cache lies, and which program may use what is in it."""

    path: Path
    program: bytes

    @classmethod
    def beside(cls, ledger: Path) -> FileCache:
        """The cache of a daemon whose ledger is this file."""
        return cls(Path(f"{ledger}.files"), program())

    def read(self) -> dict[Print, bytes]:
        """What was kept, by print; nothing where there is no sound cache of this program."""
        try:
            content = self._content()
            found = thawed(content[2 * _DIGEST :], {}) if self._sound(content) else {}
        except Exception:  # noqa: BLE001 - whatever is wrong with it: there is no cache then
            return {}
        return found if isinstance(found, dict) else {}

    def write(self, known: Mapping[Print, bytes]) -> None:
        """Keep all of this and nothing else; where that cannot be written, there is no cache next time."""
        payload = pickle.dumps(dict(known), _PROTOCOL)
        part = Path(f"{self.path}.part")
        with suppress(OSError):
            part.unlink(missing_ok=True)
            handle = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            with open(handle, "wb") as file:  # noqa: PTH123 - private from its first byte on
                file.write(self.program + hashlib.sha256(payload).digest() + payload)
            part.replace(self.path)

    def _content(self) -> bytes:
        """All of the file, if it is one of ours."""
        handle = os.open(self.path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC)
        with open(handle, "rb") as file:  # noqa: PTH123 - opened above, so that nothing blocks and no link is followed
            about = os.fstat(handle)
            ours = about.st_uid == os.geteuid() and not about.st_mode & (stat.S_IWGRP | stat.S_IWOTH)
            return (
                file.read() if ours and stat.S_ISREG(about.st_mode) and about.st_size <= MOST_BYTES else b""
            )

    def _sound(self, content: bytes) -> bool:
        digest = hashlib.sha256(content[2 * _DIGEST :]).digest()
        return content[:_DIGEST] == self.program and content[_DIGEST : 2 * _DIGEST] == digest


@cache
def program() -> bytes:
    """Changes with any line of this program, and with the versions of what reads files for it."""
    found = [sys.version]
    for name in BESIDE:
        with suppress(PackageNotFoundError):
            found.append(f"{name} {version(name)}")
    digest = hashlib.sha256("\n".join(found).encode())
    for path in sorted(path for path in HERE.rglob("*") if path.suffix in SUFFIXES):
        digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.digest()


def frozen(value: object) -> bytes:
    """A value as bytes."""
    return pickle.dumps(value, _PROTOCOL)


def thawed(content: bytes, classes: Mapping[tuple[str, str], type]) -> Any:
    """The value that was frozen, made of these classes alone.

    Raises:
        UnpicklingError: something else is in it.
    """
    return _Thaw(content, classes).load()


def by_name(classes: Iterable[type]) -> dict[tuple[str, str], type]:
    """Classes by how `thawed` finds them."""
    return {(one.__module__, one.__qualname__): one for one in classes}


class _Thaw(pickle.Unpickler):
    """Makes values of known classes; no name leads anywhere else, so no code is run that is not theirs."""

    def __init__(self, content: bytes, classes: Mapping[tuple[str, str], type]) -> None:
        super().__init__(io.BytesIO(content))
        self._classes = classes

    def find_class(self, module: str, name: str) -> type:
        found = self._classes.get((module, name))
        if found is None:
            raise pickle.UnpicklingError(f"no class of ours: {module}.{name}")
        return found

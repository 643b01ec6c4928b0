"""Files under paths, folders and patterns, read safely: regular, small, inside their folder, each once."""

from __future__ import annotations

import errno
import glob
import os
import stat
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from slo_budget_tracker.errors import Fault

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

SUFFIXES = {".yaml", ".yml"}
MOST_BYTES = 1_048_576
MOST_FILES = 5_000
NO_FILES = "a folder without .yaml or .yml files"
NO_MATCH = "a pattern that matches no file"
NOT_THERE = f"a file that cannot be opened ({os.strerror(errno.ENOENT)})"


class Source(NamedTuple):
    """The text of a file and the name to tell users."""

    file: str
    text: str


def read_sources(paths: Sequence[Path]) -> tuple[tuple[Source, ...], tuple[Fault, ...]]:
    """The texts of all files that the paths lead to, in the order of their names, and what cannot be read."""
    faults: list[Fault] = []
    files: dict[str, Path] = {}
    for path in paths:
        for found in _expanded(path, faults):
            files.setdefault(os.path.realpath(found), found)
            if len(files) > MOST_FILES:
                return (), (*faults, _fault(path, f"more than {MOST_FILES} files", "fewer"))
    sources = []
    for path in sorted(files.values()):
        text = read_text(path)
        if isinstance(text, Fault):
            faults.append(text)
        else:
            sources.append(Source(str(path), text))
    return tuple(sources), tuple(faults)


def files_of(paths: Sequence[Path]) -> list[Path]:
    """The files that the paths lead to now."""
    return [found for path in paths for found in _expanded(path, [])]


def nothing_there(paths: Sequence[Path]) -> bool:
    """Whether the paths lead to no file because there is none; one that cannot be read is there."""
    for path in paths:
        faults: list[Fault] = []
        found = list(_expanded(path, faults))
        missing = all(_missing(one) for one in found)
        unreadable = path.is_dir() and not os.access(path, os.R_OK | os.X_OK)
        if not missing or unreadable or any(fault.found not in {NO_FILES, NO_MATCH} for fault in faults):
            return False
    return True


def _missing(path: Path) -> bool:
    try:
        return not path.exists()
    except OSError:
        return False


def read_text(path: Path, *, most: int = MOST_BYTES) -> str | Fault:
    """The text of a small regular file, or why it cannot be read; never waits for a pipe or device."""
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        found = f"a file that cannot be opened ({error.strerror})"
        return _fault(path, found, "a file or folder that can be read")
    kind = os.fstat(handle).st_mode
    if not stat.S_ISREG(kind):
        os.close(handle)
        found = "a folder" if stat.S_ISDIR(kind) else "no regular file"
        return _fault(path, found, "a regular file", _in_folder(path) if stat.S_ISDIR(kind) else "")
    with open(handle, "rb") as file:  # noqa: PTH123 - the handle was opened above so that nothing blocks
        try:
            content = file.read(most + 1)
        except OSError as error:
            return _fault(path, f"a file that cannot be read ({error.strerror})")
    if len(content) > most:
        return _fault(path, f"more than {most} bytes", "a smaller file", "split it")
    try:
        return content.decode()
    except UnicodeDecodeError as error:
        before = content[: error.start]
        line, column = before.count(b"\n") + 1, error.start - (before.rfind(b"\n") + 1) + 1
        return Fault(str(path), line, column, "", f"the byte 0x{content[error.start]:02x}", "UTF-8")


def _in_folder(path: Path) -> str:
    """The file of a folder that may have been meant."""
    files = sorted(one for one in path.glob("*") if one.suffix in SUFFIXES and one.is_file())
    return f"perhaps {files[0]}" if len(files) == 1 else "name the file in it"


def is_missing(fault: Fault) -> bool:
    """Whether a fault says that nothing is where a path leads to."""
    return fault.found in {NO_FILES, NO_MATCH, NOT_THERE}


def _expanded(path: Path, faults: list[Fault]) -> Iterator[Path]:
    """The files a given path means: itself, those in the folder, or those that match the pattern."""
    if path.is_dir():
        found = list(_walk(path, root=Path(os.path.realpath(path)), seen=set(), faults=faults))
        if not found:
            faults.append(_fault(path, NO_FILES, "at least one"))
        yield from found
    elif glob.has_magic(str(path)) and not path.exists():
        matches = sorted(glob.glob(str(path), recursive=True))  # noqa: PTH207 - absolute patterns too
        if not matches:
            faults.append(_fault(path, NO_MATCH, "at least one"))
        for match in matches:
            if Path(match).is_file() or Path(match).suffix in SUFFIXES:
                yield Path(match)
    else:
        yield path


def _walk(folder: Path, *, root: Path, seen: set[str], faults: list[Fault]) -> Iterator[Path]:
    """YAML files below a folder; hidden names are skipped, links are followed inside the root only.

    Kubernetes shows a ConfigMap as links through `..data` to a hidden folder beside it: these stay inside.
    """
    seen.add(os.path.realpath(folder))
    try:
        entries = sorted(folder.iterdir())
    except OSError as error:
        faults.append(_fault(folder, f"a folder that cannot be read ({error.strerror})"))
        return
    for entry in entries:
        if entry.name.startswith("."):
            continue
        target = os.path.realpath(entry)
        folderish = entry.is_dir()
        if not folderish and entry.suffix not in SUFFIXES:
            continue
        if entry.is_symlink() and not Path(target).is_relative_to(root):
            faults.append(_fault(entry, "a link that leads out of the folder", "links inside the folder"))
        elif not folderish:
            yield entry
        elif target not in seen:
            yield from _walk(entry, root=root, seen=seen, faults=faults)


def _fault(path: Path, found: str, expected: str = "", suggestion: str = "") -> Fault:
    return Fault(str(path), 1, 1, "", found, expected, suggestion)

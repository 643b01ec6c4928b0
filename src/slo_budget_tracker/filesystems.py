"""File systems: where a path lies, and whether a ledger is safe there.

SQLite's write-ahead log needs locks and shared memory that hold between processes. Network file systems
promise both and keep neither.
"""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

MOUNTS = "/proc/self/mountinfo"
UNSAFE = frozenset({
    *("nfs", "nfs4", "cifs", "smb3", "smbfs", "afs", "9p", "davfs", "lustre", "glusterfs", "beegfs"),
    *("fuse.sshfs", "fuse.s3fs", "fuse.gcsfuse", "fuse.rclone", "fuse.glusterfs", "fuse.davfs2"),
})  # fmt: skip
FLEETING = {
    "overlay": "the container's own layer, which goes with the container: put it on a volume",
    "aufs": "the container's own layer, which goes with the container: put it on a volume",
    "tmpfs": "memory, which a reboot empties: put it on a disk",
    "ramfs": "memory, which a reboot empties: put it on a disk",
}

_OCTAL = re.compile(r"\\([0-7]{3})")


class Mount(NamedTuple):
    """A mounted file system: its kind as the kernel names it, and where it begins."""

    kind: str
    point: str

    @property
    def unsafe(self) -> bool:
        """Whether locks and shared memory are not to be relied on."""
        return self.kind in UNSAFE

    @property
    def warning(self) -> str | None:
        """What the owner of a file there should know."""
        return FLEETING.get(self.kind)


def mount_of(path: Path, *, mounts: str = MOUNTS) -> Mount | None:
    """The file system that holds a path, which need not exist yet; None where the kernel does not say."""
    try:
        with open(mounts, encoding="utf-8", errors="surrogateescape") as lines:  # noqa: PTH123
            return _holding(os.path.realpath(path), lines)
    except OSError:
        return None


def _holding(path: str, lines: Iterable[str]) -> Mount | None:
    """The last of the longest mount points above the path: later mounts hide earlier ones."""
    found: Mount | None = None
    for line in lines:
        before, dash, after = line.partition(" - ")
        fields = before.split()
        if not dash or len(fields) < 5:  # noqa: PLR2004 - the fifth field is the mount point, proc(5)
            continue
        point = _OCTAL.sub(lambda code: chr(int(code[1], 8)), fields[4])
        inside = path == point or path.startswith(point.rstrip("/") + "/")
        if inside and (found is None or len(point) >= len(found.point)):
            found = Mount(after.split()[0], point)
    return found

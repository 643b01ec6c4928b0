"""Disks that a test can fill: a small file system where this machine lets us mount one, else a limit on a process.

Mounting needs rights that not every machine gives, not even to root. A process whose files may not grow any more
(RLIMIT_FSIZE, which any user may set for what is theirs) can write as little; it is told EFBIG instead of ENOSPC.
"""

from __future__ import annotations

import resource
import shutil
import subprocess
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tests.real.ledgers import fill

if TYPE_CHECKING:
    from pathlib import Path


@dataclass(frozen=True)
class SmallDisk:
    """A file system of eight megabytes, which somebody else fills to the last byte."""

    folder: Path

    def __str__(self):
        return "a file system without space"

    def fill(self, _pid):
        """Nobody can write any more."""
        fill(self.folder / "somebody-elses.log")

    def free(self, _pid):
        """Somebody else's log is gone."""
        (self.folder / "somebody-elses.log").unlink()


@dataclass(frozen=True)
class Limited:
    """A process that may write to no file."""

    folder: Path

    def __str__(self):
        return "a process that may not write"

    def fill(self, pid):
        """This process can write no more."""
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (0, resource.RLIM_INFINITY))

    def free(self, pid):
        """It can again."""
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))


@contextmanager
def mounted(folder):
    """A small file system there, or None where this machine does not let us mount one."""
    mount = ["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", str(folder)]
    if shutil.which("mount") is None or subprocess.run(mount, capture_output=True, check=False).returncode:
        yield None
        return
    try:
        yield SmallDisk(folder)
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)

"""Processes: which one this is among all machines, and whether another one of this machine has ended."""

from __future__ import annotations

import os
from pathlib import Path

_BOOT = Path("/proc/sys/kernel/random/boot_id")
_START = 19  # of the fields behind the name: when it started


def this_process() -> str:
    """This process: boot of its machine, process namespace, number, start; empty where nobody can say."""
    start = _start(os.getpid())
    return f"{_here()}/{os.getpid()}/{start}" if _here() and start else ""


def has_ended(place: str) -> bool:
    """Whether a process surely runs no more; of other machines and containers nobody can say."""
    here, _, number = place.rpartition("/")[0].rpartition("/")
    if not here or here != _here() or not number.isdigit():
        return False
    return _start(int(number)) != place.rpartition("/")[2]


def _here() -> str:
    try:
        boot = _BOOT.read_text(encoding="ascii").strip()
        return f"{boot}/{Path('/proc/self/ns/pid').readlink()}"
    except OSError:
        return ""


def _start(number: int) -> str:
    """When a process started; empty where there is none, or only what is left of one."""
    try:
        fields = (
            Path(f"/proc/{number}/stat")
            .read_text(encoding="utf-8", errors="replace")
            .rpartition(")")[2]
            .split()
        )
    except OSError:
        return ""
    return "" if fields[0] in {"Z", "X"} else fields[_START]

"""System calls that fail: a thread is given a filter under which the kernel answers some calls with an error.

The rest of the process works as ever, so that what the thread's faults left behind can be mended there. Needs
Linux on x86-64 or arm64 and no rights at all (seccomp with PR_SET_NO_NEW_PRIVS; the filter dies with its thread).
"""

from __future__ import annotations

import ctypes
import platform
import struct
import threading

import pytest

NUMBERS = {
    "x86_64": {"pwrite64": 18, "write": 1, "fsync": 74, "fdatasync": 75, "pread64": 17, "ftruncate": 77},
    "aarch64": {"pwrite64": 68, "write": 64, "fsync": 82, "fdatasync": 83, "pread64": 67, "ftruncate": 46},
}.get(platform.machine(), {})
WRITES, SYNCS = ("pwrite64", "ftruncate"), ("fsync", "fdatasync")

_SET_NO_NEW_PRIVS, _SET_SECCOMP, _FILTER = 38, 22, 2
_LOAD, _EQUAL, _RETURN = 0x20, 0x15, 0x06
_ALLOW, _ERRNO = 0x7FFF0000, 0x00050000


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("filter", ctypes.c_char_p))


def _install(calls, number):
    """Give this thread the filter."""
    steps = [struct.pack("HBBI", _LOAD, 0, 0, 0)]
    for place, call in enumerate(calls):
        steps.append(struct.pack("HBBI", _EQUAL, len(calls) - place, 0, NUMBERS[call]))
    steps += [struct.pack("HBBI", _RETURN, 0, 0, _ALLOW), struct.pack("HBBI", _RETURN, 0, 0, _ERRNO | number)]
    code = b"".join(steps)
    libc = ctypes.CDLL(None, use_errno=True)
    libc.prctl(_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    program = _Program(len(steps), ctypes.cast(ctypes.create_string_buffer(code, len(code)), ctypes.c_char_p))
    if libc.prctl(_SET_SECCOMP, _FILTER, ctypes.byref(program), 0, 0):
        raise OSError(ctypes.get_errno(), "no filter for system calls")


def failing(calls, number, work):
    """What `work()` returns, or the exception it raised, in a thread whose system calls fail with an error number."""
    if not NUMBERS:
        pytest.skip(f"no numbers of system calls for {platform.machine()}")
    outcome = []

    def run():
        try:
            _install(calls, number)
        except OSError as error:
            outcome.append((False, error))
            return
        try:
            outcome.append((True, work()))
        except Exception as error:  # noqa: BLE001 - handed to the test
            outcome.append((True, error))

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    filtered, result = outcome[0]
    if not filtered:
        pytest.skip(f"this machine allows no filters: {result}")
    return result

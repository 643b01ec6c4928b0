"""Logs: one line for one thing, as text or JSON, on standard error; writing never blocks or ends anything.

Lines wait in a bounded queue for a thread of their own. Where nobody reads them (a full pipe, a closed
descriptor) they are dropped and counted. What libraries log comes through the same door, some lines a minute.
"""

from __future__ import annotations

import io
import logging
import os
import queue
import re
import threading
import time
from collections import Counter
from contextlib import suppress
from typing import TYPE_CHECKING, Any, cast

import structlog

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import TextIO

MOST_LINES = 10_000  # that wait to be written
FROM_LIBRARIES = 10  # lines a minute of each library's logger
MINUTE = 60.0
_CLEAR = b"\r\x1b[2K"  # the line on which the cursor is
_USERINFO = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*://)[^/\s@]+@")


class Channel(io.TextIOBase):
    """Takes whole lines at once and writes them to a descriptor in its own thread.

    On a terminal a text can be pinned below all lines, such as how far something is.
    """

    def __init__(self, descriptor: int, *, most: int = MOST_LINES) -> None:
        self.dropped = 0
        self._pinned = b""
        self._shown = False
        self._descriptor = descriptor
        self._lines: queue.Queue[bytes | None] = queue.Queue(most)
        self._idle = threading.Event()
        self._idle.set()
        self._thread = threading.Thread(target=self._run, name="log", daemon=True)
        self._thread.start()

    def write(self, text: str) -> int:
        """Queue the text, or drop it where the queue is full."""
        try:
            self._idle.clear()
            self._lines.put_nowait(text.encode("utf-8", "backslashreplace"))
        except queue.Full:
            self.dropped += 1
        return len(text)

    def pin(self, text: str) -> None:
        """Show this text below all lines from now on; nothing for an empty one."""
        self._pinned = text.encode("utf-8", "backslashreplace")
        self.write("")

    def flush(self) -> None:
        """Nothing: flushing would wait."""

    def drain(self, timeout: float) -> None:
        """Wait until all is written, but not for ever."""
        self._idle.wait(timeout)

    def _run(self) -> None:
        while (line := self._lines.get()) is not None:
            self._write(self._framed(line))
            if self._lines.empty():
                self._idle.set()

    def _framed(self, line: bytes) -> bytes:
        """A line with what is pinned moved below it."""
        pinned = self._pinned
        before = _CLEAR if self._shown else b""
        self._shown = bool(pinned)
        return before + line + pinned

    def _write(self, line: bytes) -> None:
        rest = memoryview(line)
        try:
            while rest:
                rest = rest[os.write(self._descriptor, rest) :]
        except BlockingIOError:
            self.dropped += 1
            time.sleep(0.05)  # a pipe that somebody made non-blocking is full
        except OSError:
            self.dropped += 1


class _Bridge(logging.Handler):
    """What libraries log, as events of ours; no tracebacks, no more than some lines a minute each."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._clock = clock
        self._minute = 0.0
        self._lines: Counter[str] = Counter()

    def emit(self, record: logging.LogRecord) -> None:
        """Write one record."""
        with suppress(Exception):  # a broken format of theirs is no trouble of ours
            if self._clock() - self._minute >= MINUTE:
                self._minute = self._clock()
                self._lines.clear()
            self._lines[record.name] += 1
            if self._lines[record.name] > FROM_LIBRARIES:
                return
            further: dict[str, Any] = {}
            if record.exc_info and record.exc_info[1] is not None:
                further = {"error": f"{type(record.exc_info[1]).__name__}: {record.exc_info[1]}"}
            level = min(record.levelno // 10 * 10, logging.ERROR)
            structlog.get_logger().log(level, record.getMessage(), logger=record.name, **further)


_channel: Channel | None = None


def channel() -> Channel:
    """The process' one way to standard error."""
    global _channel  # noqa: PLW0603 - one descriptor, one thread
    if _channel is None:
        occupy_standard_descriptors()
        _channel = Channel(os.dup(2))
    return _channel


def configure(form: str, level: str) -> None:
    """From now on, lines of this form (`text`, `json`) and at least this level; may be called again."""
    out = channel()
    renderer: structlog.typing.Processor = (
        structlog.processors.JSONRenderer()
        if form == "json"
        else structlog.dev.ConsoleRenderer(colors=os.isatty(2), pad_event_to=0)
    )
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            _presentable,
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.WriteLoggerFactory(file=cast("TextIO", out)),
    )
    root = logging.getLogger()
    root.handlers = [one for one in root.handlers if not isinstance(one, _Bridge)] + [_Bridge()]
    root.setLevel(logging.DEBUG if level == "debug" else logging.WARNING)
    logging.captureWarnings(capture=True)
    threading.excepthook = _thread_failed


def dropped() -> int:
    """Lines that nobody took, since the start."""
    return 0 if _channel is None else _channel.dropped


def pin(text: str) -> None:
    """Keep a text below all lines; only where somebody looks at a terminal."""
    channel().pin(text)


def drain(timeout: float) -> None:
    """Give what was logged last a moment to be written."""
    if _channel is not None:
        _channel.drain(timeout)


def occupy_standard_descriptors() -> None:
    """Put /dev/null where a standard descriptor is closed: else the next file opened would get log lines."""
    for descriptor in (0, 1, 2):
        try:
            os.fstat(descriptor)
        except OSError:
            with suppress(OSError):
                os.open(os.devnull, os.O_RDWR)


def _presentable(_: object, __: str, event: structlog.typing.EventDict) -> structlog.typing.EventDict:
    """Whatever is not printable is escaped, a log line is one line (H18); no URL shows a user or password."""
    return {key: _clean(value) if isinstance(value, str) else value for key, value in event.items()}


def _clean(text: str) -> str:
    text = _USERINFO.sub(r"\1…@", text) if "://" in text else text
    return text if text.isprintable() else text.encode("unicode_escape").decode()


def _thread_failed(failed: threading.ExceptHookArgs) -> None:
    """A thread that ends by a fault of ours: a line, no traceback."""
    if failed.exc_type is not SystemExit:
        name = failed.thread.name if failed.thread is not None else "?"
        error = f"{failed.exc_type.__name__}: {failed.exc_value}"
        structlog.get_logger().error("a thread failed, please report it", thread=name, error=error)

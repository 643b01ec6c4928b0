"""On a terminal: a bar while the past is read, tables with lines; piped: plain lines and nothing else."""

from __future__ import annotations

import os
import pty
import re
import signal
import subprocess
import sys
import threading
import time

import pytest

from tests.real.lives import EmptyPrometheus, Life

CODES = re.compile(r"\x1b\[[0-9;?]*[a-zA-Z]")


class SlowPrometheus(EmptyPrometheus):
    """Answers every question after a moment: there is no such series."""

    def __init__(self, seconds):
        super().__init__()
        self.seconds = seconds
        answer = self.server.RequestHandlerClass.do_POST

        def slow(handler):
            time.sleep(self.seconds)
            answer(handler)

        self.server.handle_error = lambda *_: None  # a client that had enough
        self.server.RequestHandlerClass.do_POST = self.server.RequestHandlerClass.do_GET = slow


class Screen:
    """A terminal that keeps what was written to it."""

    def __init__(self):
        self.ours, self.theirs = pty.openpty()
        self.text = b""
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self):
        while True:
            try:
                self.text += os.read(self.ours, 65_536)
            except OSError:
                return

    def shows(self, pattern, *, within=60):
        """Wait until something was written."""
        end = time.monotonic() + within
        while time.monotonic() < end:
            if re.search(pattern, CODES.sub("", self.text.decode(errors="replace"))):
                return True
            time.sleep(0.1)
        return False


@pytest.fixture
def server():
    """A Prometheus that takes its time."""
    one = SlowPrometheus(0.5)
    yield one
    one.close()


@pytest.fixture
def life(tmp_path, server):
    """A daemon beside it."""
    one = Life(tmp_path, server.url)
    yield one
    one.kill()


def test_the_first_fill_has_a_bar(life):
    """The daemon's own first fill, below its log, until it is filled; then the log goes on alone."""
    screen = Screen()
    life.spawn(log=screen.theirs)
    assert screen.shows(r"filling from history ━*╌+ \d+%, (\d+ min )?\d+ s left"), screen.text
    assert screen.shows(r'"event": "filled"'), screen.text
    assert (0, True) == (life.end(by=signal.SIGTERM)[0], screen.shows(r'"stopped".*\s*$')), screen.text


def test_an_evaluation_has_a_bar_and_a_table(life, server):
    """`evaluate` on a terminal: a bar on standard error, a table with a line below its heads."""
    screen = Screen()
    command = [sys.executable, "-m", "slo_budget_tracker", "evaluate", "-c", str(life.config)]
    environ = {**os.environ, "TERM": "xterm-256color", "COLUMNS": "160"}
    subprocess.run(command, stdout=screen.theirs, stderr=screen.theirs, env=environ, check=True, timeout=120)
    assert screen.shows(r"reading history .*\d+ %"), screen.text
    assert screen.shows(r"SLO +target +window.*\r?\n *─+"), screen.text
    server.seconds = 0
    piped = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120)
    assert ("", False, True) == (piped.stderr, "─" in piped.stdout, piped.stdout.startswith("SLO "))

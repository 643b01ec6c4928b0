"""Logs that never block and never end anything; in a process of its own, as descriptors are shared by all."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time

import pytest

from slo_budget_tracker.logs import Channel

SAY = """
import logging, structlog, sys, threading
from slo_budget_tracker import logs
logs.configure({form!r}, {level!r})
log = structlog.get_logger()
{lines}
logs.drain(5)
"""


def said(lines, *, form="json", level="info", **options):
    """What a process writes to standard error."""
    code = SAY.format(form=form, level=level, lines=lines)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, **options)
    return done.stderr


def test_lines_are_events():
    """A line of JSON for each event, from its level on."""
    (line,) = map(json.loads, said("log.info('a', n=1)\nlog.debug('b')").splitlines())
    assert ("a", 1, "info") == (line["event"], line["n"], line["level"])


def test_what_libraries_log_has_the_same_form():
    """apscheduler, uvicorn, alembic and httpx log as we do, without tracebacks; debugging aside, from warnings on."""
    lines = """
logging.getLogger("alembic.runtime").info("not told")
try:
    1 / 0
except ZeroDivisionError:
    logging.getLogger("apscheduler.executors").exception("a job %s", "failed")
"""
    (line,) = map(json.loads, said(lines).splitlines())
    assert ["a job failed", "apscheduler.executors", "ZeroDivisionError: division by zero"] == [
        line[key] for key in ("event", "logger", "error")
    ]


def test_no_line_shows_a_password():
    """H14: users and passwords in URLs are left out, whoever logs them."""
    secret = "http://bob:S3CR3T@host/x"
    lines = (
        f"log.warning('asked {secret}', url='{secret}')\nlogging.getLogger('httpx').warning('%s', '{secret}')"
    )
    for form in ("json", "text"):
        text = said(lines, form=form)
        assert (0, 3) == (text.count("S3CR3T"), text.count("@host/x"))


def test_a_line_is_a_line():
    """H18: control characters are escaped."""
    assert 1 == len(said("log.info('a\\nb\\x1b[31m', c='\\r\\n')", form="text").splitlines())


def test_a_library_that_repeats_itself_is_cut_short():
    """Never more than some lines a minute of each library's logger: nobody can fill the disk from outside."""
    text = said("for n in range(1000): logging.getLogger('uvicorn.error').warning('Invalid HTTP request')")
    assert 10 == len(text.splitlines())


def test_a_thread_that_fails_is_one_line():
    """Never a traceback."""
    lines = "thread = threading.Thread(target=lambda: 1 / 0, name='t')\nthread.start(); thread.join()"
    (line,) = map(json.loads, said(lines).splitlines())
    assert ("t", "ZeroDivisionError: division by zero") == (line["thread"], line["error"])


def test_a_full_pipe_blocks_nobody():
    """T17: a pipe that nobody reads costs lines, not time; what is dropped is counted."""
    reading, writing = os.pipe()
    channel = Channel(writing, most=100)
    for _ in range(5_000):
        channel.write("x" * 1_000 + "\n")
    channel.drain(0.01)
    assert channel.dropped >= 5_000 - 100 - 70  # the queue, and what the pipe holds
    os.close(reading)
    end = time.monotonic() + 20
    while not channel._lines.empty() and time.monotonic() < end:
        time.sleep(0.01)
    channel.write("after the reader is gone\n")
    channel.drain(10)
    assert channel._lines.empty()
    os.close(writing)


@pytest.mark.parametrize("closed", ["2>&-", "1>&- 2>&-", "0<&- 1>&- 2>&-"])
def test_closed_descriptors_are_not_somebody_elses(closed, tmp_path):
    """T17: a file that is opened where standard error was closed gets no log lines."""
    code = SAY.format(
        form="text", level="info", lines=f"open({str(tmp_path / 'file')!r}, 'w'); log.info('a')"
    )
    (tmp_path / "code.py").write_text(code)
    done = subprocess.run(f"{sys.executable} {tmp_path / 'code.py'} {closed}", shell=True, check=False)
    assert (0, "") == (done.returncode, (tmp_path / "file").read_text())


def test_what_is_pinned_stays_below_all_lines():
    """A bar on a terminal: taken away before each line, shown again below it, and gone when it is let go."""
    reader, writer = os.pipe()
    channel = Channel(writer)
    for say in (
        lambda: channel.write("one\n"),
        lambda: channel.pin("half"),
        lambda: channel.write("two\n"),
        lambda: channel.pin(""),
        lambda: channel.write("three\n"),
    ):
        say()
        channel.drain(5)
    os.close(writer)
    clear = "\r\x1b[2K"
    with os.fdopen(reader, "rb") as lines:
        assert f"one\nhalf{clear}two\nhalf{clear}three\n" == lines.read().decode()

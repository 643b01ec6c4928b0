"""What systemd is told, over a socket as it makes them."""

from __future__ import annotations

import os
import socket

import pytest

from slo_budget_tracker.notifying import Notifier


@pytest.fixture(params=["a path", "an abstract name"])
def manager(request, tmp_path):
    """A service manager's socket and its address."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        address = str(tmp_path / "notify") if request.param == "a path" else f"\0slo-test-{os.getpid()}"
        listening.bind(address)
        listening.settimeout(10)
        yield listening, address.replace("\0", "@")


def test_a_life_as_systemd_hears_it(manager):
    """T15: ready, alive, reloading with the time of the monotonic clock, ready again, stopping."""
    listening, address = manager
    notifier = Notifier.of({"NOTIFY_SOCKET": address})
    notifier.ready("3 SLOs")
    notifier.alive()
    notifier.reloading()
    notifier.ready()
    notifier.stopping()
    heard = [listening.recv(500).decode() for _ in range(5)]
    name, _, microseconds = heard[2].partition("\n")[2].partition("=")
    assert ["READY=1\nSTATUS=3 SLOs", "WATCHDOG=1", "READY=1", "STOPPING=1"] == heard[:2] + heard[3:]
    assert ("MONOTONIC_USEC", True) == (name, microseconds.isdecimal())


@pytest.mark.parametrize(
    "address", ["", "relative", "/nowhere/at/all", "@nobody-listens-here", "/" + "x" * 300]
)
def test_nobody_to_be_told(address):
    """T15: without a service manager, or with one that is gone, nothing happens."""
    Notifier.of({"NOTIFY_SOCKET": address}).ready("x")


@pytest.mark.parametrize(
    ("environ", "seconds"),
    [
        ({"WATCHDOG_USEC": "30000000"}, 30.0),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": str(os.getpid())}, 30.0),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "1"}, None),
        ({"WATCHDOG_USEC": "soon"}, None),
        ({"WATCHDOG_USEC": "0"}, None),
        ({}, None),
    ],
)
def test_whether_a_watchdog_wants_to_hear_of_us(environ, seconds):
    """T15: only what is meant for this process counts."""
    assert seconds == Notifier.of(environ).watchdog_seconds

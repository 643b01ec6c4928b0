"""Whether another process has ended: surely, or nobody can say."""

from __future__ import annotations

import subprocess
import sys

import pytest

from slo_budget_tracker import processes
from slo_budget_tracker.processes import has_ended, this_process

CHILD = "from slo_budget_tracker.processes import this_process; print(this_process()); input()"


def test_this_process_has_not_ended():
    """It says who it is, and that it lives."""
    assert (True, False) == (bool(this_process()), has_ended(this_process()))


def test_a_killed_process_has_ended():
    """Also before anybody took notice of its end."""
    with subprocess.Popen(
        [sys.executable, "-c", CHILD], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as child:
        place = child.stdout.readline().strip()
        assert not has_ended(place)
        child.kill()
        child.stdout.read()
        for _ in range(1000):
            if has_ended(place):
                break
        assert has_ended(place)
        child.wait()
        assert has_ended(place)


@pytest.mark.parametrize(
    "place",
    ["", "nonsense", "another-boot/pid:[1]/1/1", "a/b/c/d/e", "/1/2"],
    ids=["unknown", "no place", "another machine", "other words", "half of one"],
)
def test_of_other_places_nobody_can_say(place):
    """Another machine, another container, an older program: not known to have ended."""
    assert not has_ended(place)


def test_a_number_that_was_given_again_is_another_process():
    """The start tells two processes with one number apart."""
    assert has_ended(f"{this_process().rpartition('/')[0]}/1")


def test_a_machine_that_does_not_say_is_no_place(monkeypatch, tmp_path):
    """Without a boot id a process has no place."""
    monkeypatch.setattr(processes, "_BOOT", tmp_path / "missing")
    assert "" == this_process()

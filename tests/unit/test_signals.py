"""The end of the process: at once, whatever it holds (row T6)."""

from __future__ import annotations

import subprocess
import sys

import pytest

from slo_budget_tracker.signals import Wishes

PROGRAM = """
import sys, time
from slo_budget_tracker.signals import Wishes

class Heap:
    def __del__(self):
        print("taken apart")
        time.sleep(60)

held = Heap()
wishes = Wishes()
wishes.catch()
print("all is on disk")
wishes.end()
wishes.ended()
wishes.quit({status})
"""


@pytest.mark.parametrize("status", [0, 3], ids=["in order", "with a status"])
def test_what_a_process_holds_is_not_taken_apart_at_its_end(status):
    """T6: ten thousand SLOs are millions of objects, which takes seconds; what was said before comes out."""
    command = [sys.executable, "-c", PROGRAM.format(status=status)]
    found = subprocess.run(command, capture_output=True, text=True, timeout=50, check=False)
    assert (status, "all is on disk\n", "") == (found.returncode, found.stdout, found.stderr)


def test_a_process_that_is_not_ours_goes_on():
    """Where signals are somebody else's, so is the end."""
    wishes = Wishes()
    wishes.end()
    wishes.ended()
    wishes.quit(3)
    assert wishes.stop.is_set()

"""A process with so many SLOs that ticks for a while, and says how much memory it took at most, in MiB."""

import re
import sys
from pathlib import Path

from tests.unit.cycling import begin, ticks
from tests.unit.serving import Server, availability, traffic


def most():
    """The most memory this process had so far, in MiB; what it was forked from does not count."""
    found = re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())
    return int(found[1]) // 1024


if __name__ == "__main__":
    slos, metrics = int(sys.argv[1]), 25
    server = Server()
    for number in range(metrics):
        traffic(server.db, metric=f"m{number}_total", seconds=1_800)
    catalogue = [availability(f"slo-{n}", metric=f"m{n % metrics}_total") for n in range(slos)]
    before = most()
    cycle = begin(catalogue, server=server)
    ticks(cycle, 4)
    after = most()
    sys.stdout.write(f"{before} {after}\n")

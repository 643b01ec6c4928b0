"""A pair of daemons in trouble: kills, pauses and cuts survived, events lost and doubled, holes in the gauges.

python -m tests.bench pair [ROUNDS] [--interval SECONDS]
"""

from __future__ import annotations

import argparse

from tests.bench.troubles import play
from tests.pairs import INTERVAL, survive


def main() -> None:
    """Each round puts the leader into each trouble once."""
    parser = argparse.ArgumentParser()
    parser.add_argument("rounds", nargs="?", type=int, default=5)
    parser.add_argument("--interval", type=int, default=INTERVAL, help="of a tick, seconds; the lease is 2 s")
    given = parser.parse_args()
    options = {"rounds": given.rounds, "interval": given.interval}
    play(lambda folder, server, audit: survive(folder, server.url(), audit, **options))

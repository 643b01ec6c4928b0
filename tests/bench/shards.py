"""Shards whose number changes under load, killed while SLOs move: events lost and doubled, requests counted, SLOs moved.

python -m tests.bench shards [CHANGES] [--interval SECONDS] [--seed NUMBER]
"""

from __future__ import annotations

import argparse

from tests.bench.troubles import play
from tests.walks import INTERVAL, walk


def main() -> None:
    """From two shards to three, back, and so on."""
    parser = argparse.ArgumentParser()
    parser.add_argument("changes", nargs="?", type=int, default=6)
    parser.add_argument("--interval", type=int, default=INTERVAL, help="of a tick, seconds")
    parser.add_argument("--seed", type=int, default=11)
    options = vars(parser.parse_args())
    play(lambda folder, server, audit: walk(folder, server, "walk", audit, **options))

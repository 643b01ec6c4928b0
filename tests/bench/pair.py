"""A pair of daemons in trouble: kills, pauses and cuts survived, events lost and doubled, holes in the gauges.

python -m tests.bench pair [ROUNDS] [--interval SECONDS]
"""

from __future__ import annotations

import argparse
import os
import tempfile
from pathlib import Path

from tests.pairs import INTERVAL, survive
from tests.postgresql import PostgreSQLServer, postgresql_binary
from tests.servers import AuditStreamServer


def main() -> None:
    """Each round puts the leader into each trouble once."""
    parser = argparse.ArgumentParser()
    parser.add_argument("rounds", nargs="?", type=int, default=5)
    parser.add_argument("--interval", type=int, default=INTERVAL, help="of a tick, seconds; the lease is 2 s")
    given = parser.parse_args()
    if postgresql_binary() is None:
        print("PostgreSQL is not installed: apt-get install postgresql")
        return
    with (
        tempfile.TemporaryDirectory() as folder,
        PostgreSQLServer() as server,
        AuditStreamServer(Path(folder) / "audit") as audit,
    ):
        print(survive(Path(folder), server.url(), audit, rounds=given.rounds, interval=given.interval))
        print(f"{os.cpu_count()} processors, load {os.getloadavg()[2]:.0f} over the last 15 minutes")

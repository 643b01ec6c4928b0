"""Shards whose number changes under load, killed while SLOs move: events lost and doubled, requests counted, SLOs moved.

python -m tests.bench shards [CHANGES] [--interval SECONDS] [--seed NUMBER]
"""

from __future__ import annotations

import argparse
import os
import tempfile
from pathlib import Path

from tests.postgresql import PostgreSQLServer, postgresql_binary
from tests.servers import AuditStreamServer
from tests.walks import INTERVAL, walk


def main() -> None:
    """From two shards to three, back, and so on."""
    parser = argparse.ArgumentParser()
    parser.add_argument("changes", nargs="?", type=int, default=6)
    parser.add_argument("--interval", type=int, default=INTERVAL, help="of a tick, seconds")
    parser.add_argument("--seed", type=int, default=11)
    given = parser.parse_args()
    if postgresql_binary() is None:
        print("PostgreSQL is not installed: apt-get install postgresql")
        return
    with (
        tempfile.TemporaryDirectory() as folder,
        PostgreSQLServer() as server,
        AuditStreamServer(Path(folder) / "audit") as audit,
    ):
        found = walk(
            Path(folder), server, "walk", audit,
            changes=given.changes, seed=given.seed, interval=given.interval,
        )  # fmt: skip
        print(found)
        print(f"{os.cpu_count()} processors, load {os.getloadavg()[2]:.0f} over the last 15 minutes")


if __name__ == "__main__":
    main()

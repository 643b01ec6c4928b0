"""Troubles: what benches of daemons over one PostgreSQL have in common: a folder, both servers, and how busy the machine was."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from tests.postgresql import PostgreSQLServer, postgresql_binary
from tests.servers import AuditStreamServer

if TYPE_CHECKING:
    from collections.abc import Callable


def play(scene: Callable[[Path, PostgreSQLServer, AuditStreamServer], object]) -> None:
    """Print what comes of a scene; where PostgreSQL is not installed, how it is."""
    if postgresql_binary() is None:
        print("PostgreSQL is not installed: apt-get install postgresql")
        return
    with (
        tempfile.TemporaryDirectory() as folder,
        PostgreSQLServer() as server,
        AuditStreamServer(Path(folder) / "audit") as audit,
    ):
        print(scene(Path(folder), server, audit))
        print(f"{os.cpu_count()} processors, load {os.getloadavg()[2]:.0f} over the last 15 minutes")

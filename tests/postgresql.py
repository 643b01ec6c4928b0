"""A real PostgreSQL: a cluster of its own in a temporary folder, run by a user who is not root."""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

from tests.servers import _RUNNING, ServerError, find_binary, free_port

HIGHEST_FIRST = "/usr/lib/postgresql/*/bin/{name}"
PASSWORD = "S3CR3T-of-the-ledger"


def postgresql_binary(name: str = "postgres") -> str | None:
    """Where a program of PostgreSQL is: on the path, or where Debian puts it, also unpacked; or None."""
    unpacked = Path(__file__).parents[1] / ".cache" / "servers"
    for root in (Path("/"), unpacked):
        found = sorted(root.glob(HIGHEST_FIRST.format(name=name).lstrip("/")), reverse=True)
        if found:
            return str(found[0])
    return find_binary(name, variable="")


@dataclass
class PostgreSQLServer:
    """One cluster with a database `ledger`, and a role `tracker` that needs its password over `secret_url`."""

    port: int = field(default_factory=free_port)
    fsync: bool = False
    folder: Path = field(default_factory=lambda: Path(tempfile.mkdtemp(prefix="slo-postgresql-")))
    process: subprocess.Popen | None = None

    @property
    def user(self) -> str:
        """Who runs it: this user, or for root a system user."""
        if os.getuid():
            return pwd.getpwuid(os.getuid()).pw_name
        with contextlib.suppress(KeyError):
            return pwd.getpwnam("postgres").pw_name
        return "nobody"

    @property
    def _as_user(self) -> dict:
        if os.getuid():
            return {}
        entry = pwd.getpwnam(self.user)
        return {"user": entry.pw_uid, "group": entry.pw_gid, "extra_groups": []}

    def url(self, *, namespace: str | None = None, port: int | None = None, database: str = "ledger") -> str:
        """How to reach it, without a password."""
        query = f"?namespace={namespace}" if namespace else ""
        return f"postgresql+psycopg://admin@127.0.0.1:{port or self.port}/{database}{query}"

    @property
    def secret_url(self) -> str:
        """How to reach it as a role that may do little and needs its password."""
        return f"postgresql+psycopg://tracker@127.0.0.1:{self.port}/ledger"

    def _run(self, *command: str) -> str:
        done = subprocess.run(
            command, capture_output=True, text=True, check=False, cwd=self.folder, **self._as_user
        )
        if done.returncode:
            raise ServerError(f"{command[0]}: {done.stdout[-500:]} {done.stderr[-1500:]}")
        return done.stdout

    def make(self):
        """Make the cluster."""
        data = self.folder / "data"
        if not os.getuid():
            shutil.chown(self.folder, self.user)
        self._run(
            postgresql_binary("initdb"), "--pgdata", str(data), "--username=admin", "--auth=trust",
            "--encoding=UTF8", "--locale=C.UTF-8", "--no-sync",
        )  # fmt: skip
        rules = "host all tracker 127.0.0.1/32 scram-sha-256\n"
        rules_file = data / "pg_hba.conf"
        rules_file.write_text(rules + rules_file.read_text())
        return self

    def start(self):
        """Start it and wait until it answers."""
        settings = {
            "listen_addresses": "127.0.0.1", "port": self.port, "unix_socket_directories": "",
            "fsync": "on" if self.fsync else "off", "shared_buffers": "16MB", "max_connections": "400",
            "logging_collector": "off",
        }  # fmt: skip
        command = [postgresql_binary(), "-D", str(self.folder / "data")]
        command += [part for key, value in settings.items() for part in ("-c", f"{key}={value}")]
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=self.folder, **self._as_user
            )
        _RUNNING[self.process.pid] = self.process
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline and self.process.poll() is None:
            with contextlib.suppress(ServerError):
                self.sql("SELECT 1", database="postgres")
                return self
            time.sleep(0.05)
        raise ServerError(f"PostgreSQL did not get ready:\n{(self.folder / 'log').read_text()[-2000:]}")

    def prepare(self):
        """The database and the role."""
        self.sql("CREATE DATABASE ledger", database="postgres")
        self.sql(f"CREATE ROLE tracker LOGIN PASSWORD '{PASSWORD}'")
        self.sql("GRANT CREATE ON DATABASE ledger TO tracker")
        return self

    def sql(self, statement: str, *, database: str = "ledger") -> str:
        """What psql answers, without heads."""
        return self._run(
            postgresql_binary("psql"), f"host=127.0.0.1 port={self.port} dbname={database} user=admin",
            "-X", "-q", "-t", "-A", "-v", "ON_ERROR_STOP=1", "-c", statement,
        ).strip()  # fmt: skip

    def stop(self, by: signal.Signals = signal.SIGINT) -> None:
        """Stop it: fast, or as it is told."""
        process, self.process = self.process, None
        if process is None:
            return
        if process.poll() is None:
            process.send_signal(by)
        process.wait(timeout=60)
        _RUNNING.pop(process.pid, None)

    def __enter__(self):
        return self.make().start().prepare()

    def __exit__(self, *_):
        self.stop(signal.SIGQUIT)
        shutil.rmtree(self.folder, ignore_errors=True)

"""Fleets that are measured (tests/bench/fleet.py), each with its daemon's configuration."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import yaml

from tests.bench import fleet

if TYPE_CHECKING:
    from pathlib import Path

INTERVAL, DELAY = 20, 10
TOKEN = "bench"


@dataclass(frozen=True)
class Case:
    """A fleet that is measured."""

    slos: int
    series: int = 6  # per pod; two pods per SLO
    window: str = "30d"
    alone: bool = False
    life: int | None = None  # seconds that each pod lives, instead of an hour for a tenth of them
    ticks: int = 10
    interval: int = INTERVAL

    @property
    def scrape(self) -> int:
        """Seconds between two scrapes: two in each tick."""
        return self.interval // 2

    @property
    def days(self) -> int:
        """How many days of rows the ledger is given."""
        return max(30, int(self.window.rstrip("d")))

    @property
    def name(self) -> str:
        """What tells it from the others."""
        each = fleet.PODS * self.series
        extra = ", no two merged" if self.alone else ""
        extra += f", pods that live {self.life} s" if self.life else ""
        return f"{self.slos:,} SLOs of {each} series, window {self.window}{extra}"


def write_config(case: Case, folder: Path, url: str, port: int) -> Path:
    """The daemon's configuration and SLO files."""
    fleet.write_slos(case.slos, folder / "slos", alone=case.alone, window=case.window)
    (folder / "token").write_text(TOKEN)
    (folder / "token").chmod(0o600)
    config = folder / "tracker.yaml"
    settings = {
        "prometheus": {"url": url, "timeout": "20s"},
        "slo_files": [str(folder / "slos")],
        "evaluation": {"interval": f"{case.interval}s", "delay": f"{DELAY}s"},
        "ledger": {"url": f"sqlite:///{folder / 'ledger.db'}", "backup_every": 0},
        "web": {
            "listen": f"127.0.0.1:{port}",
            "reload": True,
            "reload_token_file": str(folder / "token"),
        },
    }
    config.write_text(yaml.safe_dump(settings))
    return config

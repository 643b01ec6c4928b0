"""What it costs: `python -m tests.bench` in 18 minutes, `all` of it in two hours, or benches by name.

python -m tests.bench                                  # SHORT: what `make bench` runs
python -m tests.bench all                              # every bench one after the other
python -m tests.bench ticks 5000 restart --times 9     # some by name, each with its options
python -m tests.bench peers --help                     # what one measures, and its options
"""

from __future__ import annotations

import os
import sys
import time

from tests.bench import (
    alone,
    amplification,
    beyond,
    churn,
    followers,
    latency,
    lowtraffic,
    page,
    pair,
    peers,
    restart,
    scale,
    shards,
    stores,
    thousand,
    ticks,
)
from tests.worlds import table

BENCHES = {
    "table": ("Ten histories of 30 days, against what truly happened", table.main),
    "amplification": (
        "Samples read per minute for one SLO of 8 series, pods replaced hourly",
        amplification.main,
    ),
    "peers": ("Beside Sloth, Pyrra and slo-generator in one run", peers.main),
    "thousand": ("A thousand SLOs, and their first fill", thousand.main),
    "scale": ("A hundred, a thousand and ten thousand SLOs, scraped live", scale.main),
    "alone": ("What ticks ask where no two SLOs can be merged, in good times and bad", alone.main),
    "ticks": ("A steady tick by part, in one process", ticks.main),
    "churn": ("Memory over days of pods that come and go, in one process", churn.main),
    "restart": ("A restart on a ledger with 30 days, again and again", restart.main),
    "stores": ("What a ledger costs", stores.main),
    "page": ("The list of SLOs in a browser", page.main),
    "latency": ("From the first failing request to gauge, page, audit event and notification", latency.main),
    "followers": ("What a follower and a page over all shards read", followers.main),
    "pair": ("A pair of daemons over one PostgreSQL, in trouble", pair.main),
    "shards": ("Shards that change their number under load, killed while SLOs move", shards.main),
    "beyond": ("To a million SLOs: a model of the points that `scale` measured", beyond.main),
    "lowtraffic": ("Pages a month by policy where traffic is low", lowtraffic.main),
}
SHORT = {"scale": ["--growth"], "peers": []}


class UnknownBench(SystemExit):
    """A word that comes before any bench's name, and is none."""


def wanted(words: list[str]) -> dict[str, list[str]]:
    """The benches that are asked for, with the options of each."""
    if not words:
        return SHORT
    if words == ["all"]:
        return {name: SHORT.get(name, []) for name in BENCHES}
    found: dict[str, list[str]] = {}
    options: list[str] | None = None
    for word in words:
        if word in BENCHES:
            options = found[word] = []
        elif options is None:
            raise UnknownBench(f"There is no bench {word!r}; there are: {', '.join(BENCHES)}, all")
        else:
            options.append(word)
    return found


def usage() -> str:
    """What can be asked for."""
    short = " ".join(" ".join((name, *options)) for name, options in SHORT.items())
    lines = [f"  {name:14}{title}" for name, (title, _) in BENCHES.items()]
    return "\n".join([__doc__.replace("SHORT", short), "Benches:", "", *lines])


def main() -> None:
    """Run what is asked for."""
    words = sys.argv[1:]
    if words[:1] in (["--help"], ["-h"]):
        print(usage())
        return
    benches = wanted(words)
    begun = time.monotonic()
    if len(benches) > 1:
        now = time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime())
        print(f"{now}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}", flush=True)
    for name, options in benches.items():
        title, bench = BENCHES[name]
        sys.argv = [name, *options]
        told = sys.stderr if "--json" in options else sys.stdout  # so that what is printed is JSON
        print(f"\n## {title}\n", file=told, flush=True)
        began = time.monotonic()
        bench()
        print(f"\n({name} took {_minutes(began)})", file=told, flush=True)
    if len(benches) > 1:
        print(f"\nAll of it took {_minutes(begun)}; the load at its end is {os.getloadavg()[0]:.1f}.")


def _minutes(began: float) -> str:
    return f"{(time.monotonic() - began) / 60:.1f} min"


if __name__ == "__main__":  # the thousand's own processes import this module again
    main()

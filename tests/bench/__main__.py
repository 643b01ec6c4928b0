"""All benches one after the other: `python -m tests.bench`, or some of them by name, each with its options."""

from __future__ import annotations

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
    shards,
    stores,
    tenthousand,
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
    "thousand": ("A thousand SLOs", thousand.main),
    "scale": ("A hundred, a thousand and ten thousand SLOs, scraped live", tenthousand.main),
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


def main() -> None:
    """Run the named benches, or all of them."""
    wanted: dict[str, list[str]] = {}
    for word in sys.argv[1:]:
        if word in BENCHES:
            options = wanted[word] = []
        else:
            options.append(word)
    begun = time.monotonic()
    for name, options in (wanted or {key: [] for key in BENCHES}).items():
        title, bench = BENCHES[name]
        sys.argv = [name, *options]
        print(f"\n## {title}\n", flush=True)
        began = time.monotonic()
        bench()
        print(f"\n({name} took {_minutes(began)})", flush=True)
    if len(wanted) != 1:
        print(f"\nAll of it took {_minutes(begun)}.")


def _minutes(began: float) -> str:
    return f"{(time.monotonic() - began) / 60:.1f} min"


if __name__ == "__main__":  # the thousand's own processes import this module again
    main()

"""The tables of `scale`: what each case costs per tick and per SLO, and how many times as much more costs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Any

from tests.bench.cases import Case

Figures = dict[str, Any]
Measured = Sequence[tuple[Case, Figures]]

ROWS: dict[str, Callable[[Figures], str]] = {
    "series": lambda f: f"{f['series']:,}",
    "requests per tick, mean / most": lambda f: f"{f['requests']:,.0f} / {f['most_requests']:,.0f}",
    "requests per tick and SLO": lambda f: f"{f['requests'] / f['slos']:.3f}",
    "samples read per tick": lambda f: f"{f['samples']:,.0f}",
    "samples read per tick and SLO": lambda f: f"{f['samples'] / f['slos']:.1f}",
    "daemon CPU per tick": lambda f: f"{f['daemon_cpu']:.2f} s",
    "daemon CPU per tick and SLO": lambda f: f"{1000 * f['daemon_cpu'] / f['slos']:.2f} ms",
    "Prometheus CPU per tick, for the queries": lambda f: f"{f['prometheus_cpu']:.2f} s",
    "Prometheus CPU per tick and SLO, for the queries": lambda f: (
        f"{1000 * f['prometheus_cpu'] / f['slos']:.2f} ms"
    ),
    "Prometheus CPU per tick, for scraping": lambda f: f"{f['scraping_cpu']:.2f} s",
    "memory of the daemon after ticks, at most; with looks and reloads": lambda f: (
        f"{f['rss'] / 1e6:.0f} / {f['peak'] / 1e6:.0f}; {f['most_memory'] / 1e6:.0f} MB"
    ),
    "memory per SLO, at most": lambda f: f"{f['most_memory'] / f['slos'] / 1024:.0f} KiB",
    "ledger with 30 days (window of 90 d: 90)": lambda f: f"{f['ledger_bytes'] / 1e6:.1f} MB",
    "ledger per SLO": lambda f: f"{f['ledger_bytes'] / f['slos'] / 1024:.1f} KiB",
    "ticks measured; missed, in doubt (SLO ticks)": lambda f: (
        f"{f['ticks']:.0f}; {f['missed']:.0f}, {f['doubts']:.0f}"
    ),
    "a tick takes, beside the others": lambda f: f"{f['wall']:.2f} s",
    "series remembered": lambda f: f"{f['remembered']:,.0f}",
    "restart to full gauges; CPU": lambda f: f"{f['restart']:.2f} s; {f['restart_cpu']:.2f} s",
    "the end after SIGTERM": lambda f: f"{f['stop']:.2f} s",
    "reload that changes one SLO, the worst of three; CPU": lambda f: (
        f"{f['reload']:.2f} s; {f['reload_cpu']:.2f} s"
    ),
    "`/metrics`, compressed": lambda f: f"{f['metrics'] * 1e3:.0f} ms, {f['metrics_bytes'] / 1e6:.2f} MB",
    "`/api/v1/slos`, a page of 100 / 1,000": lambda f: f"{f['api'] * 1e3:.0f} / {f['api_1000'] * 1e3:.0f} ms",
    "list page from the server, all / filtered": lambda f: (
        f"{f['page'] * 1e3:.0f} / {f['page_filtered'] * 1e3:.0f} ms"
    ),
    "load at the end of the ticks": lambda f: f"{f['load']:.1f}",
}
COSTS = {
    "requests per tick": "requests",
    "samples read per tick": "samples",
    "daemon CPU per tick": "daemon_cpu",
    "Prometheus CPU per tick, for the queries": "prometheus_cpu",
    "memory of the daemon, at most": "most_memory",
    "ledger": "ledger_bytes",
}


def markdown(measured: Measured) -> str:
    """The figures as a table, one column per case; and how they grow, where there is something to compare."""
    head = ["| what |" + "".join(f" {case.name} |" for case, _ in measured), "|---|" + "--:|" * len(measured)]
    rows = [f"| {name} |" + "".join(f" {show(one)} |" for _, one in measured) for name, show in ROWS.items()]
    grown = growth(measured)
    return "\n".join([*head, *rows, *(["", grown] if grown else [])])


def growth(measured: Measured) -> str:
    """How many times as much it costs where one thing is more and all else the same; empty without such pairs."""
    found = dict(measured)
    pairs = [pair for less in found for more in found if (pair := _compared(less, more, found))]
    pairs.sort(key=lambda pair: (pair[0].partition(":")[0], pair[1].slos, int(pair[1].window.rstrip("d"))))
    if not pairs:
        return ""
    head = [
        "| with more … it is … times as much |" + "".join(f" {title} |" for title, _, _ in pairs),
        "|---|" + "--:|" * len(pairs),
    ]
    rows = [
        f"| {name} |" + "".join(f" {_times(found[less][key], found[more][key])} |" for _, less, more in pairs)
        for name, key in COSTS.items()
    ]
    return "\n".join([*head, *rows])


def _compared(less: Case, more: Case, found: dict[Case, Figures]) -> tuple[str, Case, Case] | None:
    """What is said of two cases that differ in one thing, and are next to each other in it."""
    neighbours = pairwise(sorted({case.slos for case in found if replace(case, slos=less.slos) == less}))
    if (less.slos, more.slos) in neighbours and replace(less, slos=more.slos) == more:
        return f"SLOs: {less.slos:,} to {more.slos:,}", less, more
    if less.series < more.series and replace(less, series=more.series) == more:
        return f"series of an SLO: {2 * less.series} to {2 * more.series}", less, more
    spans = {
        case: int(case.window.rstrip("d")) for case in found if replace(case, window=less.window) == less
    }
    if more in spans and (spans[less], spans[more]) in pairwise(sorted(spans.values())):
        return f"window: {less.window} to {more.window}", less, more
    return None


def _times(less: float, more: float) -> str:
    return f"{more / less:.2f}" if less else "-"

"""What a minute of each way of asking costs, and the tables in which they stand beside each other."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence


@dataclass(frozen=True)
class Cost:
    """What a minute of one way of asking costs, all SLOs together; and how many SLOs it evaluates in a second."""

    who: str
    queries: float
    samples: float
    server_cpu: float
    own_cpu: float = 0.0
    evaluations: float | None = None  # per second, as fast as it can

    @property
    def cpu(self) -> float:
        """CPU seconds end to end."""
        return self.server_cpu + self.own_cpu


def logged_cost(
    who: str, entries: Iterable[dict[str, Any]], *, minutes: float, server_cpu: float, own_cpu: float = 0.0
) -> Cost:
    """The cost by the query log of some minutes."""
    samples = [entry["stats"]["samples"]["totalQueryableSamples"] for entry in entries]
    return Cost(who, len(samples) / minutes, sum(samples) / minutes, server_cpu / minutes, own_cpu / minutes)


def times(theirs: float, ours: float) -> str:
    """How many times as much, with three digits and more."""
    ratio = theirs / ours if ours else float("inf")
    return f"{ratio:,.0f}x" if ratio >= 100 else f"{ratio:.3g}x"


def markdown(costs: Sequence[Cost], count: int) -> str:
    """The costs of the same SLOs as a table: absolute figures and, for the others, how many times ours."""
    ours = costs[0]

    def cell(value: float, own: float, form: str) -> str:
        return form.format(value) if value is own else f"{form.format(value)} ({times(value, own)})"

    rows = [
        (
            f"| a minute of the same {count} SLOs | queries | samples read | Prometheus CPU | own CPU | CPU end to end |"
            " SLO evaluations per second |"
        ),
        "|---|--:|--:|--:|--:|--:|--:|",
    ]
    for one in costs:
        own = f"{one.own_cpu:.2f} s" if one.own_cpu else "in Prometheus"
        speed = "does not apply"
        if one.evaluations and ours.evaluations:
            speed = f"{one.evaluations:,.1f}"
            speed += "" if one is ours else f" (ours: {times(ours.evaluations, one.evaluations)})"
        cells = [
            one.who,
            f"{one.queries:,.1f}",
            cell(one.samples, ours.samples, "{:,.0f}"),
            cell(one.server_cpu, ours.server_cpu, "{:,.3f} s"),
            own,
            cell(one.cpu, ours.cpu, "{:,.3f} s") if one is not ours else f"{ours.cpu:,.3f} s",
            speed,
        ]
        rows.append("| " + " | ".join(cells) + " |")
    return "\n".join(rows)


def markdown_per_slo(ours: Mapping[int, Cost], theirs: Sequence[Cost], count: int) -> str:
    """The costs per SLO as a table: this daemon's by the number of its SLOs, then the others' of `count`."""
    rows = [
        "| a minute of one SLO | queries | samples read | Prometheus CPU | CPU end to end | SLO evaluations per second |",
        "|---|--:|--:|--:|--:|--:|",
    ]
    for one, slos in [*((cost, slos) for slos, cost in ours.items()), *((cost, count) for cost in theirs)]:
        speed = f"{one.evaluations:,.1f}" if one.evaluations else "does not apply"
        rows.append(
            f"| {one.who} | {one.queries / slos:,.2f} | {one.samples / slos:,.1f} | "
            f"{1_000 * one.server_cpu / slos:.2f} ms | {1_000 * one.cpu / slos:.2f} ms | {speed} |"
        )
    return "\n".join(rows)


def markdown_ratios(ours: Mapping[int, Cost], theirs: Sequence[Cost], count: int) -> str:
    """How many times what this daemon costs per SLO the others do, by the number of its SLOs."""
    rows = [
        "| how many times as much for an SLO as this daemon |"
        + "".join(f" {slos:,} SLOs |" for slos in ours),
        "|---|" + "--:|" * len(ours),
    ]
    for one in theirs:
        ratios = [
            (times(one.samples / count, own.samples / slos), times(one.cpu / count, own.cpu / slos))
            for slos, own in ours.items()
        ]
        for name, cells in zip(("samples read", "CPU end to end"), zip(*ratios, strict=True), strict=True):
            rows.append(f"| {one.who}: {name} |" + "".join(f" {cell} |" for cell in cells))
        if one.evaluations:
            speeds = [times(own.evaluations or 0.0, one.evaluations) for own in ours.values()]
            rows.append(
                f"| {one.who}: SLO evaluations per second, of this daemon |"
                + "".join(f" {speed} |" for speed in speeds)
            )
    return "\n".join(rows)

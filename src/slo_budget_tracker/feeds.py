"""Raw reads of one metric, shared by all SLOs on it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Literal, NamedTuple

from slo_budget_tracker.groups import group_of, key_of
from slo_budget_tracker.index import Index, pieces
from slo_budget_tracker.selectors import Selector

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from slo_budget_tracker.groups import Group

Role = Literal["total", "bad", "good", "error_ratio", "condition", "recorded"]
TICKED = frozenset[Role](
    {"error_ratio", "condition", "recorded"}
)  # what is looked at once in each tick, not scaled to it


class Slot(NamedTuple):
    """Where an increment goes: an SLO (by name), the part of its ratio, and the group, if it has groups."""

    slo: str
    role: Role
    group: Group = ()

    @property
    def key(self) -> str:
        """The instance that it belongs to."""
        return key_of(self.slo, self.group)


@dataclass(frozen=True)
class RawFeed:
    """The raw samples of one metric, read once for all SLOs on it.

    `selectors` cover what the members select (perhaps more), and no series is selected by two of them. The
    samples of a `gauge` are events themselves, those of a counter are summed by their differences.
    """

    key: str
    datasource: str
    metric: str
    members: tuple[tuple[Slot, Selector], ...]
    selectors: tuple[Selector, ...]
    replica_label: str | None = None
    gauge: bool = False
    groups: tuple[tuple[str, tuple[str, ...]], ...] = ()  # by SLO: the labels it is grouped by

    def __hash__(self) -> int:
        return hash(self.key)

    @cached_property
    def _index(self) -> Index[Slot]:
        return Index.of(self.members)

    def expressions(self, seconds: int) -> tuple[str, ...]:
        """The range selectors to ask for, as instant queries, to get the samples of the last `seconds`."""
        return tuple(f"{piece}[{seconds}s]" for selector in self.selectors for piece in pieces(selector))

    def classify(self, labels: Mapping[str, str]) -> tuple[Slot, ...]:
        """Where the increments of a series go; each slot once, though several of its selectors match.

        Of an SLO with groups they go to its roll-up and to the group.
        """
        found = self._index.find(labels)
        return self.grouped(found, labels) if self.groups else found

    @cached_property
    def _grouped_by(self) -> Mapping[str, tuple[str, ...]]:
        return dict(self.groups)

    def group_labels(self, slo: str) -> tuple[str, ...]:
        """The labels by which an SLO is grouped."""
        return self._grouped_by.get(slo, ())

    def grouped(self, slots: Iterable[Slot], labels: Mapping[str, str]) -> tuple[Slot, ...]:
        """The slots and those of the groups that these labels belong to."""
        found = []
        for slot in slots:
            found.append(slot)
            if by := self.group_labels(slot.slo):
                found.append(slot._replace(group=group_of(labels, by)))
        return tuple(found)


def fill_expression(feed: RawFeed, slot: Slot, step: int) -> str:
    """Events of one slot in the last `step` seconds without any memory: old history in few requests.

    Of each series: the difference to its last value within a day; after a fall, what came before the fall and
    the new value; of a new series everything, where its target was up before under the same labels or its
    process has only just started; else nothing. Where it differs from raw samples it counts less.
    `step` is best at about 10 scrapes.
    """
    selectors = dict.fromkeys(selector for member, selector in feed.members if member == slot)
    if feed.gauge:
        each = " or ".join(_sampled(selector, step, failed=slot.role == "bad") for selector in selectors)
    else:
        each = " or ".join(f"({_fill_form(selector, step, feed.replica_label)})" for selector in selectors)
    if feed.replica_label is not None:
        each = f"max without ({feed.replica_label}) ({each})"
    by = feed.group_labels(slot.slo)
    return f"sum by ({', '.join(by)}) ({each})" if by else f"sum({each})"


def _sampled(selector: Selector, step: int, *, failed: bool) -> str:
    """The samples of a step, or those that are 0; its left edge is left out (Prometheus 2)."""
    span = f"{selector}[{step * 1000 - 1}ms]"
    return f"(count_over_time({span}) - sum_over_time({span}))" if failed else f"(count_over_time({span}))"


def _fill_form(selector: Selector, step: int, replica_label: str | None) -> str:
    target = tuple(m for m in selector.matchers if m.label in ("job", "instance"))
    scraped = f"last_over_time({Selector('up', target)}[{step}s])"
    alike = scraped if replica_label is None else f"count without ({replica_label}) ({scraped})"
    now = f"last_over_time({selector}[{step}s])"
    before = f"last_over_time({selector}[1d] offset {step}s)"
    # All labels of `up` must have been there before: a label added to a running target renames its series,
    # and their counters do not begin at 0. While both names are in the step, nobody can tell them apart.
    known = f"(max_over_time({Selector('up', target)}[1d] offset {step}s) == 1) and {scraped}"
    renamed = f"count by (job, instance) ({alike}) > 1"
    started = f"last_over_time({Selector('process_start_time_seconds', target)}[{step}s])"
    return (
        f"({now} - {before} >= 0)"
        f" or ({now} + clamp_min(max_over_time({selector}[{step}s]) - {before}, 0))"
        f" or ({now} and on (job, instance) ({known}) unless on (job, instance) ({renamed}))"
        f" or ({now} and on (job, instance) ({started} >= time() - {step * 6 // 5}))"
        f" or ({now} * 0)"
    )

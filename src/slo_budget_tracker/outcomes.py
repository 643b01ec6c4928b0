"""From what one tick brought of each role to its counts and its outcome, pure."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

from slo_budget_tracker.groups import is_group, name_of
from slo_budget_tracker.recordings import ENOUGH
from slo_budget_tracker.ticks import Counts, Outcome

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

    from slo_budget_tracker.batches import ExpressionBatch
    from slo_budget_tracker.feeds import Role

ERROR = Counts(0, 0, Outcome.ERROR)
NO_DATA = Counts(0, 0, Outcome.NO_DATA)
NOISE = 1e-9  # of floating point: such a share of the total is no excess
# Parts of events go in steps of a power of two: then sums are exact, whatever is added to what and when.
PER_EVENT, PER_TICK = 2**20, 2**32


class Judged(NamedTuple):
    """One tick of the SLOs of a batch and of their groups, by key."""

    counts: Mapping[str, Counts]
    gaps: int  # SLOs whose recorded series had a gap


def combine(wanted: frozenset[Role], values: Mapping[Role, float], *, partial: bool) -> Counts:
    """One tick's counts from what its roles brought; a role missing in `values` had no data.

    A part that exceeds the whole is cut to it, and the counts say so. Without a series of the total there is
    no data, whatever the others say, unless the answer is partial: then nobody knows. A present total of 0
    means no traffic; bad series that never appeared beside a present total are 0.
    """
    if any(value < 0 for value in values.values()):
        return Counts(0, 0, Outcome.ERROR)
    if "error_ratio" in wanted and "error_ratio" in values:
        ratio = values["error_ratio"]
        total, bad = (0.0, 0.0) if math.isnan(ratio) else (1.0, ratio)
    elif "condition" in wanted and "condition" in values:
        truth = values["condition"]
        total, bad = (0.0, 0.0) if math.isnan(truth) else (1.0, 1.0 - truth)
    elif "total" in values:
        total = _number(values["total"])
        bad = _number(values.get("bad")) if "bad" in wanted else total - _number(values.get("good"))
    elif "total" not in wanted and values:
        bad = _number(values.get("bad"))
        total = _number(values.get("good")) + bad
    else:
        inconsistent = _number(values.get("bad")) > 0  # errors of nothing
        return ERROR if inconsistent or partial else NO_DATA
    total, bad = _stepped(total, PER_EVENT), _stepped(bad, PER_EVENT if total > 1 else PER_TICK)
    within = min(max(bad, 0.0), total)
    outcome = Outcome.PARTIAL if partial else Outcome.OK if total > 0 else Outcome.NO_TRAFFIC
    if abs(within - bad) <= NOISE * max(total, 1.0):
        return Counts(total, within, outcome)
    return Counts(total, within, outcome, cut="good" if bad < 0 else "bad")


def _stepped(value: float, parts: int) -> float:
    return value if float(value).is_integer() or not math.isfinite(value) else round(value * parts) / parts


def _number(value: float | None) -> float:
    return 0.0 if value is None or math.isnan(value) else value


def judge(
    batch: ExpressionBatch,
    values: Mapping[str, Mapping[Role, float]],
    faulty: Collection[str],
    *,
    partial: bool,
) -> Judged:
    """The counts of a tick from the values of each key; those whose answer cannot be used are errors.

    The roll-up over groups is their sum: with an error in it, it is one. Where the recorded series that an
    SLO is made of had a gap, there are no data, whatever the expressions say.
    """
    by_slo: dict[str, set[Role]] = {}
    for member in batch.members:
        by_slo.setdefault(member.slot.slo, set()).add(member.slot.role)
    grouped = {member.slot.slo for member in batch.members if member.by}
    seen: dict[str, list[str]] = {slo: [] if slo in grouped else [slo] for slo in by_slo}
    for key in dict.fromkeys((*values, *faulty)):
        if is_group(key):
            seen[name_of(key)].append(key)
    counts: dict[str, Counts] = {}
    gaps = 0
    for slo, keys in seen.items():
        wanted = frozenset(by_slo[slo])
        found = {
            key: ERROR if key in faulty else combine(wanted, values.get(key, {}), partial=partial)
            for key in keys
        }
        if slo in grouped:
            whole = ERROR if slo in faulty or (partial and not found) else together(found.values())
            found = {slo: whole, **found}
        if "recorded" in wanted and slo not in faulty and _has_gap(values.get(slo, {}).get("recorded")):
            gaps += 1
            found = dict.fromkeys(found, ERROR if partial else NO_DATA)
        counts |= found
    return Judged(counts, gaps)


def together(groups: Iterable[Counts]) -> Counts:
    """The sum over groups; an error in it makes it one, and without any group there are no data."""
    known = list(groups)
    if any(one.outcome is Outcome.ERROR for one in known):
        return ERROR
    known = [one for one in known if one.outcome.known]
    if not known:
        return NO_DATA
    total, bad = sum(one.total for one in known), sum(one.bad for one in known)
    cut = next((one.cut for one in known if one.cut is not None), None)
    if any(one.outcome is Outcome.PARTIAL for one in known):
        return Counts(total, bad, Outcome.PARTIAL, cut)
    return Counts(total, bad, Outcome.OK if total > 0 else Outcome.NO_TRAFFIC, cut)


def _has_gap(share: float | None) -> bool:
    """Whether recorded series had too few samples, or none at all."""
    return share is None or math.isnan(share) or share < ENOUGH

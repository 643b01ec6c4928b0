"""Composites: an SLO over other SLOs, by the weighted mean of their error ratios or by the worst of them.

A composite has no events of its own. Each of its windows is one whole (`total` 1) of which `bad` is the
error ratio, as an exact fraction; it is as well known as the least known member. A member without traffic
has no error ratio and no weight.

A composite with groups is over members with the same ones: each group over those members that have it, and
the roll-up over the members' roll-ups.
"""

from __future__ import annotations

from fractions import Fraction
from functools import lru_cache
from typing import TYPE_CHECKING

from slo_budget_tracker.groups import is_group, key_of, labels_of, shown
from slo_budget_tracker.ticks import WindowCounts

if TYPE_CHECKING:
    from collections.abc import Container, Iterator, Mapping, Sequence

    from slo_budget_tracker.specs import SLO, CompositeSli


def members_of(slo: SLO) -> tuple[str, ...]:
    """The names of a composite's members; none of any other SLO."""
    return tuple(member.slo for member in slo.sli.members) if slo.sli.kind == "composite" else ()


def parts_of(slo: SLO, key: str, known: Container[str]) -> list[str]:
    """The keys of what a composite, or a group of it, is made of: a group of those members that have it."""
    if not is_group(key):
        return list(members_of(slo))
    labels = labels_of(key).items()
    return [part for name in members_of(slo) if (part := key_of(name, labels)) in known]


@lru_cache(maxsize=1_024)
def seen_as(member: SLO, composite: SLO) -> SLO:
    """The member, looked at over the composite's windows."""
    wanted = {name: getattr(composite, name) for name in ("window", "calendar", "alerts", "budget_alerts")}
    return member.model_copy(update=wanted)


def composed(
    sli: CompositeSli, members: Mapping[str, SLO], windows: Mapping[str, Mapping[int, WindowCounts]]
) -> dict[int, WindowCounts]:
    """The composite's windows from those of its members, by name; members without any are left out."""
    there = [one for one in sli.members if one.slo in windows]
    if not there:
        return {}
    lengths = set.intersection(*(set(windows[one.slo]) for one in there))
    only = sli.model_copy(update={"members": tuple(there)})
    return {
        length: _one(only, [members[one.slo] for one in there], [windows[one.slo][length] for one in there])
        for length in lengths
    }


def _one(sli: CompositeSli, members: Sequence[SLO], counts: Sequence[WindowCounts]) -> WindowCounts:
    window = counts[0].window
    known = min(Fraction(one.known) / one.window for one in counts) * window
    partial = max(Fraction(one.partial) / one.window for one in counts) * window
    ahead = None if counts[0].ahead is None else Fraction(0)
    shares = _shares(sli, members, counts)
    if not any(shares):
        return WindowCounts(window, 0, 0, float(known), float(partial), ahead=ahead)  # type: ignore[arg-type]
    error = sum((share * Fraction(one.bad) for share, one in zip(shares, counts, strict=True)), Fraction(0))
    return WindowCounts(window, Fraction(1), error, known, min(partial, known), ahead=_ahead(counts))  # type: ignore[arg-type]


def weights(
    sli: CompositeSli, slos: Mapping[str, SLO], counts: Mapping[str, WindowCounts]
) -> dict[str, Fraction]:
    """What one bad event of each member adds to the error ratio of a window, by name."""
    there = [one for one in sli.members if one.slo in counts]
    only = sli.model_copy(update={"members": tuple(there)})
    found = _shares(only, [slos[one.slo] for one in there], [counts[one.slo] for one in there])
    return {one.slo: share for one, share in zip(there, found, strict=True)}


def _shares(sli: CompositeSli, members: Sequence[SLO], counts: Sequence[WindowCounts]) -> list[Fraction]:
    """Of each member by weight, or of the worst alone."""
    if sli.mode == "weighted":
        parts = [
            Fraction(m.weight) if c.total else Fraction(0) for m, c in zip(sli.members, counts, strict=True)
        ]
    else:
        burns = [
            Fraction(one.bad) / Fraction(one.total) / slo.error_budget if one.total else None
            for slo, one in zip(members, counts, strict=True)
        ]
        worst = max((burn for burn in burns if burn is not None), default=None)
        place = burns.index(worst) if worst is not None else None
        parts = [Fraction(at == place) for at in range(len(burns))]
    whole = sum(parts)
    return [
        part / whole / Fraction(one.total) if part else Fraction(0)
        for part, one in zip(parts, counts, strict=True)
    ]


def _ahead(counts: Sequence[WindowCounts]) -> Fraction | None:
    """What is to come of a calendar period, in wholes: as much more as the members expect on average."""
    shares = [
        Fraction(one.ahead) / Fraction(one.total) for one in counts if one.ahead is not None and one.total
    ]
    if counts[0].ahead is None:
        return None
    return sum(shares, Fraction(0)) / len(shares) if shares else Fraction(0)


def faults(slos: Sequence[SLO]) -> Iterator[tuple[SLO, str, str]]:
    """What is wrong with the members of composites, once all SLOs are known: the SLO, found, expected."""
    known = {slo.name: slo for slo in slos}
    for slo in slos:
        for name in members_of(slo):
            member = known.get(name)
            if member is None:
                yield slo, f"the member {name}, which is no SLO", "names of SLOs"
            elif member.sli.kind == "composite":
                yield slo, f"the member {name}, a composite itself", "SLOs with events of their own"
            elif slo.group_by and _labels(slo) != _labels(member):
                by = f"group_by: [{', '.join(slo.group_by)}]"
                found = f"the member {name}, which has {'other' if member.group_by else 'no'} groups"
                yield slo, found, f"members with {by}, as the composite has"


def _labels(slo: SLO) -> frozenset[str]:
    return frozenset(map(shown, slo.group_by))

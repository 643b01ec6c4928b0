"""Changes: what a new catalogue means for SLOs that the ledger knows; pure.

A changed target, window, alert or label keeps counts, and alert states where the rule is the same; a changed
SLI begins a new generation; a new name is a new SLO. What a ledger begins with is no change.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

import orjson

from slo_budget_tracker.durations import format_duration
from slo_budget_tracker.hashes import definition_hash, sli_hash
from slo_budget_tracker.payloads import about
from slo_budget_tracker.snapshots import number
from slo_budget_tracker.verdict import Transition

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from slo_budget_tracker.alerts import AlertState
    from slo_budget_tracker.specs import SLO

CHANGED, RETIRED = "slo_definition_changed", "slo_retired"
DAY = 86_400
SHOWN = ("target", "window")  # parts that are told by their value, the others only by name


@dataclass(frozen=True, slots=True)
class Known:
    """What the ledger remembers of a definition; `revision` counts its changes.

    A name that was taken out is remembered for a day, with the data instant of that in `gone`: when it comes
    back within the same tick its revision goes on, and no event has the identity of one before.
    """

    digest: str
    revision: int
    parts: Mapping[str, str]
    gone: int | None = None

    @classmethod
    def of(cls, slo: SLO, *, revision: int = 1) -> Known:
        """What is to be remembered of an SLO."""
        alerts = sorted(str(alert.model_dump(mode="json")) for alert in (*slo.alerts, *slo.budget_alerts))
        parts = {
            "target": format(slo.target.normalize(), "f"),
            "window": format_duration(slo.window),
            "sli": sli_hash(slo),
            "alerts": _digest(alerts),
            "labels": _digest([slo.service, slo.owner, *sorted(map(str, slo.labels))]),
        }
        return cls(definition_hash(slo), revision, parts)


@dataclass(frozen=True, slots=True)
class Change:
    """One SLO that came, went or means something else now."""

    slo: str
    kind: Literal["added", "changed", "removed"]
    old: Known | None
    new: Known | None

    @property
    def counts_kept(self) -> bool:
        """Whether what was counted so far goes on to count."""
        return (
            self.old is not None and self.new is not None and self.old.parts["sli"] == self.new.parts["sli"]
        )

    @property
    def what(self) -> str:
        """What changed, in words."""
        if self.old is None or self.new is None:
            return self.kind
        old, new = self.old.parts, self.new.parts
        told = [
            f"{part} from {old.get(part)} to {new[part]}" if part in SHOWN else part
            for part in new
            if old.get(part) != new[part]
        ]
        kept = "counts are kept" if self.counts_kept else "counting begins anew"
        return f"changed: {', '.join(told) or 'the definition'}; {kept}"

    def to_json(self) -> dict[str, Any]:
        """The change as the API tells it."""
        return {
            "slo": self.slo,
            "change": self.kind,
            "what": self.what,
            "old_definition_hash": self.old and self.old.digest,
            "definition_hash": self.new and self.new.digest,
            "counts_kept": self.counts_kept,
        }


def remembered(text: str | None) -> dict[str, Known]:
    """The definitions as the ledger has them; nothing where it has none yet."""
    return {name: Known(**fields) for name, fields in orjson.loads(text or "{}").items()}


def to_remember(known: Mapping[str, Known]) -> str:
    """The definitions as the ledger keeps them."""
    fields: dict[str, dict[str, Any]] = {
        name: {"digest": one.digest, "revision": one.revision, "parts": dict(one.parts)}
        for name, one in known.items()
    }
    for name, one in known.items():
        if one.gone is not None:
            fields[name]["gone"] = one.gone
    return orjson.dumps(fields, option=orjson.OPT_SORT_KEYS).decode()


def compare(known: Mapping[str, Known], slos: Iterable[SLO]) -> Iterator[Change]:
    """What is different, in the order of names."""
    wanted = {slo.name: slo for slo in slos}
    for name in sorted(known.keys() | wanted.keys()):
        old = known.get(name)
        is_there = old is not None and old.gone is None
        if name not in wanted:
            if is_there:
                yield Change(name, "removed", old, None)
            continue
        slo = wanted[name]
        if is_there and old is not None and old.digest == definition_hash(slo):
            continue
        new = Known.of(slo, revision=1 if old is None else old.revision + 1)
        yield Change(name, "changed", old, new) if is_there else Change(name, "added", None, new)


def after(known: Mapping[str, Known], changes: Iterable[Change], *, at: int) -> dict[str, Known]:
    """What is to be remembered once the changes of a data instant were told."""
    now = {name: one for name, one in known.items() if one.gone is None or one.gone >= at - DAY}
    for change in changes:
        if change.new is not None:
            now[change.slo] = change.new
        elif change.old is not None:
            now[change.slo] = replace(change.old, revision=change.old.revision + 1, gone=at)
    return now


def transitions(
    change: Change,
    *,
    slo: SLO | None,
    at: int,
    states: Mapping[str, AlertState],
    rules: Iterable[str],
) -> Iterator[Transition]:
    """What others are told of a change: the change itself, and which rules burnt until it and are no more.

    `states` are those of the old definition, `rules` the names of those that go on. An alert that ends with
    its rule did not recover: it is retired.
    """
    going_on = set(rules) if change.counts_kept else set()
    ended = sorted(rule for rule, state in states.items() if state.state == "firing" and rule not in going_on)
    revision = (change.new or change.old or Known("", 0, {})).revision
    if change.new is None:
        revision += 1
    payload = _payload(change, slo)
    if change.kind == "removed" or ended:
        reason = (
            "removed from the catalogue" if change.kind == "removed" else "no longer part of the definition"
        )
        told = {**payload, "rules": ended}
        yield Transition(RETIRED, f"retired:{revision}", at, _burning(reason, ended), told)
    if change.kind != "removed":
        yield Transition(CHANGED, f"definition:{_identity(change)}", at, change.what, payload)


def _identity(change: Change) -> str:
    """Revision and digest: in a ledger put back from a copy a revision may stand for another definition."""
    return "" if change.new is None else f"{change.new.revision}:{change.new.digest}"


def _burning(reason: str, ended: list[str]) -> str:
    return f"{reason} while {', '.join(ended)} fired" if ended else reason


def _payload(change: Change, slo: SLO | None) -> dict[str, Any]:
    return {
        **({"slo_name": change.slo} if slo is None else about(slo)),
        "window_seconds": None if slo is None else slo.window,
        "target": None if slo is None else number(slo.target),
        "counts_kept": change.counts_kept,
        "old_definition_hash": change.old and change.old.digest,
        "definition_hash": change.new and change.new.digest,
    }


def _digest(parts: list[str]) -> str:
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]

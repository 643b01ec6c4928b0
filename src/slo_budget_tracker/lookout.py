"""The lookout: the last verdicts as a ledger has them, for commands beside a daemon or without one."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from slo_budget_tracker.composites import members_of
from slo_budget_tracker.evaluator import Evaluator
from slo_budget_tracker.hashes import sli_hash

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from slo_budget_tracker.ledger import Ledger
    from slo_budget_tracker.settings import Settings
    from slo_budget_tracker.snapshots import SLOSnapshot
    from slo_budget_tracker.specs import SLO


def last_verdicts(ledger: Ledger, slos: Sequence[SLO], settings: Settings) -> tuple[SLOSnapshot, ...]:
    """What the daemon concluded last; SLOs that it has not met yet, or counts anew, are left out."""
    found = looked(ledger, slos, settings)
    return () if found is None else found.snapshots


class Looked(NamedTuple):
    """The last verdicts, and the evaluator that can say more about them."""

    evaluator: Evaluator
    snapshots: tuple[SLOSnapshot, ...]
    faults: Mapping[str, str]  # of ours, by SLO: those are left out (T12)


def looked(ledger: Ledger, slos: Sequence[SLO], settings: Settings) -> Looked | None:
    """The same with its evaluator; None while the ledger knows nothing of these SLOs."""
    evaluation = settings.evaluation
    met = {(one.slo, one.sli_hash) for one in ledger.instances.values() if one.retired is None}
    known = [slo for slo in slos if (slo.name, sli_hash(slo)) in met]
    names = {slo.name for slo in known}
    known = [slo for slo in known if names.issuperset(members_of(slo))]
    cursors = [ledger.slo_cursor(number) for number in ledger.instances]
    at = max((cursor for cursor in cursors if cursor is not None), default=None)
    if not known or at is None:
        return None
    evaluator = Evaluator(
        slos=known,
        ledger=ledger,
        asks={},
        interval=evaluation.interval,
        delay=evaluation.delay,
        replica_labels=settings.replica_labels,
    )
    faults: dict[str, str] = {}
    return Looked(evaluator.prepare(at), evaluator.look(at, faults=faults), faults)

"""Judging: the verdict about an SLO at a data instant, from what the ledger has; nothing is stepped."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from slo_budget_tracker.burns import calm
from slo_budget_tracker.composites import composed, parts_of, seen_as
from slo_budget_tracker.corrections import merged, overlapping
from slo_budget_tracker.groups import is_group, labels_of, name_of
from slo_budget_tracker.snapshots import NO_LABELS
from slo_budget_tracker.ticks import Outcome
from slo_budget_tracker.verdict import Verdict, assess
from slo_budget_tracker.windows import gather

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from slo_budget_tracker.alerts import AlertState
    from slo_budget_tracker.burns import Burns
    from slo_budget_tracker.history import WindowArrays
    from slo_budget_tracker.ledger import Ledger
    from slo_budget_tracker.snapshots import SLOSnapshot
    from slo_budget_tracker.specs import SLO
    from slo_budget_tracker.ticks import Tick, WindowCounts

    Windows = Mapping[int, Mapping[int, WindowCounts]]


@dataclass(slots=True)
class Judge:
    """Looks at the counts, states and cursors of a ledger."""

    slos: Mapping[str, SLO]  # by key, as are all the others
    composites: Mapping[str, SLO]
    ids: Mapping[str, int]
    ledger: Ledger
    interval: int
    seen: dict[str, Outcome]  # what the last tick brought

    def stepped(self, name: str, stepped: Mapping[int, int] | None = None) -> int:
        """Up to which data instant an SLO was stepped.

        A group whose beginning came late, or that is there again, is stepped from where its SLO is: what was
        before is counted, and not told.
        """
        instance, cursor = self.ids[name], self.ledger.slo_cursor
        found = None if stepped is None else stepped.get(instance)
        if found:
            return found
        own = cursor(instance) or self.ledger.born(instance)
        return max(own, cursor(self.ids[name_of(name)]) or 0) if is_group(name) else own

    def begun(self, name: str) -> int:
        """Where live ticks of an SLO and its groups begin: what was before, or while away, is never told."""
        instance = self.ids[name_of(name)]
        return max(self.ledger.born(instance), self.ledger.cursor(f"added/{instance}") or 0)

    def windows(self, at: int, names: Iterable[str]) -> Windows:
        """The windows that the verdicts at `at` need, but for those of composites: `assess` makes them."""
        instances = [(self.slos[name], self.ids[name]) for name in names if name not in self.composites]
        return gather(self.ledger.history, at, instances, interval=self.interval, born=self.ledger.born)

    def arrays(self, at: int, window: int, ids: NDArray[np.int64]) -> WindowArrays:
        """What is known of a window of some instances, in columns."""
        return self.ledger.history.arrays(at, window, ids=ids)

    def burns(self, at: int, outcomes: Mapping[str, Outcome]) -> Mapping[int, Burns]:
        """What alert windows say, by instance, where that is found at once; `outcomes` are of the tick."""
        plain = [
            (self.slos[name], self.ids[name]) for name, one in outcomes.items() if self._is_plain(name, one)
        ]
        try:
            return calm(plain, partial(self.arrays, at))
        except Exception:  # noqa: BLE001 - a fault of one is found, and told, when each is judged by itself (T12)
            return {}

    def _is_plain(self, name: str, outcome: Outcome) -> bool:
        """Whether the alert windows of an SLO are what history has of them, and the tick is a whole one."""
        slo = self.slos[name]
        special = slo.corrections or slo.slices is not None or slo.no_data == "bad" or name in self.composites
        return outcome <= Outcome.NO_TRAFFIC and not special

    def _composed(self, name: str, at: int, taken: Sequence[Tick] = ()) -> Mapping[int, WindowCounts]:
        """The windows of a composite, from its members' without what is corrected of them."""
        slo = self.slos[name]
        assert slo.sli.kind == "composite"
        windows = {}
        for part in self.parts(name, at):
            one = seen_as(self.slos[part], slo)
            spans = [found.span for found in overlapping(one.corrections, at - one.past, at)]
            windows[name_of(part)] = self._without([*spans, *taken], at, one, self.ids[part])
        return composed(slo.sli, self.slos, windows) or self._without((), at, slo, self.ids[name])

    def _outcome(self, name: str, at: int) -> Outcome:
        """What the last tick brought; of a composite the worst of what its members had."""
        parts = self.parts(name, at) or [name]
        return max(self.seen.get(one, Outcome.MISSED) for one in parts)

    def parts(self, name: str, at: int) -> list[str]:
        """What a composite, or a group of it, is made of; of groups those that had begun by then.

        Before its own first tick, as in `evaluate`, those are all that a fill found.
        """
        found, born = parts_of(self.slos[name], name, self.ids), self.ledger.born
        if born(self.ids[name]) >= at:
            return found
        return [one for one in found if not is_group(one) or born(self.ids[one]) < at]

    def _without(self, spans: Sequence[Tick], at: int, slo: SLO, instance: int) -> Mapping[int, WindowCounts]:
        """The windows of one SLO without the corrected time."""
        history, born = self.ledger.history, self.ledger.born
        ticks = merged(spans, at, self.interval)
        found = gather(history, at, [(slo, instance)], interval=self.interval, born=born, without=ticks)
        return found[instance]

    def assess(
        self,
        name: str,
        at: int,
        windows: Windows,
        *,
        live: bool,
        late: bool = False,
        states: Mapping[str, AlertState] | None = None,
        suspicion: str = "",
        outcome: Outcome | None = None,
        burns: Burns | None = None,
    ) -> Verdict:
        """The verdict of one SLO or group at a data instant, whose tick brought that."""
        instance, slo = self.ids[name], self.slos[name]
        counts = self._composed(name, at) if name in self.composites else windows[instance]
        raw, reason = None, ""
        if slo.corrections and (spans := overlapping(slo.corrections, at - slo.past, at)):
            raw, reason = counts, ", ".join(sorted({one.correction.name for one in spans}))
            ticks = [one.span for one in spans]
            if name in self.composites:
                counts = self._composed(name, at, ticks)
            else:
                counts = self._without(ticks, at, slo, instance)
        return assess(
            slo,
            at=at,
            interval=self.interval,
            outcome=self._outcome(name, at) if outcome is None else outcome,
            windows=counts,
            raw=raw,
            corrected_by=reason,
            states=self.ledger.states.get(instance, {}) if states is None else states,
            live=live,
            late=late,
            suspicion=suspicion,
            labels=shown_labels(name),
            burns=burns,
        )

    def look(self, at: int, keys: Sequence[str], faults: dict[str, str] | None) -> dict[str, SLOSnapshot]:
        """The figures of some instances at a data instant; without a place for `faults` they are raised."""
        found = {}
        windows = self.windows(at, keys)
        burns = self.burns(at, {key: self.seen.get(key, Outcome.MISSED) for key in keys})
        for key in keys:
            try:
                known = burns.get(self.ids[key])
                found[key] = self.assess(key, at, windows, live=False, burns=known).snapshot
            except Exception as error:  # one SLO's fault must not stop the others (T12)
                if faults is None:
                    raise
                faults[key] = f"internal error: {type(error).__name__}: {error}"
        return found


def shown_labels(name: str) -> Mapping[str, str]:
    """The labels by which an instance is shown; none of a whole SLO."""
    return labels_of(name) if is_group(name) else NO_LABELS

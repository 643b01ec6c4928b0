"""Stepping: what was read goes into the ledger, and every SLO's state machine forward, in one transaction."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import pairwise
from operator import itemgetter
from types import MappingProxyType
from typing import TYPE_CHECKING

from slo_budget_tracker import suspicions
from slo_budget_tracker.alerts import AlertState
from slo_budget_tracker.applications import applications
from slo_budget_tracker.attempts import cursor_keys
from slo_budget_tracker.burns import calm
from slo_budget_tracker.composites import composed, members_of, parts_of, seen_as
from slo_budget_tracker.corrections import merged, overlapping
from slo_budget_tracker.errors import LedgerError
from slo_budget_tracker.groups import is_group, labels_of, name_of
from slo_budget_tracker.pieces import Piece
from slo_budget_tracker.revisions import revision
from slo_budget_tracker.slices import Part, cut, end_of, last_end
from slo_budget_tracker.snapshots import NO_LABELS
from slo_budget_tracker.ticks import Counts, Outcome, Tick
from slo_budget_tracker.verdict import DATA, LOSS_SECONDS, LOSS_TICKS, Transition, Verdict, assess
from slo_budget_tracker.windows import gather

if TYPE_CHECKING:
    from collections.abc import Callable, Container, Iterable, Mapping, Sequence

    from slo_budget_tracker.burns import Burns
    from slo_budget_tracker.ledger import Ledger
    from slo_budget_tracker.memory import Memory
    from slo_budget_tracker.reports import Attempt, Tally
    from slo_budget_tracker.revisions import Revision
    from slo_budget_tracker.specs import SLO
    from slo_budget_tracker.ticks import WindowCounts

    Windows = Mapping[int, Mapping[int, WindowCounts]]

NO_STATES: Mapping[str, AlertState] = MappingProxyType({})


@dataclass(slots=True)
class Stepper:
    """The only writer of counts, states and events.

    Ticks that an SLO was stepped over before are corrections: they change its counts and send
    `slo_burn_revised`.
    """

    slos: Mapping[str, SLO]  # by key, as are all the others
    ids: Mapping[str, int]
    ledger: Ledger
    interval: int
    with_groups: Callable[[Iterable[str]], Sequence[str]]
    crowded: Container[str]  # composites with more groups than they may have
    seen: dict[str, Outcome]
    data_until: dict[str, int]
    spacings: dict[str, float] = field(default_factory=dict)  # by SLO: seconds between its scrapes

    def commit(
        self, done: Sequence[Attempt], gave_up: Sequence[Attempt], goals: Mapping[str, int], report: Tally
    ) -> Mapping[str, Memory]:
        """Rows, states, events, memories and cursors of one piece; what is remembered now."""
        piece = Piece()
        for attempt in done:
            if attempt.reading is not None:
                piece.add(attempt, self.ids)
            piece.cursors.update(dict.fromkeys(cursor_keys(attempt.unit), attempt.ticks[-1].end))
        for attempt in (*gave_up, *(one for one in done if one.reading is None)):
            for name in self.with_groups(attempt.unit.slos):
                after = self.stepped(name)
                ticks = [tick for tick in attempt.ticks if tick.end > after]
                piece.add_unknown(name, self.ids[name], ticks)
        for name in [name for name in piece.counts if self.slos[name].slices is not None]:
            self._slice(name, piece)
        corrected = self._corrected(piece)
        self.ledger.stage(piece.rows())
        for name, change in corrected.items():
            self._revise(name, change, piece, report)
        for tick in sorted(piece.found):
            self._step_all(tick, piece, goals, report)
        self._step_composites(piece, goals, report)
        return self._write(piece, report)

    def _slice(self, name: str, piece: Piece) -> None:
        """From ticks to slices; ticks that were stepped before are part of slices that were judged."""
        slices, instance, stepped = self.slos[name].slices, self.ids[name], self.stepped(name)
        assert slices is not None
        parts = [part for part in piece.take(name, instance) if part.span.end > stepped]
        if not parts:
            return
        first = parts[0].span
        begun = end_of(first.end, slices.width, interval=self.interval) - slices.width
        known = self.ledger.history.span(instance)
        left = begun if known is None else last_end(known.end, slices.width, interval=self.interval)
        if known is not None and left < known.end <= begun:  # a slice whose rest never came
            piece.slices.setdefault(Tick(left, known.end), {})[instance] = Counts(0, 0, Outcome.UNKNOWN)
        if begun < first.start:
            edges = [*range(begun, first.start, self.interval), first.start]
            stored = self.ledger.history.parts(instance, edges)
            ticks = [Tick(*edge) for edge in pairwise(edges)]
            earlier = [Part.stored(tick, counts) for tick, counts in zip(ticks, stored, strict=True)]
            found = cut([*earlier, *parts], slices, interval=self.interval)
            open_ = {span: [p for p in some if p not in earlier] for span, some in found.begun.items()}
            found = found._replace(begun=open_)
        else:
            found = cut(parts, slices, interval=self.interval)
        piece.put_slices(instance, found)

    def _corrected(self, piece: Piece) -> dict[str, Revision]:
        """What changes of ticks that were stepped before."""
        found = {}
        every = sorted(piece.found)
        for name, counts in piece.counts.items():
            stepped = self.stepped(name)
            if self.slos[name].slices is not None or every[0].end > stepped:
                continue
            begun = self.begun(name)
            ticks = [tick for tick in every if tick.end in counts and begun < tick.end <= stepped]
            change = revision(self.ledger.history, self.ids[name], ticks, counts) if ticks else None
            if change is not None:
                found[name] = change
        return found

    def _revise(self, name: str, change: Revision, piece: Piece, report: Tally) -> None:
        at = self.stepped(name)
        labels = labels_of(name) if is_group(name) else NO_LABELS
        snapshot = None
        try:
            snapshot = self.assess(name, at, self.windows(at, [name]), live=False).snapshot
        except Exception as error:  # noqa: BLE001 - the counts are right all the same, and are told (T12)
            report.faults[name] = f"internal error: {type(error).__name__}: {error}"
        piece.transitions.append(change.transition(self.slos[name], snapshot, labels=labels))
        piece.revised += len(change.ticks)

    def revise(
        self, rows: Sequence[Attempt], changes: Mapping[str, Revision], report: Tally
    ) -> Mapping[str, Memory]:
        """Correct what was counted before, and send what changed; no state is stepped."""
        piece = Piece()
        for attempt in rows:
            piece.add(attempt, self.ids)
        for name in [name for name in piece.counts if self.slos[name].slices is not None]:
            piece.take(name, self.ids[name])
        self.ledger.stage(piece.rows())
        for name, change in changes.items():
            self._revise(name, change, piece, report)
        return self._write(piece, report)

    def _write(self, piece: Piece, report: Tally) -> Mapping[str, Memory]:
        try:
            self.ledger.commit(piece.entry())
        except LedgerError as error:
            report.store_error = error  # memories and cursors stay: the next tick reads the same ticks again
            return {}
        report.transitions += piece.transitions
        report.outcomes.update({outcome.name.lower(): times for outcome, times in piece.outcomes.items()})
        report.revised += piece.revised
        return piece.memories

    # the state machine

    def _step_all(self, tick: Tick, piece: Piece, goals: Mapping[str, int], report: Tally) -> None:
        """Step every SLO whose next tick this is."""
        due = [
            name
            for name, counts in piece.counts.items()
            if tick.end in counts and tick.end > self.stepped(name, piece.stepped)
        ]
        windows = self.windows(tick.end, due)
        burns = self.burns(tick.end, {name: piece.counts[name][tick.end].outcome for name in due})
        for name in due:
            self._step(name, tick, windows, piece, goals, report, burns.get(self.ids[name]))

    def burns(self, at: int, outcomes: Mapping[str, Outcome]) -> Mapping[int, Burns]:
        """What alert windows say, by instance, where that is found at once; `outcomes` are of the tick."""
        plain = [
            (self.slos[name], self.ids[name]) for name, one in outcomes.items() if self._is_plain(name, one)
        ]
        return calm(plain, lambda window, ids: self.ledger.history.arrays(at, window, ids=ids))

    def _is_plain(self, name: str, outcome: Outcome) -> bool:
        """Whether the alert windows of an SLO are what history has of them, and the tick is a whole one."""
        slo = self.slos[name]
        special = slo.corrections or slo.slices is not None or slo.no_data == "bad" or members_of(slo)
        return outcome <= Outcome.NO_TRAFFIC and not special

    def _step(  # noqa: PLR0917 - what a step needs
        self,
        name: str,
        tick: Tick,
        windows: Windows,
        piece: Piece,
        goals: Mapping[str, int],
        report: Tally,
        burns: Burns | None = None,
    ) -> None:
        """One tick of one SLO or group."""
        slo, instance = self.slos[name], self.ids[name]
        counts = piece.counts[name][tick.end]
        outcome = self.seen[name] = counts.outcome
        piece.outcomes[outcome] += 1
        if outcome <= Outcome.PARTIAL:
            self.data_until[name] = tick.end
        piece.stepped[instance] = tick.end
        known = piece.states.get(instance) or self.ledger.states.get(instance) or NO_STATES
        try:
            verdict = self.assess(
                name,
                tick.end,
                windows,
                live=True,
                late=tick.end < goals[slo.datasource],
                states=known,
                suspicion=self._suspicion(name, counts),
                outcome=outcome,
                burns=burns,
            )
            unchanged = verdict.states is known and not slo.corrections
            before = NO_STATES if unchanged or is_group(name) else known
            applied, told = applications(slo, tick.end, verdict.snapshot, before)
        except Exception as error:  # noqa: BLE001 - one SLO's fault must not stop the others (T12)
            report.faults[name] = f"internal error: {type(error).__name__}: {error}"
            return
        report.verdicts[name] = verdict
        if unchanged:
            return  # as in most ticks of most SLOs
        piece.states[instance], transitions = _held(verdict, known, tick.end)
        piece.transitions += transitions
        if not is_group(name):
            piece.states[instance] = {**piece.states[instance], **applied}
            piece.transitions += told

    def _suspicion(self, name: str, counts: Counts) -> str:
        """What makes a tick's counts doubtful."""
        short = suspicions.sentences(self.slos[name], self.spacings.get(name_of(name)))
        return "; ".join(filter(None, (suspicions.CUTS[counts.cut], short))) if counts.cut else short

    def tell_losses(self, failing: Mapping[str, int], goals: Mapping[str, int], report: Tally) -> None:
        """Send `slo_data_lost` while nobody answers; `failing` says by SLO since which data instant.

        Its ticks still wait to be stepped. The state keeps the instant at which the loss was told, and ticks
        up to there say nothing more about it: it is told once, and taken back once.
        """
        piece = Piece()
        lost_after = max(LOSS_SECONDS, LOSS_TICKS * self.interval) - self.interval
        for name, since in failing.items():
            slo, instance = self.slos[name], self.ids[name]
            states = self.ledger.states.get(instance, {})
            state = states.get(DATA)
            pending = state is not None and state.state == "pending"
            waited = (state.progress or 0) + self.interval if state is not None and pending else 0
            at = goals[slo.datasource]
            if (state is not None and state.state == "firing") or waited + at - since < lost_after:
                continue
            ripe = {**states, DATA: AlertState("pending", since, lost_after)}
            self.seen[name] = Outcome.MISSED
            try:
                verdict = self.assess(name, at, self.windows(at, [name]), live=True, states=ripe)
            except Exception as error:  # noqa: BLE001 - as in _step (T12)
                report.faults[name] = f"internal error: {type(error).__name__}: {error}"
                continue
            piece.states[instance] = {**states, DATA: verdict.states[DATA]}
            piece.transitions += [one for one in verdict.transitions if one.rule == DATA]
        if piece.states:
            self._write(piece, report)

    def stepped(self, name: str, stepped: Mapping[int, int] | None = None) -> int:
        """Up to which data instant an SLO was stepped."""
        instance = self.ids[name]
        found = None if stepped is None else stepped.get(instance)
        return found or self.ledger.slo_cursor(instance) or self.ledger.born(instance)

    def begun(self, name: str) -> int:
        """Where live ticks of an SLO and its groups begin: what was before, or while away, is never told."""
        instance = self.ids[name_of(name)]
        return max(self.ledger.born(instance), self.ledger.cursor(f"added/{instance}") or 0)

    def windows(self, at: int, names: Iterable[str]) -> Windows:
        """The windows that the verdicts at `at` need, but for those of composites: `assess` makes them."""
        instances = [(self.slos[name], self.ids[name]) for name in names if not members_of(self.slos[name])]
        return gather(self.ledger.history, at, instances, interval=self.interval, born=self.ledger.born)

    def _composed(self, name: str, at: int, taken: Sequence[Tick] = ()) -> Mapping[int, WindowCounts]:
        """The windows of a composite, from its members' without what is corrected of them."""
        slo = self.slos[name]
        assert slo.sli.kind == "composite"
        windows = {}
        for part in self._parts(name, at):
            one = seen_as(self.slos[part], slo)
            spans = [found.span for found in overlapping(one.corrections, at - one.past, at)]
            windows[name_of(part)] = self._without([*spans, *taken], at, one, self.ids[part])
        return composed(slo.sli, self.slos, windows) or self._without((), at, slo, self.ids[name])

    def _outcome(self, name: str, at: int) -> Outcome:
        """What the last tick brought; of a composite the worst of what its members had."""
        parts = self._parts(name, at) or [name]
        return max(self.seen.get(one, Outcome.MISSED) for one in parts)

    def _parts(self, name: str, at: int) -> list[str]:
        """What a composite, or a group of it, is made of; of groups those that had begun by then.

        Before its own first tick, as in `evaluate`, those are all that a fill found.
        """
        found, born = parts_of(self.slos[name], name, self.ids), self.ledger.born
        if born(self.ids[name]) >= at:
            return found
        return [one for one in found if not is_group(one) or born(self.ids[one]) < at]

    def _step_composites(self, piece: Piece, goals: Mapping[str, int], report: Tally) -> None:
        """Step each composite as far as all its members are; tick by tick, so events are in order of time."""
        composites = [name for name in self.slos if members_of(self.slos[name])]
        due = [(at, name) for name in composites for at in self._due(name, piece)]
        for at, name in sorted(due, key=itemgetter(0)):
            outcomes = [self._brought(one, at, piece) for one in self._parts(name, at)]
            if is_group(name) and name_of(name) in self.crowded:
                outcomes.append(Outcome.ERROR)
            counts = {at: Counts(0, 0, max(outcomes, default=Outcome.MISSED))}
            piece.counts.setdefault(name, {}).update(counts)
            self._step(name, Tick(at - self.interval, at), self.windows(at, [name]), piece, goals, report)

    def _due(self, name: str, piece: Piece) -> range:
        """The ends of a composite's ticks that all its members have been stepped to."""
        begun = self.stepped(name, piece.stepped)
        members = parts_of(self.slos[name], name, self.ids)
        until = min((self.stepped(member, piece.stepped) for member in members), default=begun)
        return range(until, begun, -self.interval)

    def _brought(self, name: str, at: int, piece: Piece) -> Outcome:
        """What a tick brought that is stepped now or was stepped before."""
        stepped = piece.counts.get(name, {}).get(at)
        if stepped is not None:
            return stepped.outcome
        if self.stepped(name, piece.stepped) == at:
            return self.seen.get(name, Outcome.MISSED)
        instance = self.ids[name]
        return self.ledger.history.window(at, [self.interval], ids=[instance])[instance][
            self.interval
        ].outcome

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
        counts = self._composed(name, at) if members_of(slo) else windows[instance]
        raw, reason = None, ""
        if slo.corrections and (spans := overlapping(slo.corrections, at - slo.past, at)):
            raw, reason = counts, ", ".join(sorted({one.correction.name for one in spans}))
            ticks = [one.span for one in spans]
            if members_of(slo):
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
            labels=labels_of(name) if is_group(name) else NO_LABELS,
            burns=burns,
        )


def _held(
    verdict: Verdict, known: Mapping[str, AlertState], at: int
) -> tuple[Mapping[str, AlertState], Sequence[Transition]]:
    """States and transitions of a tick; a loss of data that was told for a later instant stays as it is."""
    told = known.get(DATA)
    if told is None or told.state != "firing" or told.since < at:
        return verdict.states, verdict.transitions
    return {**verdict.states, DATA: told}, [one for one in verdict.transitions if one.rule != DATA]

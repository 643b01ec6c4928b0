"""Stepping: what was read goes into the ledger, and every SLO's state machine forward, in one transaction."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial
from itertools import pairwise
from operator import itemgetter
from types import MappingProxyType
from typing import TYPE_CHECKING

from slo_budget_tracker import lulls, suspicions
from slo_budget_tracker.absences import absences
from slo_budget_tracker.alerts import AlertState
from slo_budget_tracker.applications import applications
from slo_budget_tracker.composites import parts_of
from slo_budget_tracker.cursors import cursor_keys
from slo_budget_tracker.errors import LedgerError
from slo_budget_tracker.groups import is_group, name_of
from slo_budget_tracker.judging import Judge, shown_labels
from slo_budget_tracker.lulls import Still
from slo_budget_tracker.pieces import Piece
from slo_budget_tracker.revisions import revision
from slo_budget_tracker.slices import Part, cut, end_of, last_end
from slo_budget_tracker.ticks import Counts, Outcome, Tick
from slo_budget_tracker.verdict import DATA, LOSS_SECONDS, LOSS_TICKS, Transition, Verdict

if TYPE_CHECKING:
    from collections.abc import Callable, Container, Iterable, Mapping, Sequence

    from slo_budget_tracker.burns import Burns
    from slo_budget_tracker.lulls import Shape
    from slo_budget_tracker.memory import Memory
    from slo_budget_tracker.reports import Attempt, Tally
    from slo_budget_tracker.revisions import Revision
    from slo_budget_tracker.snapshots import SLOSnapshot
    from slo_budget_tracker.ticks import WindowCounts

    Windows = Mapping[int, Mapping[int, WindowCounts]]


NO_STATES: Mapping[str, AlertState] = MappingProxyType({})


@dataclass(slots=True)
class Stepper(Judge):
    """The only writer of counts, states and events.

    Ticks that an SLO was stepped over before are corrections: they change its counts and send
    `slo_burn_revised`.
    """

    with_groups: Callable[[Iterable[str]], Sequence[str]]
    crowded: Container[str]  # composites with more groups than they may have
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
        self._add_absences(piece)
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
            piece.spans.setdefault(Tick(left, known.end), {})[instance] = Counts(0, 0, Outcome.UNKNOWN)
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

    def _add_absences(self, piece: Piece) -> None:
        """Say of ticks that were over when groups are stepped for the first time what nobody said.

        Who enrolled them had nothing to write for these, as a fill, or no place to write to. Where their SLO
        had an answer, they had no series.
        """
        begun: dict[str, dict[int, int]] = {}
        for name in filter(self._is_first, piece.counts):
            start = max(self.ledger.born(self.ids[name]), self.begun(name))
            if self.slos[name].slices is None and start < self.stepped(name):
                begun.setdefault(name_of(name), {})[self.ids[name]] = start
        for slo, starts in begun.items():
            piece.add_absent(absences(self.ledger.history, self.ids[slo], starts, self.stepped(slo)))

    def _is_first(self, name: str) -> bool:
        """Whether a group was never stepped before."""
        return is_group(name) and self.ledger.slo_cursor(self.ids[name]) is None

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
        labels = shown_labels(name)
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
        for name, counts in piece.counts.items():
            if name not in self.seen and (last := counts.get(self.stepped(name))) is not None:
                self.seen[name] = last.outcome  # a group that begins: it has come as far as its SLO
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
        """Step every SLO whose next tick this is: those that stay still at once, the others one by one."""
        due = {
            name: counts[tick.end]
            for name, counts in piece.counts.items()
            if tick.end in counts and tick.end > self.stepped(name, piece.stepped)
        }
        for name, counts in due.items():
            self._note(name, tick.end, counts.outcome, piece)
        found, ids = self._judged_at_once(tick.end, due, piece), self.ids
        report.snapshots.update({name: found[ids[name]] for name in due if ids[name] in found})
        rest = [name for name in due if ids[name] not in found]
        windows = self.windows(tick.end, rest)
        burns = self.burns(tick.end, {name: due[name].outcome for name in rest})
        for name in rest:
            self._step(name, tick, windows, piece, goals, report, burns.get(ids[name]))

    def _note(self, name: str, at: int, outcome: Outcome, piece: Piece) -> None:
        """Note that a tick is stepped, and what it brought."""
        self.seen[name] = outcome
        piece.outcomes[outcome] += 1
        if outcome <= Outcome.PARTIAL:
            self.data_until[name] = at
        piece.stepped[self.ids[name]] = at

    def _judged_at_once(self, at: int, due: Mapping[str, Counts], piece: Piece) -> Mapping[int, SLOSnapshot]:
        """What is shown of those that stay still, by instance; all are left to `assess` where that fails."""
        try:
            still = [one for name, counts in due.items() if (one := self._still(name, counts, piece))]
            return lulls.snapshots(still, at, partial(self.arrays, at))
        except Exception:  # noqa: BLE001 - a fault of one is found, and told, when each is judged by itself (T12)
            return {}

    def _still(self, name: str, counts: Counts, piece: Piece) -> tuple[Shape, Still] | None:
        """An instance of which nothing is pending or firing, in a tick that is beyond doubt; else None."""
        slo, instance = self.slos[name], self.ids[name]
        shape = lulls.shape_of(slo)
        if shape is None or not lulls.is_undoubted(shape, counts, self.spacings.get(name_of(name))):
            return None
        states = piece.states.get(instance) or self.ledger.states.get(instance) or NO_STATES
        since = lulls.quiet_since(shape, states)
        if since is None:
            return None
        return shape, Still(instance, slo, shown_labels(name), since, counts.outcome)

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
                outcome=counts.outcome,
                burns=burns,
            )
            unchanged = verdict.states is known and not slo.corrections
            before = NO_STATES if unchanged or is_group(name) else known
            applied, told = applications(slo, tick.end, verdict.snapshot, before)
        except Exception as error:  # noqa: BLE001 - one SLO's fault must not stop the others (T12)
            report.faults[name] = f"internal error: {type(error).__name__}: {error}"
            return
        report.snapshots[name] = verdict.snapshot
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

    def _step_composites(self, piece: Piece, goals: Mapping[str, int], report: Tally) -> None:
        """Step each composite as far as all its members are; tick by tick, so events are in order of time."""
        due = [(at, name) for name in self.composites for at in self._due(name, piece)]
        for at, name in sorted(due, key=itemgetter(0)):
            outcomes = [self._brought(one, at, piece) for one in self.parts(name, at)]
            if is_group(name) and name_of(name) in self.crowded:
                outcomes.append(Outcome.ERROR)
            counts = {at: Counts(0, 0, max(outcomes, default=Outcome.MISSED))}
            piece.counts.setdefault(name, {}).update(counts)
            self._note(name, at, counts[at].outcome, piece)
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


def _held(
    verdict: Verdict, known: Mapping[str, AlertState], at: int
) -> tuple[Mapping[str, AlertState], Sequence[Transition]]:
    """States and transitions of a tick; a loss of data that was told for a later instant stays as it is."""
    told = known.get(DATA)
    if told is None or told.state != "firing" or told.since < at:
        return verdict.states, verdict.transitions
    return {**verdict.states, DATA: told}, [one for one in verdict.transitions if one.rule != DATA]

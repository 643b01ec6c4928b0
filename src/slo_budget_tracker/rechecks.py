"""Rechecks: did data come late? Every few ticks the newest are compared with what the server has by then.

Counting goes from remembered sample to remembered sample, so the counts of a block of ticks are one
telescoped difference, and late samples before one that was seen are in the sum anyway. What can be missing
shows at the block's end: a series whose sample there is newer than the remembered one, a series nobody
knew, or more samples than there were; in a tick without data that has data now; or, where something ended
or began again in the middle of a block, in a tick in which the series that were there already had fewer
samples than the tick before. So per block of ten ticks, PATIENCE ticks after its end, or a few more:

- the last tick's raw samples are read again (a tenth more samples in all), compared with what was remembered;
- a tick that brought fewer samples, but for those of new series, is read again, and its samples are counted;
- ticks without data are asked about again (which costs nothing while there is none);
- only on a mismatch the block is read and counted again, from what was remembered at its start.

A recount is taken over where it takes nothing away from any SLO. Otherwise the source is not what it was (its
data are lost, another replica answers): the counts stay, and that is told as a doubt, `inconsistent`.

Expressions have no samples to compare, but one small answer at each tick: one range query brings those of a
whole block again, and each tick is judged by itself (`hindsight`).
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING
from zlib import crc32

from slo_budget_tracker.attempts import BLOCK, PIECE
from slo_budget_tracker.comparison import Comparison, Counted, lacks
from slo_budget_tracker.errors import OVERTAKEN, LedgerError, PrometheusError, QueryFailed, Unreachable
from slo_budget_tracker.groups import name_of
from slo_budget_tracker.hindsight import hindsight
from slo_budget_tracker.outcomes import NO_DATA
from slo_budget_tracker.reading import SLOW
from slo_budget_tracker.reports import Attempt
from slo_budget_tracker.revisions import revision
from slo_budget_tracker.trails import PATIENT, Block, Trail

if TYPE_CHECKING:
    from collections.abc import Callable, Container, Iterable, Mapping, Sequence

    from slo_budget_tracker.answers import Answer, Query, RangeQuery
    from slo_budget_tracker.attempts import Attempts
    from slo_budget_tracker.hindsight import Answered
    from slo_budget_tracker.memory import Memory
    from slo_budget_tracker.reading import Ask, Unit
    from slo_budget_tracker.reports import Tally
    from slo_budget_tracker.revisions import Revision
    from slo_budget_tracker.stepping import Stepper
    from slo_budget_tracker.ticks import Counts, Tick

PATIENCE = 5  # ticks after a block's end until it is compared: how late samples may come, at least
MOST_AT_ONCE = 1_560  # ticks that are counted again, in one commit: a day and two hours of minutes
TURNS = 5  # ticks over which this is spread at most: all blocks end at the same tick
A_TURN = 10  # units that need no further tick to be spread over


@dataclass(slots=True)
class Rechecks:
    """Follows what `advance` reads, and reads blocks again where data came late."""

    attempts: Attempts
    stepper: Stepper
    admit: Callable[[Attempt], Attempt]  # gives groups that nobody knew their ids
    interval: int
    delay: int
    trails: dict[str, Trail] = field(default_factory=dict)
    _alike: Mapping[str, tuple[int, frozenset[str]]] = field(
        default_factory=dict
    )  # who asks for ticks without data together

    def follow(self, attempts: Iterable[Attempt], report: Tally) -> None:
        """Take note of what was read and committed; what is given up uncompared is told as a doubt."""
        for attempt in attempts:
            if attempt.reading is None:
                self.trails.pop(attempt.unit.key, None)
                continue
            trail = self.trails.get(attempt.unit.key)
            if trail is None or trail.until != attempt.ticks[0].start:
                start = attempt.ticks[0].start
                trail = self.trails[attempt.unit.key] = Trail(start, {start: attempt.memories})
                trail.borders |= self._before(attempt.unit, start)
            report.doubts["uncompared"] += self._add(trail, _as_one_block(attempt))

    def _add(self, trail: Trail, attempt: Attempt) -> int:
        return trail.add(attempt, goal=self.attempts.goals[attempt.unit.datasource], interval=self.interval)

    def _before(self, unit: Unit, start: int) -> dict[int, Mapping[str, Memory]]:
        """Borders before a restart: to compare expressions with, what the ledger has is all that it takes."""
        if unit.batch is None:
            return {}
        begun = min(map(self.stepper.begun, unit.slos))
        first = max(begun, start - 2 * BLOCK * self.interval)
        return {end: {} for end in (first, *self.attempts.borders(self.attempts.ticks(first, start)))}

    def run(self, report: Tally, *, enough: Callable[[], bool] = lambda: False) -> None:
        """Compare every block that is due, until it is enough; what cannot be asked now is left alone."""
        self._alike = self._lacking_alike(self.attempts.units)
        for unit in self._in_turn(self.attempts.units):
            if enough():
                return
            if not self.attempts.ration.used_up(unit.datasource):
                self.look_at(unit, report)

    def beside(self, datasource: str, failing: Container[str], report: Tally, ask: Ask) -> None:
        """The same for the units of one datasource that do not fail, while ticks go on at each question."""
        over = False

        def checked(query: Query | RangeQuery) -> Answer:
            nonlocal over
            trail = self.trails.get(unit.key)
            try:
                answer = ask(query)
            except Unreachable as error:
                over = error.reason == OVERTAKEN
                raise
            if trail is None or trail is not self.trails.get(unit.key):
                raise Unreachable("it was read anew meanwhile", reason=OVERTAKEN)
            return answer

        attempts = self.attempts.beside({datasource: checked})
        units = [unit for unit in self.attempts.units if unit.datasource == datasource]
        other = replace(self, attempts=attempts, _alike=self._lacking_alike(units))
        for unit in self._in_turn(units):
            if over or attempts.ration.used_up(datasource):
                return
            if unit.key not in failing:
                other.look_at(unit, report)

    def _in_turn(self, units: Iterable[Unit]) -> list[Unit]:
        """These units, those first whose blocks wait longest, and those that are read together in a row."""

        def turn(unit: Unit) -> tuple[int, str]:
            trail = self.trails.get(unit.key)
            oldest = 0 if trail is None else min(trail.borders, default=0)
            return oldest, self.attempts.joined(unit) or unit.key

        return sorted(units, key=turn)

    def _lacking_alike(self, units: Iterable[Unit]) -> dict[str, tuple[int, frozenset[str]]]:
        """By unit: the seconds from its first tick without data to its last, and who lacks the same."""
        alike: dict[tuple[str, int, int], list[Unit]] = {}
        for unit in units:
            trail, joint = self.trails.get(unit.key), self.attempts.joined(unit)
            if trail is None or joint is None or not trail.holes or trail.silent or trail.wait:
                continue
            block = self._due(unit, trail)
            holes = {} if block is None else trail.missing(block)
            if holes and frozenset().union(*holes.values()).issuperset(unit.slos):
                alike.setdefault((joint, min(holes), max(holes)), []).append(unit)
        found: dict[str, tuple[int, frozenset[str]]] = {}
        for (_, first, last), some in alike.items():
            feeds = frozenset(unit.feeds[0].key for unit in some)
            found |= {unit.key: (last - first + self.interval, feeds) for unit in some}
        return found

    def _asking(self, unit: Unit, block: Block) -> Ask:
        """How to ask about a block: with the joint, of ticks without data with those that lack them."""
        ask = self.attempts.asks[unit.datasource]
        if len(unit.feeds) > 1:
            return ask
        shared, feed = self.attempts.shared, unit.feeds[0]
        ask = shared.ask(feed, (self.interval, block.end - block.start), ask)
        seconds, among = self._alike.get(unit.key, (0, None))
        return ask if among is None else shared.ask(feed, (seconds,), ask, among=among)

    def look_at(self, unit: Unit, report: Tally) -> None:
        """Compare a block of one unit, if one is due."""
        trail = self.trails.get(unit.key)
        if trail is None or report.store_error is not None or unit.key in report.errors:
            return
        try:
            self._follow_up(unit, trail, report)
        except LedgerError as error:
            report.store_error = error
        except Exception as error:  # noqa: BLE001 - one unit's fault must not stop the others (T12)
            self.stepper.ledger.unstage()
            trail.wait = 1
            fault = f"internal error: {type(error).__name__}: {error}"
            report.faults.update(dict.fromkeys(unit.slos, fault))

    def _follow_up(self, unit: Unit, trail: Trail, report: Tally) -> None:
        block = self._due(unit, trail)
        if block is None or trail.silent:
            return  # nobody has data just now: what is not there may be there later
        if trail.wait:
            trail.wait -= 1
            return
        if (self._compare if unit.batch is None else self._look_back)(unit, trail, block, report):
            self.trails[unit.key].done(block)  # else: no whole answer now, or no place to write to

    def _due(self, unit: Unit, trail: Trail) -> Block | None:
        """The oldest block that ended long enough ago; the first one after a restart may be short."""
        together = self.attempts.joined(unit) or unit.key
        turns = min(TURNS, 1 + len(self.attempts.units) // A_TURN)
        patience = PATIENCE + crc32(together.encode()) % turns
        return trail.due(trail.until - patience * self.interval)

    # comparing

    def _compare(self, unit: Unit, trail: Trail, block: Block, report: Tally) -> bool:
        """Compare raw samples of a block, and count it again if some came late; whether that is done.

        Where recounts were in vain for long, only ticks without data are asked about for some blocks.
        """
        late = self._is_late(unit, trail, block, report)
        trail.wait = 1 if late is None and not trail.waits(block) else 0
        long = trail.until - block.start > MOST_AT_ONCE * self.interval
        if late and (long or not self.stepper.ledger.history.tells_apart([block.start])):
            report.doubts["uncompared"] += 1  # after an outage of days; or it is merged with ticks before it
            return True
        if late:
            return self._recount(unit, trail, block, report)
        if late is None:
            return False
        if trail.pauses(block):
            trail.skip -= 1
        else:
            trail.is_well()
        return True

    def _is_late(self, unit: Unit, trail: Trail, block: Block, report: Tally) -> bool | None:
        """Whether raw samples of a block came late; None where the server does not say."""
        ask = Counted(self._asking(unit, block))
        comparison = Comparison(unit, trail, block, ask, self.interval)
        try:
            return comparison.is_filled() if trail.pauses(block) else comparison.is_late()
        except PrometheusError:
            return None  # told by the ticks themselves, if it lasts
        finally:
            report.samples += ask.samples
            report.doubts["inconsistent"] += comparison.gone
            if comparison.gone:
                trail.put_aside(block, self.interval, recounted=False)

    def _look_back(self, unit: Unit, trail: Trail, block: Block, report: Tally) -> bool:
        """Ask expressions about a block once more, and correct its ticks one by one; whether that is done.

        What takes too long for ten ticks at once is asked about the last of them alone, for some blocks.
        """
        start = block.end - self.interval if trail.skip else block.start
        ends = [start, *(tick.end for tick in self.attempts.ticks(start, block.end))]
        if not self.stepper.ledger.history.tells_apart(ends):  # after an outage of hours its ticks are merged
            report.doubts["uncompared"] += block.end not in trail.yielding
            return True
        found = self.attempts.read(Attempt(unit, self.attempts.ticks(start, block.end)), {}, doubts={})
        if found.reading is None or found.reading.partial:
            if not trail.skip and _is_slow(found.error):
                trail.pause()
            else:
                trail.put_off()
            return False
        report.samples += found.reading.samples
        stepper = self.stepper
        families = [
            stepper.with_groups([name]) for name in unit.slos if stepper.slos[name].slices is None
        ]  # what was judged as slices stays judged
        seen = hindsight(
            stepper.ledger.history,
            stepper.ids,
            families,
            found.ticks,
            found.reading.counts,
            begun=stepper.begun,
        )
        report.doubts["inconsistent"] += seen.less or seen.gone
        if seen.counts:
            ticks = self.attempts.ticks(start, trail.until)
            fresh = self._of_new_groups(found.reading.counts, seen.counts, ticks)
            reading = replace(found.reading, counts={**seen.counts, **fresh})
            taken = self.admit(replace(found, ticks=ticks, reading=reading))
            assert taken.reading is not None
            changes = {
                name: change
                for name, counts in taken.reading.counts.items()
                if (change := self._change(name, [t for t in found.ticks if t.end in counts], counts))
            }
            stepper.revise([taken], changes, report)
            if report.store_error is not None:
                return False
        if seen.gone:  # it may be a backend that is short of memory just now
            trail.put_aside(block, self.interval)
            return False
        if trail.skip:
            trail.skip -= 1
        else:
            trail.is_well()
        return True

    def _of_new_groups(
        self, now: Answered, taken: Answered, ticks: Sequence[Tick]
    ) -> dict[str, Mapping[int, Counts]]:
        """What groups that nobody knew have at the ticks that are taken over of their SLO, and up to now.

        Where something was said of the SLO, and is not taken over, it was that there are no such groups.
        """
        found: dict[str, Mapping[int, Counts]] = {}
        edges = [ticks[0].start, *(tick.end for tick in ticks)]
        for key in (key for key in now if key not in self.stepper.ids and name_of(key) in taken):
            name = name_of(key)
            stored = self.stepper.ledger.history.parts(self.stepper.ids[name], edges)
            said = zip(edges[1:], (one.outcome for one in stored), strict=True)
            nothing = {end: NO_DATA for end, outcome in said if outcome.whole}
            found[key] = {**nothing, **{end: now[key].get(end, NO_DATA) for end in taken[name]}}
        return found

    # counting again

    def _recount(self, unit: Unit, trail: Trail, block: Block, report: Tally) -> bool:
        """Count the block again, and what came after it, from what was remembered at its start.

        Returns whether the server gave a whole answer, as far as anybody can tell, and it is on disk. Where
        the next tick's answers are still to come it is done later: they would bring again what is found now.
        """
        memories = trail.borders[block.start]
        results: list[Attempt] = []
        after = block.start
        while after < trail.until:  # which may move on meanwhile
            until = min(trail.until, after + PIECE) if results else block.end
            wanted = Attempt(unit, self.attempts.ticks(after, until))
            found = self.attempts.read(wanted, memories, doubts={})
            if found.reading is None or found.reading.partial:
                trail.put_off()  # so many ticks at once may be too much for it
                return False
            report.samples += found.reading.samples
            memories = found.reading.memories
            results.append(found)
            after = until
        if unit.datasource in self.attempts.under_way:  # what is in the air goes on from what was remembered
            trail.wait = 1
            return False
        changes = self._changes(unit, trail, results)
        lost = any(
            lacks(feed, memories[feed.key], trail.memories[feed.key], block.start) for feed in unit.feeds
        )
        if changes and (lost or any(change.takes_away for change in changes.values())):
            report.doubts["inconsistent"] += 1
            trail.put_aside(block, self.interval)  # it may be a backend that is short of memory just now
            return False
        if not changes:
            trail.pause(patience=PATIENT)
            return True
        known = len(self.stepper.ids)
        results = [self.admit(found) for found in results]
        if len(self.stepper.ids) > known:
            changes = self._changes(unit, trail, results)
        remembered = self.stepper.revise(results, changes, report)
        if report.store_error is not None:
            return False
        self.attempts.remember(remembered)
        fresh = self.trails[unit.key] = trail.before(block.start)
        for found in results:
            self._add(fresh, found)
        return True

    def _changes(self, unit: Unit, trail: Trail, results: Sequence[Attempt]) -> dict[str, Revision]:
        fewer = {at for found in results if found.reading for at in trail.fewer(found.reading.sizes)}
        ticks = [tick for found in results for tick in found.ticks]
        changes = {}
        for name in self.stepper.with_groups(unit.slos):
            if self.stepper.slos[name].slices is not None:  # what was judged stays judged
                continue
            counts: dict[int, Counts] = {}
            for found in results:
                assert found.reading is not None
                counts.update(found.reading.counts.get(name, {}))
            counts = {tick.end: counts.get(tick.end, NO_DATA) for tick in ticks}  # a group may be gone
            change = self._change(name, ticks, counts, fewer)
            if change is not None:
                changes[name] = change
        return changes

    def _change(
        self, name: str, ticks: Sequence[Tick], counts: Mapping[int, Counts], fewer: Container[int] = ()
    ) -> Revision | None:
        stepper = self.stepper
        begun = stepper.begun(name)
        live = [tick for tick in ticks if tick.end > begun]
        return revision(stepper.ledger.history, stepper.ids[name], live, counts, fewer=fewer)


def _as_one_block(attempt: Attempt) -> Attempt:
    """Of many ticks that were read at once, and late: they push no older block out."""
    reading = attempt.reading
    if reading is None or not reading.kept or len(attempt.ticks) < BLOCK:
        return attempt
    end = max(reading.kept)
    return replace(attempt, reading=replace(reading, kept={end: reading.kept[end]}))


def _is_slow(error: PrometheusError | None) -> bool:
    """Whether a request may be answered where less is asked."""
    return error is not None and (isinstance(error, QueryFailed) or error.reason in SLOW)

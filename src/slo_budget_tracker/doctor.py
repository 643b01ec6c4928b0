"""The doctor: does what an SLO asks for exist, does it move, and can its alerts do what they are for?

Each check is a few small questions to the SLO's own datasource. What is certainly wrong is an `error`, what
looks wrong a `warning`, and what is good to know a `note`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, NamedTuple

from slo_budget_tracker import thresholds
from slo_budget_tracker.answers import Query
from slo_budget_tracker.durations import format_duration
from slo_budget_tracker.errors import QueryFailed, QueryRejected
from slo_budget_tracker.feeds import TICKED
from slo_budget_tracker.queries import plan
from slo_budget_tracker.reaches import reach_of, said
from slo_budget_tracker.recordings import ENOUGH
from slo_budget_tracker.rowlabels import as_vector
from slo_budget_tracker.scraping import LONGEST_SCRAPE, scrape_interval, selectors_of
from slo_budget_tracker.selectors import selectors_in
from slo_budget_tracker.slis import LatencySli
from slo_budget_tracker.suspicions import too_short

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from decimal import Decimal

    from slo_budget_tracker.answers import Answer
    from slo_budget_tracker.batches import ExpressionBatch
    from slo_budget_tracker.feeds import Role
    from slo_budget_tracker.reading import Ask
    from slo_budget_tracker.selectors import Selector
    from slo_budget_tracker.slis import Sli
    from slo_budget_tracker.specs import SLO

Level = Literal["error", "warning", "note"]
DAY, HOUR = 86_400, 3_600
SLOW = 2.0  # seconds of one answer
MANY_SERIES = 20_000
MANY_FALLS = 10  # in an hour: no process restarts so often
_NAMED = 3  # so many faults of groups are named


class Finding(NamedTuple):
    """One thing that a check found."""

    slo: str
    level: Level
    check: str
    sentence: str


@dataclass(slots=True)
class Doctor:
    """Examines SLOs at one data instant; `clock` measures how long answers take."""

    ask: Ask
    at: int
    interval: int
    clock: Callable[[], float]
    findings: list[Finding] = field(default_factory=list)
    _slo: str = ""
    _bounds: tuple[Decimal, ...] = ()  # at which native histograms are read
    _slowest: float = 0.0

    def examine(self, slo: SLO) -> list[Finding]:
        """All that is to be said about one SLO; raises PrometheusError where nobody can say."""
        self.findings, self._slo, self._slowest = [], slo.name, 0.0
        self._bounds = (slo.sli.threshold,) if isinstance(slo.sli, LatencySli) else ()
        try:
            self._examine(slo)
        except (QueryRejected, QueryFailed) as error:
            self._say("error", "query", f"Prometheus refuses what it asks: {error}")
        if self._slowest > SLOW:
            self._say("warning", "speed", f"an answer took {self._slowest:.1f} s")
        return self.findings

    def _say(self, level: Level, check: str, sentence: str) -> None:
        self.findings.append(Finding(self._slo, level, check, sentence))

    def _asked(self, expression: str, *, at: int | None = None) -> Answer:
        return self._answer(Query(expression, self.at if at is None else at, self._bounds))

    def _answer(self, query: Query) -> Answer:
        begun = self.clock()
        answer = self.ask(query)
        self._slowest = max(self._slowest, self.clock() - begun)
        return answer

    def _value(self, expression: str, *, at: int | None = None) -> float:
        """The value of a query that yields one number; 0 for none."""
        found = [value for series in self._asked(expression, at=at).series for value in series.values]
        return found[0] if found and math.isfinite(found[0]) else 0.0

    # the checks

    def _examine(self, slo: SLO) -> None:
        if slo.sli.kind == "composite":
            self._say("note", "query", "it asks nothing: its members are read")
            return
        planned = plan([slo], replica_labels={})
        if planned.expressions:
            self._expressions(slo)
            return
        parts: dict[Role, list[Selector]] = {}
        for feed in planned.raw:
            for slot, selector in feed.members:
                parts.setdefault(slot.role, []).append(selector)
        form = self._form(slo.sli)
        if form == "native":
            assert isinstance(slo.sli, LatencySli)
            parts["total"] = [slo.sli.histogram]
        if form is None or not self._series(parts["total"]):
            return
        self._windows(slo, parts["total"])
        self._history(slo, parts["total"])
        if slo.sli.kind == "probe":
            events = self._value(_sum("count_over_time", parts["total"], DAY))
            good = self._value(_sum("sum_over_time", parts["total"], DAY))
            self._ratio(events, events - good)
        elif form == "native":
            events = self._native_events(slo.sli)
        else:
            self._counters(parts["total"])
            events = self._value(_sum("increase", parts["total"], DAY))
            self._failures(parts, events)
        self._groups(slo, parts["total"])
        self._alerts(slo, events)

    def _form(self, sli: Sli) -> str | None:
        """In which form the events are there: of a histogram classic or native; None where they are not."""
        if not isinstance(sli, LatencySli):
            return sli.kind
        found = thresholds.examine(sli, self._answer, self.at)
        if found.level is not None:
            self._say(found.level, "bucket", found.sentence)
        return found.form

    def _native_events(self, sli: Sli) -> float:
        assert isinstance(sli, LatencySli)
        grown = f"sum(increase({sli.histogram}[{DAY}s]))"
        events = self._value(f"histogram_count({grown})")
        share = self._value(f"histogram_fraction(0, {sli.threshold.normalize():f}, {grown})")
        self._ratio(events, events * (1 - share))
        return events

    def _expressions(self, slo: SLO) -> None:
        """Free PromQL is asked as a tick asks it, now, a window ago and on average."""
        (batch,) = plan([slo], replica_labels={}).expressions
        answer = self._asked(batch.query(self.at, self.interval).expression)
        faults = batch.faults(answer)
        values = {slot: value for slot, value in batch.read(answer).items() if value is not None}
        rows = {slot: value for slot, value in values.items() if slot.role != "recorded"}
        for fault in [*faults.values()][:_NAMED]:
            self._say("error", "query", str(fault))
        if not rows:
            if not faults:
                self._say("error", "query", "it answers, with no series at all")
            return
        sums: dict[Role, float] = {}
        for slot, value in rows.items():
            sums[slot.role] = sums.get(slot.role, 0) + value
        shown = ", ".join(f"{role} {value:g}" for role, value in sums.items())
        groups = {slot.key for slot in rows if slot.group}
        of_groups = f", of {len(groups)} groups together" if groups else ""
        self._say("note", "query", f"it answers: {shown} in a tick{of_groups}")
        if slo.group_by:
            self._count_groups(slo, len(groups))
        self._selected([member.expression for member in batch.members if member.slot.role != "recorded"])
        if slo.sli.kind == "promql":
            self._windows(slo, selectors_of(slo.sli))
        if slo.sli.kind == "promql" and slo.unit == "ticks":
            self._say("note", "weight", "an error ratio weighs every tick alike, busy or not (unweighted)")
        share = next((value for slot, value in values.items() if slot.role == "recorded"), None)
        if share is not None and share < ENOUGH:
            found = f"its recorded series have {share:.0%} of their usual samples: such ticks are unknown"
            self._say("warning", "recorded", found)
        self._parts(sums)
        self._past(slo, batch)

    def _selected(self, expressions: Sequence[str]) -> None:
        """The series that expressions select, and their samples."""
        selectors = dict.fromkeys(one for text in expressions for one in selectors_in(text))
        series = self._value(f"sum({_or(f'count({one})' for one in selectors)})") if selectors else 0
        if series:
            samples = self._value(f"sum({_or(f'sum(count_over_time({one}[1h]))' for one in selectors)})")
            self._say("note", "series", f"{series:.0f} series, {samples / 60:.0f} samples a minute")
        if series > MANY_SERIES:
            self._say("warning", "series", f"{series:.0f} series are much to read in every tick")

    def _past(self, slo: SLO, batch: ExpressionBatch) -> None:
        """Whether expressions had answers a window ago, and what they say on an average of the day."""
        asked = {member.slot.role: member for member in batch.members if member.slot.role != "recorded"}
        expression = batch.query(self.at, self.interval).expression
        self._reach(slo, lambda span: len(self._asked(expression, at=self.at - span).series))
        a_day: dict[Role, float] = {}
        for role, member in asked.items():
            if role not in TICKED:
                mean = self._value(f"sum(avg_over_time(({as_vector(member.expression)})[1d:1h]))")
                a_day[role] = mean * DAY / member.window
        if slo.unit == "ticks":
            self._alerts(slo, DAY / self.interval)
            return
        if "total" not in a_day:
            a_day["total"] = a_day["bad"] + a_day["good"]
        bad = a_day["bad"] if "bad" in a_day else a_day["total"] - a_day["good"]
        self._ratio(a_day["total"], bad)
        self._alerts(slo, a_day["total"])

    def _windows(self, slo: SLO, read: Sequence[Selector]) -> None:
        """Whether a window is shorter than the scrapes it needs; asked only where it could be."""
        if not list(too_short(slo, LONGEST_SCRAPE)):
            return
        scrape = scrape_interval(read, self._asked)
        for what, length, least in () if scrape is None else too_short(slo, scrape):
            self._say("error", "window", f"{what} is {length}, it needs {least}")

    def _parts(self, values: Mapping[Role, float]) -> None:
        """No part of a whole is more than the whole."""
        total = values.get("total", math.inf)
        for role, value in values.items():
            if role in {"good", "bad"} and value > total * 1.01:
                self._say("error", "ratio", f"`{role}` is {value:.6g} in a tick, `total` is {total:.6g}")

    def _series(self, total: Sequence[Selector]) -> bool:
        series = self._value(f"sum({_or(f'count({one})' for one in total)})")
        if not series:
            named = ", ".join(map(str, total))
            self._say("error", "series", f"no series of {named}")
            return False
        samples = self._value(_sum("count_over_time", total, HOUR))
        self._say("note", "series", f"{series:.0f} series, {samples / 60:.0f} samples a minute")
        if series > MANY_SERIES:
            self._say("warning", "series", f"{series:.0f} series are much to read in every tick")
        return True

    def _history(self, slo: SLO, total: Sequence[Selector]) -> None:
        """How far back there is anything: the window, halved until something is there."""

        def seen(span: int) -> float:
            each = (f"count(last_over_time({one}[1h] offset {span}s))" for one in total)
            return self._value(f"sum({_or(each)})")

        self._reach(slo, seen)

    def _reach(self, slo: SLO, seen: Callable[[int], float]) -> None:
        back = reach_of(lambda span: bool(seen(span)), wanted=slo.past, least=HOUR)
        if back < slo.past:
            needed = (
                f"what it counts reaches back about {said(max(back, HOUR))}, not {format_duration(slo.past)}"
            )
            self._say("warning", "history", f"{needed}: until then its coverage is below 1")
        kept = self._value("max(prometheus_tsdb_retention_limit_seconds)")
        if 0 < kept < slo.past:
            found = f"Prometheus keeps {format_duration(int(kept))}, less than {format_duration(slo.past)}"
            self._say("note", "retention", f"{found}; the ledger keeps what was counted")

    def _counters(self, total: Sequence[Selector]) -> None:
        falls = max(self._value(f"max(resets({one}[1h]))") for one in total)
        if falls > MANY_FALLS:
            self._say("error", "counter", f"it fell {falls:.0f} times in an hour: no counter does")

    def _failures(self, parts: dict[Role, list[Selector]], events: float) -> None:
        role: Role = "bad" if "bad" in parts else "good"
        seen = (f"count(last_over_time({one}[1d]))" for one in parts[role])
        if not self._value(f"sum({_or(seen)})"):
            self._say("warning", role, f"no series of `{role}` was seen in a day: is the selector right?")
            return
        part = self._value(_sum("increase", parts[role], DAY))
        if part > events * 1.01 + 1:
            self._say("error", "ratio", f"`{role}` grew by {part:.0f} in a day, `total` by {events:.0f} only")
            return
        self._ratio(events, part if role == "bad" else events - part)

    def _ratio(self, events: float, bad: float) -> None:
        if events and bad >= events:
            self._say("error", "ratio", f"all of {events:.0f} events of a day were bad")
        elif events and bad <= 0:
            self._say("note", "ratio", f"none of {events:.0f} events of a day was bad")

    def _groups(self, slo: SLO, total: Sequence[Selector]) -> None:
        if slo.group_by:
            by = ", ".join(slo.group_by)
            each = _or(f"count by ({by}) ({one})" for one in total)
            self._count_groups(slo, self._value(f"count(sum by ({by}) ({each}))"))

    def _count_groups(self, slo: SLO, groups: float) -> None:
        level: Level = "error" if groups > slo.max_groups else "note"
        self._say(level, "groups", f"{groups:.0f} groups, max_groups is {slo.max_groups}")

    def _alerts(self, slo: SLO, a_day: float) -> None:
        if not a_day:
            self._say("warning", "traffic", "no events in a day: no alert can fire")
            return
        if slo.slices is not None:
            return
        for pair in slo.alerts:
            within = a_day * pair.long / DAY
            if pair.minimum_bad > within:
                windows = f"{format_duration(pair.long)}&{format_duration(pair.short)}"
                found = f"{pair.minimum_bad} bad {slo.unit} in {format_duration(pair.long)}"
                has = f"it has {within:.1f} at all: it cannot fire"
                self._say("warning", "alerts", f"the {pair.severity} {windows} asks for {found}, {has}")
            # one bad event over the traffic of the long window is at the factor
            lone = float(1 / (pair.burn_rate * (1 - slo.target))) * HOUR / pair.long
            if pair.severity == "page" and not (pair.minimum_bad or pair.confidence) and a_day / 24 <= lone:
                windows = f"{format_duration(pair.long)}&{format_duration(pair.short)}"
                self._say(
                    "warning",
                    "alerts",
                    f"below {lone:.0f} {slo.unit} an hour one failure pages ({windows}), it has"
                    f" {a_day / 24:.1f}; see low_traffic",
                )


def _or(each: Iterable[str]) -> str:
    """Several vectors of one value each, told apart by a label, as one."""
    parts = [f'label_replace({one}, "part", "{at}", "", "")' for at, one in enumerate(each)]
    return " or ".join(parts)


def _sum(function: str, selectors: Sequence[Selector], seconds: int) -> str:
    return f"sum({_or(f'sum({function}({one}[{seconds}s]))' for one in selectors)})"

"""What an SLO is: frozen values in one shape, whatever file they were read from."""

from __future__ import annotations

import re
import unicodedata
from decimal import ROUND_FLOOR, Context, Decimal
from fractions import Fraction
from functools import lru_cache
from typing import TYPE_CHECKING, Literal, NamedTuple

from slo_budget_tracker.calendars import Calendar
from slo_budget_tracker.corrections import Correction
from slo_budget_tracker.durations import format_duration
from slo_budget_tracker.errors import shown
from slo_budget_tracker.rowlabels import lost
from slo_budget_tracker.slis import (
    CompositeSli,
    ConditionSli,
    Defect,
    DefectsError,
    Frozen,
    LatencySli,
    ProbeSli,
    PromqlSli,
    RequestsSli,
    Sli,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

__all__ = [
    "DAY",
    "DEFAULT_WINDOW",
    "SLO",
    "BudgetAlert",
    "BurnRateAlert",
    "Calendar",
    "CompositeSli",
    "ConditionSli",
    "Correction",
    "Defect",
    "DefectsError",
    "Frozen",
    "LatencySli",
    "ProbeSli",
    "PromqlSli",
    "RequestsSli",
    "Sli",
    "Slices",
]

DAY = 86_400
NAME = re.compile(r"[a-z0-9](?:[-a-z0-9]{0,61}[a-z0-9])?", re.ASCII)
DEFAULT_WINDOW = 30 * DAY
CALENDAR_SLACK = 4 * DAY  # by which two periods may be longer than two nominal ones
EXHAUSTION_WINDOW = 21_600  # bad events per second are looked at over this, or a quarter of a shorter window
MOST_GROUPS = 100
LEAST_CONFIDENCE = Decimal("0.5")
DEFAULT_BURN_RATE_WINDOWS = (3_600, 21_600)
DEFAULT_BURN_RATE_THRESHOLD = Decimal("14.4")

Severity = Literal["page", "ticket"]
NoData = Literal["hold", "bad"]


class BurnRateAlert(Frozen):
    """A pair of windows (seconds) that fires when both burn at or above `burn_rate`.

    Source: SRE Workbook, "Alerting on SLOs", 6: Multiwindow, Multi-Burn-Rate Alerts. `for_seconds`: how
    long the condition must hold before firing; `keep_firing_for`: how long the condition must be over
    before it ends. Long and short are equal in the seed's simple form (`burn_rate:`). With little traffic,
    `minimum_bad` and `confidence` keep it quiet while too few requests failed to say anything.
    """

    severity: Severity = "page"
    long: int
    short: int
    burn_rate: Decimal
    for_seconds: int = 0
    keep_firing_for: int = 0
    minimum_bad: int = 0  # bad events in the long window below which the pair does not start
    confidence: Decimal | None = None  # that the failures in the long window are not chance at the factor

    @property
    def rule(self) -> str:
        """The stable name of the rule within its SLO: state and events are kept by it."""
        return f"burn:{self.severity}:{self.long}:{self.short}"

    def _defects(self) -> Iterator[Defect]:
        for path, seconds in (("long", self.long), ("short", self.short)):
            if seconds < 1:
                yield Defect(path, f"{seconds} seconds", "at least 1 second")
        if self.short > self.long:
            found = f"{format_duration(self.short)}, longer than the long window"
            yield Defect("short", found, f"at most {format_duration(self.long)}", "swap long and short")
        if not (self.burn_rate.is_finite() and self.burn_rate >= 1):
            yield Defect("burn_rate", str(self.burn_rate), "at least 1", "1 spends the budget in one window")
        for path, seconds in (("for", self.for_seconds), ("keep_firing_for", self.keep_firing_for)):
            if seconds < 0:
                yield Defect(path, f"{seconds} seconds", "at least 0 seconds")
        if self.confidence is not None and not LEAST_CONFIDENCE <= self.confidence < 1:
            yield Defect("confidence", str(self.confidence), "at least 0.5 and below 1")


class BudgetAlert(Frozen):
    """Says that less than a share of the budget is left, or that it will be spent within a time."""

    severity: Severity = "page"
    remaining_below: Decimal | None = None
    exhausted_within: int | None = None  # seconds

    @property
    def what(self) -> str:
        """The alert in short: the label `rule` of its gauge."""
        if self.remaining_below is not None:
            return f"remaining_below:{(self.remaining_below * 100).normalize():f}%"
        return f"exhausted_within:{format_duration(self.exhausted_within or 0)}"

    @property
    def rule(self) -> str:
        """The stable name of the rule within its SLO: state and events are kept by it."""
        return f"budget:{self.severity}:{self.what}"

    def _defects(self) -> Iterator[Defect]:
        if (self.remaining_below is None) == (self.exhausted_within is None):
            found = "neither" if self.remaining_below is None else "both"
            yield Defect("", f"{found} of them", "`remaining_below` or `exhausted_within`")
        if self.remaining_below is not None and not 0 < self.remaining_below <= 1:
            yield Defect("remaining_below", str(self.remaining_below), "above 0 and at most 1")


class Slices(Frozen):
    """Time slices of `width` seconds; one is good when its success ratio is at least `target`."""

    width: int
    target: Decimal

    def _defects(self) -> Iterator[Defect]:
        if self.width < 1:
            yield Defect("width", f"{self.width} seconds", "at least 1 second")
        if not 0 < self.target <= 1:
            yield Defect("target", str(self.target), "a ratio above 0 and at most 1")


class SLO(Frozen):
    """One service-level objective: name, SLI, target, rolling window, alerts."""

    name: str
    description: str = ""
    service: str = ""
    owner: str = ""
    labels: tuple[tuple[str, str], ...] = ()
    links: tuple[tuple[str, str], ...] = ()
    datasource: str = "default"
    target: Decimal  # a ratio in (0, 1)
    window: int = DEFAULT_WINDOW  # seconds; of a calendar window the nominal length
    calendar: Calendar | None = None
    sli: Sli
    alerts: tuple[BurnRateAlert, ...] = ()
    budget_alerts: tuple[BudgetAlert, ...] = ()
    no_data: NoData = "hold"
    corrections: tuple[Correction, ...] = ()  # from files of their own; no part of the identity
    slices: Slices | None = None
    group_by: tuple[str, ...] = ()
    max_groups: int = MOST_GROUPS
    source: str = ""  # file:line, for messages; no part of the identity

    @property
    def error_budget(self) -> Fraction:
        """The share of events that may fail, 1 - target, exact."""
        return 1 - Fraction(self.target)

    def budget_span(self, at: int) -> int:
        """Seconds of the SLO window that ends at a data instant: of a calendar window what is over of it."""
        return self.window if self.calendar is None else at - self.calendar.period(at).start

    @property
    def past(self) -> int:
        """Seconds of history that verdicts need: of a calendar window the period before, too."""
        return self.window if self.calendar is None else 2 * self.window + CALENDAR_SLACK

    @property
    def unit(self) -> str:
        """What is counted; an error ratio weighs each tick alike, so its events are ticks."""
        if self.slices is not None:
            return "slices"
        if self.sli.kind == "promql" and self.sli.error_ratio is not None:
            return "ticks"
        return {"probe": "samples", "condition": "ticks", "composite": "ratio"}.get(self.sli.kind, "requests")

    @property
    def windows(self) -> tuple[int, ...]:
        """Every window this SLO needs, in seconds, ascending: its alerts', its own and the exhaustion's."""
        alerts = (window for alert in self.alerts for window in (alert.long, alert.short))
        return tuple(sorted({self.window, min(EXHAUSTION_WINDOW, max(self.window // 4, 1)), *alerts}))

    def _defects(self) -> Iterator[Defect]:
        if not NAME.fullmatch(self.name):
            expected = "1 to 63 of a-z, 0-9 and -, no - at the ends"
            yield Defect("name", shown(self.name, most=80), expected, _suggested_name(self.name))
        sound = self.target.is_finite() and 0 < self.target < 1
        if not sound:
            yield Defect("target", str(self.target), "a ratio above 0 and below 1")
        if self.window < 1:
            yield Defect("window", f"{self.window} seconds", "at least 1 second")
        if self.calendar is not None and self.window != self.calendar.nominal:
            yield Defect("window", f"{self.window} seconds", f"the nominal {self.calendar.nominal} seconds")
        yield from self._defects_of_groups()
        if self.slices is not None and self.slices.width > self.window:
            found = f"{format_duration(self.slices.width)}, longer than the window"
            yield Defect("slices.width", found, f"at most {format_duration(self.window)}")
        yield from self._defects_of_alerts(sound=sound)

    def _defects_of_groups(self) -> Iterator[Defect]:
        """Each group is a row of each expression, so that their labels must be there."""
        texts = {
            f"sli.{self.sli.kind}.{role}": text
            for role in ("total", "bad", "good", "error_ratio", "expr")
            if isinstance(text := getattr(self.sli, role, None), str)
        }
        for path, text in texts.items() if self.group_by else ():
            label = lost(text, self.group_by)
            if label is not None:
                by = f"by ({', '.join(self.group_by)})"
                yield Defect(
                    path,
                    f"no row of it has the label {label}",
                    "one row for each group",
                    f"write sum {by} (…)",
                )

    def _defects_of_alerts(self, *, sound: bool) -> Iterator[Defect]:
        rules: set[str] = set()
        for at, alert in enumerate(self.alerts):
            path = f"alerts[{at}]"
            if alert.long > self.window:
                found = f"{format_duration(alert.long)}, longer than the SLO's window"
                yield Defect(f"{path}.long", found, f"at most {format_duration(self.window)}")
            if sound and alert.burn_rate > highest_burn_rate(self.target):
                yield unreachable(f"{path}.burn_rate", alert.burn_rate, target=self.target)
            if alert.rule in rules:
                pair = f"{format_duration(alert.long)}&{format_duration(alert.short)}"
                yield Defect(path, f"a second {alert.severity} over {pair}", "each pair once for a severity")
            rules.add(alert.rule)
        for at, one in enumerate(self.budget_alerts):
            if one in self.budget_alerts[:at]:
                yield Defect(f"budget_alerts[{at}]", f"a second {one.severity} {one.what}", "each once")


def _suggested_name(name: str) -> str:
    plain = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode()
    better = re.sub(r"[^a-z0-9]+", "-", plain.lower()).strip("-")[:63].strip("-")
    return f"perhaps {better}" if better and better != name else ""


@lru_cache(maxsize=4_096)
def highest_burn_rate(target: Decimal) -> Fraction:
    """The burn rate of a service that fails every request: 1 / (1 - target), exact."""
    return 1 / (1 - Fraction(target))


def unreachable(path: str, burn_rate: Decimal, *, target: Decimal) -> Defect:
    """The defect of a factor that even a service which fails every request does not burn at."""
    found = f"{burn_rate} cannot be reached with the target {target}"
    suggestion = "a service that fails every request burns at that"
    return Defect(path, found, f"at most {_printed(highest_burn_rate(target))}", suggestion)


def _printed(ratio: Fraction) -> str:
    return f"{float(ratio):.10g}"


def decimal_below(ratio: Fraction) -> Decimal:
    """The decimal of a ratio, cut after 28 digits where it has no end: never above the ratio."""
    context = Context(prec=28, rounding=ROUND_FLOOR)
    return context.divide(Decimal(ratio.numerator), Decimal(ratio.denominator))


HOUR = 3_600
SHORTEST_MONTHLY, LONGEST_MONTHLY = 14 * DAY, 45 * DAY
LEAST_TICKS = 2  # of a window: below, one late sample decides


class Tier(NamedTuple):
    """A pair of windows and the share of the period's budget that its long one may burn."""

    severity: Severity
    long: int
    short: int
    share: Fraction


_PAIRS: tuple[tuple[Severity, int, int], ...] = (
    ("page", HOUR, 300),
    ("page", 6 * HOUR, 1_800),
    ("ticket", DAY, 2 * HOUR),
    ("ticket", 3 * DAY, 6 * HOUR),
)
# Source of the monthly shares: SRE Workbook, "Alerting on SLOs", table 5-8.
_MONTHLY = (2, 5, 10, 10)
_LONGER = (1, 3, 5, 10)
_SHORTER = (10, 20, 40)


def _tiers(window: int) -> tuple[Tier, ...]:
    if window < SHORTEST_MONTHLY:
        tiers = [Tier(*pair, Fraction(share, 100)) for pair, share in zip(_PAIRS, _SHORTER, strict=False)]
        long = window // 4
        last = Tier("ticket", long, max(long // 12, 1), Fraction(long, window))
        return (*(tier for tier in tiers if tier[:3] != last[:3]), last)
    shares = _MONTHLY if window <= LONGEST_MONTHLY else _LONGER
    return tuple(Tier(*pair, Fraction(share, 100)) for pair, share in zip(_PAIRS, shares, strict=True))


@lru_cache(maxsize=1_024)
def workbook(
    target: Decimal, window: int, tick: int = 60
) -> tuple[tuple[BurnRateAlert, ...], tuple[str, ...]]:
    """The Workbook's pairs for a target and a window in seconds, and a sentence for each pair left out.

    A pair fires when both windows burn at or above share x period / long window (at least 1). Left out are
    pairs whose long window exceeds a quarter of the period, whose short window is below two ticks, and whose
    factor even a service that fails every request does not reach.
    """
    alerts, warnings = [], []
    highest = highest_burn_rate(target)
    for tier in _tiers(window):
        factor = max(tier.share * window / tier.long, Fraction(1))
        reason = ""
        if tier.long * 4 > window:
            reason = f"its long window exceeds a quarter of {format_duration(window)}"
        elif tier.short < LEAST_TICKS * tick:
            reason = f"its short window is below {LEAST_TICKS} ticks of {format_duration(tick)}"
        elif factor > highest:
            reason = f"its factor {_printed(factor)} cannot be reached, at most {_printed(highest)}"
        if reason:
            pair = f"{format_duration(tier.long)}&{format_duration(tier.short)}"
            warnings.append(f"the {tier.severity} pair {pair} of `workbook` is left out: {reason}")
            continue
        alerts.append(
            BurnRateAlert(
                severity=tier.severity, long=tier.long, short=tier.short, burn_rate=decimal_below(factor)
            )
        )
    return tuple(alerts), tuple(warnings)


def simple(
    windows: Sequence[int] = DEFAULT_BURN_RATE_WINDOWS, threshold: Decimal = DEFAULT_BURN_RATE_THRESHOLD
) -> tuple[BurnRateAlert, ...]:
    """The seed's form: one page for each window, long and short the same, one threshold."""
    return tuple(BurnRateAlert(severity="page", long=w, short=w, burn_rate=threshold) for w in windows)

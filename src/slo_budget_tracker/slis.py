"""What counts as an event and which of them are bad: the kinds of SLI, frozen and strict."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Annotated, Literal, NamedTuple, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from slo_budget_tracker.selectors import Selector

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence


class Defect(NamedTuple):
    """One thing that makes no sense in a spec: the path of the field, what was found and expected."""

    path: str
    found: str
    expected: str = ""
    suggestion: str = ""

    def __str__(self) -> str:
        expected = f", expected {self.expected}" if self.expected else ""
        suggestion = f"; {self.suggestion}" if self.suggestion else ""
        return f"{self.path}: {self.found}{expected}{suggestion}"


class DefectsError(ValueError):
    """Everything that makes no sense in one spec."""

    def __init__(self, defects: Sequence[Defect]) -> None:
        super().__init__("; ".join(map(str, defects)))
        self.defects = tuple(defects)


class Frozen(BaseModel):
    """Base of all specs: immutable, strict, nothing unknown."""

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid", arbitrary_types_allowed=True)

    @model_validator(mode="after")
    def _sound(self) -> Self:
        found = tuple(self._defects())
        if found:
            raise DefectsError(found)
        return self

    def _defects(self) -> Iterator[Defect]:
        """What makes no sense although every field has its type."""
        yield from ()


class RequestsSli(Frozen):
    """A ratio of counters; each of `total` and `bad` (or `good`) is a sum of selectors."""

    kind: Literal["requests"] = "requests"
    total: tuple[Selector, ...]
    bad: tuple[Selector, ...] | None = None
    good: tuple[Selector, ...] | None = None

    def _defects(self) -> Iterator[Defect]:
        if (self.bad is None) == (self.good is None):
            found = "neither `bad` nor `good`" if self.bad is None else "both `bad` and `good`"
            yield Defect("", found, "exactly one of them", "the other one follows from `total`")
        for role, selectors in (("total", self.total), ("bad", self.bad), ("good", self.good)):
            if selectors is None:
                continue
            if not selectors:
                yield Defect(role, "no selector", "a selector or a list of them")
            for at, selector in enumerate(selectors):
                if selector in selectors[:at]:
                    yield Defect(role, f"{selector} twice", "each selector once", "it would be counted twice")


HistogramType = Literal["auto", "classic", "native"]
HISTOGRAM_TYPES: tuple[HistogramType, ...] = ("auto", "classic", "native")


class LatencySli(Frozen):
    """Requests faster than `threshold` seconds, from a histogram (base name, no _bucket).

    `type` says which kind of histogram is read; `auto` is both, and where both are there the classic one.
    """

    kind: Literal["latency"] = "latency"
    histogram: Selector
    threshold: Decimal
    type: HistogramType = "auto"

    def _defects(self) -> Iterator[Defect]:
        base, _, suffix = self.histogram.metric.rpartition("_")
        if base and suffix in {"bucket", "count", "sum"}:
            found = f"the series {self.histogram.metric}"
            yield Defect("histogram", found, "the base name of the histogram", f"write {base}")
        if any(m.label == "le" for m in self.histogram.matchers):
            yield Defect("histogram", "a matcher of `le`", "none", "the bucket follows from `threshold`")
        if not (self.threshold.is_finite() and self.threshold > 0):
            yield Defect("threshold", f"{self.threshold} seconds", "more than 0 seconds")


class PromqlSli(Frozen):
    """Free PromQL with `$window`: two of bad, good and total, or an error ratio per tick (`unweighted`)."""

    kind: Literal["promql"] = "promql"
    bad: str | None = None
    good: str | None = None
    total: str | None = None
    error_ratio: str | None = None
    window: int = 300

    def _defects(self) -> Iterator[Defect]:
        counts = [role for role in ("bad", "good", "total") if getattr(self, role) is not None]
        given = [*counts, *(["error_ratio"] if self.error_ratio is not None else [])]
        if given != ["error_ratio"] and (self.error_ratio is not None or len(counts) != 2):  # noqa: PLR2004
            found = " and ".join(f"`{role}`" for role in given) or "no expression"
            yield Defect("", found, "two of `bad`, `good` and `total`, or `error_ratio` alone")
        if self.window < 1:
            yield Defect("window", f"{self.window} seconds", "at least 1 second")


Operation = Literal["<", "<=", ">", ">=", "==", "!="]
OPERATIONS: dict[str, Operation] = {"<": "<", "<=": "<=", ">": ">", ">=": ">=", "==": "==", "!=": "!="}


class ProbeSli(Frozen):
    """Samples of a gauge: each is one event, 1 is good, anything else is bad."""

    kind: Literal["probe"] = "probe"
    up: tuple[Selector, ...]

    def _defects(self) -> Iterator[Defect]:
        if not self.up:
            yield Defect("up", "no selector", "a selector or a list of them")
        for at, selector in enumerate(self.up):
            if selector in self.up[:at]:
                yield Defect("up", f"{selector} twice", "each selector once")


class ConditionSli(Frozen):
    """An expression that is compared with a limit at each tick: true is a good tick, false a bad one."""

    kind: Literal["condition"] = "condition"
    expr: str
    op: Operation
    limit: Decimal


class Member(Frozen):
    """An SLO in a composite, and its weight."""

    slo: str
    weight: Decimal = Decimal(1)

    def __str__(self) -> str:
        return f"{self.slo} x {self.weight.normalize():f}"

    def _defects(self) -> Iterator[Defect]:
        if not (self.weight.is_finite() and self.weight > 0):
            yield Defect("weight", str(self.weight), "above 0")


class CompositeSli(Frozen):
    """The error ratio of other SLOs: their weighted mean, or that of the one with the least budget left."""

    kind: Literal["composite"] = "composite"
    members: tuple[Member, ...]
    mode: Literal["weighted", "worst"] = "weighted"

    def _defects(self) -> Iterator[Defect]:
        names = [member.slo for member in self.members]
        if not names:
            yield Defect("members", "no member", "at least one")
        for at, name in enumerate(names):
            if name in names[:at]:
                yield Defect(f"members[{at}]", f"{name} twice", "each member once")


Sli = Annotated[
    RequestsSli | LatencySli | PromqlSli | ProbeSli | ConditionSli | CompositeSli, Field(discriminator="kind")
]

"""Vector selectors as Prometheus understands them: parsed by a real PromQL parser, matched in Python."""

from __future__ import annotations

import re
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Literal

import promql_parser

from slo_budget_tracker import metricsql, regexes

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

Operator = Literal["=", "!=", "=~", "!~"]

MOST_CHARACTERS = 16_384
MOST_NESTED = 100
MOST_OPERATORS = 500
_METRIC = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*", re.ASCII)
_LABEL = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*", re.ASCII)
_CONTROL = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f]")
_TOKENS = re.compile(
    r"""(?P<text>"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*'|`[^`]*`)|(?P<comment>\#[^\n]*)"""
    r"""|(?P<variable>(?<!\w)\$\w*)|(?P<open>[(\[{])|(?P<close>[)\]}])"""
    r"""|(?P<operator>[-+*/%^<>=!]|\b(?:and|or|unless|atan2)\b)""",
    re.DOTALL | re.IGNORECASE,
)
_OPERATORS: Mapping[str, Operator] = {"Equal": "=", "NotEqual": "!=", "Re": "=~", "NotRe": "!~"}


@dataclass(frozen=True)
class Matcher:
    """One label matcher; regular expressions are anchored at both ends, as in Prometheus."""

    label: str
    operator: Operator
    value: str

    @cached_property
    def _pattern(self) -> re.Pattern[str]:
        return regexes.compiled(self.value)

    def matches(self, labels: Mapping[str, str]) -> bool:
        """Whether the label set satisfies the matcher; an absent label is the empty string."""
        found = labels.get(self.label, "")
        if self.operator == "=":
            return found == self.value
        if self.operator == "!=":
            return found != self.value
        hit = self._pattern.fullmatch(found) is not None
        return hit if self.operator == "=~" else not hit

    def __str__(self) -> str:
        return f"{self.label}{self.operator}{quote(self.value)}"


@dataclass(frozen=True)
class Selector:
    """`metric{matchers}`: matchers are sorted, so equal selectors are equal values."""

    metric: str
    matchers: tuple[Matcher, ...] = ()

    def matches(self, labels: Mapping[str, str]) -> bool:
        """Whether a series with these labels (with or without `__name__`) is selected."""
        return labels.get("__name__", self.metric) == self.metric and all(
            m.matches(labels) for m in self.matchers
        )

    def __str__(self) -> str:
        inside = ",".join(map(str, self.matchers))
        return f"{self.metric}{{{inside}}}" if inside else self.metric


def quote(value: str) -> str:
    """A PromQL string literal (the rules are Go's)."""
    escaped = value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped}"'


def parse_selector(text: str) -> Selector:
    """The selector that `metric{label="value"}` means; ValueError with a sentence for anything else."""
    return _selector(_parse(text))


def selectors_in(text: str) -> tuple[Selector, ...]:
    """The selectors in an expression, as far as each names one metric, without their ranges and offsets."""
    found: list[Selector] = []

    def visit(node: promql_parser.Expr) -> bool:
        if isinstance(node, promql_parser.VectorSelector):
            with suppress(ValueError):
                found.append(_plain(node))
        return True

    promql_parser.walk(_parse(text), visit)
    return tuple(dict.fromkeys(found))


def spelled(parsed: promql_parser.VectorSelector) -> str:
    """A selector of any kind as PromQL, without offset and `@`: with `or` among matchers as MetricsQL has it.

    The parser's own text has values as they are, not as a literal has to be written.
    """
    matchers = parsed.matchers
    each = [one for one in (matchers.matchers, *matchers.or_matchers) if one]
    inside = " or ".join(",".join(f"{m.name}{_operator(m)}{quote(m.value)}" for m in one) for one in each)
    return f"{parsed.name or ''}{{{inside}}}" if inside else parsed.name or ""


def _selector(parsed: promql_parser.Expr) -> Selector:
    if not isinstance(parsed, promql_parser.VectorSelector):
        if isinstance(parsed, promql_parser.MatrixSelector):
            raise ValueError(  # noqa: TRY004 - the type of a parsed expression, not of an argument
                "a range selector; leave out the [range]: each tick chooses its own"
            )
        raise ValueError(  # noqa: TRY004 - as above
            "an expression, not a selector; free expressions go under `promql`"
        )
    if parsed.offset is not None or parsed.at is not None:
        raise ValueError("a selector with offset or @; leave these out: each tick chooses its instant")
    return _plain(parsed)


def _plain(parsed: promql_parser.VectorSelector) -> Selector:
    """A parsed selector, whatever its offset."""
    if parsed.matchers.or_matchers:
        raise ValueError("a selector with `or`; write a list of selectors")
    found = [Matcher(m.name, _operator(m), m.value) for m in parsed.matchers.matchers]
    metric = _metric(parsed.name, [m for m in found if m.label == "__name__"])
    matchers = sorted({m for m in found if m.label != "__name__"}, key=_order)
    for matcher in matchers:
        if not _LABEL.fullmatch(matcher.label):
            raise ValueError("label names beyond [a-zA-Z0-9_] are not supported in this version")
        if matcher.operator in {"=~", "!~"}:
            regexes.translate(matcher.value)
    return Selector(metric, tuple(matchers))


def _metric(name: str | None, matchers: Sequence[Matcher]) -> str:
    if any(m.operator != "=" for m in matchers) or len(matchers) + (name is not None) > 1:
        raise ValueError("a selector that matches __name__ by a pattern; name one metric")
    metric = name if not matchers else matchers[0].value
    if not metric:
        raise ValueError("a selector without the name of a metric")
    if not _METRIC.fullmatch(metric):
        raise ValueError("metric names beyond [a-zA-Z0-9_:] are not supported in this version")
    return metric


def _operator(matcher: promql_parser.Matcher) -> Operator:
    return _OPERATORS[str(matcher.op).rpartition(".")[2]]


def _order(matcher: Matcher) -> tuple[str, str, str]:
    return matcher.label, matcher.operator, matcher.value


def parse_expression(text: str, *, window: bool = True) -> str:
    """PromQL with `$window` (or without) and no comments; ValueError unless it yields numbers at an instant.

    A comment would swallow what a query adds behind the expression.
    """
    variables = {found[0] for found in _TOKENS.finditer(text) if found["variable"] is not None}
    unknown = sorted(variables - {"$window"} if window else variables)
    if unknown:
        filled = "only $window is filled in" if window else "none is filled in here"
        raise ValueError(f"the variable {unknown[0]}; {filled}")
    if window and not variables:
        raise ValueError("an expression without $window; each tick fills in the range there, as in [$window]")
    parsed = parsed_expression(text)
    while isinstance(parsed, promql_parser.ParenExpr):
        parsed = parsed.expr
    kind = type(parsed).__name__
    if kind in {"MatrixSelector", "SubqueryExpr"}:
        raise ValueError("a range of samples; a function such as increase(…[$window]) makes numbers of it")
    if kind == "StringLiteral":
        raise ValueError("a text, not a number")
    return _TOKENS.sub(lambda found: "" if found["comment"] is not None else found[0], text).strip()


def beyond_promql(text: str) -> tuple[str, ...]:
    """The functions in an expression that only VictoriaMetrics has."""
    return metricsql.called(parsed_expression(text))


def parsed_expression(text: str) -> promql_parser.Expr:
    """An expression, `$window` filled in, as its parser gives it; ValueError where it is no PromQL."""
    return _parse(substitute_window(text, "5m"))


def substitute_window(text: str, duration: str) -> str:
    """The expression with the duration in the place of each whole token `$window`; texts stay as they are."""
    return _TOKENS.sub(lambda found: duration if found["variable"] == "$window" else found[0], text)


def _parse(text: str) -> promql_parser.Expr:
    """The parsed expression; the sentence of the parser as ValueError.

    The parser recurses in native code without a limit of its own: thousands of operators or brackets overflow
    its stack and end the process, so both are counted before.
    """
    if len(text) > MOST_CHARACTERS or len(text.encode(errors="replace")) > MOST_CHARACTERS:
        raise ValueError(f"{len(text)} characters; at most {MOST_CHARACTERS} are accepted")
    if _CONTROL.search(text):
        raise ValueError("a control character")
    depth = deepest = operators = 0
    for found in _TOKENS.finditer(text):
        operators += found["operator"] is not None
        depth += (found["open"] is not None) - (found["close"] is not None)
        deepest = max(deepest, depth)
    if deepest > MOST_NESTED or operators > MOST_OPERATORS:
        raise ValueError(f"more than {MOST_NESTED} nested brackets or {MOST_OPERATORS} operators")
    try:
        return promql_parser.parse(text)
    except ValueError as error:
        sentence = " ".join(str(error).split())[:200]
        raise ValueError(f"not PromQL: {sentence}") from None

"""PromQL as people write it for SLIs: sums of counters and their ratios, recognised by a real parser.

`sum(rate(x{…}[w]))` and `increase` of it, sums and differences of such sums, label groupings, `or vector(0)`
and `> 0` say no more than which counters are added up. Whatever else there is stays an expression, and the
ValueError says what kept it from being read.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, NamedTuple

import promql_parser

from slo_budget_tracker.durations import parse_duration
from slo_budget_tracker.selectors import parse_expression, parse_selector, substitute_window

if TYPE_CHECKING:
    from slo_budget_tracker.selectors import Selector

# Stands for $window while an expression is parsed: a duration that nobody writes.
_MARK = "7654321s"
_MARK_SECONDS = parse_duration(_MARK)
_TEMPLATE = re.compile(r"\{\{-?\s*\.\s*window\s*-?\}\}", re.IGNORECASE)
_COUNTING = {"rate", "increase"}


class Term(NamedTuple):
    """A counter that is added or taken away."""

    sign: int
    selector: Selector


@dataclass(frozen=True, slots=True)
class Counts:
    """Counters that an expression adds up.

    Attributes:
        terms: what is added and taken away.
        function: `rate`, `increase`, or nothing for the counter itself.
        groups: labels that results are kept apart by.
        summed: whether an aggregation adds the series up.
        fixed: the ranges that are no `$window`, in seconds.
    """

    terms: tuple[Term, ...]
    function: str = ""
    groups: tuple[str, ...] = ()
    summed: bool = False
    fixed: frozenset[int] = frozenset()

    def negated(self) -> Counts:
        """The same with every sign turned."""
        return replace(self, terms=tuple(Term(-term.sign, term.selector) for term in self.terms))


class Ratio(NamedTuple):
    """Bad (or good) events over all."""

    part: Counts
    total: Counts
    good: bool


def with_window(text: str) -> str:
    """The expression with `$window` where templates have `{{.window}}`."""
    return _TEMPLATE.sub("$window", text)


def has_window(text: str) -> bool:
    """Whether `$window` stands in the expression."""
    return substitute_window(text, _MARK) != text


def read_counts(text: str) -> Counts:
    """The counters that an expression with `$window` adds up; ValueError says what else it does."""
    return _counts(_parsed(text))


def read_ratio(text: str, *, good: bool) -> Ratio:
    """An expression whose value is the share of good (or bad) events; ValueError says what else it does."""
    return _ratio(_parsed(text), good=good)


def functions(text: str) -> set[str]:
    """The names of all functions over ranges that an expression calls."""
    found: set[str] = set()
    waiting: list[Any] = [_parsed(text)]
    while waiting:
        node = waiting.pop()
        if isinstance(node, promql_parser.Call):
            if any(
                isinstance(one, (promql_parser.MatrixSelector, promql_parser.SubqueryExpr))
                for one in node.args
            ):
                found.add(node.func.name)
            waiting.extend(node.args)
        waiting.extend(
            one for name in ("lhs", "rhs", "expr") if (one := getattr(node, name, None)) is not None
        )
    return found


def _parsed(text: str) -> Any:
    marked = substitute_window(text, _MARK)
    return promql_parser.parse(parse_expression(marked, window=False))


def _counts(node: Any) -> Counts:
    if isinstance(node, promql_parser.ParenExpr):
        return _counts(node.expr)
    if isinstance(node, promql_parser.AggregateExpr):
        return _sum(node)
    if isinstance(node, promql_parser.BinaryExpr):
        return _binary(node)
    if isinstance(node, promql_parser.Call):
        return _call(node)
    if isinstance(node, promql_parser.VectorSelector):
        return Counts((Term(1, parse_selector(node.prettify())),))
    raise ValueError(f"{_name(node)} is no sum of counters")


def _call(node: Any) -> Counts:
    name = node.func.name
    if name not in _COUNTING:
        raise ValueError(f"{name}() is no sum of counters")
    inside = node.args[0]
    if not isinstance(inside, promql_parser.MatrixSelector):
        raise ValueError(f"{name}() of a subquery is no sum of counters")  # noqa: TRY004 - as in selectors
    seconds = round(inside.range.total_seconds())
    fixed = frozenset() if seconds == _MARK_SECONDS else frozenset({seconds})
    return Counts((Term(1, parse_selector(inside.vector_selector.prettify())),), name, fixed=fixed)


def _sum(node: Any) -> Counts:
    name = str(node.op)
    if name != "sum":
        raise ValueError(f"{name}() is no sum of counters")
    inner = _counts(node.expr)
    if len(inner.terms) > 1 and not inner.summed:
        raise ValueError("arithmetic between series inside sum() leaves out the series without a partner")
    groups: tuple[str, ...] = ()
    if node.modifier is not None:
        if not str(node.modifier.type).endswith("By"):
            raise ValueError("sum without(…) keeps labels apart that are not named")
        groups = tuple(sorted(node.modifier.labels))
    if "le" in groups:
        raise ValueError("sum by (le) keeps buckets apart")
    if inner.summed and inner.groups and not set(groups) <= set(inner.groups):
        raise ValueError("sum by labels that an inner sum has dropped")
    return replace(inner, groups=groups, summed=True)


def _binary(node: Any) -> Counts:
    operator = str(node.op)
    if operator == "or" and _is_zero_vector(node.rhs):
        return _counts(node.lhs)
    if operator == ">" and _number(node.rhs) == 0 and not getattr(node.modifier, "return_bool", False):
        return _counts(node.lhs)
    if operator not in {"+", "-"}:
        raise ValueError(f"the operator {operator} makes no sum of counters")
    one, other = _counts(node.lhs), _counts(node.rhs)
    if not (one.summed and other.summed):
        raise ValueError(f"the operator {operator} between series leaves out those without a partner")
    if one.function != other.function:
        raise ValueError(f"{one.function or 'a counter'} and {other.function or 'a counter'} in one sum")
    if one.groups != other.groups:
        raise ValueError("sums by different labels")
    other = other.negated() if operator == "-" else other
    return replace(one, terms=one.terms + other.terms, fixed=one.fixed | other.fixed)


def _ratio(node: Any, *, good: bool) -> Ratio:
    if isinstance(node, promql_parser.ParenExpr):
        return _ratio(node.expr, good=good)
    if not isinstance(node, promql_parser.BinaryExpr):
        raise ValueError(f"{_name(node)} is no ratio of two sums of counters")  # noqa: TRY004 - as in selectors
    operator = str(node.op)
    if operator == "-" and _number(node.lhs) == 1:
        return _ratio(node.rhs, good=not good)
    if operator == "or" and _is_zero_vector(node.rhs):
        return _ratio(node.lhs, good=good)
    if operator != "/":
        raise ValueError(f"the operator {operator} makes no ratio of two sums of counters")
    return Ratio(_counts(node.lhs), _counts(node.rhs), good)


def _is_zero_vector(node: Any) -> bool:
    if isinstance(node, promql_parser.ParenExpr):
        return _is_zero_vector(node.expr)
    return isinstance(node, promql_parser.Call) and node.func.name == "vector" and _number(node.args[0]) == 0


def _number(node: Any) -> float | None:
    while isinstance(node, promql_parser.ParenExpr):
        node = node.expr
    return node.val if isinstance(node, promql_parser.NumberLiteral) else None


def _name(node: Any) -> str:
    kinds = {
        "NumberLiteral": "a number",
        "UnaryExpr": "a negated expression",
        "SubqueryExpr": "a subquery",
        "MatrixSelector": "a range of samples",
    }
    if isinstance(node, promql_parser.Call):
        return f"{node.func.name}()"
    if isinstance(node, promql_parser.AggregateExpr):
        return f"{node.op}()"
    return kinds.get(type(node).__name__, "a single value")

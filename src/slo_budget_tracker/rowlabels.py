"""Which labels the rows of a PromQL expression have: an SLO with groups needs a row for each of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import promql_parser
from promql_parser import AggModifierType, LabelModifierType, ValueType, VectorMatchCardinality

from slo_budget_tracker import metricsql
from slo_budget_tracker.selectors import parsed_expression

if TYPE_CHECKING:
    from collections.abc import Iterable

_KEEPING = frozenset({"topk", "bottomk", "limitk", "limit_ratio"})  # aggregations that choose among rows
_WRITING = frozenset({"label_replace", "label_join"})  # functions whose second argument names a label
_CONSTANTS = (promql_parser.NumberLiteral, promql_parser.StringLiteral)
_SET = frozenset({"and", "unless"})


def lost(expression: str, labels: Iterable[str]) -> str | None:
    """The first of the labels that no row of the expression can have; None where all may be there."""
    parsed = parsed_expression(expression)
    return next((label for label in labels if not _kept(parsed, label)), None)


def as_vector(expression: str) -> str:
    """The same expression, a scalar as a vector of one."""
    return f"vector({expression})" if is_scalar(parsed_expression(expression)) else expression


def _kept(one: object, label: str) -> bool:
    """Whether rows of an expression may have a label; what is not understood may."""
    match one:
        case promql_parser.ParenExpr() | promql_parser.UnaryExpr() | promql_parser.SubqueryExpr():
            return _kept(one.expr, label)
        case promql_parser.NumberLiteral():
            return False
        case promql_parser.AggregateExpr():
            return _kept_by_aggregation(one, label)
        case promql_parser.BinaryExpr():
            return _kept_by_operator(one, label)
        case promql_parser.Call():
            return _kept_by_function(one, label)
        case _:
            return True


def _kept_by_aggregation(one: promql_parser.AggregateExpr, label: str) -> bool:
    if str(one.op) in _KEEPING:
        return _kept(one.expr, label)
    if str(one.op) == "count_values" and getattr(one.param, "val", None) == label:
        return True
    if one.modifier is None:
        return False
    if one.modifier.type == AggModifierType.By:
        return label in one.modifier.labels and _kept(one.expr, label)
    return label not in one.modifier.labels and _kept(one.expr, label)


def _kept_by_operator(one: promql_parser.BinaryExpr, label: str) -> bool:
    operator, matched = str(one.op), one.modifier
    if operator in _SET or (is_scalar(one.rhs) and operator != "or"):
        return _kept(one.lhs, label)
    if is_scalar(one.lhs) and operator != "or":
        return _kept(one.rhs, label)
    kept = [_kept(one.lhs, label), _kept(one.rhs, label)]
    if matched is None or operator == "or":
        return all(kept)
    if matched.card == VectorMatchCardinality.OneToOne:
        return all(kept) and _matched(matched.matching, label)
    many = 0 if matched.card == VectorMatchCardinality.ManyToOne else 1
    return kept[many] or label in (matched.group_labels or ())


def _matched(matching: promql_parser.LabelModifier | None, label: str) -> bool:
    """Whether a label is among those by which two sides are matched, which are all that the result has."""
    return matching is None or (matching.type == LabelModifierType.Include) == (label in matching.labels)


def _kept_by_function(one: promql_parser.Call, label: str) -> bool:
    name = one.func.name
    if name in metricsql.FUNCTIONS:  # many of them write labels
        return True
    if name in _WRITING and getattr(one.args[1], "val", None) == label:
        return True
    if name == "vector" or one.func.return_type == ValueType.Scalar:
        return False
    vectors = [arg for arg in one.args if not isinstance(arg, _CONSTANTS)]
    return _kept(vectors[-1], label) if vectors and name != "absent" else True


def is_scalar(one: object) -> bool:
    """Whether a parsed expression is a scalar, which has no labels at all."""
    match one:
        case promql_parser.NumberLiteral():
            return True
        case promql_parser.ParenExpr() | promql_parser.UnaryExpr():
            return is_scalar(one.expr)
        case promql_parser.BinaryExpr():
            return is_scalar(one.lhs) and is_scalar(one.rhs)
        case promql_parser.Call():
            return bool(one.func.return_type == ValueType.Scalar)
        case _:
            return False

"""Expressions to the native `sli:`: exact selectors where the counters are recognised, PromQL where not."""

from __future__ import annotations

import re
from decimal import Decimal
from typing import TYPE_CHECKING, NamedTuple

from slo_budget_tracker.durations import format_duration
from slo_budget_tracker.formats.expressions import (
    Counts,
    Ratio,
    Term,
    functions,
    has_window,
    read_counts,
    read_ratio,
    with_window,
)
from slo_budget_tracker.formats.trees import tree
from slo_budget_tracker.groups import written
from slo_budget_tracker.queries import bound_spellings
from slo_budget_tracker.selectors import Matcher, Selector, parse_selector

if TYPE_CHECKING:
    from collections.abc import Sequence

    from slo_budget_tracker.documents import Node, Scalar
    from slo_budget_tracker.formats.drafts import Draft
    from slo_budget_tracker.formats.trees import Tree

_RATE = re.compile(r""""(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*'|`[^`]*`|\brate(?=\s*\()""")
_BOUND = re.compile(r"[0-9]+(?:\.[0-9]+)?(?:e[-+]?[0-9]{1,2})?", re.IGNORECASE | re.ASCII)
_BUCKET, _COUNT = "_bucket", "_count"
_SECONDS = "_seconds"


class Indicator(NamedTuple):
    """A native `sli:` and the labels its results are kept apart by."""

    sli: Node
    group_by: tuple[str, ...] = ()

    @property
    def groups_written(self) -> tuple[str, ...]:
        """The labels as a native file has them."""
        return tuple(map(written, self.group_by))


def events(
    draft: Draft, place: Node, *, part: Scalar, total: Scalar, good: bool, counter: bool = True
) -> Indicator | None:
    """Good or bad events over all, each an expression; None with a fault where nothing can be made of it."""
    texts = with_window(part.text), with_window(total.text)
    try:
        ratio = Ratio(read_counts(texts[0]), read_counts(texts[1]), good)
        _check_counters(ratio, counter=counter)
        return _exact(draft, place, ratio, places=(part, total))
    except ValueError as error:
        reason = str(error)
    role = "good" if good else "bad"
    for node, text in ((part, texts[0]), (total, texts[1])):
        if not has_window(text):
            draft.refuse(
                node, f"an expression that cannot be counted ({reason})", "one with `{{.window}}` in it"
            )
            return None
        if not _parses(draft, node, text):
            return None
    if functions(texts[0]) | functions(texts[1]) == {"rate"}:
        texts = tuple(_RATE.sub(_increase, text) for text in texts)  # type: ignore[assignment]
    draft.warn(part, f"runs as PromQL, with the server's extrapolation: {reason}")
    return Indicator(tree(place, {"promql": {role: tree(part, texts[0]), "total": tree(total, texts[1])}}))


def share(draft: Draft, place: Node, expression: Scalar, *, good: bool) -> Indicator | None:
    """The share of good (or bad) events as one expression."""
    text = with_window(expression.text)
    try:
        return _exact(draft, place, read_ratio(text, good=good), places=(expression, expression))
    except ValueError as error:
        reason = str(error)
    if not _parses(draft, expression, text):
        return None
    if not has_window(text):
        text = f"avg_over_time(({text})[$window:])"
        reason = "no {{.window}} in it: its mean over the window is taken"
    draft.warn(expression, f"runs as PromQL, and every tick weighs the same whatever its traffic: {reason}")
    ratio = f"1 - ({text})" if good else text
    return Indicator(tree(place, {"promql": {"error_ratio": tree(expression, ratio)}}))


def selected(place: Node, *, part: Selector, total: Selector, good: bool, places: tuple[Node, Node]) -> Node:
    """A ratio of two selectors, as a latency where it is one bucket of a histogram against all of it."""
    return _sli(place, [part], [total], good=good, places=places)


def at_most(place: Node, buckets: Selector, bound: str, *, node: Node) -> Node:
    """The share of events in a histogram's bucket: its selector without `le` and its upper bound."""
    part = _with(buckets, Matcher("le", "=", bound))
    total = _with(buckets, Matcher("le", "=", "+Inf"))
    return _sli(place, [part], [total], good=True, places=(node, node))


def _check_counters(ratio: Ratio, *, counter: bool) -> None:
    if not counter and not ratio.part.function:
        raise ValueError("a gauge, no counter")


def _parses(draft: Draft, node: Scalar, text: str) -> bool:
    try:
        functions(text)
    except ValueError as error:
        draft.refuse(node, str(error), "PromQL that Prometheus accepts")
        return False
    return True


def _increase(found: re.Match[str]) -> str:
    return "increase" if found[0] == "rate" else found[0]


def _exact(draft: Draft, place: Node, ratio: Ratio, *, places: tuple[Scalar, Scalar]) -> Indicator:
    part, total, good = ratio
    if part.function != total.function:
        raise ValueError(f"{part.function or 'a counter'} over {total.function or 'a counter'}")
    if part.groups != total.groups:
        raise ValueError("the two sums keep different labels apart")
    terms, good = _one_signed(part.terms, total.terms, good=good)
    if any(term.sign < 0 for term in (*terms, *total.terms)):
        raise ValueError("a difference that is not all events less some of them")
    if any(len(set(counted)) < len(counted) for counted in (terms, total.terms)):
        raise ValueError("the same counter twice in one sum")
    _tell(draft, places[0], part, total)
    selectors = [term.selector for term in terms]
    sli = _sli(place, selectors, [term.selector for term in total.terms], good=good, places=places)
    return Indicator(sli, part.groups)


def _tell(draft: Draft, node: Node, part: Counts, total: Counts) -> None:
    for seconds in sorted(part.fixed | total.fixed):
        range_ = format_duration(seconds)
        draft.warn(node, f"the range {range_} is left out: every event is counted once, in its own tick")
    if part.function and not (part.summed and total.summed):
        draft.warn(node, "no sum() around it: all series that it selects are added up")


def _one_signed(part: Sequence[Term], total: Sequence[Term], *, good: bool) -> tuple[tuple[Term, ...], bool]:
    """`all - good` are the bad events: then the good ones are told instead, and the other way round."""
    rest = list(part)
    for term in total:
        if term not in rest:
            return tuple(part), good
        rest.remove(term)
    if rest and all(term.sign < 0 for term in rest):
        return tuple(Term(1, term.selector) for term in rest), not good
    return tuple(part), good


def _sli(
    place: Node,
    part: Sequence[Selector],
    total: Sequence[Selector],
    *,
    good: bool,
    places: tuple[Node, Node],
) -> Node:
    latency = _latency(part[0], total[0]) if good and len(part) == len(total) == 1 else None
    if latency is not None:
        return tree(place, {"latency": tree(places[0], latency)})
    role = "good" if good else "bad"
    return tree(
        place,
        {"requests": {role: tree(places[0], _selectors(part)), "total": tree(places[1], _selectors(total))}},
    )


def _selectors(selectors: Sequence[Selector]) -> Tree:
    texts = [str(_tolerant(selector)) for selector in selectors]
    return texts[0] if len(texts) == 1 else texts


def _latency(part: Selector, total: Selector) -> dict[str, Tree | None] | None:
    """The native latency that a bucket over all of the same histogram is."""
    base = part.metric.removesuffix(_BUCKET)
    bound = _bound([m for m in part.matchers if m.label == "le"])
    rest = tuple(m for m in part.matchers if m.label != "le")
    whole = ((f"{base}{_COUNT}", rest), (f"{base}{_BUCKET}", _with(Selector("x", rest), _INF).matchers))
    if (
        base == part.metric
        or not base.endswith(_SECONDS)
        or bound is None
        or (total.metric, total.matchers) not in whole
    ):
        return None
    return {"histogram": str(Selector(base, rest)), "threshold": threshold(bound)}


def _bound(matchers: Sequence[Matcher]) -> Decimal | None:
    """The one upper bound that matchers of `le` ask for, in whatever spellings."""
    if len(matchers) != 1 or matchers[0].operator not in {"=", "=~"}:
        return None
    spellings = [matchers[0].value]
    if matchers[0].operator == "=~":
        spellings = matchers[0].value.replace("\\", "").split("|")
    if not all(_BOUND.fullmatch(one) for one in spellings):
        return None
    bounds = {Decimal(one) for one in spellings}
    return next(iter(bounds)) if len(bounds) == 1 and max(bounds) > 0 else None


def threshold(seconds: Decimal) -> str:
    """300ms, 5s, or 0.00025s where milliseconds are too coarse."""
    fine = seconds * 1_000 != int(seconds * 1_000)
    return f"{seconds.normalize():f}s" if fine else format_duration(seconds)


_INF = Matcher("le", "=", "+Inf")


def _with(selector: Selector, matcher: Matcher) -> Selector:
    matchers = sorted((*selector.matchers, matcher), key=lambda m: (m.label, m.operator, m.value))
    return Selector(selector.metric, tuple(matchers))


def _tolerant(selector: Selector) -> Selector:
    """A bound such as `le="1"` in each of its spellings: servers and clients write 1 and 1.0."""
    return Selector(selector.metric, tuple(map(_spelled, selector.matchers)))


def _spelled(matcher: Matcher) -> Matcher:
    if matcher.label != "le" or matcher.operator != "=" or not _BOUND.fullmatch(matcher.value):
        return matcher
    spellings = sorted({*bound_spellings(Decimal(matcher.value)), matcher.value})
    if len(spellings) == 1:
        return matcher
    return Matcher("le", "=~", "|".join(re.escape(one) for one in spellings))


def selector_of(draft: Draft, node: Scalar | None) -> Selector | None:
    """The selector of a text; None with a fault where it is none."""
    if node is None:
        return None
    return draft.fields.parsed(node, parse_selector, 'a selector such as http_requests_total{job="shop"}')

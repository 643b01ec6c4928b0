"""Many selectors at once: which of them select a series, and how to ask for all of them in few pieces."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, replace
from itertools import combinations
from typing import TYPE_CHECKING, Generic, TypeVar

from slo_budget_tracker.selectors import Matcher, Selector

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

T = TypeVar("T")

WORTH = 0.9  # a look-up is worth while when at most this share of the members is left to try
SMALL = 8  # so many selectors are simply tried one after the other
MOST_PIECES = 8  # a metric is read in few pieces; beyond, a superset is read instead
PIECE_BYTES = 8_192  # of one selector's text
_SPECIAL = frozenset(r"\.+*?()|[]{}^$")  # Go: regexp.QuoteMeta


def literals(matcher: Matcher) -> frozenset[str] | None:
    r"""The values a matcher accepts where they can be listed: `a="x"`, `a=~"x|y\\.z"`; otherwise None."""
    if matcher.operator == "=":
        return frozenset((matcher.value,))
    if matcher.operator != "=~":
        return None
    values = [""]
    characters = iter(matcher.value)
    for character in characters:
        if character == "|":
            values.append("")
            continue
        if character == "\\":
            character = next(characters, "a")  # noqa: PLW2901 - the escaped one; "a" stands for none
            if character not in _SPECIAL and character != "-":
                return None
        elif character in _SPECIAL:
            return None
        values[-1] += character
    return frozenset(values)


def alternation(label: str, values: frozenset[str]) -> Matcher:
    """The matcher that accepts exactly these values."""
    if len(values) == 1:
        return Matcher(label, "=", next(iter(values)))
    return Matcher(label, "=~", "|".join("".join(map(_quoted, value)) for value in sorted(values)))


def _quoted(character: str) -> str:
    return f"\\{character}" if character in _SPECIAL else character


def pieces(selector: Selector, limit: int = PIECE_BYTES) -> tuple[Selector, ...]:
    """The selector cut along its longest list of values until each text has at most `limit` bytes.

    Pieces share no series. A selector that is long for another reason stays whole.
    """
    if len(str(selector).encode()) <= limit:
        return (selector,)
    listed = [(m, found) for m in selector.matchers if (found := literals(m)) and len(found) > 1]
    if not listed:
        return (selector,)
    longest, values = max(listed, key=lambda one: len(one[0].value))
    ordered = sorted(values)
    half = len(ordered) // 2
    return tuple(
        piece
        for part in (ordered[:half], ordered[half:])
        for piece in pieces(_swap(selector, longest, alternation(longest.label, frozenset(part))), limit)
    )


def _swap(selector: Selector, old: Matcher, new: Matcher) -> Selector:
    return replace(selector, matchers=tuple(new if m is old else m for m in selector.matchers))


def cover(selectors: Sequence[Selector]) -> tuple[Selector, ...]:
    """Few selectors of one metric that together select all that the given ones do, and perhaps more.

    No series is selected by two of them. They are cut along labels whose values all of them list; parts that
    are equal but for that label become one alternation.
    """
    return tuple(sorted(_cover(_absorbed(selectors)), key=str))


def _cover(selectors: Sequence[Selector]) -> Sequence[Selector]:
    if len(selectors) == 1:
        return selectors
    label, parts = max(
        ((label, _parts(selectors, label)) for label in _listed_by_all(selectors)),
        key=lambda one: len(one[1]),
        default=("", ()),
    )
    if len(parts) < 2:  # noqa: PLR2004 - nothing to cut
        return [superset(selectors)]
    equal: dict[Selector, set[str]] = {}
    for values, part in parts:
        rests = [_without(selector, label) for selector in part]
        for rest in rests if len(rests) == 1 else _cover(_absorbed(rests)):
            equal.setdefault(rest, set()).update(values)
    found = [_with(rest, alternation(label, frozenset(values))) for rest, values in equal.items()]
    if len(found) <= MOST_PIECES:
        return found
    alike: dict[tuple[str, ...], list[Selector]] = {}
    for selector in found:
        alike.setdefault(tuple(m.label for m in selector.matchers), []).append(selector)
    merged = [superset(group) for group in alike.values()]
    return merged if len(merged) <= MOST_PIECES and _apart(merged) else [superset(found)]


def _absorbed(selectors: Sequence[Selector]) -> list[Selector]:
    """The selectors without those that only narrow another one down."""
    known = {frozenset(selector.matchers): selector for selector in selectors}
    return [
        selector
        for matchers, selector in known.items()
        if not any(frozenset(few) in known for n in range(len(matchers)) for few in combinations(matchers, n))
    ]


def _listed_by_all(selectors: Sequence[Selector]) -> list[str]:
    labels = [m.label for m in selectors[0].matchers]
    return [label for label in labels if all(_listed(selector, label) is not None for selector in selectors)]


def _parts(selectors: Sequence[Selector], label: str) -> Sequence[tuple[frozenset[str], Sequence[Selector]]]:
    """The selectors in groups that share no value of the label, with the values of each group."""
    group_of: dict[str, int] = {}
    groups: dict[int, tuple[set[str], list[Selector]]] = {}
    for at, selector in enumerate(selectors):
        values = set(_listed(selector, label) or ())
        members = [selector]
        for old in {group_of[value] for value in values if value in group_of}:
            old_values, old_members = groups.pop(old)
            values |= old_values
            members = old_members + members
        groups[at] = (values, members)
        group_of.update(dict.fromkeys(values, at))
    return [(frozenset(values), members) for values, members in groups.values()]


def superset(selectors: Sequence[Selector]) -> Selector:
    """One selector with what all demand; where all demand something of a label, any of it."""
    kept = set(selectors[0].matchers).intersection(*(selector.matchers for selector in selectors[1:]))
    settled = {m.label for m in kept}
    for label in dict.fromkeys(m.label for m in selectors[0].matchers):
        wanted = [_positive(selector, label) for selector in selectors]
        if label in settled or None in wanted:
            continue
        listed = [literals(m) for m in wanted if m is not None]
        if None in listed:
            patterns = {_pattern(m) for m in wanted if m is not None}
            kept.add(Matcher(label, "=~", "|".join(sorted(patterns))))
        else:
            kept.add(alternation(label, frozenset().union(*(values or () for values in listed))))
    return replace(selectors[0], matchers=tuple(sorted(kept, key=_order)))


def _positive(selector: Selector, label: str) -> Matcher | None:
    return next((m for m in selector.matchers if m.label == label and m.operator in ("=", "=~")), None)


def _pattern(matcher: Matcher) -> str:
    if matcher.operator == "=":
        return "".join(map(_quoted, matcher.value))
    return f"(?:{matcher.value})"


def _apart(selectors: Sequence[Selector]) -> bool:
    return all(disjoint(one, other) for one, other in combinations(selectors, 2))


def _without(selector: Selector, label: str) -> Selector:
    return Selector(selector.metric, tuple([m for m in selector.matchers if m.label != label]))


def _with(selector: Selector, matcher: Matcher) -> Selector:
    return replace(selector, matchers=tuple(sorted((*selector.matchers, matcher), key=_order)))


def _order(matcher: Matcher) -> tuple[str, str, str]:
    return matcher.label, matcher.operator, matcher.value


def disjoint(one: Selector, other: Selector) -> bool:
    """Whether it is plain from lists of values that no series is selected by both."""
    mine = {m.label: found for m in one.matchers if (found := literals(m)) is not None}
    return one.metric != other.metric or any(
        found.isdisjoint(mine[m.label])
        for m in other.matchers
        if m.label in mine and (found := literals(m)) is not None
    )


@dataclass(frozen=True, slots=True)
class Index(Generic[T]):
    """Finds the members whose selector matches a label set without trying them all.

    A tree: each node looks up one label, the one whose listed values tell members apart best; those that
    do not list its values are under `rest`.
    """

    tried: tuple[tuple[T, Selector], ...] = ()
    label: str = ""
    branches: Mapping[str, Index[T]] = field(default_factory=dict)
    rest: Index[T] | None = None

    @classmethod
    def of(cls, members: Sequence[tuple[T, Selector]], used: frozenset[str] = frozenset()) -> Index[T]:
        """Build the tree over `members`; labels in `used` have been looked up above."""
        label = _telling(members, used) if len(members) > SMALL else None
        if label is None:
            return cls(tried=tuple(members))
        rest = []
        parts: dict[str, list[tuple[T, Selector]]] = {}
        for member in members:
            values = _listed(member[1], label)
            if values is None:
                rest.append(member)
            for value in values or ():
                parts.setdefault(value, []).append(member)
        below = used | {label}
        return cls(
            label=label,
            branches={value: cls.of(part, below) for value, part in parts.items()},
            rest=cls.of(rest, below) if rest else None,
        )

    def candidates(self, labels: Mapping[str, str]) -> Iterator[tuple[T, Selector]]:
        """The members that may select the label set."""
        yield from self.tried
        if (branch := self.branches.get(labels.get(self.label, ""))) is not None:
            yield from branch.candidates(labels)
        if self.rest is not None:
            yield from self.rest.candidates(labels)

    def find(self, labels: Mapping[str, str]) -> tuple[T, ...]:
        """What belongs to a label set: each item once, though several of its selectors may match."""
        return tuple(
            dict.fromkeys(item for item, selector in self.candidates(labels) if selector.matches(labels))
        )


def _listed(selector: Selector, label: str) -> frozenset[str] | None:
    for matcher in selector.matchers:
        if matcher.label == label and (found := literals(matcher)) is not None:
            return found
    return None


def _telling(members: Sequence[tuple[T, Selector]], used: frozenset[str]) -> str | None:
    """The label that leaves the fewest members to try for a series; None where none is worth it."""
    values: dict[str, Counter[str]] = {}
    listing: Counter[str] = Counter()
    for _, selector in members:
        found_in = {m.label: found for m in selector.matchers if (found := literals(m)) is not None}
        for label, found in found_in.items():
            if label not in used:
                values.setdefault(label, Counter()).update(found)
                listing[label] += 1
    costs = {
        label: len(members) - listing[label] + sum(n * n for n in counts.values()) / counts.total()
        for label, counts in values.items()
    }
    cost, label = min(((cost, label) for label, cost in costs.items()), default=(float("inf"), ""))
    return label if cost < len(members) * WORTH else None

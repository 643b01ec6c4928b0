"""YAML as nodes that remember where they stand, with everything strange in it told as faults.

The text is read as a stream of events of libyaml, never composed or constructed: aliases are not followed,
tags make no objects, and no nesting of the text becomes nesting of calls.
"""

from __future__ import annotations

import re
import time
from dataclasses import dataclass
from enum import Enum
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import yaml

from slo_budget_tracker.errors import Fault, shown

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

DEEPEST = 32
TIME_BUDGET_SECONDS = 2.0  # of this thread's CPU: a busy machine is no fault of the file
_EVENTS_PER_LOOK = 256
_MERGE_KEY = "<<"


class Kind(Enum):
    """What a scalar is: text, or by its plain form a value of YAML 1.2's core schema, or a trap."""

    TEXT = "text"
    NULL = "nothing"
    BOOLEAN = "a boolean"
    NUMBER = "a number"
    TRAP = "a trap"


@dataclass(frozen=True, slots=True)
class Node:
    """A value in a file: 1-based line and column, and the path of keys that leads to it."""

    file: str
    line: int
    column: int
    path: str

    def fault(
        self, found: str, expected: str = "", suggestion: str = "", *, path: str = "", warning: bool = False
    ) -> Fault:
        """A fault at this place; `path` leads on from the node's own."""
        return Fault(
            self.file, self.line, self.column, joined(self.path, path), found, expected, suggestion, warning
        )


@dataclass(frozen=True, slots=True)
class Scalar(Node):
    """A text as it was written, quoted or plain."""

    text: str
    plain: bool = False

    @property
    def kind(self) -> Kind:
        """What the text stands for; quoted it is always text."""
        return _kind(self.text) if self.plain else Kind.TEXT


@dataclass(frozen=True, slots=True)
class Sequence(Node):
    """A list of nodes."""

    items: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class Mapping(Node):
    """Keys and their nodes, in the order of the file; of a duplicate key the first."""

    keys: dict[str, Scalar]
    values: dict[str, Node]


@dataclass(frozen=True, slots=True)
class Broken(Node):
    """Stands where something was refused, so that nothing follows from it."""


@dataclass(frozen=True, slots=True)
class Reading:
    """The documents of one text and everything that was refused in it."""

    documents: tuple[Node, ...]
    faults: tuple[Fault, ...]


def joined(path: str, more: str) -> str:
    """`a.b` and `c` are `a.b.c`; `a` and `[0]` are `a[0]`."""
    return f"{path}{'.' if path and more and not more.startswith('[') else ''}{more}"


_BOOLEAN = re.compile(r"true|True|TRUE|false|False|FALSE")
_NULL = re.compile(r"~|null|Null|NULL|")
_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][-+]?[0-9]+)?|-?\.[0-9]+", re.ASCII)
_TRAPS = (
    (re.compile(r"y|n|yes|no|on|off", re.IGNORECASE), "a boolean in YAML 1.1"),
    (re.compile(r"[-+]?[0-9][0-9_]*(?::[0-5]?[0-9])+(?:\.[0-9_]*)?", re.ASCII), "base 60 in YAML 1.1"),
    (re.compile(r"[-+]?0[0-9_]+", re.ASCII), "an octal number in YAML 1.1"),
    (re.compile(r"[-+]?0(?:x[0-9a-f_]+|o[0-7_]+|b[01_]+)", re.IGNORECASE), "a number in another base"),
    (
        re.compile(r"[-+]?[0-9][0-9_]*(?:\.[0-9_]*)?(?:e[-+]?[0-9]+)?", re.IGNORECASE | re.ASCII),
        "a number in YAML 1.1",
    ),
    (re.compile(r"\+\.?[0-9].*", re.ASCII), "a number in YAML 1.1"),
    (re.compile(r"[-+]?\.(?:inf|nan)", re.IGNORECASE), "no finite number"),
    (re.compile(r"[0-9]{4}-[0-9]{1,2}-[0-9]{1,2}(?:[Tt ].*)?", re.ASCII), "a date in YAML 1.1"),
    (re.compile(r"="), "a special value in YAML 1.1"),
)
# What libyaml's reader refuses, found beforehand because its own message says no line.
_UNPRINTABLE = re.compile("[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]|\ufeff(?<!^)")


@lru_cache(maxsize=4_096)
def _kind(text: str) -> Kind:
    if _BOOLEAN.fullmatch(text):
        return Kind.BOOLEAN
    if _NULL.fullmatch(text):
        return Kind.NULL
    if _NUMBER.fullmatch(text):
        return Kind.NUMBER
    return Kind.TRAP if trap(text) else Kind.TEXT


@lru_cache(maxsize=4_096)
def trap(text: str) -> str:
    """What some YAML readers take the plain text for, against what its author meant; empty if they agree."""
    return next((meaning for pattern, meaning in _TRAPS if pattern.fullmatch(text)), "")


def read_documents(
    text: str,
    *,
    file: str,
    deepest: int = DEEPEST,
    seconds: float = TIME_BUDGET_SECONDS,
    stopwatch: Callable[[], float] = time.thread_time,
) -> Reading:
    """All documents of a YAML text, and every fault of its form with line and column."""
    strange = _UNPRINTABLE.search(text)
    if strange is not None:
        before = text[: strange.start()]
        line, column = before.count("\n") + 1, len(before) - (before.rfind("\n") + 1) + 1
        found = f"the character U+{ord(strange[0]):04X}"
        return Reading((), (Fault(file, line, column, "", found, "printable text"),))
    builder = _Builder(file, deepest=deepest)
    end = stopwatch() + seconds
    try:
        for number, event in enumerate(yaml.parse(text, Loader=yaml.CSafeLoader), start=1):
            if not builder.take(event):
                break
            if number % _EVENTS_PER_LOOK == 0 and stopwatch() > end:
                found = f"a file that takes over {seconds:g} s to read"
                builder.faults.append(Fault(file, *_place(event.start_mark), "", found, "a smaller one"))
                break
    except yaml.MarkedYAMLError as error:
        builder.faults.append(_syntax(error, file, text))
    return Reading(tuple(builder.documents), tuple(builder.faults))


def _syntax(error: yaml.MarkedYAMLError, file: str, text: str) -> Fault:
    mark = error.problem_mark or error.context_mark
    place = _place(mark)
    line = text.splitlines()[place[0] - 1 : place[0]]
    if line and "\t" in line[0][: len(line[0]) - len(line[0].lstrip())]:
        return Fault(file, place[0], line[0].index("\t") + 1, "", "a tab", "spaces to indent with")
    context = f" ({error.context})" if error.context else ""
    suggestion = "a text with : # { [ or quotes in it needs quotes around it"
    return Fault(file, *place, "", f"not YAML: {error.problem}{context}", "", suggestion)


def _place(mark: Any) -> tuple[int, int]:
    return (mark.line + 1, mark.column + 1) if mark is not None else (1, 1)


class _Open:
    """A list or mapping that is still being read."""

    def __init__(self, place: tuple[int, int], path: str, *, mapping: bool) -> None:
        self.place = place
        self.path = path
        self.mapping = mapping
        self.items: list[Node] = []
        self.keys: dict[str, Scalar] = {}
        self.values: dict[str, Node] = {}
        self.key: Scalar | None = None
        self.skip_value = False

    def next_path(self) -> str:
        if self.mapping:
            return joined(self.path, _key(self.key.text)) if self.key is not None else self.path
        return f"{self.path}[{len(self.items)}]"


class _Builder:
    """Makes nodes of events; a stack of open collections instead of recursion."""

    def __init__(self, file: str, *, deepest: int) -> None:
        self.file = file
        self.documents: list[Node] = []
        self.faults: list[Fault] = []
        self._deepest = deepest
        self._open: list[_Open] = []

    def take(self, event: yaml.Event) -> bool:
        """Reads one event; False when the rest of the text is not worth reading."""
        place = _place(event.start_mark)
        if isinstance(event, yaml.ScalarEvent):
            if event.anchor is not None or event.tag is not None:
                self._check_properties(event, place)
            self._put(Scalar(self.file, *place, self._path(), event.value, not event.style))
        elif isinstance(event, yaml.CollectionEndEvent):
            self._close()
        elif isinstance(event, yaml.AliasEvent):
            self._refuse(place, f"the alias *{event.anchor}", "write the value out")
            self._put(Broken(self.file, *place, self._path()))
        elif isinstance(event, yaml.CollectionStartEvent):
            self._check_properties(event, place)
            if len(self._open) == self._deepest:
                self._refuse(place, f"more than {self._deepest} levels", "")
                return False
            mapping = isinstance(event, yaml.MappingStartEvent)
            self._open.append(_Open(place, self._path(), mapping=mapping))
        return True

    def _path(self) -> str:
        return self._open[-1].next_path() if self._open else ""

    def _check_properties(
        self, event: yaml.ScalarEvent | yaml.CollectionStartEvent, place: tuple[int, int]
    ) -> None:
        if event.anchor is not None:
            self._refuse(place, f"the anchor &{event.anchor}", "write the value out where it is used")
        if event.tag is not None:
            self._refuse(place, f"the tag {shown(event.tag)}", "leave it out: types follow from the keys")

    def _refuse(self, place: tuple[int, int], found: str, suggestion: str) -> None:
        expected = "none" if suggestion else "fewer"
        self.faults.append(Fault(self.file, *place, self._path(), found, expected, suggestion))

    def _close(self) -> None:
        done = self._open.pop()
        place = (self.file, *done.place, done.path)
        self._put(
            Mapping(*place, done.keys, done.values) if done.mapping else Sequence(*place, tuple(done.items))
        )

    def _put(self, node: Node) -> None:
        if not self._open:
            self.documents.append(node)
            return
        inside = self._open[-1]
        if not inside.mapping:
            inside.items.append(node)
        elif inside.skip_value:
            inside.skip_value, inside.key = False, None
        elif inside.key is None:
            self._put_key(inside, node)
        else:
            inside.keys[inside.key.text] = inside.key
            inside.values[inside.key.text] = node
            inside.key = None

    def _put_key(self, inside: _Open, node: Node) -> None:
        faults = list(self._key_faults(inside, node))
        self.faults.extend(faults)
        inside.skip_value = bool(faults) or not isinstance(node, Scalar)
        if isinstance(node, Scalar):
            inside.key = node

    def _key_faults(self, inside: _Open, node: Node) -> Iterator[Fault]:
        if not isinstance(node, Scalar):
            if not isinstance(node, Broken):
                yield node.fault("a list or mapping as a key", "text")
            return
        first = inside.keys.get(node.text)
        if first is not None:
            found = f"the key {shown(node.text)} a second time"
            yield node.fault(found, "each key once", f"first in line {first.line}", path=_key(node.text))
        elif node.plain and node.text == _MERGE_KEY:
            yield node.fault("the merge key <<", "none", "write the keys out")
        elif (kind := node.kind) is Kind.TRAP or kind is Kind.NULL:
            meaning = trap(node.text) or "nothing"
            yield node.fault(f"the key {shown(node.text)}, {meaning}", "text", "quote it")


def _key(text: str) -> str:
    return text if text.isprintable() and text.isascii() else shown(text)

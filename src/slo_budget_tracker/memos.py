"""Memos: what a function of a large frozen value gave, kept as long as that very value lives, no longer."""

from __future__ import annotations

import weakref
from functools import update_wrapper
from typing import TYPE_CHECKING, Generic, Self, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

K = TypeVar("K")
V = TypeVar("V")


class _Holder(weakref.ref[K]):
    """Whose value it is, without keeping it alive."""

    __slots__ = ("key",)
    key: int

    def __new__(cls, subject: K, gone: Callable[[_Holder[K]], object]) -> Self:
        self = super().__new__(cls, subject, gone)
        self.key = id(subject)
        return self

    def __init__(self, subject: K, gone: Callable[[_Holder[K]], object]) -> None:
        super().__init__(subject, gone)  # type: ignore[call-arg]  # as weakref.KeyedRef has it


class Memo(Generic[K, V]):
    """A pure function that is called once for each object."""

    def __init__(self, function: Callable[[K], V]) -> None:
        self._function = function
        self._known: dict[int, tuple[_Holder[K], V]] = {}
        self._gone = self._forget  # one for all of them
        update_wrapper(self, function)

    def __call__(self, subject: K) -> V:
        """What the function gives."""
        entry = self._known.get(id(subject))
        if entry is not None and entry[0]() is subject:
            return entry[1]
        value = self._function(subject)
        self.learn(subject, value)
        return value

    def learn(self, subject: K, value: V) -> None:
        """What the function would give, from who knows that already."""
        self._known[id(subject)] = (_Holder(subject, self._gone), value)

    def _forget(self, holder: _Holder[K]) -> None:
        self._known.pop(holder.key, None)


def by_identity(function: Callable[[K], V]) -> Memo[K, V]:
    """Calls a pure function once for each object: comparing two SLOs would take as long as hashing one."""
    return Memo(function)


def while_alive(method: Callable[[K], Sequence[V]]) -> Callable[[K], Sequence[V]]:
    """A method for a part of its object to call, without a cycle that garbage is to be looked for in.

    When the object is gone it gives nothing.
    """
    held = weakref.WeakMethod(method)

    def called(subject: K) -> Sequence[V]:
        found = held()
        return () if found is None else found(subject)

    return called

"""Spellings: the label sets of answers, known again by their bytes, which are the same from tick to tick.

What a server sends of a series each time anew are its labels; its samples are a tenth of the bytes. So labels
are understood once, when their spelling is new, and then whenever somebody wants to know them. Samples are
read as one list of numbers, once it is sure that nothing but numbers stands where numbers should.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from operator import attrgetter
from typing import TYPE_CHECKING, NamedTuple

import orjson

if TYPE_CHECKING:
    from collections.abc import ItemsView, Iterator, ValuesView

_SERIES, _SAMPLES, _END = b'{"metric":', b',"values":', b"]]}"
_DIGITS, _FORM = b"0123456789.-+e", b'[]{}"'  # what numbers are spelled with; what stands around them
_SPARE = 1_000  # so many label sets more than half as many again as an answer's are kept in mind
_names = attrgetter("names")


class Labels(Mapping[str, str]):
    """A label set by its spelling; `names` are one and the same object for all that have the same ones."""

    __slots__ = ("names", "spelled")

    def __init__(self, spelled: bytes, names: tuple[str, ...]) -> None:
        self.spelled = spelled
        self.names = names

    def __getitem__(self, name: str) -> str:
        return _read(self.spelled)[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.names)

    def __len__(self) -> int:
        return len(self.names)

    def __repr__(self) -> str:
        return repr({**_read(self.spelled)})

    def items(self) -> ItemsView[str, str]:
        """Names and values."""
        return _read(self.spelled).items()

    def values(self) -> ValuesView[str]:
        """The values."""
        return _read(self.spelled).values()


@lru_cache(maxsize=256)  # whoever asks for one label soon asks for another
def _read(spelled: bytes) -> Mapping[str, str]:
    found: dict[str, str] = orjson.loads(spelled)
    return found


class Apart(NamedTuple):
    """An answer taken apart: all around its series, and of these their labels, how many samples, and them."""

    frame: bytes
    labels: list[Labels]
    lengths: list[int]
    flat: list[float]  # instant (s), value, instant, value, ...


class Spellings:
    """What one server spelled in its last answers; threads may use it together."""

    def __init__(self) -> None:
        self._known: dict[bytes, Labels] = {}
        self._orders: dict[tuple[str, ...], tuple[str, ...]] = {}
        self._newest = 0
        self._size = 0  # label sets in the answers of the newest instant

    def apart(self, body: bytes, at: int) -> Apart | None:
        """The answer about an instant taken apart.

        None where it is not spelled as Prometheus spells a matrix of plain numbers, or where a label set may
        be there twice; it is then to be understood as a whole. Neither mark that it is cut at can stand
        within a string of JSON, whose quotes are escaped; what else is cut wrongly has not samples' form.
        """
        begin, *parts = body.split(_SERIES)
        if not parts:
            return None
        self._trim(at, len(parts))
        spelled, _, samples = zip(*[part.partition(_SAMPLES) for part in parts], strict=True)
        last, mark, rest = samples[-1].partition(_END)
        lengths = [one.count(b",[") + 1 for one in samples[:-1]]
        lengths.append(last.count(b",[") + 1)
        text = b"".join((*samples[:-1], last, mark, b","))
        if not _are_samples(text, lengths):
            return None
        known = self._known
        try:
            labels = [known[one] if one in known else self._learnt(one) for one in spelled]
            flat: list[float] = orjson.loads(b"[%b]" % text.translate(None, _FORM)[:-1])
        except (ValueError, TypeError, AttributeError):
            return None
        if len(flat) != 2 * sum(lengths) or not _distinct(spelled, labels):
            return None
        return Apart(begin + rest, labels, lengths, flat)

    def _learnt(self, spelled: bytes) -> Labels:
        """A label set that is new; ValueError where it is not spelled in the shortest way, or is none."""
        found = orjson.loads(spelled)
        if not {str}.issuperset(map(type, found.values())) or orjson.dumps(found) != spelled:
            raise ValueError
        names = tuple(found)
        labels = self._known[spelled] = Labels(spelled, self._orders.setdefault(names, names))
        return labels

    def _trim(self, at: int, size: int) -> None:
        """Forget all when far more label sets were met than there are now."""
        if at > self._newest:
            if len(self._known) > self._size + self._size // 2 + _SPARE:
                self._known, self._orders = {}, {}
            self._newest, self._size = at, 0
        if at == self._newest:
            self._size += size


def _are_samples(text: bytes, lengths: list[int]) -> bool:
    """Whether there are so many samples of each series, and no digit stands where none belongs."""
    forms = {length: b"[%b]}," % b",".join([b'[,""]'] * length) for length in set(lengths)}
    series, samples = len(lengths), sum(lengths)
    return (
        text.translate(None, _DIGITS) == b"".join(map(forms.__getitem__, lengths))
        and text.startswith(b"[[")
        and text.endswith(b'"]]},')
        and text.count(b',"') == samples
        and text.count(b'"],[') == samples - series
        and text.count(b'"]]},[[') == series - 1
    )


def _distinct(spelled: tuple[bytes, ...], labels: list[Labels]) -> bool:
    """Whether no two label sets are equal: no spelling comes twice, and no names in two orders."""
    orders = set({id(one): one for one in map(_names, labels)}.values())
    return len(set(spelled)) == len(spelled) and len(set(map(frozenset, orders))) == len(orders)

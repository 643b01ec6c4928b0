"""Sheets: the lines of /metrics for instances of one shape, to be filled with a name and values.

Most SLOs of a catalogue have the same windows and alerts. What stands around their values is made once; each
instance then takes one formatting instead of some forty.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from slo_budget_tracker.exposition import all_printed, around

if TYPE_CHECKING:
    from collections.abc import Sequence

    from slo_budget_tracker.exposition import Label

_NAME, _BORDER = (
    "\x01",
    "\x00",
)  # a label's value never has the second, and nothing is filled in but the first


class _Form(NamedTuple):
    families: tuple[str, ...]
    text: str


@dataclass(eq=False)
class Sheet:
    """Lines by family and further labels, in the order of the values."""

    lines: Sequence[tuple[str, tuple[Label, ...]]]
    _forms: dict[tuple[int, ...], _Form] = field(default_factory=dict)

    def filled(self, name: Label, values: list[float | None]) -> tuple[Sequence[str], Sequence[str]]:
        """Families, and an instance's lines in each of them; a value that is absent has no line."""
        texts = all_printed(values)
        absent: tuple[int, ...] = ()
        if None in texts:
            absent = tuple(at for at, text in enumerate(texts) if text is None)
            texts = [text for text in texts if text is not None]
        form = self._forms.get(absent)
        if form is None:
            form = self._forms[absent] = self._form(name.name, frozenset(absent))
        return form.families, (form.text % tuple(texts)).replace(_NAME, name.text).split(_BORDER)

    def _form(self, name: str, absent: frozenset[int]) -> _Form:
        families: dict[str, str] = {}
        for at, (family, further) in enumerate(self.lines):
            if at not in absent:
                before, after = (part.replace("%", "%%") for part in around(name, further))
                families[family] = f"{families.get(family, '')}{family}{before}{_NAME}{after} %s\n"
        return _Form(tuple(families), _BORDER.join(families.values()))

"""Typed values out of the nodes of a document; whatever does not fit becomes a fault, and reading goes on."""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass, field, replace
from decimal import Decimal
from difflib import get_close_matches
from typing import TYPE_CHECKING, TypeVar
from urllib.parse import urlsplit

from slo_budget_tracker import documents
from slo_budget_tracker.documents import Broken, Kind, Node, Scalar
from slo_budget_tracker.durations import format_duration, parse_duration, parse_fine_duration
from slo_budget_tracker.errors import shown

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from slo_budget_tracker.errors import Fault

T = TypeVar("T")

LATER = "not supported in this version"
_DECIMAL = re.compile(r"[0-9]{1,15}(?:\.[0-9]{1,15})?", re.ASCII)
_PERCENT = re.compile(r"([0-9]{1,3}(?:\.[0-9]{1,12})?) ?%", re.ASCII)
_RATIO = re.compile(r"[0-9]{0,3}(?:\.[0-9]{1,15})?", re.ASCII)
_WHOLE = re.compile(r"[0-9]{1,12}", re.ASCII)
_SIGNED = re.compile(r"-?[0-9]{1,15}(?:\.[0-9]{1,15})?", re.ASCII)
# The words of a key whose value is a secret; the value itself is never shown.
_SECRET_KEY = re.compile(
    r"(?:^|[-_])(?:password|passwd|pwd|secret|token|api[-_]?key|apikey|authorization|credentials?|cookie|"
    r"private[-_]?key|bearer)(?:$|[-_])",
    re.IGNORECASE,
)
_SECRET_VALUE = re.compile(
    r"-----BEGIN|\b(?:ghp|gho|ghs|glpat|xox[abprs]|glsa|sk)[-_][A-Za-z0-9_-]{16,}|\bAKIA[A-Z0-9]{16}\b"
    r"|\b(?:Bearer|Basic)\s+[A-Za-z0-9+/=._~-]{16,}|\beyJ[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]{10,}"
    r"|://[^/\s:@]*:[^/\s@]+@"
)
_SECRETS_GO = "secrets belong into files of their own"
_VARIABLE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)[^}]*\}")
_INVISIBLE = {"\u200b", "\u2060", "\ufeff", "\u00ad", "\u180e"}
_BIDI = {"LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI"}
_MARKS = {"\u200e", "\u200f", "\u061c"}


@dataclass(slots=True)
class Fields:
    """Reads nodes and gathers faults; every method answers None for what could not be read."""

    faults: list[Fault] = field(default_factory=list)

    def refuse(
        self, node: Node, found: str, expected: str = "", suggestion: str = "", *, path: str = ""
    ) -> None:
        """Note a fault at the place of the node."""
        self.faults.append(node.fault(found, expected, suggestion, path=path))

    def note(self, fault: Fault, *, path: str) -> None:
        """Note a fault under another path, each only once."""
        moved = replace(fault, path=path)
        if moved not in self.faults:
            self.faults.append(moved)

    def mapping(
        self,
        node: Node,
        known: Iterable[str],
        *,
        later: Mapping[str, str] | None = None,
        required: Iterable[str] = (),
        expected: str = "a mapping",
    ) -> Mapping[str, Node] | None:
        """The values by key; keys of later versions, unknown and missing ones are refused by name."""
        if not isinstance(node, documents.Mapping):
            self._wrong(node, expected)
            return None
        names = tuple(known)
        for key, where in node.keys.items():
            if key in (later or {}):
                self.refuse(where, LATER, "", (later or {})[key], path=key)
            elif key not in names:
                self._unknown(where, key, names)
        for key in required:
            if key not in node.values:
                self.refuse(node, f"no `{key}`", f"`{key}:`")
        return {key: value for key, value in node.values.items() if key in names}

    def _unknown(self, where: Scalar, key: str, names: tuple[str, ...]) -> None:
        if is_secret(key):
            self.refuse(where, "a secret", "none in this file", _SECRETS_GO, path=key)
            return
        close = get_close_matches(key.lower(), names, n=1)
        suggestion = f"did you mean {close[0]}?" if close else ""
        expected = f"one of {', '.join(names)}" if names else "no key"
        self.refuse(where, f"the unknown key {shown(key)}", expected, suggestion)

    def free_mapping(self, node: Node, *, expected: str = "a mapping") -> documents.Mapping | None:
        """A mapping whose keys are the user's own."""
        if isinstance(node, documents.Mapping):
            return node
        self._wrong(node, expected)
        return None

    def items(self, node: Node, *, expected: str = "a list", least: int = 1) -> tuple[Node, ...] | None:
        """The items of a list."""
        if not isinstance(node, documents.Sequence):
            self._wrong(node, expected)
            return None
        if len(node.items) < least:
            self.refuse(node, "an empty list", expected)
            return None
        return node.items

    def scalar(self, node: Node, expected: str) -> Scalar | None:
        """A single value whose plain form every YAML reader takes for the same."""
        if not isinstance(node, Scalar):
            self._wrong(node, expected)
            return None
        if node.kind is Kind.TRAP:
            meaning = documents.trap(node.text)
            self.refuse(node, f"{shown(node.text)}, {meaning}", expected, "quote it if it is meant as text")
            return None
        if node.kind is Kind.NULL:
            self.refuse(node, "nothing", expected)
            return None
        if looks_secret(node.text):
            self.refuse(node, "what looks like a secret", "none in this file", _SECRETS_GO)
            return None
        return node

    def text(self, node: Node, expected: str = "text", *, most: int = 200, lines: bool = False) -> str | None:
        """A text in NFC, without invisible or control characters."""
        value = self.scalar(node, expected)
        if value is None:
            return None
        if value.kind is not Kind.TEXT:
            self.refuse(
                value, f"{value.kind.value} ({shown(value.text)})", expected, f'quote it: "{value.text}"'
            )
            return None
        if not self.harmless(value, lines=lines):
            return None
        if len(value.text) > most:
            self.refuse(value, f"{len(value.text)} characters", f"at most {most}")
            return None
        return unicodedata.normalize("NFC", value.text)

    def harmless(self, value: Scalar, *, lines: bool = False) -> bool:
        """Whether the text has no environment variable and nothing that cannot be seen."""
        plain = value.text.isascii() and value.text.isprintable()
        among = () if plain else value.text
        strange = next((c for c in among if _strange(c) and not (lines and c in "\n\t")), None)
        variable = _VARIABLE.search(value.text)
        if strange is not None:
            self.refuse(value, f"the character U+{ord(strange):04X}", "characters that can be seen")
        elif variable is not None:
            found = f"the environment variable {variable[1]}"
            self.refuse(value, found, "the value itself", "variables are not filled in here")
        else:
            return True
        return False

    def parsed(self, node: Node, parse: Callable[[str], T], expected: str, *, lines: bool = True) -> T | None:
        """A text as `parse` reads it; the sentence of its ValueError becomes the fault."""
        value = self.scalar(node, expected)
        if value is None:
            return None
        if value.kind is not Kind.TEXT:
            self.refuse(value, f"{value.kind.value} ({shown(value.text)})", expected)
            return None
        if not self.harmless(value, lines=lines):
            return None
        try:
            return parse(value.text)
        except ValueError as error:
            self.refuse(value, f"{shown(value.text)}: {error}", expected)
            return None

    def duration(
        self, node: Node, expected: str = "a duration such as 5m or 30d", *, least: int = 0
    ) -> int | None:
        """Whole seconds."""
        seconds = self._duration(node, parse_duration, expected)
        if seconds is not None and seconds < least:
            self.refuse(node, format_duration(seconds), f"at least {format_duration(least)}")
            return None
        return seconds

    def fine_duration(self, node: Node, expected: str = "a duration such as 300ms") -> Decimal | None:
        """Seconds, exact, that may be fractions."""
        return self._duration(node, parse_fine_duration, expected, fine=True)

    def _duration(
        self, node: Node, parse: Callable[[str], T], expected: str, *, fine: bool = False
    ) -> T | None:
        value = self.scalar(node, expected)
        if value is None:
            return None
        try:
            return parse(value.text)
        except ValueError as error:
            units = ("ms", "s") if fine and "." not in value.text else ("s",)
            written = " or ".join(f"{value.text}{unit}" for unit in units)
            hint = f"with a unit: {written}" if value.kind is Kind.NUMBER else ""
            sentence = "a number without a unit" if hint else str(error)
            self.refuse(value, f"{shown(value.text)}, {sentence}", expected, hint)
            return None

    def decimal(self, node: Node, expected: str = "a number") -> Decimal | None:
        """A number as it is written, not as a float."""
        value = self.scalar(node, expected)
        if value is None:
            return None
        if not _DECIMAL.fullmatch(value.text):
            self.refuse(value, shown(value.text), expected)
            return None
        return Decimal(value.text)

    def limit(self, node: Node, expected: str = "a number or a duration such as 26h") -> Decimal | None:
        """A number that may be negative, or a duration in seconds."""
        value = self.scalar(node, expected)
        if value is None:
            return None
        if _SIGNED.fullmatch(value.text):
            return Decimal(value.text)
        return self._duration(node, parse_fine_duration, expected)

    def share(self, node: Node, expected: str) -> Decimal | None:
        """A share such as 99.9% or 0.999; a bare number above 1 is refused with a hint."""
        value = self.scalar(node, expected)
        if value is None:
            return None
        percent = _PERCENT.fullmatch(value.text)
        if percent is not None:
            return Decimal(percent[1]) / 100
        if value.kind is Kind.BOOLEAN or not value.text.strip(".") or not _RATIO.fullmatch(value.text):
            self.refuse(value, shown(value.text), expected)
            return None
        ratio = Decimal(value.text)
        if ratio > 1:
            share = format((ratio / 100).normalize(), "f")
            hint = f'write "{value.text}%" or {share}' if ratio < 100 else ""  # noqa: PLR2004 - per cent
            self.refuse(value, f"the bare number {value.text}", expected, hint)
            return None
        return ratio

    def whole(self, node: Node, expected: str = "a whole number", *, most: int) -> int | None:
        """A whole number from 0 on."""
        value = self.scalar(node, expected)
        if value is None:
            return None
        if not _WHOLE.fullmatch(value.text):
            self.refuse(value, shown(value.text), expected)
            return None
        if int(value.text) > most:
            self.refuse(value, value.text, f"at most {most}")
            return None
        return int(value.text)

    def choice(self, node: Node, choices: Iterable[str]) -> str | None:
        """One of a few words."""
        names = tuple(choices)
        expected = " or ".join(names)
        text = self.text(node, expected)
        if text is None or text in names:
            return text
        close = get_close_matches(text.lower(), names, n=1)
        self.refuse(node, shown(text), expected, f"did you mean {close[0]}?" if close else "")
        return None

    def link(self, node: Node) -> str | None:
        """An http(s) URL without a user in it."""
        text = self.text(node, "an http or https URL", most=2_000)
        if text is None:
            return None
        try:
            parts = urlsplit(text)
            sound = parts.scheme in {"http", "https"} and parts.hostname and parts.port != 0
        except ValueError:
            sound = False
        if not sound or re.search(r"\s", text):
            self.refuse(node, shown(text.partition("?")[0]), "an http or https URL")
            return None
        if "@" in parts.netloc:
            self.refuse(node, "a URL with a user in it", "a URL without one")
            return None
        return text

    def _wrong(self, node: Node, expected: str) -> None:
        if isinstance(node, Broken):
            return
        if isinstance(node, Scalar):
            quiet = looks_secret(node.text)
            found = "nothing" if node.kind is Kind.NULL else "a single value" if quiet else shown(node.text)
        else:
            found = "a list" if isinstance(node, documents.Sequence) else "a mapping"
        self.refuse(node, found, expected)


def is_secret(key: str) -> bool:
    """Whether the name of a key or header says that its value is a secret."""
    return _SECRET_KEY.search(key) is not None and not key.endswith("_file")


def looks_secret(text: str) -> bool:
    """Whether a value has the form of a token, a key or a URL with a password."""
    return _SECRET_VALUE.search(text) is not None


def _strange(character: str) -> bool:
    if character.isascii():
        return not character.isprintable()
    return (
        unicodedata.category(character) in {"Cc", "Cs", "Co", "Cn", "Zl", "Zp"}
        or character in _INVISIBLE
        or character in _MARKS
        or unicodedata.bidirectional(character) in _BIDI
    )

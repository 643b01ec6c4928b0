r"""Regular expressions of Prometheus (Go's RE2) in the dialect of Python, equal in what they match.

Prometheus and Python agree on most of the syntax and differ in traps: `\d` and `\w` are ASCII in RE2, `\s`
has no vertical tab, `$` never matches before a last newline, `a++` is an error and not possessive, `{,3}`
is text. What has no equal in Python, or could take exponential time in it, is refused with a sentence.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import NamedTuple

Ranges = tuple[tuple[int, int], ...]

_CLASSES: dict[str, Ranges] = {
    "d": ((48, 57),),
    "w": ((48, 57), (65, 90), (95, 95), (97, 122)),
    "s": ((9, 10), (12, 13), (32, 32)),
}
_POSIX: dict[str, Ranges] = {
    "alnum": ((48, 57), (65, 90), (97, 122)),
    "alpha": ((65, 90), (97, 122)),
    "ascii": ((0, 127),),
    "blank": ((9, 9), (32, 32)),
    "cntrl": ((0, 31), (127, 127)),
    "digit": ((48, 57),),
    "graph": ((33, 126),),
    "lower": ((97, 122),),
    "print": ((32, 126),),
    "punct": ((33, 47), (58, 64), (91, 96), (123, 126)),
    "space": ((9, 13), (32, 32)),
    "upper": ((65, 90),),
    "word": _CLASSES["w"],
    "xdigit": ((48, 57), (65, 70), (97, 102)),
}
_CONTROLS = {"a": 7, "f": 12, "t": 9, "n": 10, "r": 13, "v": 11}
_LAST = 0x10FFFF
_MOST_REPEATS = 1_000  # Go's limit
_DEEPEST = 100
_REPEAT = re.compile(r"\{([0-9]{1,9})(,([0-9]{0,9}))?\}", re.ASCII)
_GROUP = re.compile(r"\?(?:P?<([A-Za-z_][A-Za-z0-9_]*)>|([is]*)(?:-([is]+))?(:|\)))", re.ASCII)
_HEX = re.compile(r"x(?:([0-9A-Fa-f]{2})|\{([0-9A-Fa-f]{1,6})\})", re.ASCII)


class Flags(NamedTuple):
    """Case folding, and whether a dot matches a newline (it does since Prometheus 3)."""

    fold: bool = False
    dot_all: bool = True


@lru_cache(maxsize=10_000)
def translate(pattern: str) -> str:
    """A Python pattern that matches what `pattern` matches in Prometheus; ValueError where none can."""
    reader = _Reader(pattern)
    translated, _ = reader.alternatives(Flags(), depth=0)
    if not reader.at_end:
        raise ValueError("an unmatched ) in the regular expression")
    return translated


@lru_cache(maxsize=10_000)
def compiled(pattern: str) -> re.Pattern[str]:
    """The translated pattern, ready for `fullmatch`."""
    return re.compile(translate(pattern))


def escaped(text: str) -> str:
    """A regular expression of RE2 that matches exactly this text (Go's QuoteMeta)."""
    return re.sub(r"[\\.+*?()|\[\]{}^$]", r"\\\g<0>", text)


class _Reader:
    """Walks once over a pattern; each method returns Python's form and whether it repeats without a bound."""

    def __init__(self, pattern: str) -> None:
        self._pattern = pattern
        self._at = 0

    @property
    def at_end(self) -> bool:
        return self._at >= len(self._pattern)

    def _peek(self, length: int = 1) -> str:
        return self._pattern[self._at : self._at + length]

    def _take(self) -> str:
        character = self._peek()
        if not character:
            raise ValueError("the regular expression ends too early")
        self._at += 1
        return character

    def alternatives(self, flags: Flags, *, depth: int) -> tuple[str, bool]:
        if depth > _DEEPEST:
            raise ValueError("groups of a regular expression nested too deeply")
        parts: list[str] = []
        unbounded = False
        while not self.at_end and self._peek() != ")":
            if self._peek() == "|":
                self._at += 1
                parts.append("|")
                continue
            if self._peek() == "(":
                inner, rest_of_group = self._opening(flags)
                if rest_of_group:  # (?i): the flags hold until the group around it ends
                    flags = inner
                    continue
                atom, inside = self.alternatives(inner, depth=depth + 1)
                if self._take() != ")":
                    raise ValueError("a group of the regular expression is not closed")
                atom = f"(?:{atom})"
            else:
                atom, inside = self._atom(flags), False
            repeated, repeats = self._repetition(atom, inside=inside)
            parts.append(repeated)
            unbounded = unbounded or repeats
        return "".join(parts), unbounded

    def _opening(self, flags: Flags) -> tuple[Flags, bool]:
        """Reads a `(…`: the flags inside, and whether they are for the rest of the group around it."""
        self._at += 1
        if self._peek() != "?":
            return flags, False
        found = _GROUP.match(self._pattern, self._at)
        if found is None:
            raise ValueError(f"({self._peek(3)} in a regular expression cannot be matched as Prometheus does")
        self._at = found.end()
        if found[1] is not None:
            return flags, False
        on, off = found[2] or "", found[3] or ""
        inner = Flags(
            fold=(flags.fold or "i" in on) and "i" not in off,
            dot_all=(flags.dot_all or "s" in on) and "s" not in off,
        )
        return inner, found[4] == ")"

    def _repetition(self, atom: str, *, inside: bool) -> tuple[str, bool]:
        """The atom with its quantifier, and whether it can repeat without a bound."""
        sign = self._peek()
        counted = _REPEAT.match(self._pattern, self._at) if sign == "{" else None
        if counted is not None:
            least, most = int(counted[1]), int(counted[3] or counted[1])
            if max(least, most) > _MOST_REPEATS or most < least:
                raise ValueError(f"{counted[0]} in a regular expression is no valid repetition")
            self._at = counted.end()
            quantifier, unbounded, many = counted[0], counted[2] == ",", most > 1 or counted[2] == ","
        elif sign and sign in "*+?":
            self._at += 1
            quantifier, unbounded, many = sign, sign != "?", sign != "?"
        else:
            return atom, inside
        if inside and many:
            raise ValueError(
                "a repetition of a repetition in a regular expression could take for ever to match"
            )
        if self._peek() == "?":
            self._at += 1
            quantifier += "?"
        if (self._peek() and self._peek() in "*+?") or _REPEAT.match(self._pattern, self._at):
            raise ValueError(f"{quantifier}{self._peek()} in a regular expression is no valid repetition")
        return f"{atom}{quantifier}", unbounded or inside

    def _atom(self, flags: Flags) -> str:
        character = self._take()
        if character == ".":
            return r"[\s\S]" if flags.dot_all else r"[^\n]"
        if character == "[":
            return self._set(flags)
        if character == "^":
            return r"(?:\A)"
        if character == "$":
            return r"(?:\Z)"
        if character == "\\":
            return self._escape(flags)
        if character in "*+?":
            raise ValueError(f"nothing to repeat before {character} in the regular expression")
        return _letters(((ord(character), ord(character)),), flags, negated=False)

    def _escape(self, flags: Flags) -> str:
        kind = self._peek()
        if kind in {"A", "z", "b", "B"}:
            self._at += 1
            return {"A": r"(?:\A)", "z": r"(?:\Z)", "b": r"(?a:\b)", "B": r"(?a:(?!\b))"}[kind]
        if kind and kind in "dswDSW":
            self._at += 1
            return _letters(_CLASSES[kind.lower()], Flags(), negated=kind.isupper())
        code = self._code()
        return _letters(((code, code),), flags, negated=False)

    def _code(self) -> int:
        """The character that follows a backslash, as a code point."""
        found = _HEX.match(self._pattern, self._at)
        if found is not None:
            self._at = found.end()
            code = int(found[1] or found[2], 16)
            if code > _LAST:
                raise ValueError("a character beyond Unicode in the regular expression")
            return code
        character = self._take()
        if character in _CONTROLS:
            return _CONTROLS[character]
        if character.isalnum() or character == "_" or not character.isascii():
            raise ValueError(f"\\{character} in a regular expression cannot be matched as Prometheus does")
        return ord(character)

    def _set(self, flags: Flags) -> str:
        negated = self._peek() == "^"
        if negated:
            self._at += 1
        ranges: list[tuple[int, int]] = []
        first = True
        while first or self._peek() != "]":
            first = False
            named = self._named()
            if named is not None:
                ranges.extend(named)
                continue
            low = high = self._member()
            if self._peek() == "-" and self._peek(2) != "-]":
                self._at += 1
                high = self._member()
                if high < low:
                    raise ValueError("a range in a set of the regular expression ends before it starts")
            ranges.append((low, high))
        self._at += 1
        return _letters(tuple(ranges), flags, negated=negated)

    def _member(self) -> int:
        character = self._take()
        return self._code() if character == "\\" else ord(character)

    def _named(self) -> Ranges | None:
        r"""A class inside a set: `\d` or `[:alpha:]`; negated ones are the rest of Unicode."""
        kind = self._peek(2)
        if kind in {r"\d", r"\s", r"\w", r"\D", r"\S", r"\W"}:
            self._at += 2
            return _CLASSES[kind[1].lower()] if kind[1].islower() else _rest(_CLASSES[kind[1].lower()])
        if kind != "[:":
            return None
        end = self._pattern.find(":]", self._at + 2)
        name = self._pattern[self._at + 2 : end] if end > 0 else ""
        ranges = _POSIX.get(name.removeprefix("^"))
        if ranges is None:
            raise ValueError(f"[:{name[:20]}:] in a regular expression is no class of characters")
        self._at = end + 2
        return _rest(ranges) if name.startswith("^") else ranges


def _rest(ranges: Ranges) -> Ranges:
    edges = [-1, *(edge for pair in ranges for edge in pair), _LAST + 1]
    return tuple((a + 1, b - 1) for a, b in zip(edges[::2], edges[1::2], strict=True) if a + 1 <= b - 1)


def _folded(ranges: Ranges) -> Ranges:
    """The ranges with both cases of every letter, as Go folds them: s with U+017F, k with U+212A."""
    more = list(ranges)
    for low, high in ranges:
        if high > 127:  # noqa: PLR2004 - the end of ASCII
            raise ValueError("(?i) with characters beyond ASCII cannot be matched as Prometheus does")
        for first, last, shift in ((65, 90, 32), (97, 122, -32)):
            if max(low, first) <= min(high, last):
                more.append((max(low, first) + shift, min(high, last) + shift))
        for letter, other in (("s", 0x17F), ("k", 0x212A)):
            if low <= ord(letter) <= high or low <= ord(letter.upper()) <= high:
                more.append((other, other))
    return tuple(more)


def _span(low: int, high: int) -> str:
    return f"\\U{low:08x}" if low == high else f"\\U{low:08x}-\\U{high:08x}"


def _letters(ranges: Ranges, flags: Flags, *, negated: bool) -> str:
    """One character out of ranges of code points, in Python's syntax."""
    if flags.fold:
        ranges = _folded(ranges)
    if not negated and len(ranges) == 1 and ranges[0][0] == ranges[0][1]:
        return re.escape(chr(ranges[0][0]))
    inside = "".join(_span(low, high) for low, high in ranges)
    return f"[{'^' if negated else ''}{inside}]"

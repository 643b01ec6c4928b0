"""Every error a user can meet, as one tree.

TrackerError                      exit status
├── UsageError                    2   a wrong option, an unknown SLO
├── SpecError                     1   SLO files with faults (all of them at once)
│   └── NoFilesError              2   there are none where they should be
├── SettingsError                 2   a configuration file with faults (all of them at once)
├── LedgerError                   3   the ledger cannot be opened, read or written
│   ├── LedgerDamaged             it is not what was written
│   ├── LedgerInUse               another session has its lock, perhaps for moments only
│   └── LedgerDeposed             another daemon writes to it now
├── DaemonError                   3   the running daemon is out of reach or answers what cannot be used
├── AuditError                    3   the audit stream is out of reach or answers what cannot be used
└── PrometheusError               3   one request failed; `reason` is from a closed list
    ├── Unreachable               refused, no such host, broken connection, deadline (outcome `missed`)
    ├── Busy                      429, 5xx: try again later (outcome `missed`)
    ├── Unauthorized              401, 403
    ├── QueryRejected             400: permanent until the definition changes
    ├── QueryFailed               422: too many samples, many-to-many …
    └── BadAnswer                 an answer that cannot be used: not JSON, too large, truncated, bad values …
"""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:
    from collections.abc import Sequence


@dataclass(frozen=True, slots=True, order=True)
class Fault:
    """One thing wrong in one place of a file: where, what was found, what was expected, what to do."""

    file: str
    line: int
    column: int
    path: str
    found: str
    expected: str = ""
    suggestion: str = ""
    warning: bool = False

    def __str__(self) -> str:
        where = f"{self.file}:{self.line}:{self.column}: "
        what = f"{self.path}: {self.found}" if self.path else self.found
        expected = f", expected {self.expected}" if self.expected else ""
        suggestion = f"; {self.suggestion}" if self.suggestion else ""
        return f"{where}{'warning: ' if self.warning else ''}{what}{expected}{suggestion}"


def shown(text: str, *, most: int = 60) -> str:
    """A text of a file as it is quoted in a message: one line, not too long, escaped where letters deceive.

    What is printable stays as it is but for letters that are not Latin: they may look like those that are.
    """
    cut = text if len(text) <= most else text[: most - 1] + "…"
    return f'"{cut}"' if (cut.isascii() and cut.isprintable()) or all(map(_is_plain, cut)) else ascii(cut)


def _is_plain(letter: str) -> bool:
    category = unicodedata.category(letter)
    latin = not category.startswith("L") or unicodedata.name(letter, "").startswith("LATIN")
    return letter.isprintable() and latin and not category.startswith("M")


class TrackerError(Exception):
    """Anything that a user is told about in one sentence and never as a traceback."""

    exit_status: ClassVar[int] = 1


class UsageError(TrackerError):
    """A wrong option, an unknown SLO, a time that cannot be read."""

    exit_status = 2


class FaultyFilesError(TrackerError):
    """Files that cannot be used; carries all faults of all files."""

    def __init__(self, faults: Sequence[Fault]) -> None:
        super().__init__("\n".join(map(str, faults)))
        self.faults = tuple(faults)


class SpecError(FaultyFilesError):
    """SLO files with faults."""

    exit_status = 1


class NoFilesError(SpecError):
    """SLO files that are not there: a path was misspelt."""

    exit_status = 2


class SettingsError(FaultyFilesError):
    """A daemon configuration with faults."""

    exit_status = 2


class LedgerError(TrackerError):
    """The ledger cannot be opened, read or written."""

    exit_status = 3


class LedgerDamaged(LedgerError):  # noqa: N818 - the participle says what is the case
    """A ledger that is not what was written; carries where, why, and what becomes of it."""

    def __init__(
        self,
        ledger: object,
        why: str,
        *,
        then: str = "the daemon puts it aside when it starts, and goes on from the last backup",
    ) -> None:
        super().__init__(f"the ledger {ledger} is damaged ({why}): {then}")
        self.why = why


class LedgerInUse(LedgerError):  # noqa: N818 - the participle says what is the case
    """Somebody else has it open: a daemon, one that was killed, or a shard that takes SLOs over."""


class LedgerDeposed(LedgerError):  # noqa: N818 - the participle says what is the case
    """Another daemon writes to this ledger now: nothing may be written, nothing sent."""


class DaemonError(TrackerError):
    """A running daemon elsewhere is out of reach, or answers what cannot be used."""

    exit_status = 3


class AuditError(TrackerError):
    """One request to the audit stream failed.

    Attributes:
        reason: `closed` (it was never sent), `timeout` (it may still be carried out), `later` (it asks to
            come again), `hold` (somebody has to mend something), `too_large` …
        wait: seconds after which it may be asked again, where there is reason for a certain time.
    """

    exit_status = 3

    def __init__(self, message: str, *, reason: str = "status", wait: float | None = None) -> None:
        super().__init__(message)
        self.reason = reason
        self.wait = wait


class PrometheusError(TrackerError):
    """One request to Prometheus failed.

    Attributes:
        reason: a word from a closed list, used as a metric label (`timeout`, `too_large`, `bad_json` …).
        retry_after: seconds the server asked to wait, where it did.
    """

    exit_status = 3

    def __init__(self, message: str, *, reason: str, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.reason = reason
        self.retry_after = retry_after


OVERTAKEN = "overtaken"  # the reason where an answer is of no use any more


class Unreachable(PrometheusError):  # noqa: N818 - the noun says what is the case
    """No connection, or no complete answer within the deadline."""


class Busy(PrometheusError):  # noqa: N818
    """429, 502, 503, 504 and the like: the same request may succeed later."""


class Unauthorized(PrometheusError):  # noqa: N818
    """401 or 403."""


class QueryRejected(PrometheusError):  # noqa: N818
    """400: the query itself is wrong; asking again cannot help."""


class QueryFailed(PrometheusError):  # noqa: N818
    """422: the query is understood and cannot be carried out (too many samples, many-to-many)."""


class BadAnswer(PrometheusError):  # noqa: N818
    """An answer came and cannot be used: never a value, never 'no data'."""

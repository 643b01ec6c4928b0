"""Receipts: what an answer of the audit stream means for the event that was sent; nothing is asked here."""

from __future__ import annotations

import re
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any, Literal

import orjson

from slo_budget_tracker.answers import printable
from slo_budget_tracker.outbox import Receipt
from slo_budget_tracker.payloads import SCHEMA

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

    from slo_budget_tracker.outbox import Parcel

SOURCE = "slo-budget-tracker"
LONGEST_WAIT = 600.0  # seconds that a server may ask us to wait
HOLD_SECONDS = 60.0  # between tries while somebody has to mend something
LATER = frozenset({408, 425, 429, 503})
_HASH = re.compile(r"[0-9a-f]{64}")
_SECONDS = re.compile(r"[0-9]{1,9}", re.ASCII)

# What an answer to a POST says:
#   delivered     stored, with a receipt
#   unknown_kind  refused only for its kind: it may be sent as `other`
#   refused       refused for good: the event is put aside
#   doubt         it may be stored: look it up before it is sent again
#   hold          nobody can be served here until somebody mends it: one try a minute
#   later         the server asks to come again later
Word = Literal["delivered", "unknown_kind", "refused", "doubt", "hold", "later"]


@dataclass(frozen=True, slots=True)
class Answered:
    """What an answer means, why, and what came with it."""

    word: Word
    reason: str = ""
    receipt: Receipt | None = None
    wait: float | None = None


def judge(status: int, headers: Mapping[str, str], body: bytes, *, event_id: str, now: float) -> Answered:
    """What the answer to a POST of the event says."""
    if status == 201:  # noqa: PLR2004 - 201 Created is the only good answer
        document = decoded(body)
        receipt = receipt_of(document)
        if receipt is None or not _carries(document, event_id):
            return Answered("doubt", "201 without a receipt of this event")
        return Answered("delivered", receipt=receipt)
    said = f"status {status}: {printable(body.decode('utf-8', 'replace'), 200)}"
    if status in {400, 413, 415, 422}:
        return Answered("unknown_kind" if _only_kind(decoded(body)) else "refused", said)
    wait = patience(status, headers, now=now)
    word: Word = "later" if status in LATER else "doubt" if wait is None else "hold"
    return Answered(word, said, wait=wait)


def patience(status: int, headers: Mapping[str, str], *, now: float) -> float | None:
    """Seconds to wait after an answer that serves nobody; None where nothing speaks for a certain time."""
    if status in LATER:
        return retry_after(headers.get("Retry-After"), now=now)
    return HOLD_SECONDS if 300 <= status < 500 else None  # noqa: PLR2004 - a redirect, 401, 403, 404, 405 …


def decoded(body: bytes) -> Any:
    """The JSON of an answer; None where it is none."""
    try:
        return orjson.loads(body)
    except ValueError:
        return None


def receipt_of(document: Any) -> Receipt | None:
    """The receipt in an event as the server shows it."""
    if not isinstance(document, dict):
        return None
    number, digest = document.get("event_id"), document.get("hash")
    if not isinstance(number, int) or isinstance(number, bool) or number < 1:
        return None
    if not isinstance(digest, str) or not _HASH.fullmatch(digest):
        return None
    return Receipt(number, digest)


def receipts(documents: Iterable[Any], instances: Collection[str]) -> dict[str, list[Receipt]]:
    """The receipts of our events in a list, by event id; others may use our source name (A16)."""
    found: dict[str, list[Receipt]] = {}
    for document in documents:
        receipt = receipt_of(document)
        payload = document.get("payload") if receipt is not None else None
        if receipt is None or not isinstance(payload, dict) or payload.get("schema") != SCHEMA:
            continue
        if payload.get("instance") in instances:
            found.setdefault(str(payload.get("id")), []).append(receipt)
    return found


def adoptable(parcel: Parcel, known: Mapping[str, list[Receipt]]) -> Receipt | None:
    """The first receipt that the server has for an event, other than one it was found to have altered."""
    return next(
        (one for one in known.get(parcel.event_id, ()) if one.server_event_id != parcel.disowned), None
    )


@dataclass(frozen=True, slots=True)
class Comparison:
    """What the server shows in the place of a receipt: the `same`, another event (`forgotten`), or `altered`.

    `content` says, of an altered one, whether what was sent is no longer what is there.
    """

    word: Literal["same", "forgotten", "altered"]
    content: bool = False


def compare(parcel: Parcel, document: Any, *, instances: Collection[str] = ()) -> Comparison:
    """What the server's event under the number of a receipt says; None is that there is none.

    `instances` are the names that the ledger had before: an event that was taken over carries one of them,
    and a place in the sequence of then, so that only its receipt can be compared.
    """
    receipt = receipt_of(document)
    if receipt is None or not _carries(document, parcel.event_id):
        return Comparison("forgotten")
    sent = orjson.loads(parcel.text)
    ours = document["payload"].get("instance") == sent["instance"]
    if not ours and document["payload"].get("instance") not in instances:
        return Comparison("forgotten")  # a replica's event: the numbers were given anew
    if receipt == parcel.receipt:
        return Comparison("same")
    return Comparison("altered", content=ours and document["payload"] != sent)


def readable(text: str) -> bool:
    """Whether a stored payload is one of ours, and not of a newer version (A20)."""
    payload = decoded(text.encode("utf-8", "replace"))
    return isinstance(payload, dict) and payload.get("schema") == SCHEMA


def retry_after(header: str | None, *, now: float) -> float | None:
    """Seconds to wait, at most ten minutes; None where the header is absent or not to be understood."""
    text = (header or "").strip()
    if _SECONDS.fullmatch(text):
        return min(float(text), LONGEST_WAIT)
    try:
        left = parsedate_to_datetime(text).timestamp() - now
    except (ValueError, TypeError, OverflowError, IndexError):
        return None
    return min(left, LONGEST_WAIT) if left > 0 else None


def _carries(document: Any, event_id: str) -> bool:
    payload = document.get("payload")
    return isinstance(payload, dict) and payload.get("id") == event_id


def _only_kind(document: Any) -> bool:
    """Whether a refusal is about the kind and nothing else (A1)."""
    details = document.get("detail") if isinstance(document, dict) else None
    if not isinstance(details, list) or not details:
        return False
    return all(isinstance(one, dict) and one.get("loc") == ["body", "kind"] for one in details)

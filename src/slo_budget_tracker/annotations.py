"""Annotations: marks that people and pipelines set in time, such as deploys; nothing counts them."""

from __future__ import annotations

import hashlib
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any, NamedTuple

import orjson
import sqlalchemy as sa

from slo_budget_tracker import tables
from slo_budget_tracker.snapshots import instant_text

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sqlalchemy import Connection

KINDS = ("deploy", "incident", "note")
_MARK = tables.notes.c


class Annotation(NamedTuple):
    """A mark at an instant or over a span; about all SLOs unless it names some or a service."""

    kind: str
    start: int
    text: str
    end: int | None = None
    link: str | None = None
    author: str = ""
    service: str = ""
    slos: tuple[str, ...] = ()  # names or globs

    @property
    def mark_id(self) -> str:
        """The same for the same mark: one that is sent again is not there twice."""
        return hashlib.sha256(orjson.dumps(tuple(self))).hexdigest()[:32]

    def is_for(self, slo: str, service: str) -> bool:
        """Whether it says something about an SLO."""
        if not self.slos and not self.service:
            return True
        return any(fnmatchcase(slo, one) for one in self.slos) or (
            self.service != "" and self.service == service
        )


class Sought(NamedTuple):
    """Which marks: of some kinds, that touch [since, until], about an SLO and its service; one page."""

    slo: str | None = None
    service: str = ""
    kinds: tuple[str, ...] = ()
    since: int | None = None
    until: int | None = None
    limit: int = 100
    offset: int = 0


class Marked(NamedTuple):
    """A page of marks and how many there are on all pages."""

    marks: tuple[Annotation, ...]
    total: int


def add_annotation(connection: Connection, one: Annotation) -> bool:
    """Keep a mark; False when it is there already."""
    known = sa.select(_MARK.mark_id).where(_MARK.mark_id == one.mark_id)
    if connection.execute(known).first() is not None:
        return False
    values = {
        **one._asdict(),
        "mark_id": one.mark_id,
        "slos": orjson.dumps(one.slos).decode(),
        "start_at": one.start,
        "end_at": one.end,
    }
    values = {name: value for name, value in values.items() if name not in {"start", "end"}}
    connection.execute(sa.insert(tables.notes).values(values))
    return True


def remove_annotation(connection: Connection, mark_id: str) -> bool:
    """Take a mark away; False when there is none."""
    gone = connection.execute(sa.delete(tables.notes).where(_MARK.mark_id == mark_id))
    return gone.rowcount > 0


def find_annotations(connection: Connection, sought: Sought) -> Marked:
    """The marks that are sought, newest first."""
    chosen: list[sa.ColumnElement[bool]] = []
    if sought.kinds:
        chosen.append(_MARK.kind.in_(sought.kinds))
    if sought.since is not None:
        chosen.append(sa.func.coalesce(_MARK.end_at, _MARK.start_at) >= sought.since)
    if sought.until is not None:
        chosen.append(_MARK.start_at <= sought.until)
    query = sa.select(tables.notes).where(*chosen).order_by(_MARK.start_at.desc(), _MARK.mark_id)
    if sought.slo is None:
        counted = sa.select(sa.func.count()).select_from(tables.notes).where(*chosen)
        total = connection.execute(counted).scalar_one()
        rows = connection.execute(query.limit(sought.limit).offset(sought.offset)).mappings()
        return Marked(tuple(map(_of, rows)), total)
    slo = sought.slo
    # globs are matched here: what SQL calls a pattern differs from database to database
    found = [one for one in map(_of, connection.execute(query).mappings()) if one.is_for(slo, sought.service)]
    return Marked(tuple(found[sought.offset : sought.offset + sought.limit]), len(found))


def forget_annotations(connection: Connection, *, before: int) -> None:
    """Remove the marks that ended before an instant."""
    over = sa.func.coalesce(_MARK.end_at, _MARK.start_at) < before
    connection.execute(sa.delete(tables.notes).where(over))


def annotation_json(one: Annotation) -> dict[str, object]:
    """A mark as the API and reports give it."""
    return {
        "id": one.mark_id,
        "kind": one.kind,
        "at": instant_text(one.start),
        "until": None if one.end is None else instant_text(one.end),
        "text": one.text,
        "link": one.link,
        "author": one.author,
        "service": one.service,
        "slos": list(one.slos),
    }


def among(marks: Iterable[Annotation], slo: str, service: str) -> tuple[Annotation, ...]:
    """Those of some marks that are about an SLO, oldest first."""
    return tuple(
        sorted((one for one in marks if one.is_for(slo, service)), key=lambda one: (one.start, one.text))
    )


def _of(row: Any) -> Annotation:
    return Annotation(
        row["kind"],
        row["start_at"],
        row["text"],
        row["end_at"],
        row["link"],
        row["author"],
        row["service"],
        tuple(orjson.loads(row["slos"])),
    )

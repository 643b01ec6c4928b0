"""Printouts: reviews of a period as Markdown, HTML (one file), CSV and JSON."""

from __future__ import annotations

import csv
import io
from collections import Counter
from typing import TYPE_CHECKING

import jinja2
import orjson

from slo_budget_tracker import drawing, wording
from slo_budget_tracker.annotations import annotation_json
from slo_budget_tracker.reviews import ENDINGS
from slo_budget_tracker.snapshots import instant_text

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from slo_budget_tracker.annotations import Annotation
    from slo_budget_tracker.corrections import Span
    from slo_budget_tracker.periods import Period
    from slo_budget_tracker.reviews import Review, Stretch

COLUMNS = (
    *("slo", "labels", "service", "owner", "target", "standing", "total", "failures", "success_ratio"),
    *("error_budget_remaining", "error_budget_remaining_before", "coverage"),
    "error_budget_remaining_uncorrected",
)
SHADES = (0.01, 0.03, 0.1, 0.3)  # shares of the period's budget in one day: the colours of the calendar
HOUR = 3_600
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


def as_json(reviews: Sequence[Review], period: Period) -> str:
    """Everything, for programs."""
    found = {
        "period": {"name": period.name, "start": instant_text(period.start), "end": instant_text(period.end)},
        "slos": [_json(one) for one in reviews],
        "standings": {key: tally(reviews)[key] for key in ENDINGS},
    }
    return orjson.dumps(found, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE).decode()


def as_csv(reviews: Sequence[Review], _period: Period) -> str:
    """One line per SLO, for spreadsheets; what they would take for a formula is text."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(COLUMNS)
    for one in reviews:
        labels = " ".join(f"{key}={value}" for key, value in one.labels.items())
        texts = (one.slo.name, labels, one.slo.service, one.slo.owner)
        figures = (
            one.counts.total,
            one.counts.bad,
            one.success_ratio,
            one.remaining,
            one.before,
            one.coverage,
            one.raw,
        )
        writer.writerow([*map(_plain, texts), one.slo.target, one.standing, *figures])
    return out.getvalue()


def as_markdown(reviews: Sequence[Review], period: Period) -> str:
    """For a wiki or a ticket."""
    counts = tally(reviews)
    said = ", ".join(f"{counts[key]} {wording.STANDINGS[key].lower()}" for key in ENDINGS if counts[key])
    lines = [
        f"# Error budgets, {_cell(period.name)}",
        "",
        f"{instant_text(period.start)} to {instant_text(period.end)}: {said or 'no SLO'}.",
        "",
        "| SLO | service | owner | target | success | failed | budget left | before | coverage |",
        "|---|---|---|--:|--:|--:|--:|--:|--:|",
    ]
    for one in reviews:
        cells = (
            named(one),
            one.slo.service,
            one.slo.owner,
            wording.target(one.slo.target),
            wording.share(one.success_ratio, 3),
            f"{wording.count(one.counts.bad)} of {wording.count(one.counts.total)}",
            wording.share(one.remaining),
            wording.share(one.before),
            wording.share(one.coverage),
        )
        lines.append(f"| {' | '.join(map(_cell, cells))} |")
    for one in (one for one in reviews if one.worst or one.events.events or one.corrections or one.notes):
        lines += ["", f"## {_cell(named(one))}", ""]
        if one.corrections:
            lines.append(f"- {_uncorrected(one)}")
            lines += [f"- {_cell(corrected(span))}" for span in one.corrections]
        lines += [f"- {_cell(noted(note))}" for note in one.notes]
        lines += [f"- {_hour(stretch)} {_cell(during(one, stretch))}".rstrip() for stretch in one.worst]
        lines += [
            f"- {instant_text(event.at)} {wording.KINDS.get(event.kind, event.kind)}:"
            f" {_cell(str(event.payload.get('reason') or ''))}"
            for event in reversed(one.events.events)
        ]
    return "\n".join(lines) + "\n"


def as_html(reviews: Sequence[Review], period: Period) -> str:
    """One file with its charts inside, to be mailed or kept."""
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("slo_budget_tracker"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals.update(
        w=wording,
        shade=shade,
        named=named,
        instant_text=instant_text,
        calendar=drawing.calendar,
        course=course,
        corrected=corrected,
        during=during,
        noted=noted,
        uncorrected=_uncorrected,
        steps=SHADES,
    )
    owners = Counter((one.slo.service or wording.NOTHING, one.slo.owner, one.standing) for one in reviews)
    return environment.get_template("report.html").render(
        reviews=reviews,
        period=period,
        tally=tally(reviews),
        standings=ENDINGS,
        owners=sorted({key[:2] for key in owners}),
        by_owner=owners,
    )


FORMATS: dict[str, Callable[[Sequence[Review], Period], str]] = {
    "md": as_markdown,
    "html": as_html,
    "csv": as_csv,
    "json": as_json,
}


def tally(reviews: Sequence[Review]) -> Counter[str]:
    """How many SLOs ended how."""
    return Counter(one.standing for one in reviews)


def named(one: Review) -> str:
    """The name with the group's labels."""
    return " ".join([one.slo.name, *(f"{key}={value}" for key, value in one.labels.items())])


def shade(spent: float | None) -> int | None:
    """How dark a day is, 0 to 4; None where nothing is known."""
    return None if spent is None else sum(spent >= step for step in SHADES)


def course(one: Review) -> drawing.Spark | None:
    """What remained of the period's budget at the end of each day, from all of it on."""
    left, found = 1.0, [1.0]
    for day in one.days:
        left -= day.spent or 0.0
        found.append(left)
    return drawing.spark(found) if one.remaining is not None else None


def corrected(one: Span) -> str:
    """A correction as a sentence."""
    times = f"{instant_text(one.span.start)} to {instant_text(one.span.end)}"
    return f"Not counted: {times}, {one.correction.name}: {one.correction.reason} ({one.correction.author})"


def noted(one: Annotation) -> str:
    """An annotation as a sentence."""
    until = "" if one.end is None else f" to {instant_text(one.end)}"
    author = f" ({one.author})" if one.author else ""
    return f"{instant_text(one.start)}{until} {wording.MARKS[one.kind]}: {one.text}{author}"


def during(one: Review, hour: Stretch) -> str:
    """What happened in an hour, behind its figures; nothing where nothing did."""
    inside = [event for event in reversed(one.events.events) if hour.start <= event.at < hour.start + HOUR]
    inside = [event for event in inside if event.kind != "slo_correction_applied"]
    kinds = dict.fromkeys(wording.KINDS.get(event.kind, event.kind) for event in inside)
    return f" ({'; '.join(kinds)})" if kinds else ""


def _uncorrected(one: Review) -> str:
    return f"Corrections are taken out; without them {wording.share(one.raw)} of the budget would be left"


def _hour(one: Stretch) -> str:
    failed = f"{wording.count(one.counts.bad)} of {wording.count(one.counts.total)} failed"
    return f"{instant_text(one.start)}: {failed} in an hour, {wording.share(one.spent)} of the budget"


def _cell(text: str) -> str:
    """Text that is no Markdown."""
    cut = " ".join(text.split())
    return "".join(f"\\{letter}" if letter in "\\|`*_<>[]#" else letter for letter in cut)


def _plain(text: str) -> str:
    return f"'{text}" if text.startswith(_FORMULA) else text


def _json(one: Review) -> dict[str, object]:
    return {
        "name": one.slo.name,
        "labels": dict(one.labels),
        "service": one.slo.service,
        "owner": one.slo.owner,
        "target": float(one.slo.target),
        "standing": one.standing,
        "total": one.counts.total,
        "failures": one.counts.bad,
        "success_ratio": one.success_ratio,
        "error_budget_remaining": one.remaining,
        "error_budget_remaining_before": one.before,
        "coverage": one.coverage,
        "days": [_stretch(stretch) for stretch in one.days],
        "worst_hours": [
            {**_stretch(stretch), "happened": during(one, stretch).strip(" ()") or None}
            for stretch in one.worst
        ],
        "error_budget_remaining_uncorrected": one.raw,
        "corrections": [
            {
                "name": span.correction.name,
                "start": instant_text(span.span.start),
                "end": instant_text(span.span.end),
                "reason": span.correction.reason,
                "author": span.correction.author,
            }
            for span in one.corrections
        ],
        "annotations": [annotation_json(note) for note in one.notes],
        "events": [
            {"at": instant_text(event.at), "kind": event.kind, "reason": event.payload.get("reason")}
            for event in reversed(one.events.events)
        ],
    }


def _stretch(one: Stretch) -> dict[str, object]:
    return {
        "start": instant_text(one.start),
        "total": one.counts.total,
        "failures": one.counts.bad,
        "error_budget_spent": one.spent,
    }

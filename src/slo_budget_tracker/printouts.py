"""Printouts: reviews of a period as Markdown, HTML (one file), CSV and JSON."""

from __future__ import annotations

import csv
import io
from collections import Counter
from typing import TYPE_CHECKING

import jinja2
import orjson

from slo_budget_tracker import budget, drawing, wording
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
    *("error_budget_remaining_uncorrected", "standing_before"),
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
        "standings_before": {key: tally(reviews, before=True)[key] for key in ENDINGS},
        "owners": [
            {"service": service, "owner": owner, "standings": {key: counts[key] for key in ENDINGS}}
            for (service, owner), counts in by_owner(reviews).items()
        ],
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
            one.counts.total if one.counted else None,
            one.counts.bad if one.counted else None,
            one.success_ratio,
            one.remaining,
            one.before,
            one.coverage,
            one.raw,
            one.standing_before,
        )
        writer.writerow([*map(_plain, texts), one.slo.target, one.standing, *figures])
    return out.getvalue()


def as_markdown(reviews: Sequence[Review], period: Period) -> str:
    """For a wiki or a ticket."""
    said, before = (_said(tally(reviews, before=before)) for before in (False, True))
    lines = [
        f"# Error budgets, {_cell(period.name)}",
        "",
        f"{instant_text(period.start)} to {instant_text(period.end)}: {said}. The period before: {before}.",
        "",
        f"| service | owner | {' | '.join(wording.STANDINGS[key].lower() for key in ENDINGS)} |",
        f"|---|---|{'--:|' * len(ENDINGS)}",
    ]
    for (service, owner), counts in by_owner(reviews).items():
        texts = (service or wording.NOTHING, owner, *(str(counts[key] or "") for key in ENDINGS))
        lines.append(f"| {' | '.join(map(_cell, texts))} |")
    lines += [
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
            failed(one),
            wording.share(one.remaining),
            wording.share(one.before),
            wording.share(one.coverage),
        )
        lines.append(f"| {' | '.join(map(_cell, cells))} |")
    for one in (one for one in reviews if _has_more(one)):
        lines += ["", f"## {_cell(named(one))}", ""]
        if one.members:
            lines.append(f"- {_cell(by_member(one))}")
        if one.corrections:
            lines.append(f"- {_uncorrected(one)}")
            lines += [f"- {_cell(corrected(span))}" for span in one.corrections]
        lines += [f"- {_cell(noted(note))}" for note in one.notes]
        lines += [f"- {_hour(one, stretch)} {_cell(during(one, stretch))}".rstrip() for stretch in one.worst]
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
        failed=failed,
        by_member=by_member,
        steps=SHADES,
    )
    return environment.get_template("report.html").render(
        reviews=reviews,
        period=period,
        tally=tally(reviews),
        before=tally(reviews, before=True),
        standings=ENDINGS,
        owners=by_owner(reviews),
    )


FORMATS: dict[str, Callable[[Sequence[Review], Period], str]] = {
    "md": as_markdown,
    "html": as_html,
    "csv": as_csv,
    "json": as_json,
}


def tally(reviews: Sequence[Review], *, before: bool = False) -> Counter[str]:
    """How many SLOs ended how, now or in the period before; one with groups counts once."""
    return Counter(one.standing_before if before else one.standing for one in reviews if not one.labels)


def by_owner(reviews: Sequence[Review]) -> dict[tuple[str, str], Counter[str]]:
    """The same by service and owner, in their order."""
    found: dict[tuple[str, str], list[Review]] = {}
    for one in reviews:
        found.setdefault((one.slo.service, one.slo.owner), []).append(one)
    return {key: tally(found[key]) for key in sorted(found)}


def failed(one: Review, part: Stretch | None = None) -> str:
    """What failed, of all of it or of a part: events, or of a composite a share."""
    counts = one.counts if part is None else part.counts
    if one.counted:
        return f"{wording.count(counts.bad)} of {wording.count(counts.total)}"
    return wording.share(float(counts.bad)) if counts.known and counts.total else wording.NOTHING


def by_member(one: Review) -> str:
    """Who spent a composite's budget."""
    return f"Spent by {', '.join(f'{name} {wording.share(spent)}' for name, spent in one.members)}"


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


def _hour(one: Review, part: Stretch) -> str:
    lost = f"{failed(one, part)} failed in an hour"
    return f"{instant_text(part.start)}: {lost}, {wording.share(part.spent)} of the budget"


def _said(counts: Counter[str]) -> str:
    said = ", ".join(f"{counts[key]} {wording.STANDINGS[key].lower()}" for key in ENDINGS if counts[key])
    return said or "no SLO"


def _has_more(one: Review) -> bool:
    """Whether there is more to say than its line of the table."""
    return bool(one.worst or one.events.events or one.corrections or one.notes or one.members)


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
        "unit": one.slo.unit,
        "standing": one.standing,
        "standing_before": one.standing_before,
        "total": one.counts.total if one.counted else None,
        "failures": one.counts.bad if one.counted else None,
        "success_ratio": one.success_ratio,
        "error_budget_remaining": one.remaining,
        "error_budget_remaining_before": one.before,
        "coverage": one.coverage,
        "members": [{"name": name, "error_budget_spent": spent} for name, spent in one.members],
        "days": [_stretch(one, stretch) for stretch in one.days],
        "worst_hours": [
            {**_stretch(one, stretch), "happened": during(one, stretch).strip(" ()") or None}
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


def _stretch(one: Review, part: Stretch) -> dict[str, object]:
    return {
        "start": instant_text(part.start),
        "total": part.counts.total if one.counted else None,
        "failures": part.counts.bad if one.counted else None,
        "success_ratio": budget.success_ratio(budget.exact(part.counts)),
        "error_budget_spent": part.spent,
    }

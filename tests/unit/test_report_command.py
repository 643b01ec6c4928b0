"""The command `report`: a period's budgets as Markdown, HTML, CSV and JSON, from a ledger whose events are known."""

from __future__ import annotations

import csv
import io
import json
import shutil

import pytest

from slo_budget_tracker.annotations import Annotation
from slo_budget_tracker.archive import Archive
from slo_budget_tracker.entries import Entry, Event
from slo_budget_tracker.hashes import sli_hash
from slo_budget_tracker.ledger import Ledger
from slo_budget_tracker.periods import DAY, Period
from slo_budget_tracker.rows import Row
from slo_budget_tracker.specfiles import load
from slo_budget_tracker.ticks import Counts, Outcome, Tick
from tests.unit.test_cli import call  # noqa: F401 - a fixture

pytestmark = pytest.mark.in_a_file  # one for all of them, made before
HOUR = 3_600
OCTOBER = 1_790_812_800  # 2026-10-01T00:00:00Z
NOVEMBER = OCTOBER + 31 * DAY
SLOS = """
service: =cmd()
owner: <script>alert(1)</script>
slos:
  - name: shop
    description: "| pipes & <b>tags</b>"
    target: 99%
    sli: {requests: {total: t_total, bad: b_total}}
  - name: quiet
    target: 99.9%
    sli: {requests: {total: u_total, bad: v_total}}
  - name: new
    target: 99.9%
    sli: {requests: {total: w_total, bad: x_total}}
  - name: journey
    target: 99%
    alerts: none
    sli: {composite: {members: [{slo: shop}, {slo: quiet, weight: 2}]}}
"""


@pytest.fixture(scope="module")
def config(tmp_path_factory):
    """A ledger with September and October by the hour: 100 events each; one bad hour on October 3rd."""
    folder = tmp_path_factory.mktemp("report")
    (folder / "slos.yaml").write_text(SLOS)
    (folder / "tracker.yaml").write_text(
        f"prometheus: {{url: 'http://127.0.0.1:9'}}\nslo_files: [slos.yaml]\nevaluation: {{delay: 0s}}\n"
        f"ledger: {{url: 'sqlite:///{folder}/l.db'}}\n"
    )
    slos = {slo.name: slo for slo in load([folder / "slos.yaml"]).slos}
    with Ledger.open(f"sqlite:///{folder}/l.db") as ledger:
        shop, quiet, _ = ledger.register_all(
            [(name, {}, sli_hash(slos[name])) for name in ("shop", "quiet", "journey")], at=OCTOBER
        )
        worst = OCTOBER + 2 * DAY + 5 * HOUR
        rows = []
        for start in range(OCTOBER - 31 * DAY, NOVEMBER, HOUR):
            bad = 90.0 if start == worst else 0.0
            counts = {shop: Counts(100.0, bad, Outcome.OK)}
            if start >= OCTOBER:
                counts[quiet] = Counts(10.0, 0.0, Outcome.OK)
            rows.append(Row.of(Tick(start, start + HOUR), counts))
        payload = {"reason": "it [burns](javascript:x)"}
        ledger.commit(Entry(rows=rows, events=[Event("e1", "shop", "slo_burn_started", worst + 60, payload)]))
    return folder / "tracker.yaml"


def report(call, config, form, period="2026-10"):  # noqa: F811
    """What the command prints."""
    status, out, err = call("report", "-c", config, "--period", period, "--format", form)
    assert (0, "") == (status, err)
    return out


def test_json_has_every_figure(call, config):  # noqa: F811
    """Counts, budget, days, worst hour and events of October; September before it was clean."""
    found = json.loads(report(call, config, "json"))
    _, quiet, shop = found["slos"]
    assert ("2026-10-01T00:00:00Z", "2026-11-01T00:00:00Z") == (
        found["period"]["start"],
        found["period"]["end"],
    )
    assert (74_400, 90, 31, 1.0) == (shop["total"], shop["failures"], len(shop["days"]), shop["coverage"])
    assert 1 - 90 / 744 == pytest.approx(shop["error_budget_remaining"])
    assert (1.0, "healthy", "healthy") == (
        shop["error_budget_remaining_before"],
        shop["standing"],
        quiet["standing"],
    )
    assert [0, 0, 90] == [day["failures"] for day in shop["days"][:3]]
    assert [("2026-10-03T05:00:00Z", 90)] == [(one["start"], one["failures"]) for one in shop["worst_hours"]]
    assert [("slo_burn_started", "2026-10-03T05:01:00Z")] == [
        (one["kind"], one["at"]) for one in shop["events"]
    ]


def test_a_period_can_be_overspent_or_unknown(call, config):  # noqa: F811
    """A day has a budget of its own; where nothing is known nothing is claimed."""
    (*_, shop) = json.loads(report(call, config, "json", "2026-10-03"))["slos"]
    assert ("exhausted", -2.75) == (shop["standing"], pytest.approx(shop["error_budget_remaining"]))
    quiet = json.loads(report(call, config, "json", "2026-09"))["slos"][1]
    assert ("no_data", None, None) == (
        quiet["standing"],
        quiet["error_budget_remaining"],
        quiet["success_ratio"],
    )


@pytest.mark.parametrize("form", ["json", "md", "html"])
def test_worst_hours_say_what_happened_in_them(call, config, form):  # noqa: F811
    """The alert that started in the worst hour stands beside its figures."""
    said = {"json": '"happened": "Burn alert started"', "md": "of the budget (Burn alert started)"}
    assert said.get(form, "of the budget (Burn alert started)</li>") in report(call, config, form)


def test_csv_is_no_formula(call, config):  # noqa: F811
    """A spreadsheet takes nothing in it for a formula."""
    lines = list(csv.DictReader(io.StringIO(report(call, config, "csv"))))
    assert ["journey", "quiet", "shop"] == [one["slo"] for one in lines]
    assert ("'=cmd()", "90.0", "0.99") == (lines[2]["service"], lines[2]["failures"], lines[2]["target"])


def test_markdown_escapes_what_others_wrote(call, config):  # noqa: F811
    """A table, the worst hours, the events; no link and no tag of theirs."""
    text = report(call, config, "md")
    assert "# Error budgets, 2026-10" in text
    assert "3 healthy. The period before: 2 no data, 1 healthy." in text
    assert "| =cmd() | \\<script\\>alert(1)\\</script\\> |  |  |  | 3 |" in text
    assert "2026-10-03T05:00:00Z: 90 of 100 failed in an hour" in text
    assert "it \\[burns\\](javascript:x)" in text
    assert "<script>" not in text


def test_html_is_one_file(call, config):  # noqa: F811
    """Charts inside, nothing loaded, everything escaped, and the calendar has a square for each day."""
    text = report(call, config, "html")
    assert ("<script" not in text, "<b>tags</b>" not in text) == (True, True)
    assert 3 * 31 == text.count("<rect ")
    assert 3 == text.count('<svg class="course"')
    assert 'class="d3"' in text
    assert "default-src 'none'" in text
    assert "http" not in text.replace("http-equiv", "")


CORRECTIONS = """
corrections:
  - {name: drill, from: 2026-10-03T05:00:00Z, to: 2026-10-03T06:00:00Z, slos: [shop], reason: a *drill*, author: ann}
"""


@pytest.mark.parametrize("form", ["json", "md", "html", "csv"])
def test_corrections_are_taken_out_and_told(call, config, form):  # noqa: F811
    """The corrected hour does not count; the report says so, with who and why, and what would be left with it."""
    corrected = config.with_name("corrected.yaml")
    config.with_name("drill.yaml").write_text(CORRECTIONS)
    corrected.write_text(f"{config.read_text()}corrections_files: [drill.yaml]\n")
    text = report(call, corrected, form)
    if form == "json":
        shop = json.loads(text)["slos"][2]
        assert (0, 1.0, 74_300) == (shop["failures"], shop["error_budget_remaining"], shop["total"])
        assert 1 - 90 / 744 == pytest.approx(shop["error_budget_remaining_uncorrected"])
        assert ["a *drill*"] == [one["reason"] for one in shop["corrections"]]
    elif form == "csv":
        assert "0.87903" in text
    else:
        said = "drill: a \\*drill\\* (ann)" if form == "md" else "drill: a *drill* (ann)"
        assert (said in text, "without them 87.9% of the budget would be left" in text) == (True, True)


@pytest.mark.parametrize("form", ["json", "md", "html"])
def test_marks_stand_in_the_report(call, config, form):  # noqa: F811
    """A deploy of the period, with its author; what others wrote is escaped."""
    marked = config.with_name(f"marked-{form}.yaml")
    url = f"sqlite:///{config.with_name(f'{form}.db')}"
    marked.write_text(config.read_text().replace(f"sqlite:///{config.parent}/l.db", url))
    shutil.copy(config.with_name("l.db"), config.with_name(f"{form}.db"))
    with Ledger.open(url) as ledger:
        Archive(ledger).annotate(Annotation("deploy", OCTOBER + 60, "<b>shop</b> 1.42.0", author="ci"))
    text = report(call, marked, form)
    said = {
        "json": '"text": "<b>shop</b> 1.42.0"',
        "md": "\\<b\\>shop",
        "html": "&lt;b&gt;shop&lt;/b&gt; 1.42.0 (ci)",
    }
    assert said[form] in text


@pytest.mark.parametrize(
    ("text", "start", "end"),
    [
        ("2026-10", OCTOBER, NOVEMBER),
        ("2026-Q3", OCTOBER - 92 * DAY, OCTOBER),
        ("2026-Q4", OCTOBER, OCTOBER + 92 * DAY),
        ("2026", OCTOBER - 273 * DAY, OCTOBER + 92 * DAY),
        ("2026-10-02", OCTOBER + DAY, OCTOBER + 2 * DAY),
        ("2026-10-01..2026-10-08", OCTOBER, OCTOBER + 7 * DAY),
        ("2026-10-01T00:00:00Z..", OCTOBER, NOVEMBER + DAY),
        ("-2d..-1d", NOVEMBER - DAY, NOVEMBER),
    ],
)
def test_periods(text, start, end):
    """Months, quarters, years, days and anything between two times."""
    assert (text, start, end) == Period.of(text, now=NOVEMBER + DAY)
    assert 2 * start - end == Period.of(text, now=NOVEMBER + DAY).before.start


@pytest.mark.parametrize(
    "text", ["", "October", "2026-13", "2026-Q5", "2027-10", "2026-10-08..2026-10-01", "1..2..3", "9" * 500]
)
def test_what_is_no_period_is_refused(call, config, text):  # noqa: F811
    """Status 2 and what is expected."""
    status, _, err = call("report", "-c", config, "--period", text)
    assert (2, True) == (status, "expected a period" in err), err


def test_composites_are_assessed_from_their_members(call, config):  # noqa: F811
    """A third of the shop's error ratio, on the day and in the hour that it was lost; no events of its own."""
    journey = json.loads(report(call, config, "json"))["slos"][0]
    spent = 90 / 74_400 / 3 / 0.01
    assert ("journey", "ratio", "healthy", None, None) == tuple(
        journey[key] for key in ("name", "unit", "standing", "total", "failures")
    )
    assert (1 - spent, 1 - 90 / 74_400 / 3, 1.0) == pytest.approx(
        (journey["error_budget_remaining"], journey["success_ratio"], journey["coverage"])
    )
    assert [0, 0, spent, 0] == pytest.approx([day["error_budget_spent"] for day in journey["days"][:4]])
    assert [("2026-10-03T05:00:00Z", pytest.approx(spent), pytest.approx(1 - 0.9 / 3))] == [
        (one["start"], one["error_budget_spent"], one["success_ratio"]) for one in journey["worst_hours"]
    ]
    assert [("shop", pytest.approx(spent)), ("quiet", 0)] == [
        (one["name"], one["error_budget_spent"]) for one in journey["members"]
    ]
    assert (None, "no_data") == (journey["error_budget_remaining_before"], journey["standing_before"])


@pytest.mark.parametrize(
    ("form", "said"),
    [
        ("md", ["| journey | =cmd() |", "2026-10-03T05:00:00Z: 30.0% failed in an hour, 4.0% of the budget"]),
        ("md", ["Spent by shop 4.0%, quiet 0.0%"]),
        ("html", ["30.0% failed, 4.0% of the budget", "Spent by shop 4.0%, quiet 0.0% of the budget."]),
        ("csv", ["journey,,'=cmd(),<script>alert(1)</script>,0.99,healthy,,,0.9995967"]),
    ],
)
def test_composites_are_in_every_format(call, config, form, said):  # noqa: F811
    """Their share of failures, who spent it, and in a table a line without counts."""
    text = report(call, config, form)
    assert [] == [one for one in said if one not in text]

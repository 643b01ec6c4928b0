"""Corrections: time that does not count, once or by a rule; both figures are shown, and taking it back restores."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from typer.testing import CliRunner

from slo_budget_tracker import rollcall
from slo_budget_tracker.cli import app
from slo_budget_tracker.configuration import Files
from slo_budget_tracker.correctionfiles import absent, corrected, for_slo, load_corrections
from slo_budget_tracker.corrections import Correction, merged, overlapping
from slo_budget_tracker.errors import TrackerError
from slo_budget_tracker.evaluator import Evaluator
from slo_budget_tracker.gauges import render
from slo_budget_tracker.hashes import definition_hash, sli_hash
from slo_budget_tracker.history import History
from slo_budget_tracker.ledger import Ledger
from slo_budget_tracker.rows import Row
from slo_budget_tracker.snapshots import snapshot_json
from slo_budget_tracker.specs import BudgetAlert, Calendar
from slo_budget_tracker.ticks import TO_DATE, Counts, Outcome, Tick
from slo_budget_tracker.windows import gather
from tests.unit.serving import BEGIN, DELAY, HOUR, INTERVAL, Archive, Server, availability, traffic

DAY = 86_400


def at(text):
    """Epoch seconds of an instant in UTC."""
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp())


def correction(start=BEGIN + 1_200, end=BEGIN + 2_400, **options):
    """The twenty minutes in which the shop fails."""
    given_ = {"name": "upgrade", "start": start, "end": end, "slos": ("shop",), "reason": "new disks"}
    return Correction(**given_ | {"author": "ops@example.org"} | options)


def rule(text, duration=HOUR, *, start="2026-10-18 00:00", **options):
    """A recurring correction."""
    return correction(start=at(start), end=None, rrule=text, duration=duration, **options)


@pytest.mark.parametrize(
    ("one", "after", "until", "expected"),
    [
        pytest.param(
            rule("FREQ=WEEKLY", timezone="Europe/Berlin", start="2026-10-18 00:00"),
            "2026-10-17",
            "2026-11-02",
            ["2026-10-18 00:00", "2026-10-25 00:00", "2026-11-01 01:00"],
            id="two o'clock stays two o'clock when the clock goes back",
        ),
        pytest.param(
            rule("FREQ=DAILY", start="2026-10-20 00:30", timezone="Europe/Berlin"),
            "2026-10-25 00:00",
            "2026-10-25 01:15",
            ["2026-10-25 00:30"],
            id="under way at a quarter past two, for the second time",
        ),
        pytest.param(
            rule("FREQ=DAILY", start="2026-03-20 01:30", timezone="Europe/Berlin"),
            "2026-03-29 02:15",
            "2026-03-29 05:00",
            ["2026-03-29 01:30"],
            id="under way where the clock jumped over its begin",
        ),
        pytest.param(
            rule("FREQ=MONTHLY;BYDAY=1SU;COUNT=2"),
            "2026-10-01",
            "2027-10-01",
            ["2026-11-01 00:00", "2026-12-06 00:00"],
            id="the first Sunday of a month, twice",
        ),
        pytest.param(
            rule("FREQ=DAILY"), "2026-10-18 00:30", "2026-10-18 02:00", ["2026-10-18 00:00"], id="under way"
        ),
        pytest.param(rule("FREQ=DAILY"), "2026-10-01", "2026-10-18", [], id="not yet"),
        pytest.param(
            rule("FREQ=DAILY;UNTIL=20261019T000000Z"),
            "2026-10-01",
            "2027-01-01",
            ["2026-10-18 00:00", "2026-10-19 00:00"],
            id="until an instant, which is the last one",
        ),
    ],
)
def test_recurrence_rules(one, after, until, expected):
    """RFC 5545: each occurrence that overlaps the span that is asked for."""
    starts = [span.start for span in one.spans(at(after), at(until))]
    assert [at(text) for text in expected] == starts


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"end": None}, "neither `to` nor `rrule`"),
        ({"rrule": "FREQ=DAILY", "duration": 60}, "both `to` and `rrule`"),
        ({"end": BEGIN}, "an end that is not after the start"),
        ({"end": None, "rrule": "FREQ=SECONDLY", "duration": 60}, "a rule with one of FREQ=HOURLY"),
        ({"end": None, "rrule": "FREQ=DAILY;BYDAY=XX", "duration": 60}, "a recurrence rule of RFC 5545"),
        ({"end": None, "rrule": "FREQ=DAILY", "duration": 90 * DAY}, "1 to 2678400 seconds"),
        ({"end": None, "rrule": "FREQ=DAILY", "duration": 60, "timezone": "Mars"}, "IANA database"),
    ],
)
def test_corrections_that_make_no_sense(options, sentence):
    """Told by name."""
    with pytest.raises(ValidationError, match=sentence):
        correction(**options)


@pytest.mark.parametrize(
    ("slos", "names"),
    [
        (("shop",), ["shop"]),
        (("s*",), ["search", "shop"]),
        (((("team", "payments"),),), ["shop"]),
        (((("team", "*"), ("tier", "2")),), ["search"]),
        (((("service", "web"),),), ["search", "shop"]),
        (("none",), []),
    ],
)
def test_names_globs_and_labels_choose(slos, names):
    """Any entry chooses; all matchers of an entry must hold."""
    known = [
        availability("shop", service="web", labels=(("team", "payments"), ("tier", "1"))),
        availability("search", service="web", labels=(("team", "discovery"), ("tier", "2"))),
    ]
    one = correction(slos=slos)
    assert names == sorted(slo.name for slo in known if for_slo(slo, [one]))


def test_a_correction_is_no_part_of_the_identity():
    """It changes neither definition nor SLI: no generation begins, nothing is told of a changed definition."""
    plain = availability()
    (with_one,) = corrected([plain], [correction()])
    assert (definition_hash(plain), sli_hash(plain)) == (definition_hash(with_one), sli_hash(with_one))
    assert 1 == len(with_one.corrections)


def test_spans_are_whole_ticks_and_each_second_counts_once():
    """Overlapping corrections are merged on the grid."""
    spans = [Tick(95, 310), Tick(300, 500), Tick(700, 800)]
    assert [Tick(90, 450), Tick(690, 750)] == merged(spans, 30, 60)


@settings(deadline=None, max_examples=40)
@given(
    st.lists(st.tuples(st.integers(0, 100), st.integers(0, 100)), min_size=24, max_size=24),
    st.lists(st.tuples(st.integers(0, 23), st.integers(1, 6)), max_size=3),
    st.booleans(),
)
def test_what_is_taken_out_is_exactly_those_hours(events, spans, calendar):
    """Every window is the sum of the hours that are left; without corrections it is what it was."""
    base = at("2026-10-01")
    history = History()
    hours = [Tick(base + h * HOUR, base + (h + 1) * HOUR) for h in range(24)]
    counts = [Counts(max(t, b), min(t, b), Outcome.OK) for t, b in events]
    history.add([Row.of(hour, {1: one}) for hour, one in zip(hours, counts, strict=True)])
    gone = {h for start, length in spans for h in range(start, min(start + length, 24))}
    without = merged([Tick(base + s * HOUR, base + (s + n) * HOUR) for s, n in spans], base, 60)
    slo = availability(alerts=(), window=30 * DAY if calendar else DAY)
    if calendar:
        slo = slo.model_copy(update={"calendar": Calendar(unit="month")})
    key = TO_DATE if calendar else DAY

    def gathered(taken):
        return gather(history, base + DAY, [(slo, 1)], interval=60, born=lambda _: 0, without=taken)[1][key]

    left = [one for h, one in enumerate(counts) if h not in gone]
    found = gathered(without)
    assert (sum(c.total for c in left), sum(c.bad for c in left)) == (found.total, found.bad)
    assert len(left) * HOUR == found.known
    assert gathered([]) == gathered(())
    assert sum(c.total for c in counts) == gathered([]).total


def shop(*corrections, **options):
    """The shop that fails for twenty minutes, with corrections."""
    slo = availability(**{"window": 4 * HOUR} | options)
    return slo.model_copy(update={"corrections": corrections})


def run(slo, ledger, last, *, first=1, at=BEGIN):
    """The last report of ticks from `first` to `last`; the catalogue begins (again) at the tick before."""
    one = Evaluator(
        slos=(slo,),
        ledger=ledger,
        asks={"default": Server(traffic(Archive()))},
        interval=INTERVAL,
        delay=DELAY,
    ).prepare(at)
    for tick in range(first, last + 1):
        report = one.advance(BEGIN + tick * INTERVAL)
    return report


@pytest.fixture
def ledger():
    """A ledger in memory."""
    with Ledger.open("sqlite://") as one:
        yield one


def told(ledger, *kinds):
    """Events of these kinds, with what they say."""
    return [
        (e.kind, e.payload.get("action") or e.payload["reason"]) for e in ledger.events() if e.kind in kinds
    ]


def test_both_figures_are_shown(ledger):
    """An hour with twenty bad minutes in it: corrected there is none, raw they are all there."""
    report = run(shop(correction()), ledger, 60)
    (snapshot,) = report.snapshots
    assert (12_000, 0, 1.0) == (snapshot.total, snapshot.failures, snapshot.error_budget_remaining)
    raw = snapshot_json(snapshot)["raw"]
    assert (1_200, 18_000, 2_960) == (raw["corrected_seconds"], raw["total"], raw["failures"])
    page = render([snapshot], [], None).decode()
    assert 'slo_corrected_seconds{slo="shop"} 1200' in page
    assert 'slo_raw_error_budget_remaining{slo="shop"} -15.4' in page
    assert "raw" not in snapshot_json(run(shop(), Ledger.open("sqlite://"), 60).snapshots[0])


def test_each_application_is_an_event_once(ledger):
    """Applied when it takes effect, not again at each tick or restart; removed when it is taken back."""
    run(shop(correction()), ledger, 40)
    run(shop(correction()), ledger, 45, first=41)
    run(shop(), ledger, 50, first=46)
    kind = "slo_correction_applied"
    assert [(kind, "applied"), (kind, "removed")] == told(ledger, kind)
    applied = next(event.payload for event in ledger.events() if event.kind == kind)
    assert ("upgrade", "ops@example.org") == (applied["correction"], applied["author"])
    assert "upgrade: new disks" == applied["reason"]


def test_another_target_tells_no_application_again(ledger):
    """A changed definition keeps what was told of corrections, and retires none of them."""
    for first, target in ((1, "0.99"), (6, "0.98")):
        slo = shop(correction(start=BEGIN - HOUR, end=BEGIN + 60), target=Decimal(target))
        one = Evaluator(
            slos=(slo,),
            ledger=ledger,
            asks={"default": Server(traffic(Archive()))},
            interval=INTERVAL,
            delay=DELAY,
        ).prepare(BEGIN)
        rollcall.call(one, at=BEGIN + (first - 1) * INTERVAL)
        for tick in range(first, first + 5):
            one.advance(BEGIN + tick * INTERVAL)
    kinds = [event.kind for event in ledger.events()]
    assert ["slo_correction_applied", "slo_definition_changed"] == kinds


def test_removing_one_restores_the_figure(ledger):
    """A correction that was added and removed changes nothing."""
    plain = run(shop(), ledger, 60).snapshots[0]
    run(shop(correction()), ledger, 61, first=61)
    after = run(shop(), ledger, 62, first=62).snapshots[0]
    assert (plain.failures, plain.total + 600) == (after.failures, after.total)
    assert after.raw is None


def test_a_recovery_caused_by_one_says_so(ledger):
    """The budget was spent; corrected it is not, and the event names the correction."""
    little = (BudgetAlert(severity="ticket", remaining_below=Decimal("0.5")),)
    options = {"alerts": (), "budget_alerts": little, "window": 2 * HOUR}
    run(shop(**options), ledger, 110)
    run(shop(correction(), **options), ledger, 112, first=111)
    restored = told(ledger, "slo_budget_restored", "slo_budget_alert_recovered")
    assert ["slo_budget_restored", "slo_budget_alert_recovered"] == [kind for kind, _ in restored]
    assert all(reason.endswith("; by the correction upgrade") for _, reason in restored)


def test_no_alert_starts_in_corrected_time(ledger):
    """Planned maintenance pages nobody."""
    run(shop(correction()), ledger, 60)
    assert [] == told(ledger, "slo_burn_started", "slo_budget_exhausted")


FILE = """corrections:
  - name: upgrade
    from: 2026-11-01T02:00:00Z
    to: 2026-11-01T03:30:00+00:00
    slos: [shop, "search-*", {team: payments}]
    reason: planned upgrade
    author: ops@example.org
  - {name: weekly, from: "2026-11-01T02:00:00+01:00", rrule: FREQ=WEEKLY, duration: 2h, timezone: Europe/Berlin,
     slos: ["*"], reason: window, author: ops}
"""


def test_files(tmp_path):
    """Strict as SLO files are; a folder may be empty."""
    assert () == load_corrections([tmp_path])
    (tmp_path / "a.yaml").write_text(FILE)
    upgrade, weekly = sorted(load_corrections([tmp_path]), key=lambda one: one.name)
    assert (at("2026-11-01 02:00"), at("2026-11-01 03:30")) == (upgrade.start, upgrade.end)
    assert ("shop", "search-*", (("team", "payments"),)) == upgrade.slos
    assert (7_200, "Europe/Berlin") == (weekly.duration, weekly.timezone)
    assert 2 == len(overlapping([upgrade, weekly], at("2026-11-01"), at("2026-11-02")))


def test_what_is_named_and_not_there_is_warned_of(tmp_path):
    """A misspelt file or folder is said where, what and what to do; an empty folder or a pattern is no mistake."""
    (tmp_path / "empty").mkdir()
    (tmp_path / "a.yaml").write_text(FILE)
    named = [tmp_path / name for name in ("a.yaml", "empty", "*.yml", "misspelt.yaml", "folder")]
    assert [
        f"{tmp_path}/{name}:1:1: warning: corrections_files: no such file or folder, nothing is corrected by it; "
        "create it, or take it out of the configuration"
        for name in ("misspelt.yaml", "folder")
    ] == list(map(str, absent(named)))
    assert 2 == len(load_corrections(named))


def test_all_faults_of_files_are_told(tmp_path):
    """Place, path, what was found and expected, all at once."""
    text = FILE.replace("2026-11-01T02:00:00Z", "yesterday").replace("+01:00", "").replace("author", "auther")
    (tmp_path / "a.yaml").write_text(text)
    with pytest.raises(Exception, match="auther") as error:
        load_corrections([tmp_path])
    sentences = str(error.value)
    assert 'corrections[0].from: "yesterday", expected an instant such as' in sentences
    assert "without an offset" in sentences
    assert 2 == sentences.count("did you mean author?")


@pytest.fixture
def config(tmp_path, monkeypatch):
    """A configuration with one SLO and a folder for corrections that is not there yet."""
    sli = '{requests: {total: x_total, bad: "x_total{code=~\\"5..\\"}"}}'
    (tmp_path / "slos.yaml").write_text(f"slos:\n  - {{name: shop, target: 99%, sli: {sli}}}\n")
    path = tmp_path / "config.yaml"
    path.write_text(
        "prometheus: {url: http://127.0.0.1:9}\nslo_files: [slos.yaml]\ncorrections_files: [corrections/]\n"
    )
    monkeypatch.setenv("USER", "ops")
    return path


def command(*words):
    """The output of `corrections …`; a fault is raised."""
    result = CliRunner().invoke(app, ["corrections", *map(str, words)], catch_exceptions=False)
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.output


def test_the_command_adds_and_lists(config):
    """Written as YAML that is read back; a second one of the name is refused, and what makes no sense."""
    times = ("--from", "2026-11-01T02:00:00Z", "--to", "2026-11-01T03:00:00Z")
    written = command("add", "upgrade", "-c", config, *times, "--slo", "sh*", "--reason", 'it\'s: "planned"')
    assert written.startswith("upgrade is written to ")
    command(
        *("add", "weekly", "-c", config, "--from", "2026-11-01T02:00:00Z", "--rrule", "FREQ=WEEKLY"),
        *("--duration", "2h", "--slo", "none", "--reason", "window", "--author", "me"),
    )
    rows = orjson.loads(command("list", "-c", config, "--output", "json"))
    assert [("upgrade", ["shop"], 'it\'s: "planned"', "ops"), ("weekly", [], "window", "me")] == [
        (row["name"], row["slos"], row["reason"], row["author"]) for row in rows
    ]
    assert "FREQ=WEEKLY for 7200 s" in command("list", "-c", config)
    with pytest.raises(TrackerError, match="upgrade again"):
        command("add", "upgrade", "-c", config, *times, "--slo", "a", "--reason", "b")
    with pytest.raises(TrackerError, match="an end that is not after the start"):
        command(
            "add", "late", "-c", config, *times[:3], "2026-11-01T02:00:00Z", "--slo", "a", "--reason", "b"
        )
    assert 2 == len(orjson.loads(command("list", "-c", config, "--output", "json")))


def test_without_a_folder_there_is_nowhere_to_write(config):
    """The sentence says which key is missing."""
    config.write_text("prometheus: {url: http://127.0.0.1:9}\n")
    with pytest.raises(TrackerError, match="under `corrections_files`"):
        command("add", "a", "-c", config, "--from", "-1h", "--slo", "a", "--reason", "b")


def test_the_catalogue_has_them(config):
    """Daemon, `evaluate` and `replay` read SLOs with their corrections; a change of the folder is a change."""
    files = Files(config, {})
    before = files.digest(files.read().settings)
    command("add", "a", "-c", config, "--from", "-2h", "--slo", "shop", "--reason", "b")
    (slo,) = files.read().catalogue.slos
    assert ["a"] == [one.name for one in slo.corrections]
    assert before != files.digest(files.read().settings)

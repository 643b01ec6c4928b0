"""Conversions: what comes back from each format is the same, and what cannot is refused by name."""

from __future__ import annotations

import subprocess
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from slo_budget_tracker.cli import app
from slo_budget_tracker.conversions import Target, as_far_as_possible, converted
from slo_budget_tracker.durations import format_duration
from slo_budget_tracker.errors import SpecError
from slo_budget_tracker.filesets import Source
from slo_budget_tracker.formats.texts import values_text
from slo_budget_tracker.hashes import sli_hash
from slo_budget_tracker.specfiles import catalogue_of, understand_texts
from tests.servers import promtool_binary

FILES = Path(__file__).parent / "files"
SELECTORS = ("a_total", 'http_requests_total{code=~"5..",job="web"}', 'x_total{a="b\\"c"}', "b_total")
HISTOGRAMS = ("d_seconds", 'http_request_duration_seconds{job="web"}', "plain_histogram")
RATIOS = ("sum(increase(a[$window])) * 2", "avg_over_time(up[$window])", "sum(rate(a_total[$window]))")


@st.composite
def slis(draw):
    """An `sli:` of the kinds that other formats may have, or not."""
    kind = draw(st.sampled_from(["requests", "latency", "counts", "ratio", "condition", "probe", "preset"]))
    if kind == "requests":
        total = draw(st.lists(st.sampled_from(SELECTORS), min_size=1, max_size=2, unique=True))
        part = draw(st.lists(st.sampled_from(SELECTORS), min_size=1, max_size=2, unique=True))
        return {"requests": {"total": total, draw(st.sampled_from(["bad", "good"])): part}}
    if kind == "latency":
        threshold = draw(st.sampled_from(["300ms", "1s", "10s", "2.5s", "5ms"]))
        return {"latency": {"histogram": draw(st.sampled_from(HISTOGRAMS)), "threshold": threshold}}
    if kind == "condition":
        op = draw(st.sampled_from(["<", "<=", ">", ">=", "=="]))
        limit = draw(st.sampled_from(["1", "26h", "0.5"]))
        return {"condition": {"expr": "time() - last_success_timestamp_seconds", "op": op, "limit": limit}}
    if kind in {"preset", "probe"}:
        known = {"preset": {"name": "starlette-exporter", "app": "shop"}}
        return known if kind == "preset" else {"probe": {"up": 'probe_success{job="blackbox"}'}}
    window = draw(st.sampled_from(["5m", "10m"]))
    if kind == "ratio":
        return {"promql": {"error_ratio": draw(st.sampled_from(RATIOS)), "window": window}}
    roles = draw(st.sampled_from([("bad", "total"), ("good", "total"), ("good", "bad")]))
    return {"promql": {**{role: draw(st.sampled_from(RATIOS)) for role in roles}, "window": window}}


@st.composite
def slos(draw, number):
    """One SLO of the native format."""
    slo = {
        "name": draw(st.sampled_from(["a", "web-errors", "one-two"])) + str(number),
        "target": draw(st.sampled_from(["99.9%", "0.95", "99.95%", "50%"])),
        "sli": draw(slis()),
    }
    optional = {
        "description": st.sampled_from(["words", "more: words", "ends with ✓"]),
        "window": st.sampled_from(
            [
                *("30d", "28d", "7d", "90d", "36h"),
                {"calendar": "month", "timezone": "Europe/Berlin"},
                {"calendar": "week", "start": "2026-01-03T12:00"},
            ]
        ),
        "owner": st.sampled_from(["team@example.org"]),
        "labels": st.sampled_from([{"team": "a"}, {"tier": "1", "team": "true"}]),
        "links": st.sampled_from([{"runbook": "https://example.org/a"}, {"graph": "https://example.org/b"}]),
        "datasource": st.sampled_from(["default", "second"]),
        "slices": st.sampled_from([{"width": "5m", "target": "95%"}, {"width": "1m", "target": "0.5"}]),
        "group_by": st.sampled_from([["handler"], ["a", "b"], ["group_service"]]),
        "low_traffic": st.sampled_from([{"minimum_bad": 3}]),
        "budget_alerts": st.sampled_from([[{"severity": "ticket", "remaining_below": "10%"}]]),
        "no_data": st.sampled_from(["hold", "bad"]),
        "alerts": st.sampled_from(
            ["none", "workbook", [{"long": "1h", "short": "5m", "burn_rate": "1.5", "for": "2m"}]]
        ),
    }
    for key, strategy in optional.items():
        if draw(st.integers(0, 3)) == 0:
            slo[key] = draw(strategy)
    return slo


@st.composite
def native_files(draw):
    """A native file with a few SLOs."""
    file = {"slos": [draw(slos(number)) for number in range(draw(st.integers(1, 3)))]}
    if draw(st.booleans()):
        file["service"] = draw(st.sampled_from(["web", "Web Shop"]))
    return values_text([file])


def read(text):
    """The SLOs of one text."""
    files = understand_texts([Source("native.yaml", text)])
    return files, {slo.name: slo for slo in catalogue_of(files).slos}


def plain(slo, **changes):
    """The SLO without its place."""
    return slo.model_copy(update={"source": "", **changes})


@settings(max_examples=60)
@given(text=native_files())
def test_a_native_file_comes_back_from_the_native_format(text):
    """Written natively and read again, every SLO is equal in every field."""
    try:
        files, slos_ = read(text)
    except SpecError:
        return
    back = read(converted(files, Target.NATIVE)[0])[1]
    assert {name: plain(slo) for name, slo in slos_.items()} == {
        name: plain(slo) for name, slo in back.items()
    }


@settings(max_examples=100)
@given(text=native_files(), to=st.sampled_from([Target.OPENSLO, Target.SLOTH]))
def test_a_native_file_comes_back_from_each_format_or_is_refused_by_name(text, to):
    """To the format and back: target, window, alerts and counted events are the same, or the field is named."""
    try:
        files, slos_ = read(text)
    except SpecError:
        return
    other, warnings, refused = "", (), ()
    try:
        other, warnings = converted(files, to)
    except SpecError as error:
        refused = error.faults
    assert [] == [str(one) for one in refused if "`" not in one.found and "window" not in one.found]
    if refused:
        return
    back = list(read(other)[1].values())
    called = {
        str(warning).rpartition(" is called ")[2].split()[0]
        for warning in warnings
        if " is called " in str(warning)
    }
    assert len(slos_) == len(back)
    assert {slo.name for slo in back} <= set(slos_) | called
    same = {slo.name: slo for slo in back}
    for name in set(slos_) & set(same):
        one, two = slos_[name], same[name]
        assert (one.target, one.window, len(one.alerts)) == (two.target, two.window, len(two.alerts))
        assert (one.slices, one.group_by, one.budget_alerts) == (two.slices, two.group_by, two.budget_alerts)
        assert (one.calendar, one.no_data, one.owner) == (two.calendar, two.no_data, two.owner)
        if one.sli.kind in {"requests", "condition"} or "seconds" in str(getattr(one.sli, "histogram", "")):
            assert sli_hash(one) == sli_hash(two)


@pytest.mark.parametrize("path", sorted((Path(__file__).parents[1] / "specfiles" / "good").glob("*.y*ml")))
@pytest.mark.parametrize("to", [Target.NATIVE, Target.OPENSLO])
def test_the_good_examples_come_back(path, to):
    """Every key of the native format survives OpenSLO and the native format itself."""
    files, slos_ = read(path.read_text())
    back = read(converted(files, to)[0])[1]
    for name, slo in slos_.items():
        changes = {"labels": (), "service": "", "sli": slo.sli, "description": ""}
        assert plain(slo, **changes) == plain(back[name], **changes)


@pytest.mark.prometheus
def test_rules_are_what_prometheus_takes(tmp_path):
    """The plain rules of every kind pass promtool."""
    text = (
        "slos:\n"
        "  - {name: a, target: 99.9%, sli: {requests: {total: t, bad: 't{code=~\"5..\"}'}}}\n"
        "  - {name: b, target: 99%, sli: {latency: {histogram: d_seconds, threshold: 1s}}}\n"
        "  - {name: c, target: 99%, sli: {promql: {error_ratio: 'avg_over_time(up[$window])'}}}\n"
        "  - {name: d, target: 99%, sli: {probe: {up: up}}}\n"
        "  - {name: e, target: 99%, sli: {condition: {expr: time() - x, op: <, limit: 26h}}}\n"
        "  - {name: f, target: 99%, sli: {requests: {total: t, good: g}},\n"
        "     alerts: [{long: 1h, short: 1h, burn_rate: 2, for: 5m, keep_firing_for: 10m}]}\n"
    )
    rules, warnings = converted(read(text)[0], Target.RULES)
    path = tmp_path / "rules.yml"
    path.write_text(rules)
    done = subprocess.run(
        [promtool_binary(), "check", "rules", path], capture_output=True, text=True, check=False
    )
    assert (0, ()) == (done.returncode, warnings), done.stdout + done.stderr


def test_a_catalogue_is_written_where_sloth_needs_one():
    """An SLO of seven days brings its alert windows with it, exact to the last digit."""
    pairs = "[{long: 1h, short: 5m, burn_rate: 13.44}, {long: 6h, short: 30m, burn_rate: 3.5}]"
    sli = "{requests: {total: t, bad: b}}"
    files, slos_ = read(f"slos: [{{name: a, target: 99.9%, window: 7d, sli: {sli}, alerts: {pairs}}}]\n")
    back = read(converted(files, Target.SLOTH)[0])[1]
    assert [Decimal("13.44"), Decimal("3.5")] == [alert.burn_rate for alert in back["a-a"].alerts]
    assert [alert.severity for alert in slos_["a"].alerts] == [alert.severity for alert in back["a-a"].alerts]
    assert "7d" == format_duration(back["a-a"].window)


def test_the_command_writes_a_new_file_and_never_over_one(tmp_path):
    """`convert` prints or writes what it read, tells warnings, and does not overwrite."""
    out = tmp_path / "out.yaml"
    run = CliRunner().invoke(app, ["convert", str(FILES / "crlf.yaml"), "-o", str(out)])
    assert (0, (FILES / "crlf.expected").read_text().partition("#")[0]) == (run.exit_code, out.read_text())
    assert "left out" in run.stderr
    again = CliRunner().invoke(app, ["convert", str(FILES / "crlf.yaml"), "-o", str(out)])
    assert isinstance(again.exception, FileExistsError)
    printed = CliRunner().invoke(app, ["convert", str(FILES / "crlf.yaml"), "--to", "sloth"])
    assert "error_query" in printed.stdout


REFUSED = {
    "a probe in Sloth": (Target.SLOTH, "sli: {probe: {up: up}}", "`probe`"),
    "a window of its own in Sloth": (
        Target.SLOTH,
        "sli: {promql: {error_ratio: 'avg_over_time(up[$window])', window: 10m}}",
        "`promql` with a `window` of its own",
    ),
    "a condition in Sloth": (Target.SLOTH, "sli: {condition: {expr: x, op: <, limit: 1}}", "`condition`"),
    "equality in OpenSLO": (
        Target.OPENSLO,
        "sli: {condition: {expr: x, op: '==', limit: 1}}",
        "`condition` with ==",
    ),
    "links in Sloth": (
        Target.SLOTH,
        "links: {graph: 'https://example.org'}, sli: {requests: {total: t, bad: b}}",
        "`links`",
    ),
    "three pages in Sloth": (
        Target.SLOTH,
        (
            "alerts: [{long: 1h, short: 5m, burn_rate: 2}, {long: 2h, short: 5m, burn_rate: 2}, {long: 3h, short: 5m, burn_rate: 2}],"
            " sli: {requests: {total: t, bad: b}}"
        ),
        "`alerts`",
    ),
    "a pause in Sloth": (
        Target.SLOTH,
        (
            "window: 7d, alerts: [{long: 1h, short: 5m, burn_rate: 10, for: 5m}, {long: 6h, short: 30m, burn_rate: 3}],"
            " sli: {requests: {total: t, bad: b}}"
        ),
        "`alerts`",
    ),
    "groups in rules": (Target.RULES, "group_by: [a], sli: {requests: {total: t, bad: b}}", "`group_by`"),
    "slices in rules": (
        Target.RULES,
        "slices: {width: 5m, target: 95%}, sli: {requests: {total: t, bad: b}}",
        "`slices`",
    ),
    "a composite in OpenSLO": (
        Target.OPENSLO,
        (
            "sli: {composite: {members: [{slo: m}], mode: worst}}},"
            " {name: m, target: 99%, sli: {requests: {total: t, bad: b}}"
        ),
        "`composite`",
    ),
    "a calendar in rules": (
        Target.RULES,
        "window: {calendar: month}, sli: {requests: {total: t, bad: b}}",
        "`calendar`",
    ),
}


@pytest.mark.parametrize(("to", "keys", "named"), REFUSED.values(), ids=REFUSED)
def test_what_a_format_cannot_say_is_named(to, keys, named):
    """The key, the format, and what to do, at the place of the SLO's name."""
    files, _ = read(f"slos: [{{name: a, target: 99%, {keys}}}]\n")
    with pytest.raises(SpecError) as caught:
        converted(files, to)
    expected = f"native.yaml:1:15: slos[0].name: {named}, expected what {to} can say; keep this SLO in the native format"
    assert expected in map(str, caught.value.faults)


def test_factors_that_no_per_cent_writes_exactly_come_back_close():
    """A share of the budget without an end in decimals: the factor is the same to nine digits, the rest exactly."""
    pairs = "[{long: 1h, short: 5m, burn_rate: 10}, {long: 6h, short: 30m, burn_rate: 3}]"
    sli = "{requests: {total: t, bad: b}}"
    files, _ = read(f"slos: [{{name: a, target: 99.9%, window: 7d, sli: {sli}, alerts: {pairs}}}]\n")
    back = read(converted(files, Target.SLOTH)[0])[1]["a-a"]
    assert [pytest.approx(10, rel=1e-9), pytest.approx(3, rel=1e-9)] == [
        float(one.burn_rate) for one in back.alerts
    ]


def test_names_that_become_the_same_are_refused():
    """Two SLOs that would have one name in Sloth are told, not merged."""
    sli = "{requests: {total: t, bad: b}}"
    files, _ = read(
        f"service: web\nslos: [{{name: a, target: 99%, sli: {sli}}}, {{name: web-a, target: 99%, sli: {sli}}}]\n"
    )
    with pytest.raises(SpecError) as caught:
        converted(files, Target.SLOTH)
    assert 'the name "web-a" again' in str(caught.value)


def test_a_histogram_of_no_seconds_is_asked_by_its_buckets_when_it_comes_back():
    """Only a name that ends in _seconds is read back as a latency; the buckets counted are the same."""
    files, _ = read(
        "slos: [{name: a, target: 99%, sli: {latency: {histogram: x_milliseconds, threshold: 300s}}}]\n"
    )
    text, warnings = converted(files, Target.OPENSLO)
    assert ["its SLI is asked differently when it is read back"] == [one.found for one in warnings]
    sli = read(text)[1]["a"].sli
    assert ['x_milliseconds_bucket{le=~"300|300\\\\.0"}'] == [str(one) for one in sli.good]


@pytest.mark.parametrize("form", ["sloth", "openslo", "prometheus-rules"])
def test_a_native_histogram_is_read_by_its_functions(form, tmp_path):
    """Other tools' files of an SLO with `type: native` ask for the share of a native histogram."""
    path = tmp_path / "native.yaml"
    path.write_text(
        "service: api\nslos:\n  - {name: quick, target: 99%, sli: {latency: {histogram: 'took{job=\"a\"}',"
        " threshold: 250ms, type: native}}}\n"
    )
    run = CliRunner().invoke(app, ["convert", str(path), "--to", form])
    assert (0, True, False) == (
        run.exit_code,
        "histogram_fraction(0, 0.25, sum(rate(took{job=" in run.output.replace("\n", ""),
        "took_bucket" in run.output,
    )


def test_what_can_be_written_is_written(tmp_path):
    """One SLO that Sloth cannot say is named and left out, the others are there, status 1; none is no file."""
    path, out = tmp_path / "native.yaml", tmp_path / "sloth.yaml"
    sli = "sli: {requests: {total: t_total, bad: b_total}}"
    kept, lost = (
        f"  - {{name: a, target: 99%, {sli}}}\n",
        f"  - {{name: b, target: 99%, {sli}, no_data: bad}}\n",
    )
    path.write_text(f"service: web\nslos:\n{kept}{lost}")
    run = CliRunner().invoke(app, ["convert", str(path), "--to", "sloth", "-o", str(out)])
    assert (1, ["web-a"]) == (run.exit_code, list(read(out.read_text())[1]))
    assert f"{path}:4:12: slos[1].name: `no_data`, expected what sloth can say" in run.output
    assert "1 of 2 SLOs are left out" in run.output
    path.write_text(f"service: web\nslos:\n{lost}")
    found, _ = read(path.read_text())
    with pytest.raises(SpecError, match="`no_data`"):
        as_far_as_possible(found, Target.SLOTH)


def test_a_rule_file_leaves_out_what_rules_would_be_wrong_without():
    """Of three the calendar one is refused; what is left is what those alone would make."""
    sli = "sli: {requests: {total: t_total, bad: b_total}}"
    rest = f"{{name: a, target: 99%, {sli}}}, {{name: c, target: 95%, {sli}}}"
    files, _ = read(f"slos: [{rest}, {{name: b, target: 99%, window: {{calendar: month}}, {sli}}}]\n")
    alone, _ = read(f"slos: [{rest}]\n")
    found = as_far_as_possible(files, Target.RULES)
    assert converted(alone, Target.RULES)[0] == found.text
    assert ["`calendar`"] == [one.found for one in found.refused]

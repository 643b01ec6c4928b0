"""The command line: exit statuses, sentences instead of tracebacks, and the shapes that scripts read."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from slo_budget_tracker import __version__
from slo_budget_tracker.cli import commands, main
from slo_budget_tracker.cli.app import PANELS
from slo_budget_tracker.errors import QueryFailed, QueryRejected, Unreachable
from tests.servers import free_port
from tests.unit.serving import BEGIN, HOUR, Server, no_trouble, traffic

COMMANDS = ["run", "evaluate", "replay", "validate", "plan"]
SLOS = """
slos:
  - name: shop
    target: 99%
    window: 2h
    sli:
      requests: {total: http_requests_total, bad: 'http_requests_total{code=~"5.."}'}
    alerts: [{severity: page, long: 1h, short: 5m, burn_rate: 14.4}]
"""
SNAPSHOT = {
    *("name", "labels", "unit", "target", "window_seconds", "evaluated_at", "state", "coverage", "total"),
    *("failures", "success_ratio", "error_budget_remaining", "burn_rate", "error_budget_remaining_bounds"),
    *("exhaustion_seconds", "breached", "budget_exhausted", "burn_rate_samples", "alerts"),
}
SAMPLE = {"window_seconds", "burn_rate", "success_ratio", "sample_count", "failures", "coverage"}
ALERT = {
    *("severity", "long_window_seconds", "short_window_seconds", "threshold", "state", "since", "reason"),
    "suppressed_by",
}
TRANSITION = {"at", "slo", "labels", "severity", "window_seconds", "kind", "burn_rate"}


@pytest.fixture
def call(monkeypatch, capsys):
    """Run the command line in this process: exit status, standard output, standard error; never a traceback."""

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["slo-budget-tracker", *map(str, arguments)])
        with pytest.raises(SystemExit) as left:
            main()
        out, err = capsys.readouterr()
        assert "Traceback" not in out + err
        return left.value.code or 0, out, err

    monkeypatch.setenv("COLUMNS", "300")
    monkeypatch.delenv("PROMETHEUS_URL", raising=False)
    return run


@pytest.fixture
def config(tmp_path):
    """A configuration with one SLO and a Prometheus that nobody runs."""
    (tmp_path / "slos.yaml").write_text(SLOS)
    path = tmp_path / "tracker.yaml"
    path.write_text(
        f"prometheus: {{url: 'http://127.0.0.1:{free_port()}', timeout: 300ms}}\nslo_files: [slos.yaml]\n"
        "evaluation: {delay: 30s}\n"
        "ledger: {url: 'sqlite:///tracker.db'}\n"
    )
    return path


@pytest.fixture(scope="module")
def shop():
    """Two hours of a shop that fails for twenty minutes."""
    return traffic(Server().db)


@pytest.fixture
def server(shop, monkeypatch):
    """The shop's samples in the place of Prometheus."""
    one = Server(shop)
    monkeypatch.setattr(commands, "_asks", lambda _: {"default": one})
    return one


def test_the_version_is_printed(call):
    """One line that scripts can read."""
    assert (0, f"slo-budget-tracker {__version__}\n", "") == call("--version")


@pytest.mark.parametrize("command", COMMANDS)
def test_help_shows_an_example(call, command):
    """Contract section 4: each command's help has a line to copy."""
    status, out, _ = call(command, "--help")
    assert (0, True) == (status, f"Example: slo-budget-tracker {command}" in out)


def test_help_names_every_command(call):
    """What there is can be seen from outside."""
    _, out, _ = call("--help")
    assert [] == [command for command in COMMANDS if f" {command} " not in out]


@pytest.mark.parametrize(
    "arguments",
    [
        pytest.param(["nonsense"], id="an unknown command"),
        pytest.param(["evaluate", "--nonsense"], id="an unknown option"),
        pytest.param(["evaluate", "-c", "/missing.yaml"], id="a missing configuration"),
        pytest.param(["run", "-c", "/dev/null/x"], id="an impossible path"),
        pytest.param(["plan", "-c", "/"], id="a folder as configuration"),
        pytest.param(["evaluate", "-c", "CONFIG", "nobody"], id="an unknown SLO"),
        pytest.param(["evaluate", "-c", "CONFIG", "--at", "yesterday"], id="a time in words"),
        pytest.param(["evaluate", "-c", "CONFIG", "--at", "1e18"], id="a time beyond all calendars"),
        pytest.param(
            ["evaluate", "-c", "CONFIG", "--at", "-99999999y"], id="a time long before all calendars"
        ),
        pytest.param(["evaluate", "-c", "CONFIG", "--at", "2026-13-01T00:00:00Z"], id="a thirteenth month"),
        pytest.param(["evaluate", "-c", "CONFIG", "--output", "xml"], id="an unknown output"),
        pytest.param(["replay", "-c", "CONFIG"], id="a replay without a begin"),
        pytest.param(
            ["replay", "-c", "CONFIG", "--from", "-1h", "--to", "-2h"], id="an end before the begin"
        ),
        pytest.param(["validate"], id="nothing to validate"),
    ],
)
def test_wrong_usage_is_status_2(call, config, arguments):
    """Contract section 4: one sentence, status 2."""
    status, _, err = call(*(config if one == "CONFIG" else one for one in arguments))
    assert (2, True) == (status, bool(err.strip()))


def test_an_unknown_slo_is_told_with_the_known_ones(call, config):
    """The sentence helps with the next try."""
    assert "no SLO named 'shopp', expected one of shop\n" == call("evaluate", "-c", config, "shopp")[2]


def test_a_faulty_configuration_is_status_2_with_its_places(call, config):
    """Every fault on its line."""
    config.write_text("prometheus: {url: nowhere}\nweb: {listen: x}\n")
    status, _, err = call("run", "-c", config)
    assert (2, [f"{config}:1:19", f"{config}:2:15"]) == (
        status,
        [line.partition(": ")[0] for line in err.splitlines()],
    )


def test_an_unknown_datasource_is_status_2(call, config, tmp_path):
    """An SLO names what the configuration does not have."""
    (tmp_path / "slos.yaml").write_text(SLOS.replace("target: 99%", "target: 99%\n    datasource: mars"))
    status, _, err = call("plan", "-c", config)
    assert (2, "SLO shop: no datasource named 'mars', expected one of default\n") == (status, err)


def test_faulty_slo_files_are_status_1(call, config, tmp_path):
    """Bad news about a file is an answer: status 1 and the place."""
    path = tmp_path / "slos.yaml"
    path.write_text(SLOS.replace("99%", "101%").replace("window: 2h", "windows: 2h"))
    for arguments in (["validate", path], ["evaluate", "-c", config], ["plan", "-c", config]):
        status, out, err = call(*arguments)
        assert (1, "", 2) == (status, out, err.count(f"{path}:"))


def test_valid_files_are_named(call, tmp_path, config):
    """Status 0 and what was found, by the tick of the configuration where one is given."""
    assert (0, "1 SLO is valid: shop\n", "") == call("validate", tmp_path / "slos.yaml")
    assert 0 == call("validate", tmp_path / "slos.yaml", "-c", config)[0]


def test_a_corrections_file_that_is_not_there_is_told(call, config):
    """`validate` and `corrections list` say which; other commands that there is something to be seen."""
    config.write_text(config.read_text() + "corrections_files: [maintenance/]\n")
    said = "maintenance:1:1: warning: corrections_files: no such file or folder, nothing is corrected by it"
    for command in ("validate",), ("corrections", "list"):
        status, _, err = call(*command, "-c", config)
        assert (0, True) == (status, said in err)
    assert (
        f"1 warning about the files: slo-budget-tracker validate -c {config}\n"
        == call("plan", "-c", config)[2]
    )


def test_a_plan_needs_no_prometheus(call, config):
    """The queries of a tick and who shares them."""
    status, out, _ = call("plan", "-c", config, "--output", "json")
    expected = [{"datasource": "default", "queries": ["http_requests_total[60s]"], "slos": ["shop"]}]
    assert (0, expected) == (status, json.loads(out))
    status, out, _ = call("plan", "-c", config)
    assert (0, True) == (status, out.endswith("1 requests per tick for 1 SLOs\n") and "[60s]" in out)


@pytest.mark.parametrize("arguments", [["evaluate"], ["replay", "--from", "-1h"]])
def test_prometheus_out_of_reach_is_status_3(call, config, arguments):
    """P1: nobody listens; a sentence and status 3."""
    status, out, err = call(*arguments, "-c", config)
    assert (3, "", True) == (status, out, "refused" in err)


@pytest.mark.in_a_file
def test_a_ledger_that_cannot_be_opened_is_status_3(call, config):
    """S1: the daemon says why and leaves."""
    config.write_text("ledger: {url: 'sqlite:////dev/null/tracker.db'}\nslo_files: [slos.yaml]\n")
    status, _, err = call("run", "-c", config)
    assert (3, True) == (status, bool(err))


def test_an_evaluation_prints_snapshots(call, config, server):
    """Contract section 7: every key, and the figures of two hours."""
    status, out, _ = call("evaluate", "-c", config, "--at", BEGIN + 2 * HOUR + 17, "--output", "json")
    (one,) = json.loads(out)
    assert (0, SNAPSHOT) == (status, set(one))
    assert ("shop", "1970-01-14T23:19:30Z", "ok", 1.0, 36_000, 2_960) == tuple(
        one[key] for key in ("name", "evaluated_at", "state", "coverage", "total", "failures")
    )
    assert ({frozenset(SAMPLE)}, [ALERT]) == (
        {frozenset(sample) for sample in one["burn_rate_samples"]},
        [set(alert) for alert in one["alerts"]],
    )
    assert {"worst", "best"} == set(one["error_budget_remaining_bounds"])


def test_an_evaluation_that_is_refused_says_why(call, config, server):
    """P11: what Prometheus refuses is unknown and told in its words; the definition is bad news, status 1."""
    server.trouble = lambda _: QueryRejected("parse error", reason="bad_data")
    status, out, err = call("evaluate", "-c", config, "--at", BEGIN + HOUR, "--output", "json")
    assert (1, "shop: parse error\n", None) == (status, err, json.loads(out)[0]["total"])


def test_an_evaluation_is_a_table_for_people(call, config, server):
    """One line per SLO, no more columns than fit."""
    status, out, _ = call("evaluate", "-c", config, "--at", BEGIN + 2 * HOUR, "shop", "shop")
    assert (0, 1) == (status, out.count("shop"))
    assert "36,000" in out


def test_a_replay_prints_what_would_have_fired(call, config, server):
    """Contract section 7: the span, its ticks, the transitions in order, the snapshots at the end."""
    span = ["--from", BEGIN + 600, "--to", BEGIN + 2 * HOUR]
    status, out, _ = call("replay", "-c", config, *span, "--output", "json")
    result = json.loads(out)
    assert (0, {"from", "to", "ticks", "transitions", "final"}) == (status, set(result))
    assert ("1970-01-14T21:29:30Z", "1970-01-14T23:19:30Z", 110) == tuple(
        result[key] for key in ("from", "to", "ticks")
    )
    assert {frozenset(TRANSITION)} == {frozenset(one) for one in result["transitions"]}
    kinds = [one["kind"] for one in result["transitions"] if one["severity"] == "page"]
    assert ["slo_burn_started", "slo_recovered"] == kinds
    assert (SNAPSHOT, 36_000) == (set(result["final"][0]), result["final"][0]["total"])
    assert "slo_burn_started" in call("replay", "-c", config, *span)[1]


@pytest.mark.parametrize(
    "error",
    [Unreachable("gone", reason="refused"), QueryRejected("no", reason="x"), QueryFailed("no", reason="x")],
)
def test_a_replay_that_could_not_read_everything_says_so(call, config, server, error):
    """What is not the whole truth is told to scripts: 3 where nobody answered, 1 where the query was refused."""
    server.trouble = lambda query: error if query.at > BEGIN + HOUR else no_trouble(query)
    status, _, err = call("replay", "-c", config, "--from", BEGIN + HOUR, "--to", BEGIN + 2 * HOUR)
    expected = 3 if isinstance(error, Unreachable) else 1
    assert (expected, f"default/http_requests_total: {error}\n") == (status, err)


def test_a_fault_of_ours_is_a_sentence(call, config, monkeypatch):
    """Contract section 4: never a traceback."""

    def broken(_):
        raise ZeroDivisionError("oh")

    monkeypatch.setattr(commands, "configuration_of", broken)
    expected = (3, "", "internal error, please report it: ZeroDivisionError: oh\n")
    assert expected == call("plan", "-c", config)


@pytest.mark.parametrize("target", ["a full disk", "a closed pipe"])
def test_output_that_nobody_takes_is_no_traceback(config, target):
    """T17: `… | head -0` is fine, a full disk is told; the module runs as a program too."""
    command = [sys.executable, "-m", "slo_budget_tracker", "plan", "-c", str(config)]
    if target == "a full disk":
        with open("/dev/full", "wb") as full:  # noqa: PTH123 - a device
            done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
        assert (3, True) == (done.returncode, "No space left" in done.stderr), done.stderr
        assert "Traceback" not in done.stderr
        return
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    process.stdout.close()
    said = process.stderr.read()
    assert ("", True) == (said, process.wait(timeout=30) in {0, 1})


@pytest.mark.parametrize("command", ["evaluate", "plan", "run"])
def test_no_slo_files_is_a_usage_error(call, tmp_path, command):
    """One sentence says what to do."""
    (tmp_path / "empty.yaml").write_text("log: {level: error}\n")
    status, _, err = call(command, "-c", tmp_path / "empty.yaml")
    assert (2, "no SLO files are configured: name files or folders under `slo_files`\n") == (status, err)


def test_a_time_in_the_future_is_refused(call, config):
    """Nothing is known of the future."""
    status, _, err = call("evaluate", "-c", config, "--at", 99_999_999_999)
    assert (2, True) == (status, "--at: 99999999999 is in the future, expected a time that" in err)


def test_a_path_that_is_not_there_says_what_was_expected(call):
    """Where, found, expected; status 2 whoever is asked: the path is wrong, no file is."""
    expected = "/gone.yaml:1:1: a file that cannot be opened (No such file or directory), expected a file or folder that can be read\n"
    for command in (("validate",), ("convert",), ("validate", "-c"), ("run", "-c"), ("evaluate", "-c")):
        assert (2, "", expected) == call(*command, "/gone.yaml")


def test_a_pattern_that_matches_nothing_is_as_wrong_as_a_path(call, tmp_path):
    """Status 2 too; beside a file with a fault that is the bad news, status 1, and both are told."""
    (tmp_path / "bad.yaml").write_text("slos: []\n")
    assert 2 == call("validate", tmp_path / "*.yml")[0]
    status, _, err = call("validate", tmp_path / "*.yml", tmp_path / "bad.yaml")
    assert (1, 2) == (status, len(err.splitlines()))


class Elsewhere(BaseHTTPRequestHandler):
    """Something that is no Prometheus."""

    def do_POST(self):
        """There is nothing at any path."""
        self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(404)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_):
        """Nothing is said."""


def test_an_address_without_prometheus_is_one_sentence(call, tmp_path):
    """404 from whatever is there: out of reach, status 3, said once and not once for each SLO."""
    other = ThreadingHTTPServer(("127.0.0.1", 0), Elsewhere)
    threading.Thread(target=other.serve_forever, daemon=True).start()
    slo = "  - {name: NAME, target: 99%, sli: {requests: {total: NAME_total, bad: NAME_errors_total}}}\n"
    (tmp_path / "slos.yaml").write_text(f"slos:\n{slo.replace('NAME', 'a')}{slo.replace('NAME', 'b')}")
    (tmp_path / "c.yaml").write_text(
        f"prometheus: {{url: 'http://127.0.0.1:{other.server_port}'}}\nslo_files: [slos.yaml]\n"
    )
    try:
        for command in (("evaluate",), ("replay", "--from", "-1h")):
            status, out, err = call(*command, "-c", tmp_path / "c.yaml")
            assert (3, "", 1) == (status, out, err.count("\n")), err
            assert err.endswith("no Prometheus answers there (404): check the address\n")
    finally:
        other.shutdown()
        other.server_close()


def test_what_several_slos_suffer_from_is_said_once(call, tmp_path, monkeypatch):
    """The reason with the names of whom it is about, five at most."""
    slo = "  - {name: sNUMBER, target: 99%, sli: {requests: {total: tNUMBER_total, bad: bNUMBER_total}}}\n"
    (tmp_path / "slos.yaml").write_text(
        "slos:\n" + "".join(slo.replace("NUMBER", str(number)) for number in range(7))
    )
    (tmp_path / "c.yaml").write_text("slo_files: [slos.yaml]\n")

    def refuse(_):
        raise QueryRejected("parse error", reason="bad_data")

    monkeypatch.setattr(commands, "_asks", lambda _: {"default": refuse})
    status, _, err = call("evaluate", "-c", tmp_path / "c.yaml")
    assert (1, "s0, s1, s2, s3, s4 and 2 more: parse error\n") == (status, err)


def test_help_lists_commands_as_they_come_to_be_needed(call):
    """What a newcomer needs first stands first; no command is left out."""
    _, out, _ = call("--help")
    places = [out.index(f"│ {name}") for names in PANELS.values() for name in names]
    assert sorted(places) == places


def test_help_of_all_shows_an_example(call):
    """Contract section 4: the help of the command itself too."""
    assert "slo-budget-tracker validate" in call("--help")[1].partition("Example")[2]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (
            ("evaluate", "--output", "xml"),
            "'xml' is not one of 'table', 'json'; see slo-budget-tracker evaluate --help",
        ),
        (("replay",), "Missing option '--from'; see slo-budget-tracker replay --help"),
        (("nope",), "No such command 'nope'; see slo-budget-tracker --help"),
        (("docs", "--nope"), "No such option: --nope; see slo-budget-tracker docs --help"),
    ],
)
def test_words_that_are_none_are_one_sentence(call, arguments, says):
    """Status 2, one line, and where the words are."""
    status, _, err = call(*arguments)
    assert (2, 1, True) == (status, err.count("\n"), says in err)


def test_no_words_at_all_show_the_help(call):
    """What there is, and status 2."""
    status, out, err = call()
    assert (2, True) == (status, "Usage: slo-budget-tracker" in out + err)

"""The configuration: what is refused, where, in which words, and that no secret is in them."""

from __future__ import annotations

from pathlib import Path

import pytest

from slo_budget_tracker.errors import SettingsError
from slo_budget_tracker.settings import load_settings

SECRET = "S3CR3T-0123456789abcdef"


def faults_of(tmp_path: Path, text: str, env: dict[str, str] | None = None) -> list[str]:
    """The sentences of a refused configuration without the folder, or none."""
    path = tmp_path / "c.yaml"
    path.write_text(text)
    try:
        load_settings(path, env or {})
    except SettingsError as error:
        return str(error).replace(f"{tmp_path}/", "").splitlines()
    return []


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("promtheus: {}", 'c.yaml:1:1: promtheus: the unknown key "promtheus", expected one of prometheus, datasources, slo_files, corrections_files, evaluation, ledger, audit, web, daemon, log; did you mean prometheus?'),
        ("prometheus: {urll: x}", 'c.yaml:1:14: prometheus.urll: the unknown key "urll", expected one of url, timeout, headers, basic_auth, bearer_token_file, tls, max_response_bytes, concurrency, replica_label, scrape_interval, delay; did you mean url?'),
        ("prometheus:\n  basic_auth: {username: u, pasword_file: f}", 'c.yaml:2:29: prometheus.basic_auth.pasword_file: the unknown key "pasword_file", expected one of username, password, password_file; did you mean password_file?'),
        ("datasources:\n  eu: {concurency: 3}", 'c.yaml:2:8: datasources.eu.concurency: the unknown key "concurency", expected one of url, timeout, headers, basic_auth, bearer_token_file, tls, max_response_bytes, concurrency, replica_label, scrape_interval, delay; did you mean concurrency?'),
        ("evaluation: {interval: 1:30}", 'c.yaml:1:24: evaluation.interval: "1:30", base 60 in YAML 1.1; quote it if it is meant as text'),
        ("web: {listen: no}", 'c.yaml:1:15: web.listen: "no", a boolean in YAML 1.1; quote it if it is meant as text'),
        ("log: {level: loud}", "c.yaml:1:14: log.level: a value that does not fit, expected 'debug', 'info', 'warning' or 'error'"),
        ("a: 1\na: 2", 'c.yaml:2:1: a: the key "a" a second time, expected each key once; first in line 1'),
        ("- a", "c.yaml:1:1: something else, expected one document with keys such as `prometheus:`"),
        ("web: {}\n---\nlog: {}", "c.yaml:3:1: something else, expected one document with keys such as `prometheus:`"),
        ("web: [", "c.yaml:2:1: not YAML: did not find expected node content (while parsing a flow node); a text with : # { [ or quotes in it needs quotes around it"),
        ("slo_files: slos/", "c.yaml:1:12: slo_files: a value that does not fit, expected a list such as [one, two]"),
        ("log: {level: [a]}\nprometheus: {replica_label: [a]}", "c.yaml:2:29: prometheus.replica_label: a value that does not fit, expected text"),
        ("web: {annotations: perhaps}", "c.yaml:1:20: web.annotations: a value that does not fit, expected true or false"),
        ("prometheus:\n\turl: http://x", "c.yaml:2:1: a tab, expected spaces to indent with"),
        ("prometheus: {url: 'ftp://x'}", 'c.yaml:1:19: prometheus.url: a value that does not fit, expected an address such as "http://localhost:9090"'),
    ],
)  # fmt: skip
def test_a_fault_is_told_with_its_place(tmp_path, text, expected):
    """C10, C11, C12: the same sentences as for SLO files."""
    assert expected in faults_of(tmp_path, text)


@pytest.mark.parametrize(
    "text",
    [
        f"prometheus: {{basic_auth: {{username: u, password: {SECRET}}}}}",
        f"prometheus: {{headers: {{Authorization: Bearer {SECRET}}}}}",
        f"prometheus: {{headers: {{X-Api-Key: {SECRET}}}}}",
        f"prometheus: {{headers: {{X-Custom: Bearer {SECRET}}}}}",
        f"prometheus: {{url: 'http://user:{SECRET}@localhost:9090'}}",
        f"prometheus: {{url: 'http://{SECRET}@localhost:9090'}}",
        f"audit: {{url: 'http://user:{SECRET}@localhost'}}",
        f"datasources: {{eu: {{bearer_token: {SECRET}}}}}",
        f"slo_files: ['https://u:{SECRET}@host/']",
        f"web: {{listen: 'http://u:{SECRET}@host'}}",
        f"ledger: {{url: 'postgresql+psycopg://u:{SECRET}@host/db'}}",
    ],
)
def test_a_secret_in_the_file_is_refused_and_not_repeated(tmp_path, text):
    """C18, H14: secrets come from files or the environment only, and no message shows one."""
    lines = faults_of(tmp_path, text)
    secrets = [line for line in lines if "secret" in line or "a URL with a user" in line]
    assert (True, []) == (bool(secrets), [line for line in lines if SECRET in line])


def test_secrets_of_the_environment_are_taken_and_not_shown(tmp_path):
    """C18, H14: values of the environment may be secrets; repr and faults are silent about them."""
    env = {
        "SLO_BUDGET_TRACKER_PROMETHEUS__BASIC_AUTH__USERNAME": "u",
        "SLO_BUDGET_TRACKER_PROMETHEUS__BASIC_AUTH__PASSWORD": SECRET,
        "SLO_BUDGET_TRACKER_PROMETHEUS__HEADERS__X-API-KEY": SECRET,
    }
    settings = load_settings(None, env)
    basic = settings.datasources["default"].basic_auth
    assert basic is not None
    assert SECRET == basic.password.get_secret_value()
    assert SECRET not in repr(settings) + str(settings)
    lines = faults_of(
        tmp_path, "", {"SLO_BUDGET_TRACKER_EVALUATION__INTERVAL": SECRET, "PROMETHEUS_URL": SECRET}
    )
    expected = [
        'environment:1:1: PROMETHEUS_URL: a value that does not fit, expected an address such as "http://localhost:9090"',
        "environment:1:1: SLO_BUDGET_TRACKER_EVALUATION__INTERVAL: a value that does not fit, expected a duration such as 60s",
    ]
    assert expected == lines


def test_a_misspelt_variable_is_told_with_the_right_one(tmp_path):
    """C12: a variable for an unknown key is an error that names the close one, never its value."""
    env = {"SLO_BUDGET_TRACKER_PROMETHEUS__URLL": SECRET, "SLO_BUDGET_TRACKER_LOGS": SECRET}
    expected = [
        "environment:1:1: SLO_BUDGET_TRACKER_LOGS: a variable for an unknown key; did you mean SLO_BUDGET_TRACKER_LOG?",
        "environment:1:1: SLO_BUDGET_TRACKER_PROMETHEUS__URLL: a variable for an unknown key; did you mean SLO_BUDGET_TRACKER_PROMETHEUS__URL?",
    ]
    assert expected == faults_of(tmp_path, "", env)


def test_the_service_links_of_kubernetes_are_no_settings():
    """A service named slo-budget-tracker puts variables with our prefix into every pod beside it."""
    env = {
        "SLO_BUDGET_TRACKER_SERVICE_HOST": "10.0.0.7",
        "SLO_BUDGET_TRACKER_SERVICE_PORT": "9724",
        "SLO_BUDGET_TRACKER_SERVICE_PORT_HTTP": "9724",
        "SLO_BUDGET_TRACKER_PORT": "tcp://10.0.0.7:9724",
        "SLO_BUDGET_TRACKER_PORT_9724_TCP": "tcp://10.0.0.7:9724",
        "SLO_BUDGET_TRACKER_PORT_9724_TCP_ADDR": "10.0.0.7",
    }
    assert load_settings(None, {}) == load_settings(None, env)


def test_all_faults_of_a_configuration_are_told_at_once(tmp_path):
    """Form, secrets, keys, values and environment in one error, sorted by place."""
    text = "web: {listen: 'nowhere', tls: {}}\nlogg: {}\nprometheus: {timeout: soon, headers: {Cookie: a}}\nevaluation: {delay: 017}\n"
    lines = faults_of(tmp_path, text, {"AUDIT_STREAM_URL": "x"})
    expected = [
        "c.yaml:1:15: web.listen",
        "c.yaml:1:31: web.tls",
        "c.yaml:2:1: logg",
        "c.yaml:3:23: prometheus.timeout",
        "c.yaml:3:39: prometheus.headers.Cookie",
        "c.yaml:4:21: evaluation.delay",
        "environment:1:1: AUDIT_STREAM_URL",
    ]
    assert expected == [":".join(line.split(":")[:4]) for line in lines]


def test_a_configuration_that_cannot_be_read_is_told(tmp_path):
    """C4: missing, not regular, too large."""
    with pytest.raises(SettingsError, match=r"/gone.yaml:1:1: a file that cannot be opened"):
        load_settings(tmp_path / "gone.yaml", {})
    with pytest.raises(SettingsError, match=r"a folder, expected a regular file; name the file in it"):
        load_settings(tmp_path, {})
    (tmp_path / "tracker.yaml").write_text("")
    with pytest.raises(SettingsError, match=r"a folder, expected a regular file; perhaps .*/tracker.yaml"):
        load_settings(tmp_path, {})
    with pytest.raises(SettingsError, match=r"no regular file"):
        load_settings(Path("/dev/null"), {})

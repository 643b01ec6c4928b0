"""The daemon's configuration: each key from the file and from the environment, every fault with its place."""

from __future__ import annotations

from pathlib import Path

import pytest

from slo_budget_tracker.errors import SettingsError
from slo_budget_tracker.settings import load_settings

SECRET = "hunter2-and-more"

KEYS = [
    pytest.param(
        "prometheus.url", "https://prom.example.org/base", "https://prom.example.org/base", id="url"
    ),
    pytest.param("prometheus.timeout", "2500ms", 2.5, id="timeout"),
    pytest.param("prometheus.max_response_bytes", "8MiB", 8 << 20, id="size"),
    pytest.param("prometheus.concurrency", "7", 7, id="concurrency"),
    pytest.param("prometheus.replica_label", "replica", "replica", id="replica label"),
    pytest.param("prometheus.delay", "3m", 180, id="delay of a datasource"),
    pytest.param("prometheus.bearer_token_file", "/run/token", Path("/run/token"), id="token file"),
    pytest.param("prometheus.tls.ca_file", "/etc/ca.pem", Path("/etc/ca.pem"), id="certificate authority"),
    pytest.param("prometheus.tls.cert_file", "/etc/cert.pem", Path("/etc/cert.pem"), id="certificate"),
    pytest.param("prometheus.tls.key_file", "/etc/key.pem", Path("/etc/key.pem"), id="key"),
    pytest.param("prometheus.tls.server_name", "prom.internal", "prom.internal", id="server name"),
    pytest.param("evaluation.interval", "15s", 15, id="interval"),
    pytest.param("evaluation.delay", "1m30s", 90, id="delay"),
    pytest.param("evaluation.spread", "2500ms", 2.5, id="spread"),
    pytest.param("ledger.url", "sqlite:////var/lib/slo.db", "sqlite:////var/lib/slo.db", id="ledger"),
    pytest.param("audit.url", "http://audit.example.org:8093", "http://audit.example.org:8093", id="audit"),
    pytest.param("audit.timeout", "5", 5.0, id="audit timeout"),
    pytest.param("audit.resend", "7d", 604_800, id="resend"),
    pytest.param("web.listen", "0.0.0.0:9000", "0.0.0.0:9000", id="listen"),
    pytest.param("log.format", "json", "json", id="log format"),
    pytest.param("log.level", "warning", "warning", id="log level"),
]


@pytest.fixture
def write(tmp_path):
    """Write a configuration file."""

    def to(text):
        path = tmp_path / "tracker.yaml"
        path.write_text(text)
        return path

    return to


def get(settings, key):
    """The value of a dotted key; `prometheus` is the default datasource."""
    first, *rest = key.split(".")
    value = settings.datasources["default"] if first == "prometheus" else getattr(settings, first)
    for name in rest:
        value = getattr(value, name)
    return value


def faults(path, env=()):
    """What is wrong, as lines."""
    with pytest.raises(SettingsError) as caught:
        load_settings(path, dict(env))
    assert 2 == caught.value.exit_status
    return str(caught.value).splitlines()


def variable(key):
    """The environment variable of a key."""
    return "SLO_BUDGET_TRACKER_" + key.upper().replace(".", "__")


@pytest.mark.parametrize(("key", "text", "expected"), KEYS)
def test_each_key_is_read_from_the_file(write, key, text, expected):
    """What stands in the file is what runs."""
    *outer, last = key.split(".")
    lines = [f"{'  ' * depth}{name}:" for depth, name in enumerate(outer)]
    path = write("\n".join([*lines, f"{'  ' * len(outer)}{last}: {text!r}"]))
    assert expected == get(load_settings(path, {}), key)


@pytest.mark.parametrize(("key", "text", "expected"), KEYS)
def test_each_key_is_read_from_the_environment(key, text, expected):
    """Without a file the environment says everything."""
    assert expected == get(load_settings(None, {variable(key): text}), key)


def test_nothing_given_is_the_documented_default(tmp_path, monkeypatch):
    """Prometheus on localhost, a tick a minute, half a minute of delay, loopback only."""
    monkeypatch.chdir(tmp_path)
    settings = load_settings(None, {})
    shown = [
        get(settings, key)
        for key in (
            "prometheus.url",
            "prometheus.timeout",
            "evaluation.interval",
            "evaluation.delay",
            "audit.url",
        )
    ]
    assert ["http://localhost:9090", 10.0, 60, 20, None] == shown
    assert ("127.0.0.1:9724", f"sqlite:///{tmp_path}/slo-budget-tracker.db") == (
        settings.web.listen,
        settings.ledger.url,
    )
    assert (4, 10.0, {"default": None}, {}) == (
        settings.concurrency,
        settings.longest_timeout,
        settings.replica_labels,
        settings.delays,
    )


def test_the_environment_wins_over_the_file(write):
    """A container's environment changes what its image's file says, key by key."""
    path = write("prometheus: {url: 'http://file:9090', timeout: 3s}\n")
    settings = load_settings(path, {variable("prometheus.url"): "http://env:9090"})
    assert ("http://env:9090", 3.0) == (
        get(settings, "prometheus.url"),
        get(settings, "prometheus.timeout"),
    )


@pytest.mark.parametrize(
    ("name", "key", "text", "expected"),
    [
        ("PROMETHEUS_URL", "prometheus.url", "http://prom:9090", "http://prom:9090"),
        ("AUDIT_STREAM_URL", "audit.url", "http://audit:8093", "http://audit:8093"),
        ("AUDIT_STREAM_TIMEOUT_S", "audit.timeout", "1.5", 1.5),
    ],
)
def test_names_of_the_ecosystem_are_understood(name, key, text, expected):
    """Variables that other programs read too; the program's own name wins over them."""
    assert expected == get(load_settings(None, {name: text}), key)
    assert expected == get(load_settings(None, {name: "http://127.0.0.1:1", variable(key): text}), key)


@pytest.mark.parametrize("name", ["PROMETHEUS_URL", "AUDIT_STREAM_URL", "AUDIT_STREAM_TIMEOUT_S"])
def test_an_empty_name_of_the_ecosystem_says_nothing(name):
    """Compose files pass `${PROMETHEUS_URL:-}` on as an empty text."""
    assert load_settings(None, {}) == load_settings(None, {name: ""})


def test_prometheus_url_leaves_named_datasources_alone(write):
    """Where datasources have names, each says where it is."""
    path = write("datasources:\n  eu: {url: 'http://eu:9090'}\n  us: {url: 'http://us:9090', timeout: 30s}\n")
    settings = load_settings(path, {"PROMETHEUS_URL": "http://elsewhere:9090"})
    assert {"eu": "http://eu:9090", "us": "http://us:9090"} == {
        name: one.url for name, one in settings.datasources.items()
    }
    assert 30.0 == settings.longest_timeout


def test_kubernetes_own_variables_are_no_configuration():
    """A Service named slo-budget-tracker puts these into every container of its namespace."""
    env = {
        "SLO_BUDGET_TRACKER_SERVICE_HOST": "10.0.0.1",
        "SLO_BUDGET_TRACKER_SERVICE_PORT": "9724",
        "SLO_BUDGET_TRACKER_SERVICE_PORT_HTTP": "9724",
        "SLO_BUDGET_TRACKER_PORT": "tcp://10.0.0.1:9724",
        "SLO_BUDGET_TRACKER_PORT_9724_TCP": "tcp://10.0.0.1:9724",
        "SLO_BUDGET_TRACKER_PORT_9724_TCP_PROTO": "tcp",
        "SLO_BUDGET_TRACKER_PORT_9724_TCP_PORT": "9724",
        "SLO_BUDGET_TRACKER_PORT_9724_TCP_ADDR": "10.0.0.1",
    }
    assert load_settings(None, {}) == load_settings(None, env)


def test_all_faults_are_reported_at_once_with_their_places(write):
    """C1: one run of the program shows everything that is to be mended, line by line."""
    path = write(
        """prometheus:
  url: localhost:9090
  timeout: soon
  retries: 3
evaluation:
  interval: 0s
ledger: {url: "mysql://db"}
web:
  listen: everywhere
log: {format: xml}
colour: blue
"""
    )
    found = faults(path, {variable("audit.url"): "nowhere", variable("audit.volume"): "11"})
    assert [
        (f"{path}:2:8", "prometheus.url", "a value that does not fit"),
        (f"{path}:3:12", "prometheus.timeout", "a value that does not fit"),
        (f"{path}:4:3", "prometheus.retries", 'the unknown key "retries"'),
        (f"{path}:6:13", "evaluation.interval", "a value that does not fit"),
        (f"{path}:7:15", "ledger.url", "a value that does not fit"),
        (f"{path}:9:11", "web.listen", "a value that does not fit"),
        (f"{path}:10:15", "log.format", "a value that does not fit"),
        (f"{path}:11:1", "colour", 'the unknown key "colour"'),
        ("environment:1:1", "SLO_BUDGET_TRACKER_AUDIT__URL", "a value that does not fit"),
        ("environment:1:1", "SLO_BUDGET_TRACKER_AUDIT__VOLUME", "a variable for an unknown key"),
    ] == sorted(
        (tuple(line.partition(", expected")[0].split(": ", 2)) for line in found),
        key=lambda one: (one[0].startswith("environment"), int(one[0].split(":")[1]), one),
    )


def test_faults_say_what_is_expected(write):
    """A sentence that shows the right form."""
    path = write("prometheus: {url: 'ftp://x', timeout: x}\nlog: {level: loud}\nweb: {listen: '1'}\n")
    text = "\n".join(faults(path))
    for hint in ('"http://localhost:9090"', "10s", "'debug', 'info'", '"127.0.0.1:9724"'):
        assert hint in text


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("- a\n- b\n", id="a list"),
        pytest.param("just words\n", id="a word"),
        pytest.param("a: 1\n---\nb: 2\n", id="two documents"),
        pytest.param("prometheus: {url: [\n", id="broken YAML"),
        pytest.param("prometheus: 5\n", id="a number where keys belong"),
        pytest.param("datasources: 5\n", id="a number of datasources"),
        pytest.param("datasources: [a, b]\n", id="a list of datasources"),
        pytest.param("prometheus: {}\nprometheus: {}\n", id="a key twice"),
        pytest.param("slo_files: {a: b}\n", id="files as keys"),
        pytest.param("prometheus: {}\ndatasources: {default: {}}\n", id="the default twice"),
        pytest.param("web: &w {listen: '127.0.0.1:1'}\nlog: *w\n", id="an alias"),
    ],
)
def test_odd_documents_are_faults_with_a_place(write, text):
    """C2: whatever stands in the file, a place and a sentence come out."""
    path = write(text)
    assert all(line.startswith(f"{path}:") for line in faults(path))


def test_a_missing_file_is_a_fault(tmp_path):
    """The file's name is in the sentence."""
    assert "missing.yaml" in faults(tmp_path / "missing.yaml")[0]


def test_relative_paths_start_at_the_file(tmp_path, monkeypatch):
    """The daemon may be started from anywhere."""
    folder = tmp_path / "etc"
    folder.mkdir()
    path = folder / "tracker.yaml"
    path.write_text(
        "prometheus:\n"
        "  bearer_token_file: token\n"
        "  tls: {ca_file: tls/ca.pem}\n"
        "  basic_auth: {username: u, password_file: pw}\n"
        "slo_files: [slos/, /abs/one.yaml]\n"
        "ledger: {url: 'sqlite:///var/slo.db'}\n"
    )
    monkeypatch.chdir("/")
    settings = load_settings(path, {})
    one = settings.datasources["default"]
    assert (folder / "slos", Path("/abs/one.yaml")) == settings.slo_files
    assert [folder / "token", folder / "tls/ca.pem", folder / "pw"] == [
        one.bearer_token_file,
        one.tls.ca_file,
        one.basic_auth.password_file,
    ]
    assert f"sqlite:///{folder}/var/slo.db" == settings.ledger.url


@pytest.mark.parametrize("url", ["sqlite://", "sqlite:///:memory:", "sqlite:////abs/slo.db"])
def test_ledgers_without_a_relative_path_stay_where_they_are(write, url):
    """In memory or absolute: the file's folder has no part in it."""
    assert url == load_settings(write(f"ledger: {{url: '{url}'}}\n"), {}).ledger.url


def test_slo_files_come_as_a_list_from_the_environment():
    """Several paths, with commas."""
    settings = load_settings(None, {variable("slo_files"): "/a,/b.yaml"})
    assert (Path("/a"), Path("/b.yaml")) == settings.slo_files


def test_secrets_are_read_and_never_shown():
    """C12: neither text nor representation of the settings has a secret in it."""
    env = {
        variable("prometheus.url"): f"http://u:{SECRET}@prom:9090",
        variable("prometheus.basic_auth.username"): "slo",
        variable("prometheus.basic_auth.password"): SECRET,
        variable("prometheus.headers.authorization"): SECRET,
        variable("audit.url"): f"http://u:{SECRET}@audit:8093",
    }
    settings = load_settings(None, env)
    one = settings.datasources["default"]
    assert SECRET == one.basic_auth.password.get_secret_value()
    assert SECRET == one.headers["authorization"].get_secret_value()
    assert SECRET not in f"{settings!r} {settings} {one!r} {one} {settings.audit}"


@pytest.mark.parametrize(
    "text",
    [
        pytest.param(f"prometheus: {{url: 'u:{SECRET}@prom:9090'}}\n", id="in an address"),
        pytest.param(f"prometheus: {{headers: {SECRET}}}\n", id="in place of headers"),
        pytest.param(
            f"prometheus: {{basic_auth: {{username: a, secret: {SECRET}}}}}\n", id="under another key"
        ),
        pytest.param(
            f"prometheus: {{timeout: {SECRET}, max_response_bytes: {SECRET}}}\n", id="as a duration"
        ),
        pytest.param(f"prometheus: {{basic_auth: {SECRET}}}\n", id="in place of keys"),
        pytest.param(f"log: {{level: {SECRET}}}\nweb: {{listen: {SECRET}}}\n", id="as a word"),
        pytest.param(f"prometheus: {{basic_auth: {{username: a, password: {SECRET}}}}}\n", id="in the file"),
    ],
)
def test_secrets_are_not_in_messages(write, text):
    """C12: a fault names the place and never repeats the value."""
    assert SECRET not in "\n".join(faults(write(text)))


def test_a_password_does_not_stand_in_the_file(write):
    """C12: files are shared and kept under version control; a secret has a file of its own or a variable."""
    path = write(f"prometheus:\n  basic_auth: {{username: a, password: {SECRET}}}\n  timeout: x\n")
    found = faults(path)
    assert 2 == len(found)
    assert any(
        line.startswith(f"{path}:2:29: prometheus.basic_auth.password: a secret") and "environment" in line
        for line in found
    )


def test_a_list_of_tenants_is_one_header(write):
    """As Mimir reads it: joined by a bar."""
    settings = load_settings(write("prometheus: {headers: {X-Scope-OrgID: [a, b], X-Other: c}}\n"), {})
    headers = settings.datasources["default"].headers
    assert {"X-Scope-OrgID": "a|b", "X-Other": "c"} == {
        name: one.get_secret_value() for name, one in headers.items()
    }


@pytest.mark.parametrize("value", ["[]", "[a, '']", "[a, 'b|c']", "{a: b}"])
def test_a_list_that_is_not_of_tenants_is_refused(write, value):
    """It says what is expected, and not what was found: headers are secrets."""
    with pytest.raises(SettingsError) as caught:
        load_settings(write(f"prometheus: {{headers: {{X-Scope-OrgID: {value}}}}}\n"), {})
    (fault,) = caught.value.faults
    assert ("prometheus.headers", "a value that does not fit") == (fault.path[:18], fault.found)


@pytest.mark.parametrize(("given", "expected"), [("60s", 5.0), ("12s", 1.0)])
def test_the_spread_follows_the_interval(write, given, expected):
    """A twelfth, where nothing is said."""
    assert (
        expected == load_settings(write(f"evaluation: {{interval: {given}}}\n"), {}).evaluation.spread_seconds
    )


def test_a_spread_leaves_half_the_interval(write):
    """Requests that start later could not be answered in time."""
    with pytest.raises(SettingsError) as caught:
        load_settings(write("evaluation: {interval: 10s, spread: 6s}\n"), {})
    assert "at most half the `interval`" in str(caught.value)

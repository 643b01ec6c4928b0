"""The web configuration: exporter-toolkit's file and the section `web`, and a sentence for each fault."""

from __future__ import annotations

from pathlib import Path

import pytest

from slo_budget_tracker.errors import SettingsError
from slo_budget_tracker.settings import load_settings
from slo_budget_tracker.webconfig import read_policy

HASH = "$2y$10$X0h1gDsPszWURQaxFh.zoubFi6DXncSjhoQNJgRrnGs7EsimhC7zG"
SECRET = "S3CR3T-hunter2"
WHOLE = f"""
tls_server_config:
  cert_file: server.crt
  key_file: /etc/server.key
  client_auth_type: RequireAndVerifyClientCert
  client_ca_file: ca.pem
  client_allowed_sans: [prometheus.example.org]
  min_version: TLS13
  max_version: TLS13
  cipher_suites: [TLS_AES_128_GCM_SHA256]
  prefer_server_cipher_suites: false
  curve_preferences: [X25519]
http_server_config:
  http2: false
  headers:
    Strict-Transport-Security: max-age=31536000
    X-Frame-Options: sameorigin
    X-XSS-Protection:
basic_auth_users:
  alice: {HASH}
  token: {HASH}
rate_limit: {{interval: 100ms, burst: 20}}
"""


def refused(tmp_path, text):
    """The sentences about a file, without its folder."""
    (tmp_path / "web.yaml").write_text(text)
    with pytest.raises(SettingsError) as error:
        read_policy(tmp_path / "web.yaml")
    return str(error.value).replace(f"{tmp_path}/", "").splitlines()


def test_every_key_of_exporter_toolkit_is_read(tmp_path):
    """The file that Prometheus takes is taken as it is; relative paths start at its folder."""
    text = WHOLE.replace("    X-XSS-Protection:\n", '    X-XSS-Protection: ""\n')
    (tmp_path / "web.yaml").write_text(text)
    policy = read_policy(tmp_path / "web.yaml")
    tls = policy.tls_server_config
    assert (tmp_path / "server.crt", Path("/etc/server.key"), ("prometheus.example.org",)) == (
        tls.cert_file,
        tls.key_file,
        tls.client_allowed_sans,
    )
    assert (["alice", "token"], 0.1, 20) == (
        list(policy.basic_auth_users),
        policy.rate_limit.interval,
        policy.rate_limit.burst,
    )
    assert HASH not in repr(policy) + str(policy)


def test_an_empty_file_asks_for_nothing(tmp_path):
    """As with exporter-toolkit: no TLS, no passwords."""
    (tmp_path / "web.yaml").write_text("tls_server_config:\nbasic_auth_users:\n")
    policy = read_policy(tmp_path / "web.yaml")
    assert (None, {}) == (policy.tls_server_config, policy.basic_auth_users)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("tls_server_confg: {}", 'web.yaml:1:1: tls_server_confg: the unknown key "tls_server_confg", expected one of tls_server_config, http_server_config, rate_limit, basic_auth_users; did you mean tls_server_config?'),
        ("tls_server_config: {cert_file: a}", "web.yaml:1:20: tls_server_config: a value that does not fit, expected `key_file`, the certificate's key"),
        ("tls_server_config: {key_file: a}", "web.yaml:1:20: tls_server_config: a value that does not fit, expected `cert_file`, the server's certificate"),
        ("tls_server_config: {cert_file: a, cert: b, key_file: c}", "web.yaml:1:20: tls_server_config: a value that does not fit, expected one of `cert` and `cert_file`"),
        ("tls_server_config: {cert_file: a, key_file: b, client_ca_file: c}", "web.yaml:1:20: tls_server_config: a value that does not fit, expected `client_auth_type: RequireAndVerifyClientCert` beside `client_ca_file`"),
        ("tls_server_config: {cert_file: a, key_file: b, client_auth_type: VerifyClientCertIfGiven}", "web.yaml:1:20: tls_server_config: a value that does not fit, expected `client_ca_file` beside `client_auth_type: VerifyClientCertIfGiven`"),
        ("tls_server_config: {cert_file: a, key_file: b, client_allowed_sans: [x]}", "web.yaml:1:20: tls_server_config: a value that does not fit, expected `client_auth_type: RequireAndVerifyClientCert` beside `client_allowed_sans`"),
        ("tls_server_config: {cert_file: a, key_file: b, client_auth_type: RequireAnyClientCert}", "web.yaml:1:66: tls_server_config.client_auth_type: a value that does not fit, expected 'NoClientCert', 'RequestClientCert', 'VerifyClientCertIfGiven' or 'RequireAndVerifyClientCert'"),
        ("tls_server_config: {cert_file: a, key_file: b, min_version: TLS11}", "web.yaml:1:61: tls_server_config.min_version: a value that does not fit, expected 'TLS12' or 'TLS13'"),
        ("tls_server_config: {cert_file: a, key_file: b, min_version: TLS13, max_version: TLS12}", "web.yaml:1:20: tls_server_config: a value that does not fit, expected a `min_version` that is not above `max_version`"),
        ("tls_server_config: {cert_file: a, key_file: b, cipher_suites: [TLS_AES_128_GCM_SHA256], max_version: TLS12}", "web.yaml:1:20: tls_server_config: a value that does not fit, expected a suite of TLS 1.2 beside `max_version: TLS12`"),
        ("tls_server_config: {cert_file: a, key_file: b, curve_preferences: [X25519, CurveP256]}", "web.yaml:1:67: tls_server_config.curve_preferences: a value that does not fit, expected none or one of CurveP256, CurveP384, CurveP521, X25519: Python's TLS takes no list"),
        ("http_server_config: {headers: {X-Frame-Options: maybe}}", "web.yaml:1:31: http_server_config.headers: a value that does not fit, expected deny or sameorigin for X-Frame-Options"),
        ("http_server_config: {headers: {Server: x}}", "web.yaml:1:31: http_server_config.headers: a value that does not fit, expected some of Content-Security-Policy, X-Frame-Options, X-Content-Type-Options, X-XSS-Protection, Strict-Transport-Security"),
        ('http_server_config: {headers: {Content-Security-Policy: "a\\r\\nb"}}', "web.yaml:1:57: http_server_config.headers.Content-Security-Policy: a value that does not fit, expected a header of one line in ASCII"),
        (f"basic_auth_users: {{alice: {SECRET}}}", 'web.yaml:1:27: basic_auth_users.alice: a value that does not fit, expected a bcrypt hash such as "$2y$10$…" (made by `htpasswd -nBC 10 NAME`)'),
        (f"basic_auth_users: {{alice: {HASH.replace('$10$', '$03$')}}}", 'web.yaml:1:27: basic_auth_users.alice: a value that does not fit, expected a bcrypt hash such as "$2y$10$…" (made by `htpasswd -nBC 10 NAME`)'),
        (f"basic_auth_users: {{alice: {HASH.replace('zoub', 'zovb')}}}", 'web.yaml:1:27: basic_auth_users.alice: a value that does not fit, expected a bcrypt hash such as "$2y$10$…" (made by `htpasswd -nBC 10 NAME`)'),
        (f"basic_auth_users: {{alice: {HASH.replace('$10$', '$18$')}}}", "web.yaml:1:27: basic_auth_users.alice: a value that does not fit, expected a bcrypt cost of at most 14: a login at 18 would take too long"),
        (f"basic_auth_users: {{'a:b': {HASH}}}", "web.yaml:1:27: basic_auth_users.a:b: a value that does not fit, expected a user name without colons and control characters"),
        ("rate_limit: {interval: 1s, burst: 0}", "web.yaml:1:35: rate_limit.burst: a value that does not fit, expected greater than or equal to 1"),
        ("basic_auth_users: [", "web.yaml:2:1: not YAML: did not find expected node content (while parsing a flow node); a text with : # { [ or quotes in it needs quotes around it"),
    ],
)  # fmt: skip
def test_a_fault_of_the_file_is_one_sentence(tmp_path, text, expected):
    """H14: what is wrong, where, and what would do; never the value, which may be a secret."""
    found = refused(tmp_path, text)
    assert ([expected], False) == (found, SECRET in str(found))


def test_ciphers_that_nobody_should_use_are_refused(tmp_path):
    """Go's list of secure suites is what may be named."""
    found = refused(
        tmp_path, "tls_server_config: {cert_file: a, key_file: b, cipher_suites: [TLS_RSA_WITH_RC4_128_SHA]}"
    )
    assert "expected some of TLS_AES_128_GCM_SHA256, " in found[0]


def test_a_file_that_is_not_there_is_one_sentence(tmp_path):
    """As any other file."""
    with pytest.raises(SettingsError, match=r"gone.yaml:1:1: a file that cannot be opened"):
        read_policy(tmp_path / "gone.yaml")


def test_the_section_web_says_the_same(tmp_path):
    """`web.tls` and `web.basic_auth_users` have the file's keys; users may be called anything."""
    (tmp_path / "c.yaml").write_text(
        "web:\n  tls: {cert_file: tls.pem, key_file: /etc/tls.key}\n"
        f"  basic_auth_users:\n    alice: {HASH}\n    secret: {HASH}\n"
    )
    web = load_settings(tmp_path / "c.yaml", {}).web
    policy = web.policy()
    assert (tmp_path / "tls.pem", ["alice", "secret"]) == (
        policy.tls_server_config.cert_file,
        list(policy.basic_auth_users),
    )
    assert HASH not in repr(web)


def test_users_of_the_environment(tmp_path):
    """A hash by environment needs no file."""
    users = load_settings(None, {"SLO_BUDGET_TRACKER_WEB__BASIC_AUTH_USERS__ALICE": HASH}).web
    assert ["alice"] == list(users.policy().basic_auth_users)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (f"web: {{config_file: web.yaml, basic_auth_users: {{a: {HASH}}}}}", "c.yaml:1:6: web: a value that does not fit, expected either `config_file`, or `tls` and `basic_auth_users`"),
        (f"web: {{basic_auth: {{a: {HASH}}}}}", 'c.yaml:1:7: web.basic_auth: the unknown key "basic_auth", expected one of listen, reload, reload_token_file, annotations, annotations_token_file, tls, basic_auth_users, config_file; did you mean basic_auth_users?'),
        (f"web: {{basic_auth_users: {{a: {SECRET}}}}}", 'c.yaml:1:29: web.basic_auth_users.a: a value that does not fit, expected a bcrypt hash such as "$2y$10$…" (made by `htpasswd -nBC 10 NAME`)'),
        ("web: {tls: {cert_file: a}}", "c.yaml:1:12: web.tls: a value that does not fit, expected `key_file`, the certificate's key"),
    ],
)  # fmt: skip
def test_a_fault_of_the_section_is_one_sentence(tmp_path, text, expected):
    """H14: as for every other section."""
    (tmp_path / "c.yaml").write_text(text)
    with pytest.raises(SettingsError) as error:
        load_settings(tmp_path / "c.yaml", {})
    assert expected == str(error.value).replace(f"{tmp_path}/", "")

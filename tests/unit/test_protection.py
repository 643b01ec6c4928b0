"""Protection: files that change, files that break, and locks that no reload opens."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from slo_budget_tracker import protection
from slo_budget_tracker.protection import DAY, Protector, WebFigures, protect
from slo_budget_tracker.settings import load_settings
from slo_budget_tracker.web import Display, build, compose
from tests.authority import Authority
from tests.unit.test_cli import call  # noqa: F401 - a fixture
from tests.unit.test_web import ask
from tests.unit.test_webconfig import HASH

OTHER = HASH.replace("zG", "zH")


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    """Two servers of one authority."""
    found = Authority.in_folder(tmp_path_factory.mktemp("authority"))
    found.certificate("first")
    found.certificate("second", days=3)
    return found


@pytest.fixture
def folder(tmp_path, authority):
    """A web configuration with TLS, client certificates and a user."""
    put(authority, "first", tmp_path)
    shutil.copy(authority.folder / "ca.pem", tmp_path)
    (tmp_path / "web.yaml").write_text(text())
    return tmp_path


def put(authority, name, folder):
    """Certificate and key in their place."""
    for ending in ("pem", "key"):
        shutil.copy(authority.folder / f"{name}.{ending}", folder / f"tls.{ending}")


def text(*, users=f"{{alice: {HASH}}}", tls="cert_file: tls.pem, key_file: tls.key", clients=True, sans=True):
    """A web configuration file."""
    more = ", client_auth_type: RequireAndVerifyClientCert, client_ca_file: ca.pem" if clients else ""
    more += ", client_allowed_sans: [prometheus]" if clients and sans else ""
    return f"tls_server_config: {{{tls}{more}}}\nbasic_auth_users: {users}\n"


def web_of(folder, further="config_file: web.yaml"):
    """The section of a configuration."""
    (folder / "c.yaml").write_text(f"web: {{{further}}}\n")
    return load_settings(folder / "c.yaml", {}).web


def protector_of(folder, **options):
    """What keeps that configuration."""
    return Protector.of(web_of(folder), **options)


def looked(protector, times=2):
    """What was logged by some looks."""
    with capture_logs() as said:
        for _ in range(times):
            protector.look()
    return said


def test_a_rotated_certificate_is_taken_over(folder, authority):
    """H12: once two looks found the same."""
    one = protector_of(folder)
    before = one.current.identity
    put(authority, "second", folder)
    assert ([], before) == (looked(one, 1), one.current.identity)
    assert (["web configuration loaded"], False) == (
        [line["event"] for line in looked(one, 1)],
        one.current.identity is before,
    )
    assert ([], True, 0) == (looked(one), one.figures().ok, one.figures().failures)


def test_half_a_rotation_is_waited_for(folder, authority):
    """H12: a certificate whose key comes a moment later is no failure."""
    one = protector_of(folder)
    shutil.copy(authority.folder / "second.pem", folder / "tls.pem")
    assert [] == looked(one, 1)
    shutil.copy(authority.folder / "second.key", folder / "tls.key")
    looked(one)
    assert (True, 0) == (one.figures().ok, one.figures().failures)


def test_a_rotation_while_files_are_read_is_noticed(folder, authority, monkeypatch):
    """H12: what is written between the reading of a file and its being in force is taken over by the next looks."""
    one = protector_of(folder)
    genuine = protection.identity

    def rotated(tls):
        found = genuine(tls)
        put(authority, "second", folder)
        return found

    monkeypatch.setattr(protection, "identity", rotated)
    reloaded = protect(web_of(folder))
    monkeypatch.undo()
    one.adopt(one.web, reloaded)
    first = one.current.identity.expires
    looked(one)
    assert first > one.current.identity.expires


def test_a_fault_of_ours_ends_no_look(folder, monkeypatch):
    """H13: it is told, and what ran goes on; the next change is looked at."""
    one = protector_of(folder)
    before = one.current
    monkeypatch.setattr(protection, "identity", lambda _: 1 / 0)
    (folder / "web.yaml").write_text(text(users=f"{{bob: {HASH}}}"))
    said = looked(one)
    assert ("internal error, please report it: ZeroDivisionError: division by zero", before) == (
        said[0]["fault"],
        one.current,
    )
    monkeypatch.undo()
    (folder / "web.yaml").write_text(text(users=f"{{carol: {HASH}}}"))
    looked(one)
    assert ["carol"] == list(one.current.users)


def test_authorities_may_be_named_in_any_letters(folder):
    """H12: bundles have comments, and those have the names of authorities."""
    (folder / "ca.pem").write_text("# Issuer: Főtanúsítvány\n" + (folder / "ca.pem").read_text())
    assert protector_of(folder).current.identity.requires_client


def test_a_bad_certificate_changes_nothing_and_is_counted_once(folder, authority):
    """H12: the old one stays, one sentence says why, and the right one is taken again."""
    one = protector_of(folder)
    before = one.current
    (folder / "tls.pem").write_text("nonsense")
    said = looked(one, 5)
    assert (1, before, WebFigures(ok=False, failures=1, expires=before.identity.expires)) == (
        len(said),
        one.current,
        one.figures(),
    )
    assert (
        f"{folder}/tls.pem:1:1: cert_file: something else, expected a certificate in PEM" == said[0]["fault"]
    )
    (folder / "tls.pem").unlink()
    looked(one)
    assert 2 == one.figures().failures
    put(authority, "first", folder)
    looked(one)
    assert (True, 2) == (one.figures().ok, one.figures().failures)


@pytest.mark.parametrize(
    "broken",
    ["basic_auth_users: [", "", "# nothing\n", "basic_auth_users: {}\n", "nonsense: 1\n",
     text(users="{}"), text(users="{alice: plain}"), text(clients=False), text(sans=False), f"basic_auth_users: {{alice: {HASH}}}\n"],
    ids=["no YAML", "empty", "a comment", "no TLS and no users", "unknown key", "no users", "no hash", "no client certificates",
         "any client certificate", "no TLS"],
)  # fmt: skip
def test_a_broken_file_never_opens_anything(folder, broken):
    """H13: what ran goes on, whatever the file says now; and a good one is taken over after it."""
    one = protector_of(folder)
    before = one.current
    (folder / "web.yaml").write_text(broken)
    said = looked(one)
    assert (before, True, 1, False) == (one.current, bool(said), one.figures().failures, one.figures().ok)
    (folder / "web.yaml").unlink()
    looked(one)
    assert (before, 2) == (one.current, one.figures().failures)
    (folder / "web.yaml").write_text(text(users=f"{{alice: {HASH}, bob: {OTHER}}}"))
    looked(one)
    assert (["alice", "bob"], True) == (list(one.current.users), one.figures().ok)


def test_what_was_open_may_be_closed(tmp_path):
    """Users and rates of a file that had none."""
    (tmp_path / "web.yaml").write_text("")
    one = protector_of(tmp_path)
    (tmp_path / "web.yaml").write_text(
        f"basic_auth_users: {{alice: {HASH}}}\nrate_limit: {{interval: 1s, burst: 2}}\n"
        "http_server_config: {headers: {X-Frame-Options: deny}}\n"
    )
    looked(one)
    assert (["alice"], ((b"x-frame-options", b"deny"),)) == (list(one.current.users), one.current.headers)
    assert [True, True, False, True] == [one.take(0.0), one.take(0.0), one.take(0.0), one.take(1.0)]


def test_without_files_there_is_nothing_to_load(tmp_path):
    """No gauges, and nothing is said."""
    one = protector_of(tmp_path) if (tmp_path / "web.yaml").exists() else Protector.of(web_of(tmp_path, ""))
    assert ([], WebFigures()) == (looked(one), one.figures())


def test_an_expiring_certificate_is_warned_of_once_a_day(folder, authority):
    """H12: from 14 days before."""
    put(authority, "second", folder)
    now = [0.0]
    one = protector_of(folder, clock=lambda: now[0])
    expires = one.figures().expires
    with capture_logs() as said:
        for at in (
            expires - 20 * DAY,
            expires - 2 * DAY,
            expires - 2 * DAY + 60,
            expires - DAY,
            expires + DAY,
        ):
            now[0] = at
            one.remind()
    assert [2.0, 1.0, -1.0] == [line["in_days"] for line in said]


@pytest.mark.parametrize(
    ("further", "warnings"),
    [
        ("listen: '127.0.0.1:1'", []),
        ("listen: ':9724'", ["whoever reaches :9724 reads everything: neither TLS nor passwords are set"]),
        (f"listen: ':9724', basic_auth_users: {{a: {HASH}}}", ["passwords travel in the clear: TLS is not set"]),
        ("listen: ':9724', tls: {cert_file: tls.pem, key_file: tls.key}", ["every user of this machine can read the key {folder}/tls.key: chmod 600"]),
    ],
)  # fmt: skip
def test_what_whoever_starts_it_should_know(folder, further, warnings):
    """S14: what is open to others, and keys that are."""
    (folder / "tls.key").chmod(0o644)
    one = Protector.of(web_of(folder, further))
    assert [line.format(folder=folder) for line in warnings] == list(one.warnings())


def test_nothing_of_it_is_printed(folder):
    """H14: no hash in a repr."""
    assert HASH not in repr(protect(web_of(folder)))


def test_what_is_asked_is_told(folder, call):  # noqa: F811
    """`validate -c` loads a configuration with everything it names, certificates and users too, or says why not."""
    shutil.copy(Path(__file__).parents[2] / "config" / "slos" / "checkout.yaml", folder / "slos.yaml")
    (folder / "c.yaml").write_text("web: {config_file: web.yaml}\nslo_files: [slos.yaml]\n")
    status, out, _ = call("validate", "-c", folder / "c.yaml")
    told = r"the configuration is valid: it listens on 127.0.0.1:9724, with TLS until \d{4}-\d\d-\d\d, for clients with a certificate, for 1 users"
    assert (0, True) == (status, re.fullmatch(told, out.splitlines()[-1]) is not None), out
    (folder / "c.yaml").write_text("web: {listen: ':1'}\nslo_files: [slos.yaml]\n")
    status, out, err = call("validate", "-c", folder / "c.yaml")
    expected = "the configuration is valid: it listens on :1, without TLS, without passwords"
    warning = "warning: whoever reaches :1 reads everything: neither TLS nor passwords are set\n"
    assert (0, expected, warning) == (status, out.splitlines()[-1], err)
    (folder / "c.yaml").write_text("web: {config_file: web.yaml}\nslo_files: [slos.yaml]\n")
    (folder / "tls.key").unlink()
    status, _, err = call("validate", "-c", folder / "c.yaml")
    assert (2, True) == (
        status,
        err.startswith(f"{folder}/tls.key:1:1: key_file: a file that cannot be opened"),
    )
    assert 2 == call("validate")[0]


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("POST", "/-/reload", 403),
        ("POST", "/api/v1/annotations", 403),
        ("DELETE", "/api/v1/annotations/a", 403),
        ("POST", "/-/reload/a", 401),
        ("POST", "/api/v1/annotations/a/b", 401),
        ("DELETE", "/api/v1/annotations/", 401),
        ("DELETE", "/api/v1/annotations/a/b", 401),
        ("DELETE", "/api/v1/annotations", 401),
        ("GET", "/api/v1/annotations", 401),
        ("POST", "/metrics", 401),
    ],
)
def test_a_token_opens_the_routes_that_look_at_it_and_nothing_else(folder, method, path, status):
    """H11: not even the page that says that there is nothing: it tells what the daemon's troubles are."""
    display = Display(compose(faults=["S3CR3T"]))
    app = build(display, listen="127.0.0.1:9724", protector=protector_of(folder))
    answer = ask(app, path, method=method, headers={"authorization": "Bearer x", "accept": "text/html"})
    assert (status, False) == (answer.status_code, "S3CR3T" in answer.text)

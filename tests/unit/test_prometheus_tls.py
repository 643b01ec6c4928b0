"""The client and TLS, the environment, other protocols (rows P27 to P30)."""

from __future__ import annotations

import ssl
import subprocess
import time
from email.utils import formatdate
from types import SimpleNamespace

import pytest

from slo_budget_tracker.errors import (
    Unreachable,
)
from slo_budget_tracker.prometheus import Prometheus
from tests.servers import free_port
from tests.unit.questions import UP, ask, fails, quick  # noqa: F401 - the fixture `quick` works by being here
from tests.unit.raw_server import RawServer, answer, settings


@pytest.mark.parametrize(
    "headers",
    [
        pytest.param((f"X: {'x' * 200_000}",), id="200 KB"),
        pytest.param(tuple(f"X-{n}: 1" for n in range(1_000)), id="1,000 headers"),
    ],
)
def test_too_many_headers_are_refused(headers):
    """P27: an answer's headers have limits."""
    with RawServer(answer(headers=headers)) as server:
        fails(server, Unreachable, reason="protocol")


@pytest.mark.parametrize("reply", [b"", b"SSH-2.0-OpenSSH_9.2\r\n", b"HTTP/1.1 abc\r\n\r\n", b"\0" * 100])
def test_what_is_not_http_is_refused(reply):
    """P27: other protocols on the port."""
    with RawServer(reply) as server:
        fails(server, Unreachable, reason="protocol")


NOW = 1_700_000_000.0
CA = """
[ca]
default_ca = here
[here]
database = index.txt
serial = serial
new_certs_dir = .
default_md = sha256
policy = any
copy_extensions = copy
[any]
commonName = supplied
"""


@pytest.fixture(scope="module")
def certificates(tmp_path_factory):
    """Self-signed certificates made by openssl: for 127.0.0.1, for another host, expired."""
    folder = tmp_path_factory.mktemp("certificates")
    (folder / "ca.conf").write_text(CA)
    (folder / "index.txt").touch()
    (folder / "index.txt.attr").write_text("unique_subject = no")
    (folder / "serial").write_text("01")
    today = time.time()
    ends = {"good": today + 30 * 86_400, "other": today + 30 * 86_400, "expired": today - 86_400}
    names = {"good": "IP:127.0.0.1", "other": "DNS:other.example", "expired": "IP:127.0.0.1"}
    for name, end in ends.items():
        until = time.strftime("%Y%m%d%H%M%SZ", time.gmtime(end))
        request = (
            f"req -new -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -keyout {name}.key"
            f" -out {name}.csr -subj /CN={name} -addext subjectAltName={names[name]}"
        )
        signing = (
            f"ca -config ca.conf -batch -notext -selfsign -keyfile {name}.key -in {name}.csr"
            f" -out {name}.pem -startdate 20200101000000Z -enddate {until}"
        )
        for command in (request, signing):
            subprocess.run(["openssl", *command.split()], cwd=folder, check=True, capture_output=True)
    return folder


def secured(certificates, name, ca=None, **limits):
    """A TLS server with this certificate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificates / f"{name}.pem", certificates / f"{name}.key")
    if ca is not None:
        context.load_verify_locations(ca)
    for key, value in limits.items():
        setattr(context, key, value)
    return RawServer(answer(), wrap=lambda connection: context.wrap_socket(connection, server_side=True))


def tls(folder, name, **more):
    """TLS settings that trust this certificate."""
    return SimpleNamespace(
        **{
            "ca_file": folder / f"{name}.pem",
            "cert_file": None,
            "key_file": None,
            "server_name": None,
            **more,
        }
    )


def test_tls_with_a_trusted_certificate(certificates):
    """P28: accepted, and its end is known."""
    with secured(certificates, "good") as server:
        client = Prometheus(settings(f"https://{server.address}", tls=tls(certificates, "good")))
        client.ask(UP, budget_seconds=5)
        client.close()
        days_left = (client.stats.certificate_expires - time.time()) / 86_400
        assert 29 < days_left < 31


def test_tls_by_another_server_name(certificates):
    """P28: `server_name` is what the certificate must be for."""
    with secured(certificates, "other") as server:
        url = f"https://{server.address}"
        assert () == ask(url, tls=tls(certificates, "other", server_name="other.example")).series
        fails(url, Unreachable, reason="connection", tls=tls(certificates, "other"))


def test_a_client_certificate_is_shown(certificates):
    """P28: where the server demands one."""
    demanding = {"verify_mode": ssl.CERT_REQUIRED}
    with secured(certificates, "good", ca=certificates / "other.pem", **demanding) as server:
        own = {"cert_file": certificates / "other.pem", "key_file": certificates / "other.key"}
        url = f"https://{server.address}"
        assert () == ask(url, tls=tls(certificates, "good", **own)).series
        with pytest.raises(Unreachable):
            ask(url, tls=tls(certificates, "good"))


@pytest.mark.parametrize(
    ("served", "trusted"), [("good", "other"), ("other", "other"), ("expired", "expired")]
)
def test_bad_certificates_are_refused(certificates, served, trusted):
    """P28: unknown, for another host, expired: refused, with the reason in the message."""
    with secured(certificates, served) as server:
        url = f"https://{server.address}"
        error = fails(url, Unreachable, reason="connection", tls=tls(certificates, trusted))
        assert "certificate is refused" in str(error)
        assert [] == server.requests


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion.TLSv1_1:DeprecationWarning")
def test_old_tls_is_refused(certificates):
    """P28: a server that speaks TLS 1.1 at best is not talked to."""
    with secured(certificates, "good", maximum_version=ssl.TLSVersion.TLSv1_1) as server:
        url = f"https://{server.address}"
        fails(url, Unreachable, reason="connection", tls=tls(certificates, "good"))


def test_a_missing_ca_file_is_told():
    """P28: a wrong path in the configuration is an error, not a default."""
    fails(
        "https://127.0.0.1:1",
        Unreachable,
        reason="connection",
        tls=SimpleNamespace(ca_file="/none", cert_file=None, key_file=None, server_name=None),
    )


def test_the_environments_proxy_is_ignored(monkeypatch):
    """P29: HTTP_PROXY, a netrc and SSL_CERT_FILE of the environment mean nothing here."""
    with RawServer(answer()) as server:
        for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
            monkeypatch.setenv(name, f"http://127.0.0.1:{free_port()}")
        assert () == ask(server).series


def test_clock_skew_is_measured():
    """P30: the server's Date header against our clock, good to about a second."""
    with RawServer(answer(headers=(f"Date: {formatdate(NOW + 90, usegmt=True)}",))) as server:
        client = Prometheus(settings(server.url), wall=lambda: NOW)
        client.ask(UP, budget_seconds=5)
        client.close()
        assert 89 <= client.stats.clock_skew_seconds <= 91


def test_an_odd_date_header_is_no_skew():
    """P30: a Date that cannot be understood is ignored."""
    with RawServer(answer(headers=("Date: yesterday",))) as server:
        client = Prometheus(settings(server.url))
        client.ask(UP, budget_seconds=5)
        client.close()
        assert client.stats.clock_skew_seconds is None

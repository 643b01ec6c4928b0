"""Certificates of the server: what TLS is made of, and a sentence for each file that cannot be used."""

from __future__ import annotations

import os
import shutil
import ssl
import time
from datetime import UTC, datetime

import pytest

from slo_budget_tracker.certificates import expiry, identity
from slo_budget_tracker.errors import SettingsError
from slo_budget_tracker.webconfig import TlsServer
from tests.authority import Authority


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    """An authority with a server and another one."""
    found = Authority.in_folder(tmp_path_factory.mktemp("authority"))
    found.certificate("server")
    found.certificate("other", names="DNS:other.example")
    found.openssl("pkcs8 -topk8 -v2 aes256 -passout pass:x -in server.key -out locked.key")
    (found.folder / "text.pem").write_text("hello")
    (found.folder / "broken.pem").write_text("-----BEGIN CERTIFICATE-----\nQUJD\n-----END CERTIFICATE-----\n")
    (found.folder / "broken.key").write_text("-----BEGIN PRIVATE KEY-----\nQUJD\n-----END PRIVATE KEY-----\n")
    return found


def tls(authority, *, cert="server.pem", key="server.key", ca=None, **more):
    """The settings for files of the authority."""
    if ca is not None:
        more |= {
            "client_ca_file": authority.folder / ca,
            "client_auth_type": "RequireAndVerifyClientCert",
        } | more
    return TlsServer(cert_file=authority.folder / cert, key_file=authority.folder / key, **more)


def sentences(authority, **options):
    """What is said of files that cannot be used."""
    with pytest.raises(SettingsError) as error:
        identity(tls(authority, **options))
    return str(error.value).replace(f"{authority.folder}/", "").splitlines()


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"cert": "gone.pem", "key": "gone.key"}, ["gone.pem:1:1: cert_file: a file that cannot be opened (No such file or directory), expected a certificate in PEM",
                                                   "gone.key:1:1: key_file: a file that cannot be opened (No such file or directory), expected a private key in PEM"]),
        ({"cert": "text.pem"}, ["text.pem:1:1: cert_file: something else, expected a certificate in PEM"]),
        ({"key": "text.pem"}, ["text.pem:1:1: key_file: something else, expected a private key in PEM"]),
        ({"cert": "server.key"}, ["server.key:1:1: cert_file: something else, expected a certificate in PEM"]),
        ({"key": "other.key"}, ["other.key:1:1: key_file: a key that does not belong to the certificate"]),
        ({"key": "locked.key"}, ["locked.key:1:1: key_file: an encrypted key, expected one without a pass phrase; write it without a pass phrase, readable by this user alone"]),
        ({"ca": "text.pem"}, ["text.pem:1:1: client_ca_file: something else, expected certificates in PEM"]),
        ({"ca": "broken.pem"}, ["broken.pem:1:1: client_ca_file: no certificate that can be read"]),
    ],
)  # fmt: skip
def test_a_file_that_cannot_be_used_is_one_sentence(authority, options, expected):
    """H14: which file, what is wrong with it, and nothing of what is in it; TLS never asks for a pass phrase."""
    assert expected == sentences(authority, **options)


@pytest.mark.parametrize("options", [{"cert": "broken.pem"}, {"key": "broken.key"}])
def test_what_tls_refuses_is_one_sentence(authority, options):
    """H14: PEM with nonsense in it."""
    (line,) = sentences(authority, **options)
    assert "a certificate or key that TLS refuses (" in line


@pytest.mark.parametrize("days", [1, 30, 20_000])
def test_the_expiry_is_what_openssl_says(tmp_path, days):
    """Also beyond 2050, where certificates write years with four digits."""
    authority = Authority.in_folder(tmp_path)
    certificate, _ = authority.certificate("server", days=days)
    said = authority.openssl("x509 -in server.pem -noout -enddate").strip().removeprefix("notAfter=")
    expected = datetime.strptime(said, "%b %d %H:%M:%S %Y GMT").replace(tzinfo=UTC).timestamp()
    assert expected == expiry("a chain begins\n" + certificate.read_text() + "and goes on")


def test_no_certificate_has_no_expiry():
    """Nonsense is a ValueError."""
    with pytest.raises(ValueError):
        expiry("-----BEGIN CERTIFICATE-----\nQUJD\n-----END CERTIFICATE-----\n")


def test_versions_suites_and_curves_are_those_that_are_named(authority):
    """Go's names, as exporter-toolkit has them; naming only suites of TLS 1.3 leaves only TLS 1.3."""
    plain = identity(tls(authority)).context
    assert (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3, ssl.CERT_NONE) == (
        plain.minimum_version,
        plain.maximum_version,
        plain.verify_mode,
    )
    chosen = identity(
        tls(
            authority,
            cipher_suites=["TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256", "TLS_AES_128_GCM_SHA256"],
            curve_preferences=["CurveP384"],
            max_version="TLS12",
            prefer_server_cipher_suites=False,
        )
    ).context
    older = [one["name"] for one in chosen.get_ciphers() if one["protocol"] == "TLSv1.2"]
    assert (["ECDHE-ECDSA-AES128-GCM-SHA256"], ssl.TLSVersion.TLSv1_2, 0) == (
        older,
        chosen.maximum_version,
        chosen.options & ssl.OP_CIPHER_SERVER_PREFERENCE,
    )
    latest = identity(tls(authority, cipher_suites=["TLS_AES_256_GCM_SHA384"])).context
    assert ssl.TLSVersion.TLSv1_3 == latest.minimum_version


def test_what_stands_inline_is_as_good_as_a_file(authority, tmp_path, monkeypatch):
    """exporter-toolkit's `cert`, `key` and `client_ca`; nothing of it stays in the temporary folder."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    text = {name: (authority.folder / name).read_text() for name in ("server.pem", "server.key", "ca.pem")}
    found = identity(
        TlsServer(
            cert=text["server.pem"],
            key=text["server.key"],
            client_ca=text["ca.pem"],
            client_auth_type="VerifyClientCertIfGiven",
        )
    )
    assert (ssl.CERT_OPTIONAL, False, []) == (
        found.context.verify_mode,
        found.requires_client,
        list(tmp_path.iterdir()),
    )


def test_clients_are_let_in_by_their_names(authority):
    """`client_allowed_sans`: any of DNS, IP, mail or URI, IP addresses in any spelling."""
    allowed = ["prometheus.example.org", "2001:DB8:0::1", "a@example.org", "spiffe://x/y"]
    found = identity(tls(authority, ca="ca.pem", client_allowed_sans=allowed))

    def admits(*names):
        return found.admits({"subjectAltName": names})

    assert [True, True, True, True, False, False, False] == [
        admits(("DNS", "prometheus.example.org")),
        admits(("DNS", "other"), ("IP Address", "2001:DB8:0:0:0:0:0:1")),
        admits(("email", "a@example.org")),
        admits(("URI", "spiffe://x/y")),
        admits(("DNS", "a@example.com")),
        admits(),
        found.admits(None),
    ]
    assert identity(tls(authority)).admits(None)


def test_a_huge_or_strange_file_is_not_waited_for(authority, tmp_path):
    """A pipe in place of a key is refused at once."""
    shutil.copy(authority.folder / "server.pem", tmp_path)

    os.mkfifo(tmp_path / "server.key")
    began = time.monotonic()
    with pytest.raises(SettingsError, match="no regular file"):
        identity(TlsServer(cert_file=tmp_path / "server.pem", key_file=tmp_path / "server.key"))
    assert time.monotonic() - began < 5

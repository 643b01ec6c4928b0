"""Certificates of the server: read from files, checked in sentences, made into what TLS works with."""

from __future__ import annotations

import ssl
import tempfile
from dataclasses import dataclass
from datetime import UTC, datetime
from ipaddress import ip_address
from pathlib import Path
from typing import TYPE_CHECKING, Any

from slo_budget_tracker.errors import Fault, SettingsError
from slo_budget_tracker.filesets import read_text
from slo_budget_tracker.webconfig import CIPHERS, CURVES, VERIFYING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from slo_budget_tracker.webconfig import TlsServer

_BEGIN, _END = "-----BEGIN CERTIFICATE-----", "-----END CERTIFICATE-----"
_VERSIONS = {"TLS12": ssl.TLSVersion.TLSv1_2, "TLS13": ssl.TLSVersion.TLSv1_3}
_REQUIRED = "RequireAndVerifyClientCert"
_UTC_TIME, _EXPLICIT = 0x17, 0xA0  # tags of DER
_PIVOT = 50  # two-digit years from here on are of the 20th century (RFC 5280, 4.1.2.5.1)


@dataclass(frozen=True, slots=True)
class Identity:
    """What the server shows and asks for in a handshake; `expires` in epoch seconds."""

    context: ssl.SSLContext
    expires: float
    requires_client: bool = False
    allowed_names: frozenset[str] = frozenset()

    def admits(self, certificate: Mapping[str, Any] | None) -> bool:
        """Whether a client that shows a verified certificate is one of those that may come in."""
        return not self.allowed_names or bool(self.allowed_names & set(_names(certificate or {})))


def identity(tls: TlsServer) -> Identity:
    """The server's identity.

    Raises:
        SettingsError: a sentence for each file that cannot be used; no content of a file is in them.
    """
    faults: list[Fault] = []
    certificate = _pem(
        tls.cert, tls.cert_file, "cert_file", mark=_BEGIN, expected="a certificate in PEM", faults=faults
    )
    secret = None if tls.key is None else tls.key.get_secret_value()
    key = _pem(
        secret,
        tls.key_file,
        "key_file",
        mark="PRIVATE KEY-----",
        expected="a private key in PEM",
        faults=faults,
    )
    authorities = ""
    if tls.client_auth_type in VERIFYING:
        authorities = _pem(
            tls.client_ca,
            tls.client_ca_file,
            "client_ca_file",
            mark=_BEGIN,
            expected="certificates in PEM",
            faults=faults,
        )
    if faults:
        raise SettingsError(faults)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version, context.maximum_version = _VERSIONS[tls.min_version], _VERSIONS[tls.max_version]
    context.options |= ssl.OP_NO_COMPRESSION | ssl.OP_NO_RENEGOTIATION
    if not tls.prefer_server_cipher_suites:
        context.options &= ~ssl.OP_CIPHER_SERVER_PREFERENCE
    context.set_alpn_protocols(["http/1.1"])
    _choose(context, tls)
    expires = _load(context, tls, certificate, key)
    if authorities:
        required = tls.client_auth_type == _REQUIRED
        context.verify_mode = ssl.CERT_REQUIRED if required else ssl.CERT_OPTIONAL
        try:
            # the comments of bundles have names in any letters
            context.load_verify_locations(cadata=authorities.encode("ascii", "replace").decode())
        except (ssl.SSLError, ValueError):
            raise SettingsError(
                [_fault(tls.client_ca_file, "client_ca_file", "no certificate that can be read")]
            ) from None
    return Identity(
        context,
        expires,
        requires_client=tls.client_auth_type == _REQUIRED,
        allowed_names=frozenset(map(_canonical, tls.client_allowed_sans)),
    )


def files_of(tls: TlsServer) -> list[Path]:
    """The files that an identity is made of."""
    return [path for path in (tls.cert_file, tls.key_file, tls.client_ca_file) if path is not None]


def _pem(
    inline: str | None, path: Path | None, name: str, *, mark: str, expected: str, faults: list[Fault]
) -> str:
    """The text of a file (or in its place), which must have what the mark stands for."""
    if inline is not None:
        text: str | Fault = inline
    else:
        assert path is not None
        text = read_text(path)
    if isinstance(text, Fault):
        faults.append(_fault(path, name, text.found, expected))
        return ""
    if mark not in text:
        faults.append(_fault(path, name, "something else", expected))
        return ""
    return text


def _fault(path: Path | None, name: str, found: str, expected: str = "", suggestion: str = "") -> Fault:
    where = name.removesuffix("_file") if path is None else name
    return Fault(str(path or "web configuration"), 1, 1, where, found, expected, suggestion)


def _choose(context: ssl.SSLContext, tls: TlsServer) -> None:
    """The suites and the curve that are named."""
    if tls.cipher_suites:
        older = [CIPHERS[name] for name in tls.cipher_suites if name in CIPHERS]
        if older:
            context.set_ciphers(":".join(older))
        else:
            context.minimum_version = ssl.TLSVersion.TLSv1_3  # whose suites alone are named
    for curve in tls.curve_preferences:
        context.set_ecdh_curve(CURVES[curve])


class _EncryptedError(Exception):
    pass


def _never() -> str:
    """Asked for only by a key that is encrypted; without this, TLS would ask at the terminal."""
    raise _EncryptedError


def _load(context: ssl.SSLContext, tls: TlsServer, certificate: str, key: str) -> float:
    """Put certificate and key into the context; when the certificate expires."""
    try:
        with tempfile.TemporaryDirectory(prefix="slo-budget-tracker-") as folder:  # for what stands inline
            paths: list[Path] = []
            for path, text in ((tls.cert_file, certificate), (tls.key_file, key)):
                inline = Path(folder, str(len(paths)))
                if path is None:
                    inline.touch(0o600)
                    inline.write_text(text, encoding="utf-8")
                paths.append(path or inline)
            context.load_cert_chain(paths[0], paths[1], password=_never)
        return expiry(certificate)
    except _EncryptedError:
        found, hint = "an encrypted key", "write it without a pass phrase, readable by this user alone"
        raise SettingsError(
            [_fault(tls.key_file, "key_file", found, "one without a pass phrase", hint)]
        ) from None
    except ssl.SSLError as error:
        if error.reason == "KEY_VALUES_MISMATCH":
            found = "a key that does not belong to the certificate"
            raise SettingsError([_fault(tls.key_file, "key_file", found)]) from None
        reason = str(error.reason or "not PEM").lower().replace("_", " ")
        found = f"a certificate or key that TLS refuses ({reason})"
        raise SettingsError([_fault(tls.cert_file, "cert_file", found)]) from None
    except (OSError, ValueError) as error:
        found = f"a certificate that cannot be used ({getattr(error, 'strerror', None) or 'broken'})"
        raise SettingsError([_fault(tls.cert_file, "cert_file", found)]) from None


def expiry(text: str) -> float:
    """When the first certificate of a PEM text expires, epoch seconds; ValueError where it is none."""
    begin = text.index(_BEGIN)
    der = ssl.PEM_cert_to_DER_cert(text[begin : text.index(_END, begin) + len(_END)] + "\n")
    try:
        (certificate,) = _elements(der)
        fields = list(_elements(next(_elements(certificate[1]))[1]))
        fields = fields[1:] if fields[0][0] == _EXPLICIT else fields  # the version may be left out
        _, _, _, (_, validity), *_ = fields  # serial number, algorithm, issuer, validity
        _, (tag, until) = _elements(validity)
    except (IndexError, StopIteration) as error:
        raise ValueError("no certificate") from error
    digits = until.decode("ascii")
    if tag == _UTC_TIME:
        digits = ("19" if int(digits[:2]) >= _PIVOT else "20") + digits
    return datetime.strptime(digits, "%Y%m%d%H%M%SZ").replace(tzinfo=UTC).timestamp()


def _elements(der: bytes) -> Iterator[tuple[int, bytes]]:
    """Tag and content of each element of a DER sequence's content."""
    at = 0
    while at < len(der):
        tag, length, at = der[at], der[at + 1], at + 2
        if length & 0x80:
            size = length & 0x7F
            length, at = int.from_bytes(der[at : at + size], "big"), at + size
        yield tag, der[at : at + length]
        at += length


def _names(certificate: Mapping[str, Any]) -> Iterable[str]:
    """The alternative names of a client: DNS, IP, mail, URI."""
    for kind, name in certificate.get("subjectAltName", ()):
        if kind in {"DNS", "IP Address", "email", "URI"}:
            yield _canonical(str(name).strip())


def _canonical(name: str) -> str:
    """An address in its one spelling; other names as they are."""
    try:
        return str(ip_address(name))
    except ValueError:
        return name

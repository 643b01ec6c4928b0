"""How a datasource is reached: address, credentials and TLS, as they are configured."""

from __future__ import annotations

import base64
import ssl
from typing import TYPE_CHECKING, Any, Protocol
from urllib.parse import SplitResult, unquote, urlsplit

from slo_budget_tracker.errors import Unauthorized, Unreachable

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path


class Connection(Protocol):
    """What is configured for one datasource."""

    @property
    def url(self) -> Any:
        """Text or a URL; userinfo in it is basic auth."""

    @property
    def timeout(self) -> float:
        """Seconds, of one request."""

    @property
    def headers(self) -> Mapping[str, Any]:
        """Sent with every request."""

    @property
    def basic_auth(self) -> Any:
        """None, or `username` and `password` or `password_file`."""

    @property
    def bearer_token_file(self) -> Path | None:
        """Read before each try."""

    @property
    def tls(self) -> Any:
        """None, or `ca_file`, `cert_file`, `key_file`, `server_name`."""

    @property
    def max_response_bytes(self) -> int:
        """Of one answer, after decompression."""

    @property
    def concurrency(self) -> int:
        """Requests at a time."""


def base_address(settings: Connection) -> str:
    """The configured address without user, query and fragment."""
    parts = _split(settings)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}".rstrip("/")


def headers(settings: Connection) -> dict[str, str]:
    """The configured headers, all of them secrets."""
    return {name: _secret(value) for name, value in settings.headers.items()}


def authorization(settings: Connection) -> str:
    """The Authorization header; files are read afresh each time, so that rotated secrets just work."""
    try:
        if settings.bearer_token_file is not None:
            return f"Bearer {settings.bearer_token_file.read_text(encoding='utf-8').strip()}"
        if settings.basic_auth is not None:
            return _basic(_secret(settings.basic_auth.username), _password(settings.basic_auth))
    except (OSError, UnicodeError) as error:
        reason = getattr(error, "strerror", None) or "not text"
        raise Unauthorized(f"the file with the secret cannot be read: {reason}", reason="secret") from None
    parts = _split(settings)
    return _basic(unquote(parts.username), unquote(parts.password or "")) if parts.username else ""


def tls_context(settings: Connection) -> ssl.SSLContext | None:
    """What certificates are accepted and shown; None for plain http."""
    if _split(settings).scheme == "http":
        return None
    context = ssl.create_default_context(cafile=_path(settings.tls, "ca_file"))
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    certificate = _path(settings.tls, "cert_file")
    if certificate is not None:
        context.load_cert_chain(certificate, _path(settings.tls, "key_file"), password=_never)
    return context


def _never() -> str:
    """Asked for only by a key that is encrypted; without this, TLS would ask at the terminal."""
    raise OSError(0, "the key of the client's certificate is encrypted")


def _split(settings: Connection) -> SplitResult:
    try:
        parts = urlsplit(_secret(settings.url).strip())
        usable = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError:
        usable = False
    if not usable:
        raise Unreachable("the configured address is not an http or https URL", reason="connection")
    return parts


def _path(tls: Any, name: str) -> str | None:
    found = getattr(tls, name, None)
    return None if found is None else str(found)


def _basic(user: str, password: str) -> str:
    return f"Basic {base64.b64encode(f'{user}:{password}'.encode()).decode()}"


def _password(basic: Any) -> str:
    file = getattr(basic, "password_file", None)
    return _secret(basic.password) if file is None else str(file.read_text(encoding="utf-8")).rstrip("\n")


def _secret(value: Any) -> str:
    return str(value.get_secret_value() if hasattr(value, "get_secret_value") else value)

"""What listens and how it is protected: the section `web`, and exporter-toolkit's web configuration file.

The file is the one that Prometheus and its exporters take (`--web.config.file`): `tls_server_config`,
`basic_auth_users`, `http_server_config` and `rate_limit`. What Python's TLS cannot do is refused by name.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    SecretStr,
    ValidationError,
    field_validator,
    model_validator,
)

from slo_budget_tracker.addresses import parse_listen
from slo_budget_tracker.configfile import plain, read_config
from slo_budget_tracker.errors import SettingsError, UsageError
from slo_budget_tracker.sections import Section, faults_of, seconds

HIGHEST_COST = 14  # of a bcrypt hash: at 14 a login takes about a second, each step more doubles it
# cost, salt (whose last character has two bits: bcrypt takes no other) and hash
_HASH = re.compile(r"\$2[aby]\$([0-3][0-9])\$[./A-Za-z0-9]{21}[.Oeu][./A-Za-z0-9]{31}", re.ASCII)
_LOWEST_COST = 4
# Go's names of the suites up to TLS 1.2 that it counts as secure, and OpenSSL's
CIPHERS = {
    f"TLS_ECDHE_{key}_WITH_{name}": f"ECDHE-{key}-{openssl}"
    for key in ("ECDSA", "RSA")
    for name, openssl in (
        ("AES_128_GCM_SHA256", "AES128-GCM-SHA256"),
        ("AES_256_GCM_SHA384", "AES256-GCM-SHA384"),
        ("CHACHA20_POLY1305_SHA256", "CHACHA20-POLY1305"),
        ("AES_128_CBC_SHA", "AES128-SHA"),
        ("AES_256_CBC_SHA", "AES256-SHA"),
    )
}
LATEST_CIPHERS = ("TLS_AES_128_GCM_SHA256", "TLS_AES_256_GCM_SHA384", "TLS_CHACHA20_POLY1305_SHA256")
CURVES = {"CurveP256": "prime256v1", "CurveP384": "secp384r1", "CurveP521": "secp521r1", "X25519": "X25519"}
_HEADERS: dict[str, tuple[str, ...]] = {
    "Content-Security-Policy": (),
    "X-Frame-Options": ("deny", "sameorigin"),
    "X-Content-Type-Options": ("nosniff",),
    "X-XSS-Protection": (),
    "Strict-Transport-Security": (),
}
VERIFYING = {"VerifyClientCertIfGiven", "RequireAndVerifyClientCert"}


def _hash(value: SecretStr) -> SecretStr:
    found = _HASH.fullmatch(value.get_secret_value())
    if found is None or int(found[1]) < _LOWEST_COST:
        raise ValueError('a bcrypt hash such as "$2y$10$…" (made by `htpasswd -nBC 10 NAME`)')
    if int(found[1]) > HIGHEST_COST:
        raise ValueError(
            f"a bcrypt cost of at most {HIGHEST_COST}: a login at {found[1]} would take too long"
        )
    return value


def _user(name: str) -> str:
    if not name or ":" in name or not name.isprintable():
        raise ValueError("a user name without colons and control characters")
    return name


def _header(value: str) -> str:
    if not (value.isascii() and value.isprintable()):
        raise ValueError("a header of one line in ASCII")
    return value


def _some(values: Any) -> Any:
    return () if values is None else values


Users = Annotated[
    dict[Annotated[str, AfterValidator(_user)], Annotated[SecretStr, AfterValidator(_hash)]],
    BeforeValidator(lambda users: users or {}),
]
Names = Annotated[tuple[str, ...], BeforeValidator(_some)]


class TlsServer(Section):
    """Certificate and rules of a server, with the keys of `tls_server_config`."""

    cert_file: Path | None = None
    key_file: Path | None = None
    client_auth_type: Literal[
        "NoClientCert",
        "RequestClientCert",
        "VerifyClientCertIfGiven",
        "RequireAndVerifyClientCert",
    ] = "NoClientCert"
    client_ca_file: Path | None = None
    client_allowed_sans: Names = ()
    min_version: Literal["TLS12", "TLS13"] = "TLS12"
    max_version: Literal["TLS12", "TLS13"] = "TLS13"
    cipher_suites: Names = ()
    prefer_server_cipher_suites: bool = True
    curve_preferences: Names = ()
    cert: str | None = None  # PEM in place of a file
    key: SecretStr | None = None
    client_ca: str | None = None

    @field_validator("cipher_suites")
    @classmethod
    def _ciphers(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        if not set(names) <= {*CIPHERS, *LATEST_CIPHERS}:
            raise ValueError(f"some of {', '.join([*LATEST_CIPHERS, *CIPHERS])}")
        return names

    @field_validator("curve_preferences")
    @classmethod
    def _curves(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        if len(names) > 1 or not set(names) <= set(CURVES):
            raise ValueError(f"none or one of {', '.join(CURVES)}: Python's TLS takes no list")
        return names

    @model_validator(mode="after")
    def _whole(self) -> Self:
        for one, other in (("cert", "cert_file"), ("key", "key_file"), ("client_ca", "client_ca_file")):
            if getattr(self, one) is not None and getattr(self, other) is not None:
                raise ValueError(f"one of `{one}` and `{other}`")
        if self.cert is None and self.cert_file is None:
            raise ValueError("`cert_file`, the server's certificate")
        if self.key is None and self.key_file is None:
            raise ValueError("`key_file`, the certificate's key")
        if self.min_version > self.max_version:
            raise ValueError("a `min_version` that is not above `max_version`")
        if self.max_version == "TLS12" and self.cipher_suites and not set(self.cipher_suites) & set(CIPHERS):
            raise ValueError("a suite of TLS 1.2 beside `max_version: TLS12`")
        has_ca = self.client_ca is not None or self.client_ca_file is not None
        if has_ca and self.client_auth_type == "NoClientCert":
            raise ValueError("`client_auth_type: RequireAndVerifyClientCert` beside `client_ca_file`")
        if self.client_auth_type in VERIFYING and not has_ca:
            raise ValueError(f"`client_ca_file` beside `client_auth_type: {self.client_auth_type}`")
        if self.client_allowed_sans and self.client_auth_type != "RequireAndVerifyClientCert":
            raise ValueError("`client_auth_type: RequireAndVerifyClientCert` beside `client_allowed_sans`")
        return self

    def resolved(self, base: Path) -> TlsServer:
        """The same with absolute paths; relative ones start at the folder."""
        named = {name: getattr(self, name) for name in ("cert_file", "key_file", "client_ca_file")}
        return self.model_copy(
            update={name: base / path.expanduser() for name, path in named.items() if path is not None}
        )


class HttpServer(Section):
    """`http_server_config`: further headers of each answer; HTTP/1.1 is spoken whatever `http2` says."""

    http2: bool = True
    headers: dict[str, Annotated[str, AfterValidator(_header)]] = Field(default_factory=dict)

    @field_validator("headers")
    @classmethod
    def _known(cls, headers: dict[str, str]) -> dict[str, str]:
        for name, value in headers.items():
            if name not in _HEADERS:
                raise ValueError(f"some of {', '.join(_HEADERS)}")
            if value and _HEADERS[name] and value not in _HEADERS[name]:
                raise ValueError(f"{' or '.join(_HEADERS[name])} for {name}")
        return headers


class RateLimit(Section):
    """`rate_limit`: one request per interval (seconds; 0: no limit), and a burst of some."""

    interval: Annotated[float, BeforeValidator(seconds), Field(ge=0, le=3_600)] = 0.0
    burst: int = Field(default=1, ge=1, le=1_000_000)


class WebPolicy(Section):
    """How the server is protected: what exporter-toolkit's file says, or the section `web`."""

    tls_server_config: TlsServer | None = None
    http_server_config: HttpServer = HttpServer()
    rate_limit: RateLimit = RateLimit()
    basic_auth_users: Users = Field(default_factory=dict)


class Web(Section):
    """Where metrics, API and pages are served, and to whom."""

    listen: str = "127.0.0.1:9724"
    reload: bool = False  # whether POST /-/reload reloads, for who has the token
    reload_token_file: Path | None = None
    annotations: bool = False  # whether POST /api/v1/annotations sets marks, for who has the token
    annotations_token_file: Path | None = None
    tls: TlsServer | None = None
    basic_auth_users: Users = Field(default_factory=dict)
    config_file: Path | None = None  # exporter-toolkit's

    @model_validator(mode="after")
    def _guarded(self) -> Self:
        if self.reload and self.reload_token_file is None:
            raise ValueError("`reload_token_file` beside `reload: true`")
        if self.annotations and self.annotations_token_file is None:
            raise ValueError("`annotations_token_file` beside `annotations: true`")
        if self.config_file is not None and (self.tls is not None or self.basic_auth_users):
            raise ValueError("either `config_file`, or `tls` and `basic_auth_users`")
        return self

    @field_validator("listen")
    @classmethod
    def _address(cls, listen: str) -> str:
        try:
            parse_listen(listen)
        except UsageError as error:
            raise ValueError('an address such as "127.0.0.1:9724"') from error
        return listen

    def resolved(self, base: Path) -> Web:
        """The same with absolute paths; relative ones start at the folder."""
        named = {
            name: getattr(self, name)
            for name in ("reload_token_file", "annotations_token_file", "config_file")
        }
        found: dict[str, Any] = {
            name: base / path.expanduser() for name, path in named.items() if path is not None
        }
        return self.model_copy(update=found | {"tls": self.tls and self.tls.resolved(base)})

    def policy(self) -> WebPolicy:
        """How the server is to be protected, by the web configuration file where one is named.

        Raises:
            SettingsError: all faults of that file, each with its place.
        """
        if self.config_file is not None:
            return read_policy(self.config_file)
        return WebPolicy(tls_server_config=self.tls, basic_auth_users=self.basic_auth_users)


def read_policy(path: Path) -> WebPolicy:
    """What a web configuration file says; relative paths start at its folder.

    Raises:
        SettingsError: all its faults, each with its place; no value is repeated.
    """
    root = read_config(path)
    data = {key: value for key, value in plain(root).items() if value is not None}
    try:
        policy = WebPolicy.model_validate(data)
    except ValidationError as error:
        raise SettingsError(sorted(set(faults_of(error, root, WebPolicy)))) from None
    tls = policy.tls_server_config
    return policy.model_copy(update={"tls_server_config": tls and tls.resolved(path.parent)})

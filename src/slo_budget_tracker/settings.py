"""The daemon's configuration: one YAML file, each key also by environment; all faults at once.

`SLO_BUDGET_TRACKER_PROMETHEUS__URL` is `prometheus.url`; `PROMETHEUS_URL`, `AUDIT_STREAM_URL` and
`AUDIT_STREAM_TIMEOUT_S` are understood too. Secrets come from files or the environment and are never printed.
"""

from __future__ import annotations

import re
from collections.abc import Mapping as MappingABC
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, Self, TypeVar

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    SecretStr,
    ValidationError,
    field_validator,
    model_validator,
)

from slo_budget_tracker.configfile import overlay, plain, read_config, strange
from slo_budget_tracker.databases import NAMESPACE, TIMEOUT, Database, checked_namespace
from slo_budget_tracker.documents import Mapping
from slo_budget_tracker.errors import LedgerError, SettingsError
from slo_budget_tracker.sections import Bytes, Seconds, Section, WholeSeconds, faults_of, seconds
from slo_budget_tracker.webconfig import Web


def _header_name(name: str) -> str:
    if re.fullmatch(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+", name) is None:
        raise ValueError("a header of one line, such as X-Scope-OrgID: tenant")
    return name


def _header_value(value: SecretStr) -> SecretStr:
    if not value.get_secret_value().isprintable():
        raise ValueError("a header of one line, such as X-Scope-OrgID: tenant")
    return value


HeaderName = Annotated[str, AfterValidator(_header_name)]
HeaderValue = Annotated[SecretStr, AfterValidator(_header_value)]


class BasicAuth(Section):
    """User and password of HTTP basic auth; the password as a file or by environment."""

    username: str
    password: SecretStr = SecretStr("")
    password_file: Path | None = None


class TlsSettings(Section):
    """What certificates are trusted and shown."""

    ca_file: Path | None = None
    cert_file: Path | None = None
    key_file: Path | None = None
    server_name: str | None = None


class PrometheusSettings(Section):
    """One datasource: where it is, how it is asked, and its limits (timeout of one request in seconds)."""

    url: str = "http://localhost:9090"
    timeout: Seconds = 10.0
    headers: dict[HeaderName, HeaderValue] = Field(default_factory=dict)
    basic_auth: BasicAuth | None = None
    bearer_token_file: Path | None = None
    tls: TlsSettings | None = None
    max_response_bytes: Bytes = 64 << 20
    concurrency: int = Field(default=4, ge=1, le=64)
    replica_label: str | None = None
    scrape_interval: Seconds | None = None  # windows too short for it are refused
    delay: Annotated[WholeSeconds, Field(ge=0, le=3_600)] | None = (
        None  # where it is more than the evaluation's
    )

    @field_validator("url")
    @classmethod
    def _http(cls, url: str) -> str:
        return _http_url(url)

    @field_validator("headers", mode="before")
    @classmethod
    def _tenants(cls, headers: Any) -> Any:
        """A list of tenants in one header, as Mimir and Loki read it: joined by `|`."""
        if not isinstance(headers, MappingABC):
            return headers
        return {name: _joined(value) if isinstance(value, list) else value for name, value in headers.items()}

    def __repr_args__(self) -> Any:
        """The address may carry a password."""
        yield from ((name, value) for name, value in super().__repr_args__() if name != "url")


def _joined(values: list[Any]) -> str:
    """Tenant ids as one value; Mimir sorts and dedups them itself."""
    if not values or not all(isinstance(one, str) and one and "|" not in one for one in values):
        raise ValueError("a text, or a list of tenants such as [team-a, team-b]")
    return "|".join(values)


class Evaluation(Section):
    """The tick grid, seconds: a tick at `k * interval` evaluates the data instant `tick - delay`.

    The requests of a tick start within `spread`, a twelfth of the interval where it is not given.
    """

    interval: Annotated[WholeSeconds, Field(ge=1, le=3_600)] = 60
    delay: Annotated[WholeSeconds, Field(ge=0, le=3_600)] = 20
    spread: Annotated[float, BeforeValidator(seconds), Field(ge=0, le=1_800)] | None = None

    @model_validator(mode="after")
    def _within(self) -> Self:
        if self.spread is not None and self.spread > self.interval / 2:
            raise ValueError("a `spread` of at most half the `interval`")
        return self

    @property
    def spread_seconds(self) -> float:
        """Seconds within which the requests of a tick start."""
        return self.interval / 12 if self.spread is None else self.spread


class LedgerSettings(Section):
    """Where counts, states and events are kept, and how often a copy is made that damage is mended from.

    A password of PostgreSQL comes from `password_file`, the environment, or where libpq looks for one.
    """

    url: str = "sqlite:///slo-budget-tracker.db"
    namespace: str = NAMESPACE  # the schema of PostgreSQL with the ledger's tables
    password_file: Path | None = None
    timeout: Seconds = TIMEOUT  # of one statement of PostgreSQL
    lease: Seconds = 15.0  # after which another daemon leads, and at most an interval
    backup_every: Annotated[WholeSeconds, Field(ge=0)] = 86_400  # seconds; 0: never
    force: bool = False  # also on a file system whose locks cannot be relied on

    @field_validator("url")
    @classmethod
    def _known(cls, url: str) -> str:
        try:
            Database.of(url)
        except LedgerError as error:
            raise ValueError('"sqlite:///path/to/file.db" or "postgresql+psycopg://host/database"') from error
        return url

    @field_validator("namespace")
    @classmethod
    def _schema(cls, namespace: str) -> str:
        try:
            return checked_namespace(namespace)
        except LedgerError as error:
            raise ValueError("small letters, digits and _, not public and not pg_…") from error

    @property
    def database(self) -> Database:
        """What `url` names, and how it is reached."""
        found = Database.of(self.url)
        if not found.in_postgresql:
            return found
        given = "namespace" in self.model_fields_set
        return replace(
            found,
            namespace=self.namespace if given else found.namespace,
            password_file=self.password_file,
            timeout=self.timeout,
        )

    def __repr_args__(self) -> Any:
        """The address may carry a password."""
        yield from ((name, value) for name, value in super().__repr_args__() if name != "url")


class Addressed(Section):
    """A server that may have no address."""

    url: str | None = None

    @field_validator("url")
    @classmethod
    def _http(cls, url: str | None) -> str | None:
        return None if url is None else _http_url(url)

    def __repr_args__(self) -> Any:
        """The address may carry a password."""
        yield from ((name, value) for name, value in super().__repr_args__() if name != "url")


class Audit(Addressed):
    """The audit stream; without a URL events stay in the ledger and in the log."""

    timeout: Seconds = 2.5
    resend: Annotated[WholeSeconds, Field(ge=60)] = 35 * 86_400
    backlog: Literal["all", "none"] = "all"  # of events that arose while there was no URL


class DaemonSettings(Addressed):
    """How commands such as `gate` reach the running daemon (timeout of one request in seconds)."""

    timeout: Seconds = 10.0
    basic_auth: BasicAuth | None = None
    bearer_token_file: Path | None = None
    tls: TlsSettings | None = None
    headers: ClassVar[dict[str, SecretStr]] = {}
    max_response_bytes: ClassVar[int] = 16 << 20
    concurrency: ClassVar[int] = 1


class Log(Section):
    """How the daemon writes its log on standard error."""

    format: Literal["text", "json"] = "text"
    level: Literal["debug", "info", "warning", "error"] = "info"


class Settings(Section):
    """Everything that is configured; paths are absolute, `datasources` always has what SLOs may name."""

    prometheus: PrometheusSettings | None = None
    datasources: dict[str, PrometheusSettings] = Field(default_factory=dict)
    slo_files: tuple[Path, ...] = ()
    corrections_files: tuple[Path, ...] = ()
    evaluation: Evaluation = Evaluation()
    ledger: LedgerSettings = LedgerSettings()
    audit: Audit = Audit()
    web: Web = Web()
    daemon: DaemonSettings = DaemonSettings()
    log: Log = Log()

    @model_validator(mode="before")
    @classmethod
    def _one_default(cls, data: Any) -> Any:
        if not isinstance(data, MappingABC):
            return data
        given = data.get("datasources") or {}
        if not isinstance(given, MappingABC):
            return data  # a fault of its own place
        named = dict(given)
        single = data.get("prometheus")
        if single is not None and "default" in named:
            raise ValueError("both `prometheus` and a datasource named `default`: name it once")
        if single is not None or not named:
            named["default"] = single if single is not None else {}
        return {**data, "prometheus": None, "datasources": named}

    @property
    def longest_timeout(self) -> float:
        """Seconds of the most patient datasource."""
        return max(one.timeout for one in self.datasources.values())

    @property
    def concurrency(self) -> int:
        """Requests at once, over all datasources."""
        return sum(one.concurrency for one in self.datasources.values())

    @property
    def lanes(self) -> dict[str, int]:
        """Requests at once, by datasource."""
        return {name: one.concurrency for name, one in self.datasources.items()}

    @property
    def replica_labels(self) -> dict[str, str | None]:
        """The label that tells replicas apart, by datasource."""
        return {name: one.replica_label for name, one in self.datasources.items()}

    @property
    def delays(self) -> dict[str, int]:
        """How late data come, seconds, of datasources that say so."""
        return {name: one.delay for name, one in self.datasources.items() if one.delay is not None}

    @property
    def scrapes(self) -> dict[str, float]:
        """Seconds between two scrapes, of datasources that say so."""
        found = {name: one.scrape_interval for name, one in self.datasources.items()}
        return {name: seconds for name, seconds in found.items() if seconds is not None}


_Server = TypeVar("_Server", PrometheusSettings, DaemonSettings)


def load_settings(path: Path | None, env: MappingABC[str, str]) -> Settings:
    """The configuration of a file (or none) and the environment, which wins; relative paths are the file's.

    Raises:
        SettingsError: all faults, each with its place.
    """
    root: Mapping = read_config(path) if path is not None else Mapping("environment", 1, 1, "", {}, {})
    data = plain(root)
    sources = overlay(data, env)
    base = path.parent.resolve() if path is not None else Path.cwd()
    faults = list(strange(root))
    alias: dict[tuple[str, ...], tuple[str, ...]] = {}
    if "datasources" not in root.values:
        alias[("datasources", "default")] = ("prometheus",)
    try:
        settings = Settings.model_validate(data)
    except ValidationError as error:
        told = {fault.path for fault in faults}
        found = faults_of(error, root, Settings, sources, alias)
        faults += [fault for fault in found if fault.path not in told]
    if faults:
        raise SettingsError(sorted(set(faults)))
    return _resolved(settings, base)


def _resolved(settings: Settings, base: Path) -> Settings:
    """The same with every path absolute: relative ones start at the configuration file."""

    def absolute(path: Path | None) -> Path | None:
        return None if path is None else base / path.expanduser()

    def server(one: _Server) -> _Server:
        tls = one.tls and one.tls.model_copy(
            update={name: absolute(getattr(one.tls, name)) for name in ("ca_file", "cert_file", "key_file")}
        )
        basic = one.basic_auth and one.basic_auth.model_copy(
            update={"password_file": absolute(one.basic_auth.password_file)}
        )
        files = {"bearer_token_file": absolute(one.bearer_token_file), "tls": tls, "basic_auth": basic}
        return one.model_copy(update=files)

    ledger = settings.ledger.url
    ledger_files = {"password_file": absolute(settings.ledger.password_file)}
    if ledger.startswith("sqlite:///") and not ledger.startswith(("sqlite:////", "sqlite:///:memory:")):
        ledger = f"sqlite:///{base / ledger.removeprefix('sqlite:///')}"
    return settings.model_copy(
        update={
            "datasources": {name: server(one) for name, one in settings.datasources.items()},
            "web": settings.web.resolved(base),
            "daemon": server(settings.daemon),
            "slo_files": tuple(base / path.expanduser() for path in settings.slo_files),
            "corrections_files": tuple(base / path.expanduser() for path in settings.corrections_files),
            "ledger": settings.ledger.model_copy(update={"url": ledger, **ledger_files}),
        }
    )


def _http_url(url: str) -> str:
    if not re.match(r"https?://[^/\s]+", url):
        raise ValueError('an address such as "http://localhost:9090"')
    return url


__all__ = ["PrometheusSettings", "Settings", "load_settings"]

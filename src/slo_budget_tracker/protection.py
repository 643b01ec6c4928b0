"""How what listens is protected at the moment: kept as the files say, and never less than it was.

Certificates and the web configuration file are looked at once a second. What has changed counts once two
looks found the same. What cannot be used (H12, H13), or would open what is closed, is counted, and what ran
goes on.
"""

from __future__ import annotations

import hashlib
import stat
import threading
import time
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import structlog

from slo_budget_tracker.addresses import is_loopback, parse_listen
from slo_budget_tracker.certificates import Identity, files_of, identity
from slo_budget_tracker.errors import TrackerError
from slo_budget_tracker.filesets import read_text
from slo_budget_tracker.guesses import Bucket

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from pathlib import Path

    from slo_budget_tracker.webconfig import Web

LOOK = 1.0  # seconds between two looks at the files
DAY = 86_400.0
SOON = 14 * DAY  # seconds before it expires that a certificate is worth a warning

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Protection:
    """What is asked of whoever connects; nothing of it is ever printed."""

    identity: Identity | None = None
    users: Mapping[str, bytes] = field(default_factory=dict, repr=False)
    headers: tuple[tuple[bytes, bytes], ...] = ()
    every: float = 0.0  # seconds between requests; 0: no limit
    burst: int = 1
    files: tuple[Path, ...] = ()
    read: tuple[str, ...] = ()  # the fingerprint of the files, taken before they were read

    @property
    def told(self) -> str:
        """What is asked, in words."""
        words = ["without TLS"]
        if self.identity is not None:
            words = [f"with TLS until {datetime.fromtimestamp(self.identity.expires, tz=UTC):%Y-%m-%d}"]
            if self.identity.requires_client:
                words.append("for clients with a certificate")
        words.append(f"for {len(self.users)} users" if self.users else "without passwords")
        return ", ".join(words)

    def looser(self, other: Protection) -> str:
        """What another one would open that this one closes; nothing when it is as closed."""
        if self.users and not other.users:
            return "passwords would no longer be asked for"
        if self.identity is not None and other.identity is None:
            return "TLS would be switched off"
        if self.identity is not None and self.identity.requires_client:
            assert other.identity is not None
            if not other.identity.requires_client:
                return "client certificates would no longer be required"
            if self.identity.allowed_names and not other.identity.allowed_names:
                return "any client certificate would be let in"
        return ""


@dataclass(frozen=True, slots=True)
class WebFigures:
    """What protection says about itself; `ok` and `failures` are None where there is nothing to load."""

    ok: bool | None = None
    failures: int | None = None
    expires: float | None = None
    refused: Mapping[str, int] = field(default_factory=dict)  # by reason


def protect(web: Web) -> Protection:
    """What the configuration and the files it names ask for.

    Raises:
        SettingsError: a sentence for each thing that cannot be used.
    """
    named = () if web.config_file is None else (web.config_file,)
    read = fingerprint(named)
    policy = web.policy()
    tls = policy.tls_server_config
    shown = () if tls is None else tuple(files_of(tls))
    read += fingerprint(shown)
    return Protection(
        identity=None if tls is None else identity(tls),
        users={name: value.get_secret_value().encode() for name, value in policy.basic_auth_users.items()},
        headers=tuple(
            (name.lower().encode(), value.encode())
            for name, value in policy.http_server_config.headers.items()
            if value
        ),
        every=policy.rate_limit.interval,
        burst=policy.rate_limit.burst,
        files=(*named, *shown),
        read=read,
    )


class Protector:
    """Holds the protection in force; `look` at the files is the business of a thread of its own."""

    def __init__(self, web: Web, protection: Protection, *, clock: Callable[[], float] = time.time) -> None:
        self.web = web
        self.current = protection
        self.refused: Counter[str] = Counter()
        self._clock = clock
        self._failures = 0
        self._ok = True
        self._loaded = self._seen = protection.read
        self._warned: float | None = None
        self._guard = threading.Lock()
        self._rate = Bucket(float(protection.burst), 0.0)

    @classmethod
    def of(cls, web: Web, *, clock: Callable[[], float] = time.time) -> Protector:
        """For a configuration as it is now.

        Raises:
            SettingsError: it cannot be used.
        """
        return cls(web, protect(web), clock=clock)

    def start(self, stop: threading.Event) -> None:
        """Look at the files until told to stop."""
        threading.Thread(target=self._run, args=(stop,), name="web configuration", daemon=True).start()

    def take(self, now: float) -> bool:
        """Whether one more request is within the rate that is configured."""
        current = self.current
        return current.every <= 0 or self._rate.take(now, every=current.every, most=current.burst)

    def adopt(self, web: Web, protection: Protection) -> None:
        """Another configuration from now on, as a reload checked it."""
        with self._guard:
            self.web = web
            self._swap(protection)

    def warnings(self) -> Iterator[str]:
        """What whoever starts the server should know."""
        host, _ = parse_listen(self.web.listen)
        current = self.current
        if not is_loopback(host) and current.identity is None and not current.users:
            yield f"whoever reaches {self.web.listen} reads everything: neither TLS nor passwords are set"
        elif current.users and current.identity is None and not is_loopback(host):
            yield "passwords travel in the clear: TLS is not set"
        for path in current.files:
            with suppress(OSError):
                if path.stat().st_mode & stat.S_IROTH and "PRIVATE KEY-----" in str(read_text(path)):
                    yield f"every user of this machine can read the key {path}: chmod 600"

    def figures(self) -> WebFigures:
        """What is shown of it."""
        current = self.current
        expires = None if current.identity is None else current.identity.expires
        refused = dict(self.refused)
        if not current.files:
            return WebFigures(expires=expires, refused=refused)
        return WebFigures(ok=self._ok, failures=self._failures, expires=expires, refused=refused)

    def look(self) -> None:
        """Take over what the files say, once two looks found the same."""
        with self._guard:
            found = fingerprint(self.current.files)
            settled, self._seen = found == self._seen, found
            if found == self._loaded or not settled:
                return
            self._loaded = found
            try:
                protection = protect(self.web)
            except TrackerError as error:
                self._fail(str(error))
                return
            except Exception as error:  # noqa: BLE001 - whatever it is, the next look is as good as this one
                self._fail(f"internal error, please report it: {type(error).__name__}: {error}")
                return
            opened = self.current.looser(protection)
            if opened:
                self._fail(f"{opened}, which needs a restart")
                return
            self._swap(protection)
            log.info("web configuration loaded", files=len(protection.files))

    def remind(self) -> None:
        """Warn once a day of a certificate that expires soon or has expired."""
        current, now = self.current.identity, self._clock()
        if current is None or current.expires - now > SOON:
            return
        if self._warned is None or now - self._warned >= DAY:
            self._warned = now
            log.warning("the server's certificate expires", in_days=round((current.expires - now) / DAY, 1))

    def _swap(self, protection: Protection) -> None:
        self.current = protection
        self._ok = True
        self._loaded = self._seen = protection.read
        self._rate = Bucket(float(protection.burst), 0.0)
        self._warned = None

    def _fail(self, why: str) -> None:
        self._failures += 1
        self._ok = False
        for line in why.splitlines():
            log.error("the web configuration is refused, what ran goes on", fault=line)

    def _run(self, stop: threading.Event) -> None:
        while not stop.wait(LOOK):
            self.look()
            self.remind()


def fingerprint(files: Iterable[Path]) -> tuple[str, ...]:
    """Changes with what is in any of the files, or with why it cannot be read."""
    texts = (f"{path}\0{read_text(path)}" for path in files)
    return tuple(hashlib.sha256(text.encode("utf-8", "replace")).hexdigest() for text in texts)

"""Reloading: files that changed become the next generation, as a whole or not at all.

Whoever asks (a changed file, SIGHUP, POST /-/reload) asks the same thread: what is asked while one reload
runs is one further reload. Files count once two readings of them are equal.
"""

from __future__ import annotations

import threading
import time
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import structlog

from slo_budget_tracker.errors import FaultyFilesError, LedgerError, TrackerError, UsageError
from slo_budget_tracker.protection import protect
from slo_budget_tracker.resources import DefinitionChange, Reloaded

if TYPE_CHECKING:
    from slo_budget_tracker.changes import Change
    from slo_budget_tracker.configuration import Configuration, Files
    from slo_budget_tracker.cycle import Cycle
    from slo_budget_tracker.notifying import Notifier
    from slo_budget_tracker.onlookers import Onlooker
    from slo_budget_tracker.protection import Protection, Protector
    from slo_budget_tracker.settings import Settings

SETTLE = 1.0  # seconds between two readings that must be equal
ASKED = 0.2  # the same where somebody asked for the reload, who has written what there is to be read
MOST_READINGS = 20  # of files that keep changing
POLL = 10.0  # seconds between looks at the files, whether or not they are watched
MOST_TOLD = 20  # faults in the log of one reload

log = structlog.get_logger()


class Unsettled(TrackerError):  # noqa: N818 - the word says what is the case
    """The files kept changing while they were read."""


@dataclass(slots=True)
class Reloader:
    """Reloads in a thread of its own, one reload at a time."""

    cycle: Cycle | Onlooker
    files: Files
    notifier: Notifier
    protector: Protector | None = None
    settle: float = SETTLE
    poll: float = POLL
    ends: threading.Event | None = None  # the daemon's, where it outlives the cycle
    _wanted: threading.Event = field(default_factory=threading.Event)
    _guard: threading.Lock = field(default_factory=threading.Lock)
    _waiting: list[Future[Reloaded]] = field(default_factory=list)
    _digest: str = ""  # of the files that were tried last
    _again: bool = False  # the last try failed for a reason that may go away by itself
    _warned: frozenset[str] = frozenset()  # of the last reload that was taken over
    _thread: threading.Thread | None = None

    @property
    def stop(self) -> threading.Event:
        """Set when it is to end."""
        return self.ends or self.cycle.stop

    def start(self, *, digest: str) -> None:
        """Begin; `digest` is that of the files that run."""
        self._digest = digest
        self._thread = threading.Thread(target=self.run, name="reload", daemon=True)
        self._thread.start()

    def request(self) -> Future[Reloaded]:
        """Ask for a reload; the future has what came of it."""
        future: Future[Reloaded] = Future()
        with self._guard:
            self._waiting.append(future)
        self._wanted.set()
        return future

    def hint(self) -> None:
        """Some file may have changed."""
        self._wanted.set()

    def run(self) -> None:
        """Reload whenever it is asked for or the files are others."""
        self.files.remember(self.cycle.settings)
        while not self.stop.is_set():
            self._wanted.wait(self.poll)
            self._wanted.clear()
            with self._guard:
                waiting, self._waiting = self._waiting, []
            if self.stop.is_set():
                break
            if waiting or self._again or self._changed():
                reloaded = self._reload(asked=bool(waiting))
                for future in waiting:
                    future.set_result(reloaded)
                self.files.remember(self.cycle.settings)
        with self._guard:
            for future in self._waiting:
                future.cancel()

    def end(self) -> None:
        """Wake the thread so that it sees the stop."""
        self._wanted.set()

    def _changed(self) -> bool:
        try:
            return self.files.digest(self.cycle.settings) != self._digest
        except OSError:
            return True  # a reload tells what cannot be read, and is tried again (C21)

    def _reload(self, *, asked: bool) -> Reloaded:
        self.notifier.reloading()
        self._again = False
        try:
            configuration = self._settled(min(self.settle, ASKED) if asked else self.settle)
            protection = self._protection(configuration.settings)
            changes = self.cycle.adopt(configuration.settings, configuration.catalogue.slos)
            if self.protector is not None and protection is not None:
                self.protector.adopt(configuration.settings.web, protection)
        except LedgerError as error:
            self._again = True
            reloaded = Reloaded(faults=[str(error)], status=503)
        except Unsettled as error:
            self._again = True
            reloaded = Reloaded(faults=[str(error)], status=400)
        except FaultyFilesError as error:
            reloaded = Reloaded(faults=list(map(str, error.faults)), status=400)
        except TrackerError as error:
            reloaded = Reloaded(faults=[str(error)], status=400)
        except OSError as error:
            self._again = True
            fault = f"{error.filename or 'a file'}: cannot be read ({error.strerror or error})"
            reloaded = Reloaded(faults=[fault], status=503)
        except Exception as error:  # noqa: BLE001 - what runs goes on whatever a reload meets
            self._again = True
            fault = f"internal error, please report it: {type(error).__name__}: {error}"
            reloaded = Reloaded(faults=[fault], status=500)
        else:
            reloaded = _told(configuration, changes)
        self._note(reloaded)
        self.notifier.ready(f"{len(self.cycle.slos)} SLOs")
        return reloaded

    def _protection(self, settings: Settings) -> Protection | None:
        """How the web server is to be protected from now on; None where that stays as it is.

        Raises:
            TrackerError: it cannot be, or it would open what is closed (H13).
        """
        if self.protector is None or settings.web == self.protector.web:
            return None
        protection = protect(settings.web)
        opened = self.protector.current.looser(protection)
        if opened:
            raise UsageError(f"web: {opened}, which needs a restart")
        return protection

    def _settled(self, settle: float) -> Configuration:
        """The configuration of files that were the same before and after they were read (C2).

        Files that were written a while ago are settled already.
        """
        running = self.cycle.settings
        for _ in range(MOST_READINGS):
            before = self.files.digest(running)
            quiet = time.time() - self.files.changed_at(running)
            if self.stop.wait(settle - min(max(quiet, 0.0), settle)):
                break
            if self.files.digest(running) == before:
                self._digest = before
                try:
                    configuration = self.files.read(running)
                except TrackerError:
                    if self.files.digest(running) == before:
                        raise
                    continue
                if self.files.digest(running) == before:
                    return configuration
        raise Unsettled("the files kept changing while they were read; they are tried again")

    def _note(self, reloaded: Reloaded) -> None:
        """Into the log, the metrics and the API."""
        if reloaded.faults:
            for fault in reloaded.faults[:MOST_TOLD]:
                log.error("reload refused, what ran goes on", fault=fault)
        else:
            log.info("reloaded", slos=reloaded.slos, changes=len(reloaded.changes))
            for change in reloaded.changes:
                log.info("definition", slo=change.slo, what=change.what)
            for key in reloaded.restart:
                log.warning("a changed key needs a restart", key=key)
            for warning in [one for one in reloaded.warnings if one not in self._warned][:MOST_TOLD]:
                log.warning("files", warning=warning)
            self._warned = frozenset(reloaded.warnings)
        self.cycle.publisher.reloaded(reloaded)


def _told(configuration: Configuration, changes: tuple[Change, ...]) -> Reloaded:
    warnings = list(map(str, configuration.catalogue.warnings))
    return Reloaded(
        slos=len(configuration.catalogue.slos),
        changes=[DefinitionChange.model_validate(change.to_json()) for change in changes],
        restart=list(configuration.restart),
        warnings=warnings,
    )

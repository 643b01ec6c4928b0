"""Configuration: settings and catalogue read together, at the start and again at each reload."""

from __future__ import annotations

import hashlib
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from slo_budget_tracker.correctionfiles import absent, corrected, load_corrections
from slo_budget_tracker.errors import Fault, SpecError, TrackerError, UsageError
from slo_budget_tracker.filecache import FileCache
from slo_budget_tracker.filesets import files_of, nothing_there, read_sources, read_text
from slo_budget_tracker.settings import Settings, load_settings
from slo_budget_tracker.specfiles import Catalogue, load
from slo_budget_tracker.understood import Kept

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

# Sections that are read at the start only; of `web`, who may come in is taken over by a reload.
RESTART = ("evaluation", "ledger", "audit", "web", "log")
TAKEN_OVER = {"web": ("tls", "basic_auth_users", "config_file")}


@dataclass(frozen=True, slots=True)
class Configuration:
    """What the files and the environment say; `restart` names changed keys that a reload cannot take over."""

    settings: Settings
    catalogue: Catalogue
    restart: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Files:
    """Where a configuration comes from: the file (or none), the environment, and what its paths lead to.

    What files are `cached` as beside the ledger is for the daemon: it starts with that.
    """

    config: Path | None
    env: Mapping[str, str]
    allow_empty: bool = False
    cached: bool = False
    kept: Kept = field(default_factory=Kept)
    _named: dict[object, tuple[Path, ...]] = field(
        default_factory=dict
    )  # by what a configuration says, and where

    def read(self, running: Settings | None = None) -> Configuration:
        """Settings and catalogue, complete and without a fault; sections that need a restart as they run.

        Raises:
            TrackerError: with all faults of all files.
        """
        settings = load_settings(self.config, self.env)
        restart: tuple[str, ...] = ()
        if running is not None:
            restart = tuple(_different(running, settings))
            settings = settings.model_copy(update={name: _kept(running, settings, name) for name in RESTART})
        elif (cache := self._cache(settings)) is not None:
            self.kept.recall(cache)
        catalogue = catalogue_of(settings, allow_empty=self.allow_empty, kept=self.kept)
        slos = corrected(catalogue.slos, load_corrections(settings.corrections_files))
        warnings = (*catalogue.warnings, *absent(settings.corrections_files))
        return Configuration(settings, replace(catalogue, slos=slos, warnings=warnings), restart)

    def remember(self, running: Settings) -> None:
        """Keep what the files were understood as for the next start, where there is a place for it."""
        cache = self._cache(running)
        if cache is not None:
            self.kept.remember(cache)

    def _cache(self, settings: Settings) -> FileCache | None:
        ledger = settings.ledger.database.path
        return FileCache.beside(ledger) if self.cached and ledger is not None else None

    def digest(self, running: Settings) -> str:
        """Changes with the content of any file that is read, with files that come, go or cannot be read."""
        sources, faults = read_sources(self.paths(running))
        found = [f"{source.file}\0{source.text}" for source in sources]
        if self.config is not None:
            found.append(str(read_text(self.config)))
        return hashlib.sha256("\0".join([*found, *map(str, faults)]).encode("utf-8", "replace")).hexdigest()

    def changed_at(self, running: Settings) -> float:
        """When the newest of the files was written, renamed or linked, by their file system."""
        paths = [*files_of(self.paths(running)), *([self.config] if self.config is not None else [])]
        found = []
        for path in paths:
            with suppress(OSError):
                known = path.stat()
                found.append(max(known.st_mtime, known.st_ctime))
        return max(found, default=0.0)

    def paths(self, running: Settings) -> tuple[Path, ...]:
        """The SLO files and folders by the configuration as it is now, or as it runs where that is broken.

        They are asked for again and again: what a text says is remembered until there is another one.
        """
        said = None if self.config is None else (read_text(self.config), self.config.parent.resolve())
        known = self._named.get(said)
        if known is None:
            try:
                settings = load_settings(self.config, self.env)
            except TrackerError:
                return _places(running)
            known = _places(settings)
            self._named.clear()
            self._named[said] = known
        return known


def _places(settings: Settings) -> tuple[Path, ...]:
    return (*settings.slo_files, *settings.corrections_files)


def catalogue_of(settings: Settings, *, allow_empty: bool = False, kept: Kept | None = None) -> Catalogue:
    """The SLOs that the settings name.

    Raises:
        TrackerError: files with faults, no files, a datasource that is not configured.
    """
    paths = settings.slo_files
    if not paths and not allow_empty:
        raise UsageError("no SLO files are configured: name files or folders under `slo_files`")
    if allow_empty and nothing_there(paths):
        return Catalogue(())
    try:
        catalogue = load(paths, tick=settings.evaluation.interval, scrapes=settings.scrapes, kept=kept)
    except SpecError as error:
        if nothing_there(paths):
            raise SpecError([*error.faults, _all_gone(str(paths[0]))]) from error
        raise
    for slo in catalogue.slos:
        if slo.datasource not in settings.datasources:
            known = ", ".join(sorted(settings.datasources))
            raise UsageError(
                f"SLO {slo.name}: no datasource named {slo.datasource!r}, expected one of {known}"
            )
    return catalogue


def _all_gone(path: str) -> Fault:
    return Fault(path, 1, 1, "slo_files", "no SLO file at all", "at least one", "or run with --allow-empty")


def _kept(running: Settings, new: Settings, section: str) -> object:
    """A section as it runs, with the keys that a reload takes over."""
    taken = {key: getattr(getattr(new, section), key) for key in TAKEN_OVER.get(section, ())}
    return getattr(running, section).model_copy(update=taken)


def _different(running: Settings, new: Settings) -> list[str]:
    """The keys of sections that need a restart and are not as they run."""
    found = []
    for section in RESTART:
        old, now = getattr(running, section), getattr(new, section)
        fields = type(old).model_fields
        taken = TAKEN_OVER.get(section, ())
        found += [
            f"{section}.{key}"
            for key in fields
            if key not in taken and getattr(old, key) != getattr(now, key)
        ]
    return found

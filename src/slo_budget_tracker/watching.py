"""Watching: hints that files may have changed, from the kernel where it tells; who is hinted looks himself.

Hints may be missing (network file systems, a folder that was replaced): the one who is hinted also looks now
and then by himself, so that a change is seen some seconds later instead.
"""

from __future__ import annotations

import os
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING

import structlog
from watchfiles import watch

from slo_budget_tracker.filesets import SUFFIXES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from pathlib import Path

STEP = 200  # milliseconds between two looks at what the kernel told
LOOK_AGAIN = 2_000  # milliseconds after which is looked whether the folders are still the same ones
AFTER_FAILURE = 30.0  # seconds until watching is tried again

log = structlog.get_logger()


@dataclass(slots=True)
class Watcher:
    """Watches what `paths` names now; `hint` is called from its thread."""

    paths: Callable[[], Iterable[Path]]
    hint: Callable[[], None]
    stop: threading.Event
    _failed: bool = False

    def start(self) -> None:
        """Watch in threads: one for folders with all below them, one for the folders of single files."""
        for deep in (True, False):
            name = f"watch {'folders' if deep else 'files'}"
            threading.Thread(target=self.run, kwargs={"deep": deep}, name=name, daemon=True).start()

    def run(self, *, deep: bool) -> None:
        """Watch until stopped; where that is not possible, try again later."""
        while not self.stop.is_set():
            try:
                self._watch(deep=deep)
            except Exception as error:  # noqa: BLE001 - whatever a foreign library meets: files are looked at anyway
                if not self._failed:
                    log.warning(
                        "files cannot be watched, they are looked at regularly", error=str(error)[:200]
                    )
                self._failed = True
                self.stop.wait(AFTER_FAILURE)

    def _watch(self, *, deep: bool) -> None:
        """Watch the folders that there are, until they are others."""
        folders = watched(self.paths(), deep=deep)
        if not folders:
            self.stop.wait(LOOK_AGAIN / 1000)
            return
        before = _identities(folders)
        for changes in watch(
            *folders,
            watch_filter=lambda _, path: _matters(path),
            stop_event=self.stop,
            debounce=2 * STEP,
            step=STEP,
            rust_timeout=LOOK_AGAIN,
            yield_on_timeout=True,
            raise_interrupt=False,
            recursive=deep,
            ignore_permission_denied=True,
        ):
            if changes:
                self.hint()
            if _identities(watched(self.paths(), deep=deep)) != before:
                self.hint()
                return


def watched(paths: Iterable[Path], *, deep: bool) -> list[str]:
    """The folders to watch, links followed: those named, or those that single files and patterns lie in."""
    found = set()
    for path in paths:
        if path.is_dir():
            if deep:
                found.add(os.path.realpath(path))
        elif not deep:
            plain = next((parent for parent in path.parents if parent.is_dir()), None)
            if plain is not None:
                found.add(os.path.realpath(plain))
    return sorted(found)


def _identities(folders: Iterable[str]) -> Mapping[str, tuple[int, int]]:
    """Which folder has which name now; a folder that was replaced is another one."""
    found = {}
    for folder in folders:
        try:
            status = os.stat(folder)  # noqa: PTH116 - a string, thousands of times
        except OSError:
            continue
        found[folder] = (status.st_dev, status.st_ino)
    return found


def _matters(path: str) -> bool:
    """SLO files and the configuration, and links that Kubernetes swaps; no ledger in the same folder."""
    name = os.path.basename(path)  # noqa: PTH119 - as above
    return os.path.splitext(name)[1] in SUFFIXES or name.startswith("..") or "." not in name  # noqa: PTH122

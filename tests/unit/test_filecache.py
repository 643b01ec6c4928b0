"""The file cache: what files were understood as is taken over a restart, or there is none."""

from __future__ import annotations

import os
import pickle
from pathlib import Path

import pytest

from slo_budget_tracker import filecache, specfiles
from slo_budget_tracker.configuration import Files
from slo_budget_tracker.filecache import FileCache, by_name, frozen, thawed

PRINT = ("slos.yaml", 60, b"digest")

EVERY_KIND = """\
service: shop
labels: {tier: "1"}
slos:
- name: requests
  target: 99.9%
  sli: {requests: {total: 'r{job="a"}', bad: 'r{job="a",code=~"5.."}'}}
  budget_alerts: [{severity: ticket, remaining_below: 10%}]
  group_by: [handler]
- name: latency
  target: 99%
  window: {calendar: month, timezone: Europe/Berlin}
  sli: {latency: {histogram: h_seconds, threshold: 300ms}}
- name: probe
  target: 99%
  sli: {probe: {up: probe_success}}
  slices: {width: 5m, target: 95%}
- name: condition
  target: 99%
  sli: {condition: {expr: time() - t, op: "<", limit: 26h}}
- name: promql
  target: 99%
  sli: {promql: {bad: 'sum(default_rollup(e[$window]))', total: 'sum(increase(a[$window]))', window: 5m}}
- name: composite
  target: 99%
  sli: {composite: {members: [{slo: latency, weight: 2}, {slo: promql}]}}
"""

pytestmark = pytest.mark.in_a_file  # the cache lies beside it


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A configuration with a ledger and SLOs of every kind."""
    (tmp_path / "slos").mkdir()
    (tmp_path / "slos" / "all.yaml").write_text(EVERY_KIND)
    config = tmp_path / "tracker.yaml"
    config.write_text(
        f"prometheus: {{url: 'http://localhost:9090'}}\nslo_files: [{tmp_path}/slos]\n"
        f"ledger: {{url: 'sqlite:///{tmp_path}/ledger.db'}}\n"
    )
    return config


def remembered(config: Path) -> Files:
    """A first process: it reads the files and keeps what they say."""
    files = Files(config, {}, cached=True)
    files.remember(files.read().settings)
    return files


def nobody_reads(monkeypatch: pytest.MonkeyPatch) -> None:
    """From now on no document may be read."""

    def never(*_: object, **__: object) -> None:
        raise AssertionError("a file was read that the cache should have had")

    monkeypatch.setattr(specfiles, "read_documents", never)


def test_a_restart_takes_every_kind_of_slo_from_the_cache(place, monkeypatch):
    """The catalogue is equal to the one that was read, warnings included, and no document is read for it."""
    known = remembered(place).read().catalogue
    nobody_reads(monkeypatch)
    assert (known, 6, 2) == (
        Files(place, {}, cached=True).read().catalogue,
        len(known.slos),
        len(known.warnings),
    )


def test_a_file_that_changed_is_read_and_the_others_are_not(place):
    """What the cache had is not believed of other words."""
    remembered(place)
    (place.parent / "slos" / "all.yaml").write_text(EVERY_KIND.replace("99.9%", "99.5%"))
    (place.parent / "slos" / "more.yaml").write_text(
        "slos: [{name: more, target: 99%, sli: {probe: {up: u}}}]"
    )
    slos = {slo.name: str(slo.target) for slo in Files(place, {}, cached=True).read().catalogue.slos}
    assert ("0.995", "0.99") == (slos["requests"], slos["more"])


def test_nothing_is_written_again_where_nothing_changed(place):
    """A start with a full cache leaves it alone; a change of the files replaces it."""
    remembered(place)
    cache = FileCache.beside(place.parent / "ledger.db")
    again = Files(place, {}, cached=True)
    settings = again.read().settings
    before = cache.path.stat()
    again.remember(settings)
    unchanged = cache.path.stat().st_ino == before.st_ino
    (place.parent / "slos" / "all.yaml").write_text(EVERY_KIND.replace("99.9%", "99.5%"))
    again.read(settings)
    again.remember(settings)
    assert (True, False) == (unchanged, cache.path.stat().st_ino == before.st_ino)


def test_only_the_daemon_and_only_a_ledger_in_a_file_has_a_cache(place):
    """Commands that read the same configuration leave nothing behind."""
    files = Files(place, {})
    files.remember(files.read().settings)
    in_memory = Files(place, {"SLO_BUDGET_TRACKER_LEDGER__URL": "sqlite://"}, cached=True)
    in_memory.remember(in_memory.read().settings)
    assert [] == list(place.parent.glob("ledger.db*"))


@pytest.mark.parametrize("at", [0, 31, 32, 63, 64, 100, -1], ids=lambda at: f"the byte {at}")
def test_a_cache_with_any_other_byte_is_none(tmp_path, at):
    """Damage anywhere in it is seen, and nothing of it is used."""
    cache = FileCache.beside(tmp_path / "ledger.db")
    cache.write({PRINT: b"x" * 100})
    content = bytearray(cache.path.read_bytes())
    content[at] ^= 1
    cache.path.write_bytes(content)
    assert {} == cache.read()


@pytest.mark.parametrize("length", [0, 10, 64, 80])
def test_half_of_a_cache_is_none(tmp_path, length):
    """It is taken as a whole or not at all."""
    cache = FileCache.beside(tmp_path / "ledger.db")
    cache.write({PRINT: b"x"})
    cache.path.write_bytes(cache.path.read_bytes()[:length])
    assert {} == cache.read()


def test_another_program_has_no_use_for_it(tmp_path, monkeypatch):
    """A line of the program more, or another version of what it reads with: the files are read again."""
    cache = FileCache.beside(tmp_path / "ledger.db")
    cache.write({PRINT: b"x"})
    same = FileCache.beside(tmp_path / "ledger.db").read()
    monkeypatch.setattr(filecache, "BESIDE", ("pydantic",))
    monkeypatch.setattr(filecache, "program", filecache.program.__wrapped__)
    other = FileCache.beside(tmp_path / "ledger.db").read()
    (tmp_path / "program").mkdir()
    (tmp_path / "program" / "one.py").write_text("")
    monkeypatch.setattr(filecache, "HERE", tmp_path / "program")
    assert ({PRINT: b"x"}, {}, {}) == (same, other, FileCache.beside(tmp_path / "ledger.db").read())


def test_a_cache_that_others_may_write_or_that_is_a_link_is_none(tmp_path):
    """What it says is believed as the ledger is, so it is as private."""
    cache = FileCache.beside(tmp_path / "ledger.db")
    cache.write({PRINT: b"x"})
    mode = cache.path.stat().st_mode & 0o777
    cache.path.chmod(0o622)
    open_to_all = cache.read()
    cache.path.chmod(0o600)
    cache.path.rename(tmp_path / "elsewhere")
    cache.path.symlink_to(tmp_path / "elsewhere")
    assert (0o600, {}, {}) == (mode, open_to_all, cache.read())


def test_a_place_that_cannot_be_written_is_no_fault(tmp_path):
    """The next start reads the files, as the first one did."""
    cache = FileCache.beside(tmp_path / "nowhere" / "ledger.db")
    cache.write({PRINT: b"x"})
    assert {} == cache.read()


class _Command:
    """What somebody might put into a cache."""

    def __reduce__(self) -> tuple[object, ...]:
        return os.system, ("false",)


def test_no_code_is_run_for_what_lies_in_it(place):
    """Thawing knows the classes of a file's words and no other name; the file is read instead."""
    with pytest.raises(pickle.UnpicklingError, match="no class of ours"):
        thawed(frozen(_Command()), by_name([Path]))
    remembered(place)
    cache = FileCache.beside(place.parent / "ledger.db")
    known = cache.read()
    cache.write(dict.fromkeys(known, frozen(_Command())))
    forged = Files(place, {}, cached=True).read().catalogue
    cache.write(dict.fromkeys(known, frozen(("no", "file"))))
    assert 6 == len(forged.slos) == len(Files(place, {}, cached=True).read().catalogue.slos)

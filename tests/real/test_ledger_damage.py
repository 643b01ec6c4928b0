"""Damaged files, and backups."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest

from slo_budget_tracker.alerts import AlertState
from slo_budget_tracker.errors import LedgerError
from slo_budget_tracker.ledger import Entry, Event, Ledger
from slo_budget_tracker.ticks import Tick
from tests.real.ledgers import NOW, figures, lively, one, registered, row


@pytest.fixture
def sound(url, path):
    """The bytes of a ledger with history, states and events, and a question that tells whether it says the same."""
    with Ledger.open(url) as ledger:
        ids = np.array(registered(ledger, 300))
        generator = np.random.default_rng(3)
        spans = [Tick(t, t + 60) for t in range(NOW - 6000, NOW, 60)]
        rows = [lively(generator, span, ids) for span in spans]
        states = {int(i): {"burn": AlertState("firing", NOW - int(i))} for i in ids}
        ledger.commit(Entry(rows=rows, states=states, events=[Event("e", "slo-0", "slo_recovered", NOW, {})]))
        expected = figures(ledger), dict(ledger.states)
    return path.read_bytes(), lambda ledger: expected == (figures(ledger), ledger.states)


def opened_or_refused(url, same):
    """None for a ledger that says the same, the sentence of a refusal, or nothing where it was mended and told."""
    try:
        ledger = Ledger.open(url, now=NOW)
    except LedgerError as error:
        return str(error)
    with ledger:
        if ledger.reset is None:
            assert same(ledger)
            return None
        assert 1 == len(ledger.events(slo="*"))
        assert f"ledger.db.corrupt-{NOW}" in str(ledger.reset)
        return ""


def check_damages(url, path, sound, damages):
    """Each damage is harmless, or noticed, told and mended: no figure is ever another without an event."""
    whole, same = sound
    noticed = 0
    for damage in damages:
        for file in path.parent.iterdir():
            file.unlink()
        file = bytearray(whole)
        damage(file)
        path.write_bytes(file)
        refused = opened_or_refused(url, same)
        if refused is None:
            continue
        if refused:
            assert str(path) in refused
            assert bytes(file) == path.read_bytes()
        noticed += 1
    return noticed


def flips(count, seed):
    """Single bits turned over."""

    def flip(file, *, place, bit):
        file[place % len(file)] ^= 1 << bit

    chance = np.random.default_rng(seed)
    return [
        partial(flip, place=int(place), bit=int(bit))
        for place, bit in zip(chance.integers(0, 1 << 40, count), chance.integers(0, 8, count), strict=True)
    ]


def blots(count, seed):
    """Sectors of nonsense."""

    def blot(file, *, place, noise):
        start = place % (len(file) - len(noise))
        file[start : start + len(noise)] = noise

    chance = np.random.default_rng(seed)
    return [partial(blot, place=int(p), noise=chance.bytes(64)) for p in chance.integers(0, 1 << 40, count)]


def test_damage_is_never_silent(url, path, sound):
    """S5: at random places of the file, by bits and by sectors."""
    assert 0 < check_damages(url, path, sound, flips(25, 4))
    assert 0 < check_damages(url, path, sound, blots(12, 5))


@pytest.mark.long
def test_damage_is_never_silent_at_a_thousand_places(url, path, sound, show):
    """S5: a thousand bits and two hundred sectors; the counts of noticed ones are shown."""
    noticed = check_damages(url, path, sound, flips(1000, 6)), check_damages(url, path, sound, blots(200, 7))
    show(f"noticed {noticed[0]} of 1000 flipped bits and {noticed[1]} of 200 damaged sectors")


@pytest.mark.parametrize("place", range(0, 100, 8))
def test_damage_to_the_header_is_never_silent(url, path, sound, place):
    """S5: the first hundred bytes say what the file is at all."""

    def overwrite(file):
        file[place : place + 4] = b"\xff\x00\xff\x01"

    check_damages(url, path, sound, [overwrite])


def test_a_backup_is_a_whole_ledger(url, tmp_path):
    """S13: copied while in use, private, never over an existing file."""
    target = tmp_path / "backup.db"
    with Ledger.open(url) as ledger:
        registered(ledger)
        ledger.commit(Entry(rows=[row(NOW - 60, NOW, {1: (10, 1)})]))
        ledger.backup(target)
        with pytest.raises(LedgerError, match="cannot be copied"):
            ledger.backup(target)
    assert 0o600 == target.stat().st_mode & 0o777
    with Ledger.open(f"sqlite:///{target}") as copy:
        assert 10.0 == one(copy, 60).total

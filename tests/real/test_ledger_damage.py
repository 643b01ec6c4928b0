"""Damaged files, and backups."""

from __future__ import annotations

import numpy as np
import pytest

from slo_budget_tracker.errors import LedgerError
from slo_budget_tracker.ledger import Entry, Ledger
from slo_budget_tracker.ticks import Tick
from tests.real.ledgers import NOW, figures, lively, one, registered, row


def test_a_damaged_file_is_never_read_as_empty(url, path):
    """S5: flipped bytes are an error that names the file and what to do, never silent empty history."""
    with Ledger.open(url) as ledger:
        ids = np.array(registered(ledger, 300))
        generator = np.random.default_rng(3)
        spans = [Tick(t, t + 60) for t in range(NOW - 6000, NOW, 60)]
        ledger.commit(Entry(rows=[lively(generator, span, ids) for span in spans]))
        expected = figures(ledger)
    sound = path.read_bytes()
    noticed = []
    chance = np.random.default_rng(4)
    for offset in chance.integers(0, len(sound), 60).tolist():
        damaged = bytearray(sound)
        damaged[offset : offset + 64] = chance.bytes(len(damaged[offset : offset + 64]))
        path.write_bytes(damaged)
        try:
            with Ledger.open(url) as ledger:
                same = expected == figures(ledger)
        except LedgerError as error:
            noticed.append(str(error))
        else:
            assert same
    assert noticed
    assert [] == [sentence for sentence in noticed if str(path) not in sentence]


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

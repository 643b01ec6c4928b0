"""Where a test's ledger is."""

from __future__ import annotations

import pytest


@pytest.fixture
def path(tmp_path):
    """Where a ledger may be."""
    return tmp_path / "var" / "ledger.db"


@pytest.fixture
def url(path):
    """Its URL."""
    return f"sqlite:///{path}"

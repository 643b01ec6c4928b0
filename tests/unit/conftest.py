"""A shop's server and an empty ledger, for tests that evaluate."""

from __future__ import annotations

import pytest

from slo_budget_tracker.ledger import Ledger
from tests.unit.serving import Server, traffic


@pytest.fixture(scope="module")
def shop():
    """Two hours of a shop that fails for twenty minutes."""
    return traffic(Server().db)


@pytest.fixture
def server(shop):
    """A server with the shop's samples, and no troubles yet."""
    return Server(shop)


@pytest.fixture
def ledger():
    """A ledger in memory."""
    with Ledger.open("sqlite://") as one:
        yield one

"""A migrated ledger, fresh for each test."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from sqlalchemy import Engine

from distributor.ledger import migrate
from distributor.ledger.engine import ledger_engine


@pytest.fixture
def ledger_url(database: Callable[[], str]) -> str:
    url = database()
    migrate.upgrade(url)
    return url


@pytest.fixture
def ledger(ledger_url: str) -> Iterator[Engine]:
    engine = ledger_engine(ledger_url)
    yield engine
    engine.dispose()

"""PostgreSQL sits the exam again with every batch, however small, going through COPY and staging tables: as the newest
versions are asked what a write replaced, and as older ones are, by looking before it."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from consumers.adapters import postgresql_load, postgresql_write
from consumers.conformance.exam import AdapterConformance
from consumers.conformance.seat import Seat
from tests.adapters.test_postgresql import PostgreSQLSeat

pytestmark = [pytest.mark.conformance, pytest.mark.long]


class TestPostgreSQLByCopy(AdapterConformance):
    @pytest.fixture(autouse=True)
    def _no_batch_is_small(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(postgresql_load, "_FEW", 0)

    @pytest.fixture
    def seat(self, database: Callable[[], str]) -> Seat:
        return PostgreSQLSeat(database())


@pytest.mark.long
class TestPostgreSQLByCopyBefore18(TestPostgreSQLByCopy):
    @pytest.fixture(autouse=True)
    def _nothing_returns_old(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(postgresql_write, "RETURNS_OLD", 10**9)

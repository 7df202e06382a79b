"""A member on each store, its coordinator, and releases."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.consumers.catalogue import Catalogue
from tests.consumers.estate import Coordinator, Member


@pytest.fixture
def catalogue(tmp_path: Path) -> Catalogue:
    """An empty store; releases are published by the test."""
    return Catalogue(tmp_path / "store")


@pytest.fixture(params=["sqlite", "postgresql"])
def member(
    request: pytest.FixtureRequest, tmp_path: Path, amqp_url: str, catalogue: Catalogue, database: Callable[[], str]
) -> Iterator[Member]:
    """A member that is not started yet."""
    url = database() if request.param == "postgresql" else f"sqlite:///{tmp_path / 'crm.db'}"
    made = Member(tmp_path, request.param, url, amqp_url, catalogue)
    yield made
    made.close()


@pytest.fixture
def sqlite_member(tmp_path: Path, amqp_url: str, catalogue: Catalogue) -> Iterator[Member]:
    """A member where the kind of store does not matter."""
    made = Member(tmp_path, "sqlite", f"sqlite:///{tmp_path / 'crm.db'}", amqp_url, catalogue)
    yield made
    made.close()


@pytest.fixture
def postgresql_member(
    tmp_path: Path, amqp_url: str, catalogue: Catalogue, database: Callable[[], str]
) -> Iterator[Member]:
    """A member in a database server."""
    made = Member(tmp_path, "postgresql", database(), amqp_url, catalogue)
    yield made
    made.close()


@pytest.fixture
def coordinator(amqp_url: str, catalogue: Catalogue) -> Iterator[Coordinator]:
    """The test's own coordinator."""
    made = Coordinator(amqp_url, catalogue)
    yield made
    made.close()

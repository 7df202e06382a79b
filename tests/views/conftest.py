"""One world for each test."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.views.world import World, made


@pytest.fixture
def world(database: Callable[[], str], tmp_path: Path) -> Iterator[World]:
    found = made(database, tmp_path / "store")
    yield found
    found.engine.dispose()

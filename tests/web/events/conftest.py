"""A web role of one's own, and things that happen."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from distributor.ledger import timeline
from distributor.ledger.engine import transaction
from distributor.settings import Settings
from distributor.telemetry.clock import now
from tests.web.conftest import Desk
from tests.web.events.following import Served, served

Say = Callable[..., None]


@pytest.fixture
def server(settings: Settings) -> Iterator[Served]:
    """A web role over the ledger of `desk`, in a thread of this process."""
    settings = settings.model_copy(update={"web": settings.web.model_copy(update={"listen": "127.0.0.1:0"})})
    with served(settings) as running:
        yield running


@pytest.fixture
def say(desk: Desk) -> Say:
    """Entries of a timeline, each in a transaction of its own."""

    def write(*texts: object, environment: str = "prod", kind: str = "hold") -> None:
        for said in texts:
            with transaction(desk.ledger) as conn:
                timeline.write(conn, environment, now(), [timeline.Entry(kind, str(said), "r1", "pos")])

    return write

"""A dry run of deploy, refresh and rollback foretells what the rule-book would do."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from sqlalchemy import Engine, text

from distributor.cli.asking import AskedRollout, would_ask
from distributor.cli.desk import Desk
from distributor.errors import RefusedError
from distributor.ledger import environments, migrate
from distributor.ledger.engine import ledger_engine, transaction
from distributor.rollout.commands import Output, Stage
from distributor.rollout.events import Event
from distributor.rollout.state import Cause
from tests.cli.conftest import config_text
from tests.rollout.transcript import Transcript

RELEASES = text(
    "INSERT INTO ledger.releases (number, manifest, created_at, rows, counts, schema_fingerprint)"
    " SELECT n, 'm' || n, now(), 1, '{}', 's' FROM generate_series(1, 3) n"
)


@dataclass
class Recorded(Transcript):
    """Every step is saved in a ledger."""

    ledger: Engine | None = field(default=None)

    def feed(self, event: Event) -> tuple[Output, ...]:
        before = self.state
        outputs = super().feed(event)
        if self.ledger is not None:
            with transaction(self.ledger) as conn:
                environments.lock(conn, "e")
                environments.save(conn, before, self.state, at=self.now)
        return outputs


@pytest.fixture
def ledger(database: Callable[[], str], tmp_path: Path, nowhere: Path) -> Iterator[Engine]:
    url = database()
    migrate.upgrade(url)
    (tmp_path / "d.toml").write_text(
        config_text("postgresql://h/m", url, "amqp://h/").replace("environments.uat", "environments.e")
    )
    engine = ledger_engine(url)
    with transaction(engine) as conn:
        conn.execute(RELEASES)
    yield engine
    engine.dispose()


def test_what_a_request_would_come_to(ledger: Engine, tmp_path: Path) -> None:
    desk = Desk(tmp_path / "d.toml", as_json=False)

    def foretold(release: int | None, cause: Cause) -> AskedRollout:
        return would_ask(desk, "e", release, cause)

    with pytest.raises(RefusedError, match="not known"):
        foretold(None, Cause.ROLLBACK)

    world = Recorded.of()
    assert isinstance(world, Recorded)
    world.ledger = ledger
    world.online(1)
    world.online(2)
    world.online(2, Cause.REFRESH)
    back = foretold(None, Cause.ROLLBACK)
    assert (back.release, back.remarks) == (1, ("that is back: release 2 is shown",))
    assert foretold(None, Cause.OPERATOR).release == 3
    assert foretold(0, Cause.OPERATOR).remarks == ("release 0 is empty: readers of every system would find no rows",)
    with pytest.raises(RefusedError, match="no release 9"):
        foretold(9, Cause.OPERATOR)

    under_way = world.request(3)
    world.tick()
    world.do(world.last(Stage, "a"))
    called_off = f"rollout {under_way} to release 3, which is staging, would be called off"
    for cause, release in ((Cause.ROLLBACK, 2), (Cause.OPERATOR, 3)):
        found = foretold(None, cause)
        assert (found.release, found.remarks, found.waiting_for) == (release, (called_off,), "")
    queued = foretold(None, Cause.REFRESH)
    assert (queued.release, queued.remarks) == (3, ())
    assert queued.waiting_for == f"rollout {under_way}, which is staging"

    world.do(world.last(Stage, "b"))
    world.tick()
    assert foretold(None, Cause.ROLLBACK).remarks[0].endswith("which is flipping, would be called off; all flip back")
    assert foretold(None, Cause.OPERATOR).waiting_for == f"rollout {under_way}, which is flipping"


def test_an_environment_that_nobody_has_touched_is_empty(ledger: Engine, tmp_path: Path) -> None:
    found = would_ask(Desk(tmp_path / "d.toml", as_json=False), "e", 1, Cause.REFRESH)
    assert (found.release, found.remarks, found.waiting_for) == (1, (), "")

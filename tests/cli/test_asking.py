"""A dry run of deploy, refresh and rollback foretells what the rule-book would do."""

from __future__ import annotations

from pathlib import Path

import pytest
from sqlalchemy import Engine

from distributor.cli.asking import would_ask
from distributor.cli.desk import Desk
from distributor.errors import RefusedError
from distributor.rollout.commands import Stage
from distributor.rollout.state import Cause
from distributor.views.asked import AskedRollout
from tests.cli.conftest import Recorded


def test_what_a_request_would_come_to(ledger: Engine, tmp_path: Path) -> None:
    desk = Desk(tmp_path / "d.toml", as_json=False)

    def foretold(release: int | None, cause: Cause) -> AskedRollout:
        return would_ask(desk, "e", release, cause)

    with pytest.raises(RefusedError, match="not known"):
        foretold(None, Cause.ROLLBACK)

    world = Recorded.into(ledger)
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

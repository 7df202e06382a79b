"""Two coordinators as processes of their own, one of which dies while rows are held back: the other ends the work."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from distributor.ledger import processes, quarantine
from distributor.ledger.engine import transaction
from distributor.rollout.state import RolloutState
from distributor.store.chunks import read_manifest
from distributor.telemetry.faults import KILLED, Point
from tests.coordination.conftest import Estate
from tests.coordination.fake_member import FakeMember, send
from tests.coordination.test_coordinator import STAGE, ask, ended
from tests.coordination.test_unfit import NO, REFUSED, UNFIT, Reply, publish, staged, tries, unfit
from tests.support import wait_for

pytestmark = pytest.mark.services
CONFIG = """
[master]
url = "postgresql://nowhere/master"
[master.datasets.products]
table = "products"
[ledger]
url = "{ledger}"
[broker]
url = "{broker}"
[store]
path = "{store}"
[environments.prod]
resend_after = "1s"
[environments.prod.systems.crm]
adapter = "sqlite"
url = "sqlite:///x"
[environments.prod.systems.pos]
adapter = "sqlite"
url = "sqlite:///x"
"""


@pytest.fixture
def pair(estate: Estate, tmp_path: Path) -> Iterator[Callable[[Path], list[subprocess.Popen[bytes]]]]:
    """Starts both. Whoever comes to the point that the file names dies there, and the other one does not."""
    config = tmp_path / "distributor.toml"
    settings = estate.settings
    config.write_text(CONFIG.format(ledger=settings.ledger.url, broker=settings.broker.url, store=settings.store.path))
    with ExitStack() as stack:

        def start(trap: Path) -> list[subprocess.Popen[bytes]]:
            command = [sys.executable, "-m", "distributor", "serve", "coordinator", "--config", str(config)]
            variables = {**os.environ, "DISTRIBUTOR_FAULT": f"@{trap}"}
            started = []
            for number in range(2):
                log = stack.enter_context((tmp_path / f"coordinator-{number}.log").open("wb"))
                started.append(subprocess.Popen(command, env=variables, stderr=log))
                stack.callback(started[-1].wait, 20)
                stack.callback(started[-1].kill)
            wait_for(lambda: _present(estate) == 2, 60, "both coordinators")
            return started

        yield start


def _present(estate: Estate) -> int:
    with transaction(estate.engine) as conn:
        return sum(one.role == "coordinator" for one in processes.seen_since(conn, datetime.min.replace(tzinfo=UTC)))


@pytest.mark.parametrize("point", [Point.UNFIT_BEFORE_COMMIT, Point.UNFIT_AFTER_COMMIT, Point.STEP_BEFORE_COMMIT])
def test_one_of_two_dies_between_the_rows_and_the_answer(
    estate: Estate, tmp_path: Path, pair: Callable[[Path], list[subprocess.Popen[bytes]]], point: Point
) -> None:
    trap = tmp_path / "trap"

    def crm(member: FakeMember, command: dict[str, Any]) -> Reply:
        if command["release"] == 1 or command["manifest"] != estate.manifests[1]:
            return staged(estate, member, command)
        (tmp_path / "draft").write_text(point.value)
        (tmp_path / "draft").rename(trap)
        send(member._channel, UNFIT, unfit(command, "B"))
        return REFUSED, NO

    publish(estate, "A")
    both = pair(trap)
    first = read_manifest(estate.store, estate.manifests[0])
    estate.member("crm", first, replies={STAGE: crm})
    estate.member("pos", first, replies={STAGE: lambda member, command: staged(estate, member, command)})
    assert ended(estate, ask(estate)).state is RolloutState.ONLINE
    publish(estate, "A", "B")
    assert ended(estate, ask(estate)).state is RolloutState.ABANDONED
    wait_for(lambda: any(one.poll() is not None for one in both), 30, f"the death at {point}")
    wait_for(lambda: estate.state().shown == 2, 60, "release 2 without its row")
    assert sorted(str(one.poll()) for one in both) == [str(KILLED), "None"]
    assert tries(estate)[-1].state is RolloutState.ONLINE
    with transaction(estate.engine) as conn:
        assert [row.key for row in quarantine.held(conn, "prod")] == [("B",)]

"""A consumer that has nothing to do says that it lives."""

from __future__ import annotations

import threading
from datetime import timedelta
from pathlib import Path

from consumers.adapters.sqlite import SQLiteAdapter
from consumers.consumer import Consumer
from distributor.settings import load_settings
from distributor.wire.messages import HelloReport, ProgressReport
from tests.consumers.catalogue import Catalogue
from tests.consumers.estate import ENVIRONMENT, SYSTEM, Coordinator, Member
from tests.consumers.test_scenarios import online, publish_three


def test_a_quiet_consumer_says_again_and_again_that_it_lives(
    sqlite_member: Member, coordinator: Coordinator, catalogue: Catalogue, tmp_path: Path
) -> None:
    publish_three(catalogue)
    settings = load_settings(sqlite_member.config)
    adapters = [SQLiteAdapter(settings.environments[ENVIRONMENT].systems[SYSTEM], tmp_path) for _ in range(2)]
    consumer = Consumer(settings, ENVIRONMENT, SYSTEM, *adapters, alive_every=timedelta(milliseconds=100))
    thread = threading.Thread(target=consumer.run)
    thread.start()
    try:
        coordinator.expect(HelloReport)
        coordinator.expect(ProgressReport)
        online(coordinator, 1, 2)
        for _ in range(2):
            alive = coordinator.expect(ProgressReport, lambda report: report.shows == 2)
            assert (alive.phase, alive.epoch, alive.rollout_id, alive.floor) == ("idle", 1, "r1", 1)
            assert (alive.rows_done, alive.rows_total) == (0, 0)
    finally:
        consumer.stop()
        thread.join(20)
    assert not thread.is_alive()

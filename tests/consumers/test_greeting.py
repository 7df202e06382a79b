"""Nothing is carried out before the broker has the greeting."""

from __future__ import annotations

import threading
from datetime import UTC, datetime
from pathlib import Path

from structlog.testing import capture_logs

from consumers.adapters.sqlite import SQLiteAdapter
from consumers.amqp import Line
from consumers.inbox import Inbox, Letter
from consumers.reports import Reporter
from consumers.worker import Worker
from distributor.settings import load_settings
from distributor.wire import topology
from distributor.wire.envelope import to_amqp
from distributor.wire.messages import StageCommand
from tests.consumers.catalogue import Catalogue, products
from tests.consumers.estate import ENVIRONMENT, MAPPING, SYSTEM, Member
from tests.support import wait_for


def stage_letter(catalogue: Catalogue) -> Letter:
    now = datetime.now(UTC)
    command = StageCommand(
        environment=ENVIRONMENT,
        system=SYSTEM,
        epoch=1,
        rollout_id="r1",
        release=1,
        manifest=catalogue.manifests[1],
        from_release=0,
        void=(),
    )
    sealed = to_amqp(command, id="1", source="/coordinator", time=now, traceparent=None, sent_at=now)
    return Letter(
        message_id="1",
        epoch=1,
        type=command.TYPE,
        closes=False,
        headers=dict(sealed.headers),
        content_type=sealed.content_type,
        body=sealed.body,
        received_at=now,
        traceparent=None,
    )


def test_a_command_waits_while_the_greeting_cannot_be_sent(
    sqlite_member: Member, catalogue: Catalogue, tmp_path: Path
) -> None:
    catalogue.publish(products=products(3))
    settings = load_settings(sqlite_member.config)
    adapter = SQLiteAdapter(settings.environments[ENVIRONMENT].systems[SYSTEM], tmp_path)
    inbox = Inbox(tmp_path / "inbox.db")
    inbox.save(stage_letter(catalogue))
    # This line never runs, so it is not connected.
    queue = topology.member_queue(ENVIRONMENT, SYSTEM)
    line = Line(settings.broker.url, queue, lambda *_: None, lambda: None, name="away")
    worker = Worker(
        environment=ENVIRONMENT,
        mapping=MAPPING,
        adapter=adapter,
        store=catalogue.store,
        inbox=inbox,
        reporter=Reporter(line, ENVIRONMENT, SYSTEM),
    )
    worker.greet()
    thread = threading.Thread(target=worker.run)
    with capture_logs() as entries:
        thread.start()
        try:
            # Said again and again, and between two of them would be the moment to work.
            wait_for(lambda: sum("greeting was not" in str(entry["event"]) for entry in entries) > 1)
        finally:
            worker.stop()
            thread.join(20)
    with adapter.member() as transaction:
        assert transaction.row.floor == 0
    waiting = inbox.waiting()
    assert waiting is not None
    assert waiting.epoch == 1
    adapter.close()
    inbox.close()

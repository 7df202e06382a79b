"""A consumer put together: the line takes commands into the inbox, the worker works on them and answers; beside it an
auditor says what is stored."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from datetime import timedelta

from consumers.adapters.base import Adapter
from consumers.amqp import Line
from consumers.auditing import Auditor
from consumers.inbox import Inbox, Letter
from consumers.reports import Reporter
from consumers.worker import Worker
from distributor.errors import MessageError
from distributor.rollout.state import ALIVE_EVERY
from distributor.settings import Settings
from distributor.store.editions import opened
from distributor.telemetry import clock
from distributor.telemetry.logs import logger
from distributor.wire import topology
from distributor.wire.envelope import from_amqp
from distributor.wire.messages import AbandonCommand, AuditCommand, MemberCommand

_AUDITOR_ATTEMPTS, _AUDITOR_PAUSE_SECONDS = 50, 0.1
_log = logger("consumer")


class Consumer:
    """Three threads and a file: the line to the broker, the worker, the auditor, and the inbox between them.

    `adapter` is the worker's, `beside` another one of the same member for the auditor. When there was nothing to report
    for `alive_every`, it says that it lives.
    """

    def __init__(
        self,
        settings: Settings,
        environment: str,
        system: str,
        adapter: Adapter,
        beside: Adapter,
        *,
        alive_every: timedelta = ALIVE_EVERY,
    ) -> None:
        self._environment, self._system = environment, system
        self._adapter = adapter
        self._inbox = Inbox(settings.state_directory(environment, system) / "inbox.db")
        queue = topology.member_queue(environment, system)
        self._line = Line(
            settings.broker.url, queue, self._take, self._connected, name=f"consumer {environment}.{system}"
        )
        store, masking = opened(settings, environment)
        mapping = settings.mapping(system).under(masking)
        audit, reporter = settings.environment(environment).audit, Reporter(self._line, environment, system)
        self._auditor = Auditor(
            environment=environment,
            mapping=mapping,
            adapter=beside,
            store=store,
            inbox=self._inbox,
            reporter=reporter,
            samples=audit == "sampled",
            loading=lambda: self._worker.loading,
        )
        self._worker = Worker(
            environment=environment,
            mapping=mapping,
            adapter=adapter,
            store=store,
            inbox=self._inbox,
            reporter=reporter,
            audits_first=audit == "always",
            moved=self._auditor.moved,
            alive_every=alive_every,
        )
        self._stopping = threading.Event()
        self._broken = False

    def run(self) -> int:
        """Works until `stop`; 1 when a thread broke, else 0."""
        line, worker, auditor = (
            threading.Thread(target=self._guarded, args=(part.run,), name=name, daemon=True)
            for name, part in (("line", self._line), ("worker", self._worker), ("auditor", self._auditor))
        )
        for thread in (line, worker, auditor):
            thread.start()
        self._stopping.wait()
        self._worker.stop()
        worker.join()
        for _ in range(_AUDITOR_ATTEMPTS):
            # What is said between two of its statements ends none of them.
            self._auditor.stop()
            auditor.join(_AUDITOR_PAUSE_SECONDS)
            if not auditor.is_alive():
                break
        self._line.stop()
        line.join()
        self._adapter.close()
        self._inbox.close()
        return 1 if self._broken else 0

    def stop(self) -> None:
        """Ends `run`; a load that is under way is cut, and begins again at the next start."""
        self._stopping.set()

    def _guarded(self, part: Callable[[], None]) -> None:
        try:
            part()
        except Exception:  # noqa: BLE001 - a process that lost one of its threads must not look alive.
            _log.exception("the consumer broke", environment=self._environment, system=self._system)
            self._broken = True
            self._stopping.set()

    def _connected(self) -> None:
        self._worker.greet()

    def _take(self, headers: Mapping[str, object], content_type: str, body: bytes) -> str | None:
        received_at = clock.now()
        try:
            received = from_amqp(headers, content_type, body)
        except MessageError as error:
            return str(error)
        command = received.message
        if not isinstance(command, MemberCommand | AuditCommand):
            return f"a {command.TYPE} is no command to a member"
        if (command.environment, command.system) != (self._environment, self._system):
            return f"this command is for {command.environment}.{command.system}"
        if isinstance(command, AuditCommand):
            self._auditor.ask(command, received.traceparent)
            return None
        self._inbox.save(
            Letter(
                message_id=received.id,
                epoch=command.epoch,
                type=command.TYPE,
                closes=isinstance(command, AbandonCommand),
                headers={name: value for name, value in headers.items() if isinstance(value, str)},
                content_type=content_type,
                body=body,
                received_at=received_at,
                traceparent=received.traceparent,
            )
        )
        self._worker.wake()
        return None

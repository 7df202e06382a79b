"""The auditor: a thread beside the worker that answers what is stored, and looks at some of it by itself.

It has connections of its own and reads snapshots: no load and no flip waits for it. Questions are not kept on disk: one
that is lost is asked again.
"""

from __future__ import annotations

import threading
import time
from collections import OrderedDict, deque
from collections.abc import Callable

from consumers.adapters.base import Adapter
from consumers.audit import Audits
from consumers.inbox import Inbox
from consumers.reports import Reporter
from distributor.errors import DistributorError
from distributor.mapping.tables import SystemMapping
from distributor.model.certificate import BUCKETS
from distributor.store.base import Store
from distributor.telemetry.attributes import ENVIRONMENT, SYSTEM
from distributor.telemetry.logs import bind, logger
from distributor.telemetry.tracing import span
from distributor.wire.messages import AuditCommand, AuditedReport

SAMPLED_BUCKETS = 8
"""So many buckets are looked at together: nearly all of a scan's work is to find them, however few they are."""
REST = 20.0
"""After a sampled audit nothing is sampled for so many times as long as it took."""
_KEPT_ANSWERS = 2
_LOOK_AGAIN_SECONDS = 1.0
_log = logger("consumer")


class Auditor:
    """Audits one member. `ask`, `moved` and `stop` may be called from other threads, and never block.

    `adapter` is this thread's own. `loading` says whether a load runs: none is audited beside it without being asked.
    `samples`: whether to look at some buckets after each flip.
    """

    def __init__(
        self,
        *,
        environment: str,
        mapping: SystemMapping,
        adapter: Adapter,
        store: Store,
        inbox: Inbox,
        reporter: Reporter,
        samples: bool,
        loading: Callable[[], bool],
    ) -> None:
        self._environment, self._system = environment, mapping.system
        self._adapter = adapter
        self._audits = Audits(environment, mapping, adapter, store)
        self._inbox = inbox
        self._reporter = reporter
        self._samples = samples
        self._loading = loading
        self._changed = threading.Condition()
        self._asked: deque[tuple[AuditCommand, str | None]] = deque()
        self._answers: OrderedDict[str, list[AuditedReport]] = OrderedDict()
        self._sample_due = False
        self._rests_until = 0.0
        self._stopping = False

    def ask(self, command: AuditCommand, traceparent: str | None) -> None:
        """Takes a question, unless it waits for its answer already."""
        with self._changed:
            if all(waiting != command for waiting, _ in self._asked):
                self._asked.append((command, traceparent))
                self._changed.notify()

    def moved(self) -> None:
        """Another slot than before is the one that the next load builds on, or it holds another release."""
        with self._changed:
            self._sample_due = self._samples
            self._changed.notify()

    def stop(self) -> None:
        """Ends `run` soon; an audit that runs is ended."""
        with self._changed:
            self._stopping = True
            self._changed.notify()
        self._adapter.interrupt()

    def run(self) -> None:
        """Works until `stop`."""
        bind(role="consumer", environment=self._environment, system=self._system)
        while (question := self._next()) is not None:
            if question:
                self._answer(*question)
            else:
                self._sample()
        self._adapter.close()

    def _next(self) -> tuple[AuditCommand, str | None] | tuple[()] | None:
        """The question to answer now, an empty one to look at a sample; None at the end. Waits until there is one."""
        with self._changed:
            while not self._stopping:
                if self._asked:
                    # It stays there until it is answered, so that it is not taken twice.
                    return self._asked[0]
                pause: float | None = None
                if self._sample_due:
                    pause = max(self._rests_until - time.monotonic(), _LOOK_AGAIN_SECONDS if self._loading() else 0.0)
                    if pause <= 0:
                        self._sample_due = False
                        return ()
                self._changed.wait(pause)
            return None

    def _answer(self, command: AuditCommand, traceparent: str | None) -> None:
        known = command.model_dump_json()
        if known not in self._answers:
            with span("consumer audit", {ENVIRONMENT: self._environment, SYSTEM: self._system}, links=[traceparent]):
                reports = self._reports(command)
        else:
            reports = self._answers[known]
        if self._stopping:
            return
        if not reports[0].error:
            self._answers[known] = reports
            while len(self._answers) > _KEPT_ANSWERS:
                self._answers.popitem(last=False)
        for report in reports:
            self._reporter.audited(report, traceparent)
        with self._changed:
            self._asked.popleft()
        _log.info("audited", depth=command.depth.value, parts=len(reports), error=reports[0].error or None)

    def _reports(self, command: AuditCommand) -> list[AuditedReport]:
        while True:
            try:
                return self._audits.answer(command)
            except DistributorError as error:
                # A store with one writer lets nobody mark a doubt while it is loaded into.
                if not (error.retryable and self._loading()) or self._stopping:
                    return [self._audits.failed(command, str(error))]
            except Exception as error:  # noqa: BLE001 - whoever asked must hear of it, whatever it is.
                _log.exception("the audit failed")
                return [self._audits.failed(command, f"{type(error).__name__}: {error}")]
            with self._changed:
                self._changed.wait(_LOOK_AGAIN_SECONDS)

    def _sample(self) -> None:
        began = time.monotonic()
        try:
            first = self._inbox.next_bucket()
            reports = self._audits.sample([(first + at) % BUCKETS for at in range(SAMPLED_BUCKETS)])
            if reports is not None:
                self._inbox.sample_from((first + SAMPLED_BUCKETS) % BUCKETS)
        except DistributorError as error:
            if not self._stopping:
                _log.warning("a sample of what is stored could not be looked at", error=str(error))
            return
        finally:
            took = time.monotonic() - began
            self._rests_until = time.monotonic() + REST * took
        for report in reports or ():
            self._reporter.audited(report, None)
        _log.debug("sampled", first=first, buckets=SAMPLED_BUCKETS, seconds=round(took, 3), differ=bool(reports))

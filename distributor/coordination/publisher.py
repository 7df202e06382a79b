"""The publisher: watches the master and makes a release whenever changes have come to rest."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Mapping
from contextlib import suppress

from sqlalchemy import Engine
from tenacity import RetryCallState, Retrying, retry_if_exception, stop_when_event_set
from tenacity.nap import sleep_using_event

from distributor.capture.fixed import clear_errors, connect, where_of
from distributor.capture.scans import Schedule
from distributor.capture.watch import Due, catalogue, watch
from distributor.coordination.compacting import compact_until
from distributor.coordination.presence import keep_present
from distributor.coordination.sayings import BEGAN, Sayings, say_not_published
from distributor.errors import DistributorError, NotInitialisedError, RuleFailedError, UsageError
from distributor.ledger.engine import ledger_engine
from distributor.ledger.processes import Trouble
from distributor.messaging.patience import WaitAnew
from distributor.publishing.publish import Publisher
from distributor.publishing.result import PublishResult
from distributor.settings import Settings
from distributor.store.directory import DirectoryStore
from distributor.telemetry.clock import now
from distributor.telemetry.logs import logger

_LONGEST_PAUSE = 30.0
_log = logger("publisher")


async def serve_publisher(settings: Settings, stop: asyncio.Event) -> None:
    """Publishes until `stop` is set: once at the start, then whenever the master's changes are quiet.

    What may pass is tried again, for ever and aloud: a server that is away, a table that somebody has to mend. Raises
    ConfigError and NotInitialisedError.
    """
    engine = ledger_engine(settings.ledger.url)
    stopped = threading.Event()
    obstacle = _Obstacle()
    publishing = asyncio.create_task(asyncio.to_thread(_publish_until, settings, engine, stopped, obstacle))
    compacting = asyncio.create_task(asyncio.to_thread(compact_until, settings, engine, stopped))
    datasets = {"datasets": list(settings.master.datasets)}
    presence = asyncio.create_task(keep_present(engine, "publisher", lambda: datasets | obstacle.detail))
    stopping = asyncio.create_task(stop.wait())
    try:
        await asyncio.wait({publishing, presence, stopping}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        stopped.set()
        presence.cancel()
        stopping.cancel()
        try:
            await publishing
        finally:
            await compacting
            with suppress(asyncio.CancelledError):
                await presence
            await asyncio.to_thread(engine.dispose)


class _Obstacle:
    """Why nothing is published at present. The publishing thread knows it, the heart tells it."""

    def __init__(self) -> None:
        self._trouble: Trouble | None = None

    @property
    def detail(self) -> dict[str, object]:
        """For the process's row in the ledger; empty when there is none."""
        trouble = self._trouble
        return dict(trouble.detail) if trouble else {}

    @property
    def why(self) -> str:
        """The trouble in a sentence; empty when there is none."""
        return self._trouble.why if self._trouble else ""

    def met(self, why: str) -> bool:
        """Publishing has failed; whether for another reason than the last time. The beginning of a trouble is when it
        failed first."""
        known = self._trouble
        self._trouble = Trouble(known.since if known else now(), why)
        return known is None or known.why != why

    def passed(self) -> None:
        """Publishing goes on."""
        self._trouble = None


def _publish_until(settings: Settings, engine: Engine, stopped: threading.Event, obstacle: _Obstacle) -> None:
    store = DirectoryStore(settings.resolve(settings.store.path))
    with Publisher(settings, store, engine) as publisher:
        sayings = Sayings(engine)
        while not stopped.is_set():
            _patient(stopped, obstacle, engine)(_serve, settings, publisher, stopped, obstacle, sayings)


def _serve(
    settings: Settings, publisher: Publisher, stopped: threading.Event, obstacle: _Obstacle, sayings: Sayings
) -> None:
    """Publishes what there is, then watches and publishes, until stopped. A failure ends it; a new call begins anew."""
    because = f"tried again, after this: {obstacle.why}" if obstacle.why else BEGAN
    due: Due | None = None
    where, datasets = where_of(settings.master.url), settings.master.datasets
    unseen: frozenset[str] = frozenset()
    ignored: Mapping[str, tuple[str, ...]] = {}
    schedule = Schedule(datasets, settings.master.max_delay.total_seconds())
    with clear_errors(where), connect(settings.master.url, application="distributor watcher") as conn:
        conn.autocommit = True
        while True:
            # Before the publish: what changes in the catalogue while it runs is new to the next look.
            known = catalogue(conn, datasets)
            if known.unseen != unseen:
                unseen = known.unseen
                _tell_unseen(unseen - {name for name, found in datasets.items() if found.capture == "scan"})
            began = time.monotonic()
            scans = schedule.due(unseen, began)
            found = _publish(publisher, obstacle, scans, because)
            if due is not None:
                sayings.published(due, found)
            if found.ignored != ignored:
                ignored = found.ignored
                _log.warning("left out, as `drift` says", changes=dict(ignored))
            schedule.scanned(scans, began)
            due = watch(
                conn,
                datasets,
                known=known,
                quiet_period=settings.master.quiet_period.total_seconds(),
                max_delay=settings.master.max_delay.total_seconds(),
                max_rows=settings.master.max_rows,
                scan_at=schedule.next_at(unseen),
                clock=time.monotonic,
                pause=lambda seconds: not stopped.wait(seconds),
            )
            if due is None:
                return
            because = due.because


def _tell_unseen(unseen: frozenset[str]) -> None:
    if unseen:
        why = "no trigger sees every change of these datasets: they are compared whole from time to time"
        _log.warning("not captured", why=why, datasets=sorted(unseen), mend="Run `distributor capture install`.")
    else:
        _log.info("captured", why="triggers see every change of every dataset")


def _publish(publisher: Publisher, obstacle: _Obstacle, scans: frozenset[str], because: str) -> PublishResult:
    result = publisher.publish(scans=scans, because=because)
    obstacle.passed()
    if result.release is not None:
        seconds = {name: round(spent, 4) for name, spent in result.phases.items()}
        _log.info("published", release=result.release, rows=result.rows, seconds=seconds)
        for dataset, changes in result.restarts.items():
            _log.warning("another shape, with all its rows", release=result.release, dataset=dataset, changes=changes)
    for policy, why in result.unmasked.items():
        _log.warning("no edition was made", release=result.release, policy=policy, why=why)
    for finding in result.judged.findings:
        what = "held back" if finding.on_fail == "quarantine" else "published although a rule fails"
        _log.warning(what, dataset=finding.dataset, rule=finding.rule, rows=finding.rows, why=str(finding))
    if result.judged.let_go:
        _log.info("held back no longer", rows=dict(result.judged.let_go))
    for dataset, missed in result.missed.items():
        if missed:
            why = "triggers had not recorded them: was something written with them switched off?"
            _log.warning("missed changes", dataset=dataset, rows=missed.rows, keys=missed.keys, why=why)
    return result


def _patient(stopped: threading.Event, obstacle: _Obstacle, engine: Engine) -> Retrying:
    def waiting(state: RetryCallState) -> None:
        why = str(state.outcome.exception()) if state.outcome else ""
        news = obstacle.met(why)
        if news:
            say_not_published(engine, why)
        # Rows wait for somebody, and may do so for long: that is said once, and stands in `status`.
        if news or not isinstance(state.outcome and state.outcome.exception(), RuleFailedError):
            _log.warning("publishing again", why=why)

    return Retrying(
        retry=retry_if_exception(_may_pass),
        wait=WaitAnew(multiplier=0.2, longest=_LONGEST_PAUSE),
        stop=stop_when_event_set(stopped),
        sleep=sleep_using_event(stopped),
        before_sleep=waiting,
        retry_error_callback=lambda _: None,
    )


def _may_pass(error: BaseException) -> bool:
    # A table that drifted or a bad value is mended on the master while this goes on; a wrong config is not.
    return isinstance(error, DistributorError) and not isinstance(error, UsageError | NotInitialisedError)

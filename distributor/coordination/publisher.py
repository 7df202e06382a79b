"""The publisher: watches the master and makes a release whenever changes have come to rest."""

from __future__ import annotations

import asyncio
import threading
import time
from contextlib import suppress

from sqlalchemy import Engine
from tenacity import RetryCallState, Retrying, retry_if_exception, stop_when_event_set, wait_random_exponential
from tenacity.nap import sleep_using_event

from distributor.capture.fixed import clear_errors, connect, where_of
from distributor.capture.watch import watch
from distributor.coordination.presence import keep_present
from distributor.errors import DistributorError, NotInitialisedError, UsageError
from distributor.ledger.engine import ledger_engine
from distributor.publishing.publish import Publisher
from distributor.settings import Settings
from distributor.store.directory import DirectoryStore
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
    publishing = asyncio.create_task(asyncio.to_thread(_publish_until, settings, engine, stopped))
    presence = asyncio.create_task(keep_present(engine, "publisher", {"datasets": list(settings.master.datasets)}))
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
            with suppress(asyncio.CancelledError):
                await presence
            await asyncio.to_thread(engine.dispose)


def _publish_until(settings: Settings, engine: Engine, stopped: threading.Event) -> None:
    store = DirectoryStore(settings.resolve(settings.store.path))
    with Publisher(settings, store, engine) as publisher:
        while not stopped.is_set():
            _patient(stopped)(_serve, settings, publisher, stopped)


def _serve(settings: Settings, publisher: Publisher, stopped: threading.Event) -> None:
    """Publishes what there is, then watches and publishes, until stopped. A failure ends it; a new call begins anew."""
    _publish(publisher)
    where = where_of(settings.master.url)
    with clear_errors(where), connect(settings.master.url, application="distributor watcher") as conn:
        conn.autocommit = True
        while watch(
            conn,
            list(settings.master.datasets),
            quiet_period=settings.master.quiet_period.total_seconds(),
            max_delay=settings.master.max_delay.total_seconds(),
            clock=time.monotonic,
            pause=lambda seconds: not stopped.wait(seconds),
        ):
            _publish(publisher)


def _publish(publisher: Publisher) -> None:
    result = publisher.publish()
    if result.release is not None:
        seconds = {name: round(spent, 4) for name, spent in result.phases.items()}
        _log.info("published", release=result.release, rows=result.rows, seconds=seconds)


def _patient(stopped: threading.Event) -> Retrying:
    return Retrying(
        retry=retry_if_exception(_may_pass),
        wait=wait_random_exponential(multiplier=0.2, max=_LONGEST_PAUSE),
        stop=stop_when_event_set(stopped),
        sleep=sleep_using_event(stopped),
        before_sleep=_waiting,
        retry_error_callback=lambda _: None,
    )


def _may_pass(error: BaseException) -> bool:
    # A table that drifted or a bad value is mended on the master while this goes on; a wrong config is not.
    return isinstance(error, DistributorError) and not isinstance(error, UsageError | NotInitialisedError)


def _waiting(state: RetryCallState) -> None:
    _log.warning("publishing again", why=str(state.outcome.exception()) if state.outcome else "")

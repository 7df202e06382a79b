"""Verifications that were asked for through the API: they take minutes, and go on beside the requests."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

from sqlalchemy import Engine

from distributor.errors import DistributorError, UnreachableError
from distributor.requests.verifications import Asked
from distributor.settings import Settings
from distributor.store.base import Store
from distributor.telemetry.logs import logger
from distributor.verification.drilling import verify
from distributor.verification.record import write_down

PATIENCE = timedelta(minutes=10)
AT_ONCE, WAITING = 2, 8
_log = logger("web")


class Stopped(Exception):
    """This process ends; whoever asked sees that the verification has not ended."""


class Verifier:
    """Waits for the members' answers, looks closer where rows differ, and writes down what was found."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._threads = ThreadPoolExecutor(AT_ONCE, thread_name_prefix="verify")
        self._room = threading.BoundedSemaphore(AT_ONCE + WAITING)
        self._stopping = threading.Event()

    def admit(self) -> None:
        """Takes a place for `go_on`, or for `give_back`. Raises UnreachableError when there are too many."""
        if not self._room.acquire(blocking=False):
            raise UnreachableError("too many verifications go on", where="web", mend="Wait for one of them to end.")

    def give_back(self) -> None:
        """The place is not needed after all."""
        self._room.release()

    def go_on(self, settings: Settings, store: Store, asked: Asked) -> None:
        """Follows a verification that was begun, in a place that `admit` gave."""
        self._threads.submit(self._follow, settings, store, asked)

    def stop(self) -> None:
        """Gives up what goes on."""
        self._stopping.set()
        self._threads.shutdown(cancel_futures=True)

    def _follow(self, settings: Settings, store: Store, asked: Asked) -> None:
        told = {"environment": asked.verification.environment, "verification": asked.verification.id}
        try:
            write_down(
                self._engine,
                verify(
                    self._engine,
                    settings,
                    store,
                    asked,
                    patience=PATIENCE,
                    hear=lambda system, word: _log.info("verifying", system=system, word=word, **told),
                    pause=self._pause,
                ),
            )
        except Stopped:
            _log.info("verification given up", **told)
        except DistributorError as error:
            _log.warning("verification failed", error=str(error), **told)
        except Exception as error:  # noqa: BLE001 - the last place that can tell of it
            _log.error("verification failed unexpectedly", exc_info=error, **told)
        finally:
            self.give_back()

    def _pause(self, seconds: float) -> None:
        if self._stopping.wait(seconds):
            raise Stopped

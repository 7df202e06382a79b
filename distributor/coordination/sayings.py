"""What the audit says of a publisher that decides by itself, besides the releases that it makes."""

from __future__ import annotations

from contextlib import suppress

from sqlalchemy import Engine

from distributor.capture.watch import Due, Why
from distributor.errors import DistributorError
from distributor.ledger import audit
from distributor.ledger.engine import transaction
from distributor.publishing.publish import PUBLISHER
from distributor.publishing.result import PublishResult
from distributor.telemetry.clock import now

BEGAN = "began to watch the master: what had changed before"


class Sayings:
    """Says once that what was recorded as changed is as before, and not again until a release was made."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._said = False

    def published(self, due: Due, result: PublishResult) -> None:
        """What a publish came to that was due. Raises UnreachableError."""
        if result.release is not None:
            self._said = False
        elif due.why in (Why.QUIET, Why.DELAY, Why.MUCH) and not self._said:
            _say(self._engine, "publish", f"{due.because}; every row is as before: no release was made")
            self._said = True


def say_not_published(engine: Engine, why: str) -> None:
    """Publishing has failed, for another reason than before. Where the ledger itself is away, nobody is told."""
    with suppress(DistributorError):
        _say(engine, "not published", why)


def _say(engine: Engine, what: str, why: str) -> None:
    with transaction(engine) as conn:
        audit.record(conn, audit.AuditRecord(now(), PUBLISHER, what, why))

"""A write: its act, its audit, its answer and the key under which it may be asked for again are one transaction.

So a write that was answered was done once, however often it is asked for with the same `Idempotency-Key`; one that was
not answered was either not done at all, or its answer is kept, and asking again gives it. A write that was refused is
judged anew.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import Depends, Header, Request, Response
from psycopg import errors as postgres
from sqlalchemy import Connection, Engine, text
from sqlalchemy.exc import OperationalError

from distributor.errors import UnreachableError
from distributor.ledger import environments, idempotency
from distributor.ledger.engine import JoinedEngine, transaction
from distributor.ledger.idempotency import KeptAnswer
from distributor.telemetry.clock import now
from distributor.telemetry.tracing import span
from distributor.views.base import View
from distributor.web import etags
from distributor.web.backstage import AtHand, Backstage
from distributor.web.errors import AnsweredOtherwiseError, StillRunningError
from distributor.web.security import Caller

REPLAYED = "Idempotency-Replayed"
_PATIENCE = text("SET LOCAL lock_timeout = '10s'")


@dataclass(frozen=True, slots=True)
class Done:
    """What a write came to: the document of the answer, and where the thing is that it made.

    `kept` is the document that is given when the same is asked for again, where that may not be the first one.
    """

    view: View
    location: str | None = None
    status: int = 200
    kept: View | None = None


Act = Callable[[Engine, Connection], Done]
"""Does it: the engine is for those who take one, the connection is the same transaction's."""


@dataclass(frozen=True, slots=True)
class Write:
    """A write that has not been done yet. `fingerprint` is of its method, path and body."""

    backstage: Backstage
    operation: str
    fingerprint: str
    key: str | None
    if_match: str | None
    traceparent: str | None

    def done(self, who: Caller, act: Act, *, environment: str | None = None) -> Response:
        """Does it once, if `environment` is as the caller saw it.

        Raises StillRunningError 409, AnsweredOtherwiseError 422, ChangedMeanwhileError 412, what the act raises, and
        UnreachableError when somebody keeps the environment locked.
        """
        seen = etags.versions(self.if_match) if self.if_match is not None and environment is not None else None
        try:
            with span(self.operation, traceparent=self.traceparent), transaction(self.backstage.engine) as conn:
                conn.execute(_PATIENCE)
                if self.key is not None and (answer := self._before(conn, who, self.key)) is not None:
                    return _response(answer, replayed=True)
                if seen is not None and environment is not None:
                    environments.lock(conn, environment)
                    etags.require(seen, environments.version(conn, environment), environment)
                done = act(JoinedEngine(conn), conn)
                answer = self._answer(done, done.view)
                if self.key is not None:
                    kept = self._answer(done, done.kept or done.view)
                    idempotency.keep(conn, who.key.id, self.key, now(), kept)
        except OperationalError as error:
            if isinstance(error.orig, postgres.LockNotAvailable):
                raise UnreachableError(
                    "somebody else is at it, and takes long", where=environment or "ledger", mend="Try again."
                ) from error
            raise
        return _response(answer)

    def _before(self, conn: Connection, who: Caller, key: str) -> KeptAnswer | None:
        if not idempotency.reserve(conn, who.key.id, key):
            raise StillRunningError(
                "a request of this idempotency key is being worked on", where="idempotency-key", mend="Wait for it."
            )
        known = idempotency.kept(conn, who.key.id, key, now())
        if known is not None and known.fingerprint != self.fingerprint:
            raise AnsweredOtherwiseError(
                "this idempotency key was used for another request", where="idempotency-key", mend="Take a fresh one."
            )
        return known

    def _answer(self, done: Done, view: View) -> KeptAnswer:
        headers = {"Location": done.location} if done.location else {}
        return KeptAnswer(self.fingerprint, done.status, headers, view.model_dump_json().encode())


async def _write(
    request: Request,
    backstage: AtHand,
    idempotency_key: Annotated[
        str | None,
        Header(
            pattern=r"^[\x21-\x7e]{1,200}$",
            description="Any text of your own. Asked for again with it within 24 hours, the write is not done again,"
            " and its answer is given again.",
        ),
    ] = None,
    if_match: Annotated[
        str | None,
        Header(max_length=1000, description="The ETag that was seen: what has changed since is not written to (412)."),
    ] = None,
    traceparent: Annotated[str | None, Header(include_in_schema=False)] = None,
) -> Write:
    """What a write needs of its request."""
    body = hashlib.sha256(await request.body()).hexdigest()
    path = f"{request.url.path}?{request.url.query}"
    fingerprint = hashlib.sha256(f"{request.method} {path} {body}".encode()).hexdigest()
    operation = f"{request.method} {request.scope['route'].path}"
    return Write(backstage, operation, fingerprint, idempotency_key, if_match, traceparent)


Writing = Annotated[Write, Depends(_write)]
"""As a parameter of a route: the write that it is to do."""


def _response(answer: KeptAnswer, *, replayed: bool = False) -> Response:
    headers: dict[str, Any] = dict(answer.headers)
    if replayed:
        headers[REPLAYED] = "true"
    return Response(answer.body, answer.status, headers, "application/json")

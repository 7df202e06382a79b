"""`GET /events`: what happens, as it happens (server-sent events)."""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Annotated, Any

from fastapi import APIRouter, Header, Query
from fastapi.responses import StreamingResponse
from sqlalchemy import Connection
from starlette.types import Send

from distributor.access.roles import Act
from distributor.ledger import keys
from distributor.telemetry.clock import now
from distributor.web.errors import InputError
from distributor.web.events.hub import Hub
from distributor.web.events.stream import stream
from distributor.web.events.wanted import Wanted, seen_by
from distributor.web.security import Caller

_POSITION = re.compile(r"[0-9]{1,18}")
_HEADERS = {"Cache-Control": "no-cache, no-transform", "X-Accel-Buffering": "no"}
_STREAM = {
    "description": "Events, until the client goes; `event` is `release`, `audit`, `timeline`, `progress` or `gap`.",
    "content": {"text/event-stream": {"schema": {"type": "string"}}},
}


class _Stream(StreamingResponse):
    """Ends with its client, whatever it was about to say. What FastAPI does by itself takes events one by one."""

    media_type = "text/event-stream"

    async def stream_response(self, send: Send) -> None:
        """To the end, or until the client is gone."""
        assert isinstance(self.body_iterator, AsyncGenerator)
        async with aclosing(self.body_iterator):
            await super().stream_response(send)


def router(hub: Hub, who: Any) -> APIRouter:
    """The route of a hub. `who` is what it needs of its caller: a dependency that gives the `Caller`."""
    routes = APIRouter(tags=["events"])

    @routes.get(
        "/events",
        operation_id="events",
        summary="Follow what happens",
        response_class=_Stream,
        responses={200: _STREAM},
    )
    async def events(
        caller: Caller = who,
        environment: Annotated[
            list[str], Query(description="Only what concerns these environments, or no single one.")
        ] = [],  # noqa: B006 - FastAPI copies it
        kind: Annotated[
            list[str],
            Query(description="Only these: `release`, `audit`, `timeline`, `progress`, or a kind of the timeline."),
        ] = [],  # noqa: B006
        after: Annotated[
            int | None, Query(ge=0, description="Go on after this event; else with what happens from now on.")
        ] = None,
        last_event_id: Annotated[
            str | None, Header(description="As `after`, and before it: browsers send it when they come again.")
        ] = None,
    ) -> StreamingResponse:
        """Everything that is committed, in the order of commits, and how far loads are.

        Whoever comes again with the id of the last event it was told misses nothing that is kept (7 days); an event
        `gap` says that something is missing. Progress has no id and is not repeated. A stream ends after a quarter of
        an hour: come again; and within 15 seconds after its key was revoked.
        """
        for name in environment:
            caller.check(Act.READ, name)

        def may_still(conn: Connection) -> bool:
            key = keys.by_id(conn, caller.key.id)
            return key is not None and key.living(now())

        hub.admit()
        wanted = Wanted(seen_by(caller.principal), frozenset(environment), frozenset(kind))
        return _Stream(stream(hub, wanted, _position(last_event_id, after), may_still), headers=_HEADERS)

    return routes


def _position(last_event_id: str | None, after: int | None) -> int | None:
    """The position that was asked for. Raises InputError for an id that is none of ours."""
    text = (last_event_id or "").strip()
    if not text:
        return after
    if not _POSITION.fullmatch(text):
        raise InputError(
            "this is not the id of an event", where="header.last-event-id", mend="Send the last one you got."
        )
    return int(text)

"""How large a body may be: whoever announces more is answered at once, whoever sends more is cut off."""

from __future__ import annotations

from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from distributor.web import problems

MOST_BYTES = 1 << 20
_MOST_DIGITS = 20


class BodyLimit:
    """Refuses what says that it is too large without reading any of it, and counts what comes."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        announced = Headers(scope=scope).get("content-length", "0")
        number = announced.isascii() and announced.isdigit() and len(announced) <= _MOST_DIGITS
        if not number or int(announced) > MOST_BYTES:
            await problems.answer(problems.of_status(Request(scope), 413))(scope, receive, send)
            return
        read = 0

        async def counted() -> Message:
            nonlocal read
            message = await receive()
            read += len(message.get("body", b""))
            if read > MOST_BYTES:
                raise HTTPException(413)
            return message

        await self._app(scope, counted, send)

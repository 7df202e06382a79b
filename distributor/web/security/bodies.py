"""How large a body may be: whoever announces more is answered at once, whoever sends more is cut off."""

from __future__ import annotations

from starlette.requests import Request
from starlette.types import ASGIApp, Receive, Scope, Send

from distributor.web import problems

MOST_BYTES = 1 << 20


class AnnouncedBodies:
    """Refuses what says that it is too large, without reading any of it. FastAPI's own limit counts the rest."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""
        if scope["type"] == "http":
            request = Request(scope)
            told = request.headers.get("content-length", "0")
            if not told.isdigit() or int(told[:20]) > MOST_BYTES:
                await problems.answer(problems.of_status(request, 413))(scope, receive, send)
                return
        await self._app(scope, receive, send)

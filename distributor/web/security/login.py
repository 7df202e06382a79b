"""Logging in and out: a key, pasted once, becomes a random token in a cookie that no script can read."""

from __future__ import annotations

from fastapi import Request
from fastapi.responses import Response

from distributor.ledger import keys, sessions
from distributor.ledger.engine import transaction
from distributor.ledger.sessions import Opened
from distributor.telemetry.clock import now
from distributor.web.backstage import Backstage
from distributor.web.errors import UnauthenticatedError
from distributor.web.security import csrf
from distributor.web.security.credentials import COOKIE


def log_in(request: Request, backstage: Backstage, secret: str) -> Opened:
    """A new login with a key; the one that the browser had is over. Give its token to `remember`.

    Raises UnauthenticatedError when the key opens nothing, ForbiddenError for what another site has sent.
    """
    csrf.check_site(request)
    at = now()
    with transaction(backstage.engine) as conn:
        key = keys.shown(conn, secret.strip(), at)
        if key is None:
            raise UnauthenticatedError(
                "this key opens nothing", mend="Is it whole? It may have expired, or been revoked."
            )
        if before := request.cookies.get(COOKIE):
            sessions.close_session(conn, before)
        keys.note_use(conn, key, at)
        return sessions.open_session(conn, key, at, backstage.settings.web.session)


def log_out(request: Request, backstage: Backstage) -> None:
    """Ends the login of this browser. The route that calls it needs a caller, so that it is no other site's doing."""
    if token := request.cookies.get(COOKIE):
        with transaction(backstage.engine) as conn:
            sessions.close_session(conn, token)


def remember(response: Response, request: Request, opened: Opened) -> None:
    """Sets the cookie. Over https only, where the login was; a browser sends it to no script and to no other site."""
    seconds = int((opened.session.expires_at - now()).total_seconds())
    response.set_cookie(
        COOKIE,
        opened.token,
        max_age=max(seconds, 0),
        path="/",
        secure=_https(request),
        httponly=True,
        # A link from a mail or a chat opens the page; what writes has a token, and comes from this site.
        samesite="lax",
    )


def forget(response: Response, request: Request) -> None:
    """Takes the cookie away."""
    response.delete_cookie(COOKIE, path="/", secure=_https(request), httponly=True, samesite="lax")


def _https(request: Request) -> bool:
    return request.url.scheme == "https"

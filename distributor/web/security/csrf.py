"""What a login sends by itself, another site could have sent: a write of the pages must show that it is theirs."""

from __future__ import annotations

import hmac
from urllib.parse import urlsplit

from fastapi import Request
from starlette.datastructures import UploadFile

from distributor.access.roles import ForbiddenError

SAFE = frozenset({"GET", "HEAD", "OPTIONS"})
HEADER = "x-csrf-token"
FIELD = "csrf_token"
_FORMS = ("application/x-www-form-urlencoded", "multipart/form-data")


async def token_of(request: Request) -> str | None:
    """The token that came with a write: in the header, else in the form's field."""
    told = request.headers.get(HEADER)
    if told is not None or not request.headers.get("content-type", "").startswith(_FORMS):
        return told
    # Starlette keeps the form, so that the route reads the same one.
    field = (await request.form(max_files=0)).get(FIELD)
    return None if isinstance(field, UploadFile) else field


def check(request: Request, told: str | None, expected: str) -> None:
    """Raises ForbiddenError unless the write comes from a page of this service, with the token of its login."""
    check_site(request)
    if told is None or not hmac.compare_digest(told.encode("utf-8", "replace"), expected.encode()):
        raise ForbiddenError(
            "this write does not carry the token of its login",
            where="csrf",
            mend="Load the page again; a program sends the token as X-CSRF-Token, or a key instead of a login.",
        )


def check_site(request: Request) -> None:
    """Raises ForbiddenError for what another site has sent, as far as the browser says so."""
    site = request.headers.get("sec-fetch-site")
    origin = request.headers.get("origin")
    # A browser that tells neither is an old one: there the token decides alone.
    if site in (None, "same-origin", "none") and (origin is None or _host(origin) == request.headers.get("host")):
        return
    raise ForbiddenError("another site has sent this", where="csrf", mend="Do it on the page itself.")


def _host(origin: str) -> str:
    try:
        return urlsplit(origin).netloc
    except ValueError:
        return ""

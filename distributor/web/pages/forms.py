"""What forms send: texts, and times that are meant as UTC."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated
from urllib.parse import urlsplit

from fastapi import Form, Request

from distributor.web.errors import InputError

MOST = 500
Text = Annotated[str, Form(max_length=MOST)]
"""A line of text that has to be there."""


def said(text: str, field: str = "reason") -> str:
    """A text that must not be empty. Raises InputError."""
    if not text.strip():
        raise InputError(f"{field} is empty", where=field, mend="Say it in a few words; it is kept in the audit.")
    return text.strip()


def moment(text: str, field: str) -> datetime | None:
    """A time of a `datetime-local` field, in UTC; None when it was left empty. Raises InputError."""
    if not text.strip():
        return None
    try:
        found = datetime.fromisoformat(text.strip())
    except ValueError:
        raise InputError(f"{text!r} is no time", where=field, mend="Write it like 2030-12-31T18:00, in UTC.") from None
    return found.replace(tzinfo=UTC) if found.tzinfo is None else found.astimezone(UTC)


def came_from(request: Request) -> str:
    """The page from which a form was sent, as a path of this service; empty when that is not known."""
    referer = urlsplit(request.headers.get("referer", ""))
    if referer.netloc != request.headers.get("host", "") or not referer.path.startswith("/"):
        return ""
    return "/" + referer.path.lstrip("/") + (f"?{referer.query}" if referer.query else "")

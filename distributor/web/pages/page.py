"""Every page is made here: its template, what all of them know, and the message that the page before left behind."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote, urlencode

from fastapi import Request
from fastapi.responses import HTMLResponse, RedirectResponse
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from distributor.access.roles import Act
from distributor.telemetry.clock import now
from distributor.web.pages import wording
from distributor.web.security import CSRF_FIELD, Caller

_TEMPLATES = Path(__file__).parent.parent / "templates"
_FLASH = "distributor_said"
_FLASH_LASTS_SECONDS = 60
_LONGEST_FLASH = 1000
_SECTIONS = (
    ("/", "Environments"),
    ("/releases", "Releases"),
    ("/compare", "Compare"),
    ("/requests", "Requests"),
    ("/letters", "Letters"),
    ("/audit", "Audit"),
)
_FEED = "/v1/events"
_CHANGES = "htmx:sse:after:connection from:#feed, htmx:sse:after:message from:#feed throttle:700ms"


def page(
    request: Request,
    who: Caller | None,
    template: str,
    *,
    section: str = "",
    live: bool = False,
    every: str = "",
    feed_of: str = "",
    status: int = 200,
    **context: Any,
) -> HTMLResponse:
    """A page, or what changes of it where the browser asks for that alone (then the template is the same).

    `live`: it is asked for again whenever the feed tells of something (`feed_of`: in this environment alone), and
    `every` so often (`2s`) for what only time changes. `section` is the part of the navigation that it belongs to.
    """
    partial = live and request.headers.get("hx-request") == "true"
    here = request.url.path + (f"?{request.url.query}" if request.url.query else "")
    said = None if partial else request.cookies.get(_FLASH)
    known = {
        "layout": "fragment.html" if partial else "base.html",
        "principal": who.principal if who else None,
        "may": who.may if who else _nothing,
        "Act": Act,
        "csrf_field": _csrf_field(who),
        "pages": _SECTIONS,
        "section": section,
        "here": here,
        "now": now(),
        "flash": unquote(said) if said else "",
        "live": _feed(feed_of) if live else "",
        "live_attributes": _live_attributes(here, every) if live else Markup(""),
    }
    answer = HTMLResponse(_templates().get_template(template).render({**known, **context}), status)
    # Both are at one address.
    answer.headers["Vary"] = "HX-Request, Cookie"
    if said:
        answer.delete_cookie(_FLASH, path="/", httponly=True, samesite="strict")
    return answer


def done(request: Request, to: str, said: str) -> RedirectResponse:
    """After a write: on to a page that reads, which tells what was done. `to` is a path of this service."""
    answer = RedirectResponse(to, 303)
    answer.set_cookie(
        _FLASH,
        quote(said[:_LONGEST_FLASH]),
        max_age=_FLASH_LASTS_SECONDS,
        path="/",
        secure=request.url.scheme == "https",
        httponly=True,
        samesite="strict",
    )
    return answer


@cache
def _templates() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(_TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
        extensions=["jinja2.ext.do"],
    )
    wording.install(environment)
    return environment


def _feed(environment: str) -> str:
    return f"{_FEED}?{urlencode({'environment': environment})}" if environment else _FEED


def _csrf_field(who: Caller | None) -> Markup:
    if who is None or who.session is None:
        return Markup("")
    return Markup('<input type="hidden" name="{}" value="{}">').format(CSRF_FIELD, who.session.csrf)


def _live_attributes(here: str, every: str) -> Markup:
    trigger = f"{_CHANGES}, every {every}" if every else _CHANGES
    return Markup(' hx-get="{}" hx-trigger="{}" hx-swap="outerMorph"').format(here, trigger)


def _nothing(act: Act, environment: str | None = None) -> bool:
    return False

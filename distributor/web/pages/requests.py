"""`/requests`: what test teams ask for, who holds what, and when nobody may change over."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Form, Request
from fastapi.responses import HTMLResponse, RedirectResponse

from distributor.access.roles import Act
from distributor.errors import NotThereError
from distributor.ledger import freezes as kept_freezes
from distributor.ledger import refresh_requests
from distributor.ledger.engine import transaction
from distributor.requests import freezes, interventions, refreshing
from distributor.views.freezes import freezes as closed
from distributor.views.requests import requests as known
from distributor.views.status import look
from distributor.views.wording import SHORT
from distributor.web.backstage import AtHand
from distributor.web.errors import InputError
from distributor.web.pages.forms import Text, came_from, moment, said
from distributor.web.pages.page import done, page
from distributor.web.security import Caller, needs

router = APIRouter()
_LISTED = 50
_MOST_RELEASE = 2**31 - 1


@router.get("/requests")
def requests(request: Request, at_hand: AtHand, environment: str = "", who: Caller = needs(Act.READ)) -> HTMLResponse:
    """Everything that keeps environments, or waits for them. `environment` is chosen in the forms beforehand."""
    with transaction(at_hand.engine) as conn:
        status = look(conn, at_hand.settings, who.environments)
        asked = [one for one in known(conn, at_hand.settings, limit=_LISTED).requests if who.sees(one.environment)]
        closing = closed(conn, at_hand.settings, limit=_LISTED)
    config = {name: at_hand.settings.environment(name) for name in who.environments}
    return page(
        request,
        who,
        "requests.html",
        section="/requests",
        live=True,
        every="30s",
        chosen=environment,
        names=who.environments,
        requests=asked,
        holds=[(standing.environment, hold) for standing in status.environments for hold in standing.holds],
        freezes=[one for one in closing.freezes if one.environment is None or who.sees(one.environment)],
        windows=[one for one in closing.windows if who.sees(one.environment)],
        queued=[standing for standing in status.environments if standing.queued or standing.rollout],
        systems=list(dict.fromkeys(name for one in config.values() for name in one.systems)),
    )


@router.post("/requests/refresh")
def refresh(
    request: Request,
    at_hand: AtHand,
    environment: Annotated[str, Form(max_length=100)],
    release: Text = "",
    as_of: Text = "",
    systems: Annotated[list[str] | None, Form()] = None,
    reset: Annotated[bool, Form()] = False,
    reason: Text = "",
    who: Caller = needs(Act.REQUEST_REFRESH, in_body=True),
) -> RedirectResponse:
    """Asks for a refresh, behind those that were asked for before."""
    who.check(Act.REQUEST_REFRESH, environment)
    asked = refreshing.request(
        at_hand.engine,
        at_hand.settings,
        at_hand.store,
        environment,
        release=_release(release),
        as_of=moment(as_of, "as_of"),
        systems=systems or (),
        reset=reset,
        by=who.name,
        reason=said(reason),
    )
    return done(request, "/requests", f"Request {asked[:SHORT]}: a refresh of {environment}.")


@router.post("/requests/{number}/withdraw")
def withdraw(
    request: Request,
    at_hand: AtHand,
    number: str,
    reason: Text = "",
    who: Caller = needs(Act.REQUEST_REFRESH, in_body=True),
) -> RedirectResponse:
    """Takes the caller's own request back; that of others takes somebody who may overrule them."""
    with transaction(at_hand.engine) as conn:
        found = refresh_requests.request(conn, number)
    if found is None or not who.sees(found.environment):
        raise NotThereError("there is no such request", where="ledger", mend="The page of requests has them.")
    who.check(Act.REQUEST_REFRESH if found.by == who.name else Act.OVERRULE, found.environment)
    refreshing.withdraw(at_hand.engine, at_hand.settings, number, by=who.name, reason=reason.strip())
    return done(request, "/requests", f"Request {number[:SHORT]} is withdrawn.")


@router.post("/requests/hold")
def hold(
    request: Request,
    at_hand: AtHand,
    environment: Annotated[str, Form(max_length=100)],
    reason: Text = "",
    until: Text = "",
    who: Caller = needs(Act.HOLD, in_body=True),
) -> RedirectResponse:
    """Reserves an environment in the caller's name."""
    who.check(Act.HOLD, environment)
    why, end = said(reason), moment(until, "until")
    step = interventions.hold(at_hand.engine, at_hand.settings, environment, owner=who.name, reason=why, until=end)
    return done(request, "/requests", " ".join((f"{environment} is held.", *step.alarms)))


@router.post("/requests/freeze")
def freeze(
    request: Request,
    at_hand: AtHand,
    environment: Annotated[str, Form(max_length=100)] = "",
    since: Text = "",
    until: Text = "",
    reason: Text = "",
    who: Caller = needs(Act.FREEZE, in_body=True),
) -> RedirectResponse:
    """Nobody changes over from one time to another: in one environment, or in all."""
    who.check(Act.FREEZE, environment or None)
    end = moment(until, "until")
    if end is None:
        raise InputError("a freeze has an end", where="until", mend="Say until when; it can be ended before.")
    freezes.freeze(
        at_hand.engine,
        at_hand.settings,
        environment=environment or None,
        since=moment(since, "since"),
        until=end,
        by=who.name,
        reason=said(reason),
    )
    return done(request, "/requests", f"{environment or 'Every environment'} is frozen until {end:%Y-%m-%d %H:%M} UTC.")


@router.post("/requests/freezes/{number}/end")
def end_freeze(
    request: Request,
    at_hand: AtHand,
    number: str,
    reason: Text = "",
    who: Caller = needs(Act.FREEZE, in_body=True),
) -> RedirectResponse:
    """Ends a freeze before its time."""
    with transaction(at_hand.engine) as conn:
        found = kept_freezes.freeze(conn, number)
    if found is None or not (found.environment is None or who.sees(found.environment)):
        raise NotThereError("there is no such freeze", where="ledger", mend="The page of requests has them.")
    who.check(Act.FREEZE, found.environment)
    freezes.end_freeze(at_hand.engine, at_hand.settings, number, by=who.name, reason=reason.strip())
    return done(request, came_from(request) or "/requests", f"The freeze of {found.by} has ended.")


def _release(text: str) -> int | None:
    if not text.strip():
        return None
    if not text.strip().isdecimal() or int(text) > _MOST_RELEASE:
        raise InputError(f"{text!r} is no release", where="release", mend="Write its number, or leave it empty.")
    return int(text)

"""What can be done to an environment: each of these leads back to the page that it was asked for on."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Form, Request
from fastapi.responses import RedirectResponse

from distributor.access.roles import Act
from distributor.requests import interventions, pins, promotion, rollouts
from distributor.requests.calls import call_trigger
from distributor.requests.verifications import begin_verification
from distributor.web.backstage import AtHand
from distributor.web.errors import InputError
from distributor.web.pages.forms import Text, came_from, moment, said
from distributor.web.pages.page import done
from distributor.web.security import Caller, needs

router = APIRouter(prefix="/environments/{environment}")
_MOST_RELEASE = 2**31 - 1


@router.post("/hold")
def hold(
    request: Request,
    at_hand: AtHand,
    environment: str,
    reason: Text = "",
    until: Text = "",
    who: Caller = needs(Act.HOLD),
) -> RedirectResponse:
    """Reserves it, in the caller's name."""
    why, end = said(reason), moment(until, "until")
    step = interventions.hold(at_hand.engine, at_hand.settings, environment, owner=who.name, reason=why, until=end)
    return _back(request, environment, " ".join((f"{environment} is held.", *step.alarms)))


@router.post("/release-hold")
def release_hold(
    request: Request,
    at_hand: AtHand,
    environment: str,
    owner: Text = "",
    reason: Text = "",
    who: Caller = needs(Act.HOLD),
) -> RedirectResponse:
    """Ends the caller's own hold; that of others takes somebody who may overrule them."""
    owner = owner or who.name
    if owner != who.name:
        who.check(Act.OVERRULE, environment)
    interventions.release_hold(
        at_hand.engine, at_hand.settings, environment, by=who.name, owner=owner, reason=reason.strip()
    )
    return _back(request, environment, f"The hold of {owner} in {environment} has ended.")


@router.post("/rollback")
def rollback(
    request: Request,
    at_hand: AtHand,
    environment: str,
    reason: Text = "",
    to: Text = "",
    who: Caller = needs(Act.ROLLBACK),
) -> RedirectResponse:
    """Takes all of it back: to the release before, or to one that is named."""
    why = said(reason)
    asked = rollouts.rollback(
        at_hand.engine, at_hand.settings, at_hand.store, environment, to=_release(to), by=who.name, reason=why
    )
    return done(request, f"/rollouts/{asked}", f"{environment} goes back.")


@router.post("/promote")
def promote(
    request: Request,
    at_hand: AtHand,
    environment: str,
    source: Annotated[str, Form(min_length=1, max_length=100)],
    reason: Text = "",
    who: Caller = needs(Act.PROMOTE),
) -> RedirectResponse:
    """Asks for exactly what another environment shows."""
    why = said(reason)
    who.check(Act.READ, source)
    asked = promotion.promote(
        at_hand.engine, at_hand.settings, at_hand.store, source, environment, by=who.name, reason=why
    )
    return done(request, f"/rollouts/{asked}", f"What {source} shows was asked for in {environment}.")


@router.post("/detach")
def detach(
    request: Request,
    at_hand: AtHand,
    environment: str,
    system: Annotated[str, Form(min_length=1, max_length=100)],
    reason: Text = "",
    who: Caller = needs(Act.DETACH),
) -> RedirectResponse:
    """Goes on without a system that cannot be reached."""
    why = said(reason)
    interventions.detach(at_hand.engine, at_hand.settings, environment, member=system, by=who.name, reason=why)
    return _back(request, environment, f"{system} is detached from {environment}.")


@router.post("/pin")
def pin(
    request: Request, at_hand: AtHand, environment: str, reason: Text = "", who: Caller = needs(Act.PIN)
) -> RedirectResponse:
    """Keeps it at what it shows as far as nobody asks."""
    pins.pin(at_hand.engine, at_hand.settings, environment, by=who.name, reason=said(reason))
    return _back(request, environment, f"{environment} is pinned.")


@router.post("/follow")
def follow(
    request: Request, at_hand: AtHand, environment: str, reason: Text = "", who: Caller = needs(Act.FOLLOW)
) -> RedirectResponse:
    """Ends its pin."""
    pins.follow(at_hand.engine, at_hand.settings, environment, by=who.name, reason=reason.strip())
    return _back(request, environment, f"{environment} follows new releases again.")


@router.post("/verify")
def verify(
    request: Request,
    at_hand: AtHand,
    environment: str,
    systems: Annotated[list[str] | None, Form()] = None,
    reason: Text = "",
    who: Caller = needs(Act.VERIFY),
) -> RedirectResponse:
    """Has every row read where it lies; that goes on beside this answer, for minutes."""
    why = said(reason)
    at_hand.verifier.admit()
    try:
        asked = begin_verification(
            at_hand.engine, at_hand.settings, environment, systems=systems or (), by=who.name, reason=why
        )
    except BaseException:
        at_hand.verifier.give_back()
        raise
    at_hand.verifier.go_on(at_hand.settings, at_hand.store, asked)
    return _back(request, environment, f"What {', '.join(asked.systems)} of {environment} store is being verified.")


@router.post("/call")
def call(
    request: Request,
    at_hand: AtHand,
    environment: str,
    trigger: Annotated[str, Form(min_length=1, max_length=100)],
    reason: Text = "",
    who: Caller = needs(Act.CALL_TRIGGER),
) -> RedirectResponse:
    """Calls a trigger; a coordinator takes the call at once."""
    call_trigger(at_hand.engine, at_hand.settings, environment, trigger, by=who.name, reason=said(reason))
    return _back(request, environment, f"The trigger {trigger} of {environment} is called.")


def _back(request: Request, environment: str, what: str) -> RedirectResponse:
    return done(request, came_from(request) or f"/environments/{environment}", what)


def _release(text: str) -> int | None:
    if not text.strip():
        return None
    if not text.strip().isdecimal() or int(text) > _MOST_RELEASE:
        raise InputError(f"{text!r} is no release", where="to", mend="Write its number, or leave it empty.")
    return int(text)

"""`/rollouts/{rollout}`: one rollout from the request to its end, live; and what can be done to it."""

from __future__ import annotations

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse, RedirectResponse

from distributor.access.roles import Act
from distributor.ledger.engine import transaction
from distributor.requests import approvals, interventions
from distributor.rollout.gates import approvals_missing
from distributor.views.rollout import find, told
from distributor.views.status import look
from distributor.views.wording import SHORT
from distributor.web.backstage import AtHand
from distributor.web.pages.forms import Text, said
from distributor.web.pages.page import done, page
from distributor.web.pages.places import OF_ROLLOUT, environment_of
from distributor.web.pages.timeline import pictures
from distributor.web.security import Caller, needs

router = APIRouter()


@router.get("/rollouts/{rollout}")
def rollout(request: Request, at_hand: AtHand, rollout: str, who: Caller = needs(Act.READ, OF_ROLLOUT)) -> HTMLResponse:
    """One rollout."""
    with transaction(at_hand.engine) as conn:
        record = find(conn, rollout)
        ended = record.rollout.state.ended
        known = record.environment in at_hand.settings.environments
        status = look(conn, at_hand.settings, [record.environment]) if known else None
        standing = status.environments[0] if status else None
        story = told(conn, record, None if ended else standing)
    active = standing is not None and standing.rollout == record.rollout.id
    loads = {m.system: m.load for m in standing.members if m.load} if standing and active else {}
    return page(
        request,
        who,
        "rollout.html",
        section="/",
        live=True,
        every="" if ended else "5s",
        feed_of=record.environment if known else "",
        story=story,
        standing=standing,
        asked=record.rollout,
        missing=approvals_missing(record.rollout),
        drawn=pictures(story, loads, status.at if status else record.rollout.requested_at),
    )


@router.post("/rollouts/{rollout}/approve")
def approve(
    request: Request, at_hand: AtHand, rollout: str, reason: Text = "", who: Caller = needs(Act.APPROVE, OF_ROLLOUT)
) -> RedirectResponse:
    """Agrees to it."""
    approvals.approve(at_hand.engine, at_hand.settings, rollout, by=who.name, reason=reason.strip())
    return done(request, f"/rollouts/{rollout}", f"You have approved rollout {rollout[:SHORT]}.")


@router.post("/rollouts/{rollout}/reject")
def reject(
    request: Request, at_hand: AtHand, rollout: str, reason: Text = "", who: Caller = needs(Act.APPROVE, OF_ROLLOUT)
) -> RedirectResponse:
    """Calls it off because somebody does not agree."""
    approvals.reject(at_hand.engine, at_hand.settings, rollout, by=who.name, reason=said(reason))
    return done(request, f"/rollouts/{rollout}", f"You have rejected rollout {rollout[:SHORT]}: nothing flips.")


@router.post("/rollouts/{rollout}/abort")
def abort(
    request: Request, at_hand: AtHand, rollout: str, reason: Text = "", who: Caller = needs(Act.ABORT, OF_ROLLOUT)
) -> RedirectResponse:
    """Calls it off: nothing flips, or all flip back."""
    with transaction(at_hand.engine) as conn:
        environment = environment_of(conn, rollout)
    interventions.abort(
        at_hand.engine, at_hand.settings, environment, by=who.name, reason=said(reason), rollout_id=rollout
    )
    return done(request, f"/rollouts/{rollout}", f"Rollout {rollout[:SHORT]} is called off.")

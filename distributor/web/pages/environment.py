"""`/environments/{environment}`: one environment with all there is to say about it, and all that can be done to it."""

from __future__ import annotations

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse

from distributor.access.roles import Act
from distributor.ledger.engine import transaction
from distributor.views.rollouts import rollouts
from distributor.views.status import look
from distributor.views.triggers import triggers
from distributor.views.verifications import verifications
from distributor.web.backstage import AtHand
from distributor.web.pages.page import page
from distributor.web.pages.published import published
from distributor.web.pages.trends import SHOWN, trends
from distributor.web.security import Caller, needs

router = APIRouter()
_LISTED = 15
_AUDITS = 5


@router.get("/environments/{environment}")
def environment(request: Request, at_hand: AtHand, environment: str, who: Caller = needs(Act.READ)) -> HTMLResponse:
    """One environment."""
    with transaction(at_hand.engine) as conn:
        status = look(conn, at_hand.settings, [environment])
        lately = rollouts(conn, environment, limit=2 * SHOWN).rollouts
        started_by = triggers(conn, at_hand.settings, environment).triggers
        audited = verifications(conn, environment, limit=_AUDITS).verifications
        drawn = trends(lately, published(conn, {line.release for line in lately}))
    [standing] = status.environments
    config = at_hand.settings.environment(environment)
    return page(
        request,
        who,
        "environment.html",
        section="/",
        live=True,
        every="5s" if standing.rollout else "30s",
        feed_of=environment,
        status_at=status,
        standing=standing,
        config=config,
        lately=lately[:_LISTED],
        triggers=started_by,
        audited=audited,
        others=[name for name in who.environments if name != environment],
        trends=drawn,
    )

"""`/`: which release every system of every environment shows."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse

from distributor.access.roles import Act
from distributor.ledger.engine import transaction
from distributor.views import rollouts as rollout_views
from distributor.views.status import look
from distributor.web.backstage import AtHand
from distributor.web.pages.page import page
from distributor.web.pages.published import published
from distributor.web.pages.trends import SHOWN, trends
from distributor.web.security import Caller, needs

if TYPE_CHECKING:
    from distributor.settings import Settings
    from distributor.views.status import Status

router = APIRouter()


@router.get("/")
def environments(request: Request, at_hand: AtHand, who: Caller = needs(Act.READ)) -> HTMLResponse:
    """The environments that the caller may see."""
    with transaction(at_hand.engine) as conn:
        status = look(conn, at_hand.settings, who.environments)
        lately = rollout_views.rollouts(conn, limit=2 * SHOWN).rollouts
        shown = [line for line in lately if who.sees(line.environment)]
        drawn = trends(shown, published(conn, {line.release for line in shown}))
    return page(
        request,
        who,
        "matrix.html",
        section="/",
        live=True,
        every="5s" if any(environment.rollout for environment in status.environments) else "30s",
        status=200,
        standing=status if who.reads_clear else status.without_rows,
        systems=_systems(at_hand.settings, status),
        by_system={e.environment: {member.system: member for member in e.members} for e in status.environments},
        trends=drawn,
    )


def _systems(settings: Settings, status: Status) -> list[str]:
    """All systems, each once, in the config's order; after them what the ledger knows and the config has no more."""
    names = [system for e in status.environments for system in settings.environment(e.environment).systems]
    return list(dict.fromkeys([*names, *(member.system for e in status.environments for member in e.members)]))

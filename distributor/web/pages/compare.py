"""`/compare`: two environments side by side."""

from __future__ import annotations

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse

from distributor.access.roles import Act
from distributor.errors import UsageError
from distributor.ledger.engine import transaction
from distributor.views.comparison import comparison
from distributor.web.backstage import AtHand
from distributor.web.pages.page import page
from distributor.web.security import Caller, needs

router = APIRouter()
_SAMPLE = 10


@router.get("/compare")
def compare(
    request: Request, at_hand: AtHand, left: str = "", right: str = "", who: Caller = needs(Act.READ)
) -> HTMLResponse:
    """How the rows that `left` shows would become those of `right`; without names, the form to choose them."""
    found, problem = None, ""
    if left and right:
        who.check(Act.READ, left)
        who.check(Act.READ, right)
        try:
            with transaction(at_hand.engine) as conn:
                found = comparison(conn, at_hand.settings, at_hand.store, left, right, limit=_SAMPLE)
        except UsageError as error:
            problem = str(error)
    names = who.environments
    return page(
        request,
        who,
        "compare.html",
        section="/compare",
        status=422 if problem else 200,
        names=names,
        left=left or (names[0] if names else ""),
        right=right or (names[1] if len(names) > 1 else ""),
        compared=found,
        problem=problem,
    )

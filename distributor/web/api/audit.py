"""Who did what, when and why."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Request, Response

from distributor.access.roles import Act
from distributor.ledger.engine import transaction
from distributor.views import audit as views
from distributor.views.audit import Acts
from distributor.web import paging
from distributor.web.api.fields import Limit, Name, OfEnvironment
from distributor.web.backstage import AtHand
from distributor.web.paging import After
from distributor.web.security import Caller, needs

router = APIRouter(tags=["audit"])


@router.get("/audit", operation_id="audit", summary="See who did what", responses={200: paging.LINKED})
def audit(
    request: Request,
    response: Response,
    backstage: AtHand,
    environment: OfEnvironment = None,
    who: Annotated[Name | None, Query(description="Only what this one did, to the letter.")] = None,
    what: Annotated[Name | None, Query(description="Only this: the verb, to the letter.")] = None,
    limit: Limit = 50,
    after: After = None,
    caller: Caller = needs(Act.READ),
) -> Acts:
    """Newest first. A key for some environments sees what concerns those."""
    with transaction(backstage.engine) as conn:
        found = views.audit(
            conn,
            caller.one(environment),
            limit=limit + 1,
            before=paging.number(after),
            among=caller.scope,
            who=who,
            what=what,
        )
    return paging.cut(request, response, found, "audit", limit, ("id",))

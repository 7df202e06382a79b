"""`/audit`: who did what, when and why; and whether that is as it was sealed."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Request
from fastapi.responses import HTMLResponse

from distributor.access.roles import Act
from distributor.ledger.engine import transaction
from distributor.views.audit import audit
from distributor.views.seals import seals
from distributor.web.backstage import AtHand
from distributor.web.pages.page import page
from distributor.web.security import Caller, needs

router = APIRouter()
_ENTRIES = (100, 500, 2000)
_MOST = 2**63 - 1


@router.get("/audit")
def acts(
    request: Request,
    at_hand: AtHand,
    environment: str = "",
    by: Annotated[str, Query(max_length=200)] = "",
    what: Annotated[str, Query(max_length=200)] = "",
    entries: Annotated[int, Query(ge=1, le=_ENTRIES[-1])] = _ENTRIES[0],
    before: Annotated[int | None, Query(ge=1, le=_MOST)] = None,
    check: bool = False,
    head: Annotated[str, Query(max_length=100)] = "",
    who: Caller = needs(Act.READ),
) -> HTMLResponse:
    """The newest acts first. `check` has the whole chain of seals computed anew, which takes as long as it is."""
    if environment:
        who.check(Act.READ, environment)
    found_seals = None
    if check and not who.principal.environments:
        with transaction(at_hand.engine) as conn:
            found_seals = seals(conn, head.strip() or None)
    with transaction(at_hand.engine) as conn:
        found = audit(
            conn,
            environment or None,
            limit=entries,
            before=before,
            among=who.environments if who.principal.environments else None,
            who=by.strip() or None,
            what=what.strip() or None,
        ).audit
    return page(
        request,
        who,
        "audit.html",
        section="/audit",
        acts=found,
        names=who.environments,
        environment=environment,
        by=by,
        what=what,
        entries=entries,
        choices=_ENTRIES,
        before=before,
        older=found[-1].id if len(found) == entries else None,
        seals=found_seals,
        head=head,
        query={"environment": environment, "by": by, "what": what, "entries": entries},
    )

"""`/releases` and `/releases/{number}`: what was published, and what each release changed, field by field."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Request
from fastapi.responses import HTMLResponse

from distributor.access.roles import Act
from distributor.ledger import releases as known
from distributor.ledger.engine import transaction
from distributor.views.changes import changes
from distributor.views.releases import ReleaseLine, releases
from distributor.views.status import states
from distributor.web.backstage import AtHand
from distributor.web.pages.page import page
from distributor.web.security import Caller, needs

router = APIRouter()
_RELEASES = 50
_ROWS = 50
_MOST = 2**31 - 1


@router.get("/releases")
def every(
    request: Request,
    at_hand: AtHand,
    before: Annotated[int | None, Query(ge=1, le=_MOST)] = None,
    who: Caller = needs(Act.READ),
) -> HTMLResponse:
    """Releases, newest first, and which environment shows which."""
    with transaction(at_hand.engine) as conn:
        found = releases(conn, limit=_RELEASES, before=before).releases
        shown = states(conn, at_hand.settings, who.environments)
    by_release: dict[int, list[str]] = {}
    for name, environment in shown.items():
        by_release.setdefault(environment.shown, []).append(name)
    older = found[-1].number if len(found) == _RELEASES and found[-1].number > 1 else None
    return page(
        request,
        who,
        "releases.html",
        section="/releases",
        live=before is None,
        releases=found,
        shown_by=by_release,
        before=before,
        older=older,
    )


@router.get("/releases/{number}")
def one(
    request: Request,
    at_hand: AtHand,
    number: int,
    dataset: str = "",
    key: str = "",
    after: Annotated[int, Query(ge=0, le=_MOST)] = 0,
    who: Caller = needs(Act.READ),
) -> HTMLResponse:
    """What a release changed: all of it, one dataset, or the row of one key (its columns with spaces between).

    Whoever is for masked environments only is told how many rows it changed, and no rows.
    """
    parts = key.split() if key.strip() else []
    with transaction(at_hand.engine) as conn:
        record = known.release(conn, number)
        found = (
            changes(conn, at_hand.store, number, dataset=dataset or None, key=parts, limit=_ROWS, after=after)
            if who.reads_clear
            else None
        )
    return page(
        request,
        who,
        "release.html",
        section="/releases",
        release=ReleaseLine.of(record),
        changes=found,
        dataset=dataset,
        key_text=key,
        after=after,
        limit=_ROWS,
    )

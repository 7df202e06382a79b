"""What was published, what it changed, and one product through all of it."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path, Query, Request, Response
from pydantic import AfterValidator, Field

from distributor.access.roles import Act
from distributor.ledger import releases as ledger
from distributor.ledger.engine import transaction
from distributor.views import changes as changed
from distributor.views import product as products
from distributor.views import releases as listed
from distributor.views.changes import Changes
from distributor.views.product import Product
from distributor.views.releases import ReleaseLine, Releases
from distributor.web import paging
from distributor.web.api.fields import Dataset, Key, Limit, Release, readable
from distributor.web.backstage import AtHand
from distributor.web.errors import not_there
from distributor.web.paging import After
from distributor.web.security import Caller, needs

router = APIRouter(tags=["releases"])


@router.get("/releases", operation_id="releases", summary="List the releases", responses={200: paging.LINKED})
def releases(
    request: Request,
    response: Response,
    backstage: AtHand,
    limit: Limit = 20,
    after: After = None,
    who: Caller = needs(Act.READ),
) -> Releases:
    """What was published, newest first."""
    with transaction(backstage.engine) as conn:
        found = listed.releases(conn, limit=limit + 1, before=paging.number(after))
    return paging.cut(request, response, found, "releases", limit, ("number",))


@router.get("/releases/{release}", operation_id="release", summary="See one release")
def release(release: Release, backstage: AtHand, who: Caller = needs(Act.READ)) -> ReleaseLine:
    """When it was made, and how many rows of each dataset it changed."""
    with transaction(backstage.engine) as conn, not_there():
        return ReleaseLine.of(ledger.release(conn, release))


@router.get(
    "/releases/{release}/changes",
    operation_id="changes",
    summary="See what a release changed",
    responses={200: paging.LINKED},
)
def changes(
    request: Request,
    response: Response,
    release: Release,
    backstage: AtHand,
    dataset: Dataset = None,
    key: Key = [],  # noqa: B006 - FastAPI copies it
    limit: Limit = 100,
    after: After = None,
    who: Caller = needs(Act.READ),
) -> Changes:
    """Rows and their fields, before and after, in the order of the release."""
    who.check_clear()
    start = paging.number(after) or 0
    with transaction(backstage.engine) as conn:
        with not_there():
            ledger.release(conn, release)
        found = changed.changes(conn, backstage.store, release, dataset=dataset, key=key, limit=limit, after=start)
    if start + len(found.changes) < found.total:
        paging.link(request, response, start + len(found.changes))
    return found


@router.get("/products/{key:path}", operation_id="product", summary="See one product")
def product(
    key: Annotated[
        str,
        Path(max_length=1000, description="Its key; of a key of several columns the first one."),
        AfterValidator(readable),
    ],
    backstage: AtHand,
    more: Annotated[
        list[Annotated[str, Field(max_length=1000), AfterValidator(readable)]],
        Query(max_length=31, description="The other columns of its key, in their order."),
    ] = [],  # noqa: B006 - FastAPI copies it
    dataset: Dataset = None,
    limit: Annotated[int, Query(ge=1, le=100, description="At most so many changes of each row.")] = 20,
    who: Caller = needs(Act.READ),
) -> Product:
    """Its row now, in every environment and system, and the releases that changed it."""
    who.check_clear()
    with transaction(backstage.engine) as conn, not_there():
        found = products.product(conn, backstage.settings, backstage.store, (key, *more), dataset, limit=limit)
    rows = [
        row.model_copy(update={"environments": tuple(at for at in row.environments if who.sees(at.environment))})
        for row in found.rows
    ]
    return found.model_copy(update={"rows": tuple(rows)})

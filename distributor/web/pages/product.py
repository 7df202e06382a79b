"""`/products/{key}`: one product, in every environment side by side, and what releases did to it."""

from __future__ import annotations

from typing import Annotated
from urllib.parse import quote

from fastapi import APIRouter, Query, Request
from fastapi.responses import HTMLResponse, RedirectResponse

from distributor.access.roles import Act
from distributor.ledger.engine import transaction
from distributor.views.product import ProductRow, product
from distributor.web.backstage import AtHand
from distributor.web.pages.page import page
from distributor.web.security import Caller, needs

router = APIRouter()
_CHANGES = 20


@router.get("/products")
def find(key: str = "", who: Caller = needs(Act.READ)) -> RedirectResponse:
    """From the field in the head of every page to the product."""
    return RedirectResponse(f"/products/{quote(key.strip(), safe='')}" if key.strip() else "/", 303)


@router.get("/products/{key:path}")
def show(
    request: Request,
    at_hand: AtHand,
    key: str,
    more: Annotated[list[str] | None, Query()] = None,
    dataset: str = "",
    who: Caller = needs(Act.READ),
) -> HTMLResponse:
    """One product. `more`: the further columns of a key that has several."""
    who.check_clear()
    parts = (key, *(more or ()))
    with transaction(at_hand.engine) as conn:
        found = product(
            conn,
            at_hand.settings,
            at_hand.store,
            parts,
            dataset or None,
            limit=_CHANGES,
            environments=who.scope,
        )
    return page(
        request,
        who,
        "product.html",
        section="/releases",
        key_text=" ".join(parts),
        product=found,
        tables=[(row, _columns(row), row.environments) for row in found.rows],
        sees=who.sees,
    )


def _columns(row: ProductRow) -> list[str]:
    """The row's columns in the newest release, and those that only an environment still has."""
    rows = [row.row, *(place.row for place in row.environments)]
    return [name for name in dict.fromkeys(name for found in rows if found for name in found) if name not in row.key]

"""`/environments/{environment}/plan`: what a deploy would change, and the button that does exactly that."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from fastapi import APIRouter, Form, Query, Request
from fastapi.responses import HTMLResponse, RedirectResponse

from distributor.access.roles import Act
from distributor.requests.plans import request_planned
from distributor.views.plan import plan as planned
from distributor.views.wording import count
from distributor.web.backstage import AtHand
from distributor.web.pages.forms import Text
from distributor.web.pages.page import done, page
from distributor.web.security import Caller, needs

if TYPE_CHECKING:
    from distributor.settings import Settings
    from distributor.views.plan import Planned, PlannedTable

router = APIRouter()
_SAMPLE = 5
_MOST_RELEASE = 2**31 - 1


@router.get("/environments/{environment}/plan")
def plan(
    request: Request,
    at_hand: AtHand,
    environment: str,
    release: Annotated[int | None, Query(ge=1, le=_MOST_RELEASE)] = None,
    who: Caller = needs(Act.READ),
) -> HTMLResponse:
    """What taking the environment to a release (the newest, if none is named) would change."""
    found = planned(at_hand.engine, at_hand.settings, at_hand.store, environment, release=release, limit=_SAMPLE)
    return page(
        request,
        who,
        "plan.html",
        section="/",
        plan=found,
        samples=[(system.system, table) for system in found.systems for table in system.tables if table.sample],
        missing=_missing(at_hand.settings, environment),
        button=button(found),
        others=[name for name in who.environments if name != environment],
    )


@router.post("/environments/{environment}/deploy")
def deploy(
    request: Request,
    at_hand: AtHand,
    environment: str,
    release: Annotated[int, Form(ge=1, le=_MOST_RELEASE)],
    plan: Annotated[str, Form(min_length=64, max_length=64)],
    reason: Text = "",
    who: Caller = needs(Act.DEPLOY),
) -> RedirectResponse:
    """Rolls out what this plan said, and nothing else: raises RefusedError when it is stale."""
    asked = request_planned(
        at_hand.engine,
        at_hand.settings,
        at_hand.store,
        environment,
        plan,
        release=release,
        by=who.name,
        reason=reason.strip(),
    )
    return done(request, f"/rollouts/{asked}", f"Release {release} was asked for in {environment}.")


def button(plan: Planned) -> str:
    """What the button says: what it does."""
    rows = sum(map(_rows, (table for system in plan.systems for table in system.tables)))
    amount = count(rows, "row") if plan.different else "nothing changes, all is verified"
    return f"Deploy release {plan.release} to {plan.environment}: {count(len(plan.systems), 'system')}, {amount}"


def _rows(table: PlannedTable) -> int:
    return table.rows_in + table.rows_updated + table.rows_out


def _missing(settings: Settings, environment: str) -> list[str]:
    """What a deploy would need of others before it flips."""
    needed = settings.environment(environment).approvals
    if needed is None or not needed.needed or "deploy" not in needed.of:
        return []
    return [f"{count(needed.needed, 'approval')} by others than whoever asks"]

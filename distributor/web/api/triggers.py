"""Triggers: what starts rollouts by itself, and calling one."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path, Response
from pydantic import AfterValidator
from sqlalchemy import Connection, Engine

from distributor.access.roles import Act
from distributor.errors import NotThereError
from distributor.ledger.engine import transaction
from distributor.requests.calls import call_trigger
from distributor.views import triggers as views
from distributor.views.triggers import TriggerCall, Triggers
from distributor.web.api.fields import Environment, Reasoned, WholeId, readable
from distributor.web.api.finding import CALL
from distributor.web.backstage import AtHand
from distributor.web.security import Caller, needs
from distributor.web.writing import Done, Writing

router = APIRouter(tags=["triggers"])


@router.get("/environments/{environment}/triggers", operation_id="triggers", summary="See an environment's triggers")
def triggers(environment: Environment, backstage: AtHand, who: Caller = needs(Act.READ)) -> Triggers:
    """What each of them decided last, and why."""
    with transaction(backstage.engine) as conn:
        return views.triggers(conn, backstage.settings, environment)


@router.get("/trigger-calls/{call}", operation_id="trigger-call", summary="See what became of a trigger's call")
def trigger_call(call: WholeId, backstage: AtHand, who: Caller = needs(Act.READ, CALL)) -> TriggerCall:
    """Whether a coordinator has taken it, and what it came to."""
    with transaction(backstage.engine) as conn:
        return views.call(conn, call)


@router.post(
    "/environments/{environment}/triggers/{name}/calls",
    operation_id="call",
    summary="Call a trigger",
    status_code=202,
    response_model=TriggerCall,
)
def call(
    environment: Environment,
    name: Annotated[str, Path(max_length=200, description="The trigger."), AfterValidator(readable)],
    wanted: Reasoned,
    backstage: AtHand,
    write: Writing,
    who: Caller = needs(Act.CALL_TRIGGER),
) -> Response:
    """One with `on = "message"`: a coordinator takes the call at once, and asks for the newest release."""
    known = [trigger.name for trigger in backstage.settings.environment(environment).triggers]
    if name not in known:
        raise NotThereError(
            f"there is no trigger {name!r} in {environment}",
            where="config",
            mend=f"Known: {', '.join(known) or 'none'}.",
        )

    def act(engine: Engine, conn: Connection) -> Done:
        called = call_trigger(engine, backstage.settings, environment, name, by=who.name, reason=wanted.reason)
        return Done(views.call(conn, called), f"/v1/trigger-calls/{called}", 202)

    return write.done(who, act, environment=environment)

"""What others say of a rollout: approve it, reject it, call it off."""

from __future__ import annotations

from collections.abc import Callable

from fastapi import APIRouter, Response
from sqlalchemy import Connection, Engine

from distributor.access.roles import Act
from distributor.coordination.step import Step
from distributor.ledger.engine import transaction
from distributor.requests import approvals, interventions
from distributor.views.intervention import Intervention, intervention
from distributor.views.rollout import find
from distributor.views.wording import SHORT
from distributor.web.api.fields import Id, Reasoned
from distributor.web.api.finding import ROLLOUT
from distributor.web.backstage import AtHand, Backstage
from distributor.web.security import Caller, needs
from distributor.web.writing import Done, Write, Writing

router = APIRouter(tags=["rollouts"])


@router.post(
    "/rollouts/{rollout}/approvals",
    operation_id="approve",
    summary="Approve a rollout",
    response_model=Intervention,
)
def approve(
    rollout: Id, wanted: Reasoned, backstage: AtHand, write: Writing, who: Caller = needs(Act.APPROVE, ROLLOUT)
) -> Response:
    """With the last approval that it needs it may change over. Nobody approves their own, and nobody counts twice."""

    def act(engine: Engine, id_: str) -> Step:
        return approvals.approve(engine, backstage.settings, id_, by=who.name, reason=wanted.reason)

    return _judged(backstage, write, who, rollout, "approved", act)


@router.post(
    "/rollouts/{rollout}/rejection", operation_id="reject", summary="Reject a rollout", response_model=Intervention
)
def reject(
    rollout: Id, wanted: Reasoned, backstage: AtHand, write: Writing, who: Caller = needs(Act.APPROVE, ROLLOUT)
) -> Response:
    """A rollout that needs approval is called off; nothing has changed over."""

    def act(engine: Engine, id_: str) -> Step:
        return approvals.reject(engine, backstage.settings, id_, by=who.name, reason=wanted.reason)

    return _judged(backstage, write, who, rollout, "rejected", act)


@router.post(
    "/rollouts/{rollout}/abort", operation_id="abort", summary="Call a rollout off", response_model=Intervention
)
def abort(
    rollout: Id, wanted: Reasoned, backstage: AtHand, write: Writing, who: Caller = needs(Act.ABORT, ROLLOUT)
) -> Response:
    """Nothing has changed over, or everything changes back."""

    def act(engine: Engine, id_: str) -> Step:
        with transaction(engine) as conn:
            environment = find(conn, id_).environment
        return interventions.abort(
            engine, backstage.settings, environment, by=who.name, reason=wanted.reason, rollout_id=id_
        )

    return _judged(backstage, write, who, rollout, "called off", act)


def _judged(
    backstage: Backstage,
    write: Write,
    who: Caller,
    beginning: str,
    word: str,
    act: Callable[[Engine, str], Step],
) -> Response:
    with transaction(backstage.engine) as conn:
        record = find(conn, beginning)

    def judge(engine: Engine, conn: Connection) -> Done:
        step = act(engine, record.rollout.id)
        told = f"rollout {record.rollout.id[:SHORT]} to release {record.rollout.release} is {word} by {who.name}"
        view = intervention(conn, backstage.settings, record.environment, told, step.alarms)
        return Done(view, f"/v1/rollouts/{record.rollout.id}")

    return write.done(who, judge, environment=record.environment)

"""Rollouts: what was asked for, how it goes, and asking for one."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response
from pydantic import ConfigDict, Field
from sqlalchemy import Connection, Engine

from distributor.access.roles import Act
from distributor.ledger import environments as ledger
from distributor.ledger import rollouts as history
from distributor.ledger.engine import transaction
from distributor.requests import promotion
from distributor.requests.plans import request_planned
from distributor.requests.rollouts import request_rollout, rollback
from distributor.rollout.state import Cause
from distributor.settings import Settings
from distributor.views import asked as request_view
from distributor.views import rollouts as listed
from distributor.views.asked import AskedRollout
from distributor.views.rollout import RolloutStory, find
from distributor.views.rollout import rollout as story
from distributor.views.rollouts import Rollouts
from distributor.views.status import look
from distributor.web import paging
from distributor.web.api.fields import Body, Environment, Id, Limit, Name, OfEnvironment, Reason, ReleaseNumber
from distributor.web.api.finding import ROLLOUT
from distributor.web.api.status import IfNoneMatch, tagged
from distributor.web.backstage import AtHand
from distributor.web.errors import named_in_body
from distributor.web.paging import After
from distributor.web.security import Caller, needs
from distributor.web.writing import Done, Writing

router = APIRouter(tags=["rollouts"])


@router.get("/rollouts", operation_id="rollouts", summary="List the rollouts", responses={200: paging.LINKED})
def rollouts(
    request: Request,
    response: Response,
    backstage: AtHand,
    environment: OfEnvironment = None,
    limit: Limit = 20,
    after: After = None,
    who: Caller = needs(Act.READ),
) -> Rollouts:
    """Of one environment, or of all that you may see, newest first."""
    with transaction(backstage.engine) as conn:
        found = listed.rollouts(
            conn, who.one(environment), limit=limit + 1, before=paging.moment(after), among=who.scope
        )
    return paging.cut(request, response, found, "rollouts", limit, ("requested_at", "id"))


@router.get("/rollouts/{rollout}", operation_id="rollout", summary="See one rollout", response_model=RolloutStory)
def rollout(
    rollout: Id, backstage: AtHand, if_none_match: IfNoneMatch = None, who: Caller = needs(Act.READ, ROLLOUT)
) -> Response:
    """Its members, its timeline, and what it waits for. Its ETag may bind a write to how its environment stands."""
    with transaction(backstage.engine) as conn:
        record = find(conn, rollout)
        version = ledger.version(conn, record.environment)
        body = story(conn, backstage.settings, record.rollout.id).model_dump_json().encode()
    return tagged(version, body, if_none_match)


class WantedRollout(Body):
    """A deploy."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"release": 42, "reason": "prices of the spring sale"}]})
    release: ReleaseNumber | None = None
    """The release; the newest when it is left out."""
    plan: str | None = Field(default=None, pattern=r"^[0-9a-fA-F]{8,64}$")
    """The digest of a plan, or its beginning: exactly that change is rolled out, or it is refused."""
    reason: Reason


class WantedRollback(Body):
    """A way back."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"to": 41, "reason": "wrong prices in 42"}]})
    to: ReleaseNumber | None = None
    """The release; left out: the one before, or what goes on is called off."""
    reason: Reason


class WantedPromotion(Body):
    """What another environment shows."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"from": "uat", "reason": "signed off by the test team"}]}
    )
    source: Name = Field(alias="from")
    """The environment whose release it is."""
    reason: Reason


@router.post(
    "/environments/{environment}/rollouts",
    operation_id="deploy",
    summary="Take an environment to a release",
    status_code=202,
    response_model=AskedRollout,
)
def deploy(
    environment: Environment,
    wanted: WantedRollout,
    backstage: AtHand,
    write: Writing,
    who: Caller = needs(Act.DEPLOY),
) -> Response:
    """Every system is staged and checked, then all change over together. Follow it at `Location`."""

    def act(engine: Engine, conn: Connection) -> Done:
        with named_in_body("release"):
            if wanted.plan is not None:
                found = request_planned(
                    engine,
                    backstage.settings,
                    backstage.store,
                    environment,
                    wanted.plan,
                    release=wanted.release,
                    by=who.name,
                    reason=wanted.reason,
                )
            else:
                found = request_rollout(
                    engine,
                    backstage.settings,
                    backstage.store,
                    environment,
                    release=wanted.release,
                    cause=Cause.OPERATOR,
                    by=who.name,
                    reason=wanted.reason,
                )
        return asked(conn, backstage.settings, found)

    return write.done(who, act, environment=environment)


@router.post(
    "/environments/{environment}/rollback",
    operation_id="rollback",
    summary="Take an environment back",
    status_code=202,
    response_model=AskedRollout,
)
def roll_back(
    environment: Environment,
    wanted: WantedRollback,
    backstage: AtHand,
    write: Writing,
    who: Caller = needs(Act.ROLLBACK),
) -> Response:
    """The whole environment, together. While a rollout goes on and no release is named, that one is called off."""

    def act(engine: Engine, conn: Connection) -> Done:
        with named_in_body("to"):
            found = rollback(
                engine,
                backstage.settings,
                backstage.store,
                environment,
                to=wanted.to,
                by=who.name,
                reason=wanted.reason,
            )
        return asked(conn, backstage.settings, found)

    return write.done(who, act, environment=environment)


@router.post(
    "/environments/{environment}/promote",
    operation_id="promote",
    summary="Take an environment to what another one shows",
    status_code=202,
    response_model=AskedRollout,
)
def promote(
    environment: Environment,
    wanted: WantedPromotion,
    backstage: AtHand,
    write: Writing,
    who: Caller = needs(Act.PROMOTE),
) -> Response:
    """Exactly that release, and nothing newer; refused when something speaks against what the other one shows."""
    with named_in_body("from"):
        who.known(wanted.source)

    def act(engine: Engine, conn: Connection) -> Done:
        found = promotion.promote(
            engine,
            backstage.settings,
            backstage.store,
            wanted.source,
            environment,
            by=who.name,
            reason=wanted.reason,
        )
        return asked(conn, backstage.settings, found)

    return write.done(who, act, environment=environment)


def asked(conn: Connection, settings: Settings, rollout_id: str) -> Done:
    """A rollout that has just been asked for, as the answer tells of it."""
    record = history.rollout(conn, rollout_id)
    assert record is not None
    standing = look(conn, settings, [record.environment]).environments[0]
    return Done(request_view.asked(conn, record, standing), f"/v1/rollouts/{rollout_id}", 202)

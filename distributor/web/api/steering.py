"""What is done to an environment besides asking for releases: holds, pins, members that are let go."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated

from fastapi import APIRouter, Path, Response
from pydantic import AfterValidator, ConfigDict
from sqlalchemy import Connection, Engine

from distributor.access.roles import Act
from distributor.coordination.step import Step
from distributor.errors import NotThereError
from distributor.requests import interventions, pins
from distributor.telemetry.clock import now
from distributor.views.intervention import Intervention, intervention
from distributor.web.api.fields import Body, Environment, Moment, Reason, Reasoned, System, WrittenReason, readable
from distributor.web.backstage import AtHand, Backstage
from distributor.web.errors import InputError
from distributor.web.security import Caller, needs
from distributor.web.writing import Done, Write, Writing

router = APIRouter(prefix="/environments/{environment}", tags=["environments"])


class WantedHold(Body):
    """A reservation."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"reason": "end-to-end tests of the spring sale", "until": "2026-12-01T18:00:00Z"}]
        }
    )
    reason: Reason
    until: Moment | None = None
    """Until when; left out: until it is released."""


@router.post(
    "/holds", operation_id="hold", summary="Reserve an environment", status_code=201, response_model=Intervention
)
def hold(
    environment: Environment, wanted: WantedHold, backstage: AtHand, write: Writing, who: Caller = needs(Act.HOLD)
) -> Response:
    """In the key's name: staging goes on, nothing changes over until it ends. What is changing over is not stopped."""
    if wanted.until is not None and wanted.until <= now():
        raise InputError("that time is past", where="body.until", mend="Name a time to come.")

    def act(engine: Engine) -> Step:
        return interventions.hold(
            engine, backstage.settings, environment, owner=who.name, reason=wanted.reason, until=wanted.until
        )

    location = f"/v1/environments/{environment}/holds"
    return _done(backstage, write, who, environment, f"held by {who.name}", act, location=location, status=201)


@router.delete("/holds/{owner:path}", operation_id="release-hold", summary="End a hold", response_model=Intervention)
def release_hold(
    environment: Environment,
    owner: Annotated[str, Path(max_length=200, description="Whose hold it is."), AfterValidator(readable)],
    reason: WrittenReason,
    backstage: AtHand,
    write: Writing,
    who: Caller = needs(Act.HOLD),
) -> Response:
    """Your own, or as an operator anybody's: what was staged meanwhile changes over."""
    if owner != who.name:
        who.check(Act.OVERRULE, environment)

    def act(engine: Engine) -> Step:
        return interventions.release_hold(
            engine, backstage.settings, environment, by=who.name, owner=owner, reason=reason
        )

    return _done(backstage, write, who, environment, f"the hold of {owner} has ended", act)


@router.post("/pin", operation_id="pin", summary="Keep an environment at what it shows", response_model=Intervention)
def pin(
    environment: Environment, wanted: Reasoned, backstage: AtHand, write: Writing, who: Caller = needs(Act.PIN)
) -> Response:
    """Neither new releases nor triggers move it, until somebody has it follow again, or deploys."""

    def act(engine: Engine) -> Step:
        return pins.pin(engine, backstage.settings, environment, by=who.name, reason=wanted.reason)

    return _done(backstage, write, who, environment, f"pinned by {who.name}", act)


@router.post("/follow", operation_id="follow", summary="Let new releases come again", response_model=Intervention)
def follow(
    environment: Environment, wanted: Reasoned, backstage: AtHand, write: Writing, who: Caller = needs(Act.FOLLOW)
) -> Response:
    """Ends the pin of an environment, be it somebody's or a rollback's."""

    def act(engine: Engine) -> Step:
        return pins.follow(engine, backstage.settings, environment, by=who.name, reason=wanted.reason)

    return _done(backstage, write, who, environment, "new releases come by themselves again", act)


@router.post(
    "/systems/{system}/detach",
    operation_id="detach",
    summary="Go on without a system",
    response_model=Intervention,
)
def detach(
    environment: Environment,
    system: System,
    wanted: Reasoned,
    backstage: AtHand,
    write: Writing,
    who: Caller = needs(Act.DETACH),
) -> Response:
    """A member that cannot be reached no longer keeps the others; it is shown as unknown from then on."""
    members = backstage.settings.environment(environment).systems
    if system not in members:
        raise NotThereError(
            f"there is no system {system!r} in {environment}", where="config", mend=f"Known: {', '.join(members)}."
        )

    def act(engine: Engine) -> Step:
        return interventions.detach(
            engine, backstage.settings, environment, member=system, by=who.name, reason=wanted.reason
        )

    return _done(backstage, write, who, environment, f"{system} is detached", act)


def _done(
    backstage: Backstage,
    write: Write,
    who: Caller,
    environment: str,
    told: str,
    act: Callable[[Engine], Step],
    *,
    location: str | None = None,
    status: int = 200,
) -> Response:
    def do(engine: Engine, conn: Connection) -> Done:
        step = act(engine)
        return Done(intervention(conn, backstage.settings, environment, told, step.alarms), location, status)

    return write.done(who, do, environment=environment)

"""Keys of this API and of the pages."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Response
from pydantic import ConfigDict, Field
from sqlalchemy import Connection, Engine

from distributor.access.roles import Act, Role
from distributor.ledger.engine import transaction
from distributor.requests import keys as requests
from distributor.views import keys as views
from distributor.views.keys import KeyLine, Keys, NewKey, RevokedKey
from distributor.web.api.fields import Body, Id, Moment, Name, Reason, WrittenReason
from distributor.web.backstage import AtHand
from distributor.web.errors import named_in_body
from distributor.web.security import Caller, needs
from distributor.web.writing import Done, Writing

router = APIRouter(prefix="/keys", tags=["keys"])


class WantedKey(Body):
    """A key."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "name": "sit-team",
                    "role": "tester",
                    "environments": ["sit-1"],
                    "expires_at": "2027-06-30T00:00:00Z",
                    "reason": "the pipeline of the test team",
                }
            ]
        }
    )
    name: Name = Field(pattern=f"^{requests.NAME}$")
    """As the audit will know whoever uses it."""
    role: Role
    """What it is for."""
    environments: tuple[Name, ...] = Field(default=(), max_length=1000)
    """The environments that it is for; left out: all, and what concerns none."""
    expires_at: Moment | None
    """When it opens nothing any more; null: never."""
    reason: Reason


@router.get("", operation_id="key-list", summary="List the keys")
def keys(
    backstage: AtHand,
    every: Annotated[bool, Query(alias="all", description="Also those that were revoked.")] = False,
    who: Caller = needs(Act.KEYS),
) -> Keys:
    """By name: what they are for, and when they were used last. Nobody can be told the keys themselves."""
    with transaction(backstage.engine) as conn:
        return views.keys(conn, every=every)


@router.post("", operation_id="key-create", summary="Make a key", status_code=201, response_model=NewKey)
def create(wanted: WantedKey, backstage: AtHand, write: Writing, who: Caller = needs(Act.KEYS)) -> Response:
    """The answer tells it this once: asked for again with the same `Idempotency-Key`, the answer is without it."""

    def act(engine: Engine, conn: Connection) -> Done:
        with named_in_body("environments"):
            asked = requests.WantedKey(wanted.name, wanted.role, wanted.environments, wanted.expires_at)
            key, secret = requests.create_key(engine, backstage.settings, asked, by=who.name, reason=wanted.reason)
        told = NewKey(key=KeyLine.of(key), secret=secret, dry_run=False)
        return Done(told, f"/v1/keys/{key.id}", 201, kept=told.model_copy(update={"secret": None}))

    return write.done(who, act)


@router.get("/{key}", operation_id="key", summary="See one key")
def key_one(key: Id, backstage: AtHand, who: Caller = needs(Act.KEYS)) -> KeyLine:
    """What it is for, and when it was used last."""
    with transaction(backstage.engine) as conn:
        return KeyLine.of(requests.key_of(conn, key))


@router.delete("/{key}", operation_id="key-revoke", summary="Revoke a key", response_model=RevokedKey)
def revoke(
    key: Id, reason: WrittenReason, backstage: AtHand, write: Writing, who: Caller = needs(Act.KEYS)
) -> Response:
    """It opens nothing from now on, and every login that was made with it is over."""

    def act(engine: Engine, conn: Connection) -> Done:
        found = requests.key_of(conn, key)
        return Done(
            RevokedKey(key=KeyLine.of(requests.revoke_key(engine, found.id, by=who.name, reason=reason)), dry_run=False)
        )

    return write.done(who, act)

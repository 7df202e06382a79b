"""Rows that are held back: from every environment by a quality rule, or from one whose system cannot take them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

from fastapi import APIRouter, Response
from pydantic import AfterValidator, ConfigDict, Field
from sqlalchemy import Connection, Engine

from distributor.access.roles import Act
from distributor.ledger.engine import transaction
from distributor.ledger.quarantine import EVERYWHERE, HeldRow
from distributor.requests import quarantine as requests
from distributor.views import quarantine as views
from distributor.views.quarantine import Handled, HeldLine, HeldRows
from distributor.web.api.fields import Body, Dataset, Environment, Key, Name, OfEnvironment, Reason, readable
from distributor.web.backstage import AtHand
from distributor.web.security import Caller, needs
from distributor.web.writing import Done, Writing

router = APIRouter(tags=["quarantine"])


class WantedRows(Body):
    """Which rows, and why."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"dataset": "products", "key": ["1042"], "reason": "the supplier has mended the weight"}]
        }
    )
    dataset: Name | None = None
    """Only of this dataset."""
    key: tuple[Annotated[str, Field(max_length=1000), AfterValidator(readable)], ...] = Field(default=(), max_length=32)
    """Only the row of this key: its columns, as canonical texts. Left out: all."""
    reason: Reason


@router.get("/quarantine", operation_id="quarantine-list", summary="List the rows that are held back")
def held_rows(
    backstage: AtHand,
    environment: OfEnvironment = None,
    dataset: Dataset = None,
    key: Key = [],  # noqa: B006 - FastAPI copies it
    who: Caller = needs(Act.READ),
) -> HeldRows:
    """The rule or the system that is in the way, the value, and since when."""
    who.check_clear()
    with transaction(backstage.engine) as conn:
        found = views.held_rows(conn, environment=who.one(environment), dataset=dataset, key=key)
    seen = tuple(row for row in found.held_back if row.environment == EVERYWHERE or who.sees(row.environment))
    return found.model_copy(update={"held_back": seen})


@router.post(
    "/environments/{environment}/quarantine/retry",
    operation_id="quarantine-retry-environment",
    summary="Have an environment try rows again",
    response_model=Handled,
)
def retry_in_environment(
    environment: Environment,
    wanted: WantedRows,
    backstage: AtHand,
    write: Writing,
    who: Caller = needs(Act.HANDLE_QUARANTINE),
) -> Response:
    """Those that it alone lacks: they are tried again with the next release that it is taken to."""

    def act(engine: Engine, conn: Connection) -> Done:
        rows = views.chosen(conn, environment=environment, dataset=wanted.dataset, key=wanted.key)
        requests.retry(engine, backstage.settings, rows, by=who.name, reason=wanted.reason)
        return _handled("retry", rows)

    return write.done(who, act, environment=environment)


@router.post(
    "/quarantine/retry",
    operation_id="quarantine-retry",
    summary="Have rows read and judged again",
    response_model=Handled,
)
def retry(
    wanted: WantedRows, backstage: AtHand, write: Writing, who: Caller = needs(Act.HANDLE_QUARANTINE)
) -> Response:
    """Those that a quality rule holds back from every environment, without a change on the master."""

    def act(engine: Engine, conn: Connection) -> Done:
        rows = _everywhere(conn, wanted)
        requests.retry(engine, backstage.settings, rows, by=who.name, reason=wanted.reason)
        return _handled("retry", rows)

    return write.done(who, act)


@router.post(
    "/quarantine/release",
    operation_id="quarantine-release",
    summary="Ship rows although their rule fails",
    response_model=Handled,
)
def release(
    wanted: WantedRows, backstage: AtHand, write: Writing, who: Caller = needs(Act.HANDLE_QUARANTINE)
) -> Response:
    """With the next release, once, with the values that they have by then."""

    def act(engine: Engine, conn: Connection) -> Done:
        rows = _everywhere(conn, wanted, releasing=True)
        requests.release(engine, rows, by=who.name, reason=wanted.reason)
        requests.retry(engine, backstage.settings, rows, by=who.name, reason=wanted.reason)
        return _handled("release", rows)

    return write.done(who, act)


def _everywhere(conn: Connection, wanted: WantedRows, *, releasing: bool = False) -> Sequence[HeldRow]:
    rows = views.chosen(conn, every=True, dataset=wanted.dataset, key=wanted.key, releasing=releasing)
    return rows if releasing else [row for row in rows if row.environment == EVERYWHERE]


def _handled(action: str, rows: Sequence[HeldRow]) -> Done:
    return Done(Handled.model_validate({"action": action, "rows": tuple(map(HeldLine.of, rows)), "dry_run": False}))

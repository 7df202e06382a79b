"""Reports of rows that a member cannot take, in whatever order and however often they come."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pika
import pyarrow as pa
import pytest

from distributor.ledger import quarantine, releases, rollouts, timeline
from distributor.ledger.engine import transaction
from distributor.model.certificate import Certificate, certify
from distributor.model.manifest import Manifest
from distributor.requests import abort, approvals
from distributor.requests.rollouts import ask as asking
from distributor.rollout.state import Cause, Rollout, RolloutState
from distributor.settings.desk import Asked
from distributor.store.chunks import changeset_schema, read_manifest, write_chunk, write_manifest
from tests.coordination.conftest import PRODUCTS, Estate
from tests.coordination.fake_member import FakeMember, send, stamp
from tests.coordination.test_coordinator import STAGE, ask, ended
from tests.support import wait_for

pytestmark = pytest.mark.services
Reply = tuple[str, dict[str, Any]] | None
MakeEstate = Callable[..., Estate]
REFUSED, UNFIT = "pd.member.refused.v1", "pd.member.unfit.v1"
NO = {"reason": "permanent", "text": "1 rows do not fit"}


def publish(estate: Estate, *skus: str) -> None:
    """The next release: the former one, and the last of these products."""
    number = len(estate.manifests) + 1
    table = pa.table([["insert"], [None], [skus[-1]]], schema=changeset_schema(PRODUCTS))
    manifest = Manifest(
        release=number,
        parent_release=number - 1,
        parent=estate.manifests[-1] if estate.manifests else None,
        created_at=datetime.now(UTC),
        schemas=(PRODUCTS,),
        chunks=(write_chunk(estate.store, PRODUCTS, table),),
        counts={},
        certificate=Certificate(tables={"products": certify("products", [0], [[sku] for sku in skus])}),
    )
    estate.manifests.append(write_manifest(estate.store, manifest))
    with transaction(estate.engine) as conn:
        releases.insert_release(conn, manifest, estate.manifests[-1], rows=1)


def staged(estate: Estate, member: FakeMember, command: dict[str, Any]) -> Reply:
    """It stores what the manifest says."""
    member.certificate = read_manifest(estate.store, command["manifest"]).certificate.digest
    return member.healthy(command)


def unfit(command: dict[str, Any], sku: str, total: int = 1) -> dict[str, Any]:
    row = {"table": "products", "dataset": "products", "key": [sku], "column": "sku", "value": sku, "why": "is odd"}
    names = ("environment", "epoch", "rollout_id", "release", "manifest")
    return {
        **{name: command[name] for name in names},
        "system": "crm",
        "total": total,
        "rows": [row],
        "reported_at": stamp(),
    }


def refuses_b(estate: Estate) -> Callable[[FakeMember, dict[str, Any]], Reply]:
    """A system that cannot take the row B, and says so."""

    def crm(member: FakeMember, command: dict[str, Any]) -> Reply:
        if command["manifest"] != estate.manifests[1]:
            return staged(estate, member, command)
        send(member._channel, UNFIT, unfit(command, "B"))
        return REFUSED, NO

    return crm


def asked_as(estate: Estate, word: Asked, cause: Cause = Cause.OPERATOR) -> str:
    with transaction(estate.engine) as conn:
        return asking(
            conn, estate.settings, estate.store, "prod",
            release=2, cause=cause, by="ann", reason="new prices", asked=word, source="uat",
        )  # fmt: skip


def estate_of(estate: Estate, crm: Callable[[FakeMember, dict[str, Any]], Reply]) -> FakeMember:
    """Release 1 has A and is online, release 2 adds B; `crm` is how that system answers its stages of release 2."""

    def answer(member: FakeMember, command: dict[str, Any]) -> Reply:
        return crm(member, command) if command["release"] == 2 else staged(estate, member, command)

    publish(estate, "A")
    estate.coordinate()
    found = estate.member("crm", read_manifest(estate.store, estate.manifests[0]), replies={STAGE: answer})
    replies = {STAGE: lambda member, command: staged(estate, member, command)}
    estate.member("pos", read_manifest(estate.store, estate.manifests[0]), replies=replies)
    assert ended(estate, ask(estate)).state is RolloutState.ONLINE
    publish(estate, "A", "B")
    return found


def tell(estate: Estate, report: dict[str, Any]) -> None:
    """A report by itself, of no command that is under way."""
    connection = pika.BlockingConnection(pika.URLParameters(estate.settings.broker.url))
    send(connection.channel(), UNFIT, report)
    connection.close()


def tries(estate: Estate) -> list[Rollout]:
    """The rollouts to release 2, the oldest first."""
    with transaction(estate.engine) as conn:
        return [one.rollout for one in reversed(rollouts.rollouts(conn, "prod")) if one.rollout.release == 2]


def heard(estate: Estate, text: str) -> int:
    with transaction(estate.engine) as conn:
        return sum(text in entry.text for entry in timeline.entries(conn, environment="prod"))


def test_the_refusal_may_come_before_the_rows_and_the_rows_twice_and_late(estate: Estate) -> None:
    def crm(member: FakeMember, command: dict[str, Any]) -> Reply:
        if command["manifest"] != estate.manifests[1]:
            return staged(estate, member, command)
        send(member._channel, REFUSED, {**member._common(command), **NO})
        for id_ in ("one", "one", "another"):
            send(member._channel, UNFIT, unfit(command, "B"), f"{id_} {command['rollout_id']}")
        return None

    member = estate_of(estate, crm)
    assert ended(estate, ask(estate)).state is RolloutState.ABANDONED
    wait_for(lambda: estate.state().shown == 2, what="release 2 without its row")
    assert [one.state for one in tries(estate)] == [RolloutState.ABANDONED, RolloutState.ONLINE]
    assert tries(estate)[0].id in tries(estate)[1].reason
    command = next(data for kind, data, _ in member.commands if kind == STAGE and data["release"] == 2)
    tell(estate, unfit(command, "B"))
    wait_for(lambda: heard(estate, "cannot take 1 rows") == 3, what="the late report")
    assert len(tries(estate)) == 2


def test_what_is_online_as_it_is_is_not_asked_for_again_for_ever(estate: Estate) -> None:
    def crm(member: FakeMember, command: dict[str, Any]) -> Reply:
        send(member._channel, UNFIT, unfit(command, "A"))
        return REFUSED, NO

    estate_of(estate, crm)
    assert ended(estate, ask(estate)).state is RolloutState.ABANDONED
    wait_for(lambda: heard(estate, "is not asked for again"), what="the end of it")
    assert len(tries(estate)) == 1


def test_beyond_the_budget_and_after_an_abort_nobody_asks_again(estate: Estate) -> None:
    def crm(member: FakeMember, command: dict[str, Any]) -> Reply:
        if len(tries(estate)) == 1:
            send(member._channel, UNFIT, unfit(command, "B", total=5000))
            return REFUSED, NO
        return None

    member = estate_of(estate, crm)
    assert ended(estate, ask(estate)).state is RolloutState.ABANDONED
    wait_for(lambda: heard(estate, "at most 1,000 may be held back"), what="the first report")
    with transaction(estate.engine) as conn:
        assert quarantine.held(conn, "prod") == []
    second = ask(estate)
    wait_for(lambda: member.commands[-1][1].get("rollout_id") == second, what="the second stage")
    abort(estate.engine, estate.settings, "prod", by="ann", reason="no")
    assert ended(estate, second).state is RolloutState.ABANDONED
    tell(estate, unfit(next(data for _, data, _ in member.commands if data["rollout_id"] == second), "B"))
    wait_for(lambda: heard(estate, "they are held back"), what="the second report")
    assert len(tries(estate)) == 2


def test_what_takes_the_place_of_a_rollout_needs_the_approvals_that_it_needed(make_estate: MakeEstate) -> None:
    # What it is asked for again as would need none: a reset that only mends is a refresh, and its cause is repair.
    estate = make_estate(approvals={"needed": 1, "of": ["refresh"]})
    estate_of(estate, refuses_b(estate))
    assert ended(estate, asked_as(estate, "refresh")).state is RolloutState.ABANDONED
    wait_for(lambda: len(tries(estate)) == 2, what="the second try")
    assert [one.approvals_needed for one in tries(estate)] == [1, 1]
    wait_for(lambda: (active := estate.state().active) and active.gated, what="the gate")
    approvals.approve(estate.engine, estate.settings, tries(estate)[1].id, by="ben", reason="looked at it")
    wait_for(lambda: estate.state().shown == 2, what="release 2 without its row")


def test_what_was_promoted_is_not_asked_for_again_as_something_else(estate: Estate) -> None:
    estate_of(estate, refuses_b(estate))
    assert ended(estate, asked_as(estate, "promote")).state is RolloutState.ABANDONED
    wait_for(lambda: heard(estate, "other content than uat shows"), what="the sentence")
    assert (len(tries(estate)), estate.state().shown) == (1, 1)

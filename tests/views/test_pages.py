"""Pages of a list, put together, are the list: nothing twice, nothing missing, newest first."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import Connection

from distributor.ledger import audit as ledger_audit
from distributor.ledger import deadletters as ledger_letters
from distributor.ledger import verifications as ledger_verifications
from distributor.ledger.audit import AuditRecord
from distributor.ledger.deadletters import DeadLetter
from distributor.ledger.engine import transaction
from distributor.ledger.verifications import Ended, Verification
from distributor.views.audit import audit
from distributor.views.changes import changes
from distributor.views.deadletters import dead_letter, dead_letters
from distributor.views.releases import releases
from distributor.views.rollouts import rollouts
from distributor.views.verifications import verifications
from tests.capture.master import run
from tests.views.world import World

pytestmark = pytest.mark.services
AT = datetime(2026, 1, 1, tzinfo=UTC)
Page = Callable[[Connection, int, Any], list[Any]]


def pages(world: World, page: Page, place: Callable[[Any], Any], size: int) -> list[Any]:
    """Every page, one after the other."""
    found: list[Any] = []
    with transaction(world.engine) as conn:
        while more := page(conn, size, place(found[-1]) if found else None):
            assert len(more) <= size
            found += more
    return found


def check(world: World, page: Page, place: Callable[[Any], Any], number: int) -> list[Any]:
    """The same in pages of every size; returns the list."""
    with transaction(world.engine) as conn:
        whole = page(conn, 1000, None)
    assert len(whole) == number
    assert len({place(one) for one in whole}) == number
    for size in range(1, number + 1):
        assert pages(world, page, place, size) == whole
    return whole


def test_rollouts_some_of_which_were_asked_for_at_the_same_moment(world: World) -> None:
    for environment in ("prod", "uat", "prod", "sit", "prod"):
        world.take(environment, 1)
    same = '{"requested_at": "2026-01-01T00:00:00Z"}'
    run(world.estate.ledger, f"UPDATE ledger.rollouts SET requested_at = '2026-01-01 00:00Z', body = body || '{same}'")
    last = world.take("uat", 1)

    def of(environment: str | None) -> Page:
        return lambda conn, limit, before: list(rollouts(conn, environment, limit=limit, before=before).rollouts)

    whole = check(world, of(None), lambda one: (one.requested_at, one.id), 6)
    assert whole[0].id == last
    check(world, of("prod"), lambda one: (one.requested_at, one.id), 3)


def test_releases(world: World) -> None:
    for price in range(4):
        world.release(f"UPDATE products SET price = {price}")
    whole = check(
        world,
        lambda conn, limit, before: list(releases(conn, limit=limit, before=before).releases),
        lambda one: one.number,
        5,
    )
    assert [one.number for one in whole] == [5, 4, 3, 2, 1]


def test_the_audit(world: World) -> None:
    with transaction(world.engine) as conn:
        for number in range(5):
            where = "prod" if number % 2 else None
            ledger_audit.record(conn, AuditRecord(AT, "ann", f"what {number}", "", where, {"n": number}))

    def of(environment: str | None) -> Page:
        return lambda conn, limit, before: list(audit(conn, environment, limit=limit, before=before).audit)

    whole = check(world, of(None), lambda one: one.id, 5)
    assert [one.what for one in whole] == [f"what {number}" for number in (4, 3, 2, 1, 0)]
    assert "id" not in whole[0].model_dump(), "the place is no part of the document"
    check(world, of("prod"), lambda one: one.id, 2)


def test_dead_letters(world: World) -> None:
    bodies = (b"{}", "ä".encode(), b"\xff\x00", b"")
    with transaction(world.engine) as conn:
        for body in bodies:
            ledger_letters.put(conn, DeadLetter(AT, "q", "x", "k", None, "no event", {"h": 1}, "text/plain", body, 2))
        ledger_letters.discard(conn, 2)

    def of(every: bool) -> Page:
        return lambda conn, limit, before: list(
            dead_letters(conn, every=every, limit=limit, before=before).dead_letters
        )

    whole = check(world, of(every=True), lambda one: one.id, 4)
    check(world, of(every=False), lambda one: one.id, 3)
    with transaction(world.engine) as conn:
        opened = [dead_letter(conn, one.id) for one in reversed(whole)]
    assert [(one.body, one.encoding) for one in opened] == [
        ("{}", "utf-8"), ("ä", "utf-8"), ("/wA=", "base64"), ("", "utf-8"),
    ]  # fmt: skip


def test_verifications(world: World) -> None:
    found = {"crm": {"outcome": "verified", "why": "", "release": 1, "seconds": 0.5, "differing": []}}
    found["pos"] = {**found["crm"], "differing": [{"slot": "online", "table": "p", "buckets": [3], "rows": None}]}
    with transaction(world.engine) as conn:
        for number in range(4):
            one = Verification(f"v{number}", "prod", AT + timedelta(seconds=number // 2), "ann", "", 1)
            ledger_verifications.begin(conn, one)
        ledger_verifications.end(conn, "v1", Ended(AT, "online p: 1 of 64 buckets differ", found))
    whole = check(
        world,
        lambda conn, limit, before: list(verifications(conn, "prod", limit=limit, before=before).verifications),
        lambda one: (one.requested_at, one.id),
        4,
    )
    [ended] = [one for one in whole if one.ended_at]
    assert [system.system for system in ended.systems] == ["crm", "pos"]
    assert (ended.systems[1].differing[0].buckets, ended.systems[1].differing[0].rows) == ((3,), None)
    assert {one.systems for one in whole if not one.ended_at} == {()}


def test_what_a_release_changed(world: World) -> None:
    release = world.release("UPDATE products SET price = 1 WHERE sku LIKE 'P1%'", "DELETE FROM offers WHERE price < 4")
    with transaction(world.engine) as conn:
        whole = changes(conn, world.estate.store, release)
        rows = [str(row.key) for row in whole.changes]
        assert (whole.total, len(rows), len(set(rows))) == (14, 14, 14)
        for size in (1, 3, 14, 20):
            found: list[Any] = []
            while more := changes(conn, world.estate.store, release, limit=size, after=len(found)):
                assert more.total == 14
                if not more.changes:
                    break
                found += more.changes
            assert found == list(whole.changes)
        [one] = changes(conn, world.estate.store, release, key=["P10"]).changes
        assert (one.key, changes(conn, world.estate.store, release, key=["P10"], after=1).changes) == (
            {"sku": "P10"},
            (),
        )

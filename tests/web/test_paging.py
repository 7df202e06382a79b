"""Lists in pages: nothing twice and nothing left out, however much is added in front meanwhile."""

from __future__ import annotations

import contextlib
import itertools
import re
from typing import Any

from fastapi.testclient import TestClient
from hypothesis import given
from hypothesis import strategies as st

from distributor.access.roles import Role
from distributor.ledger import audit
from distributor.ledger.audit import AuditRecord
from distributor.ledger.engine import transaction
from distributor.telemetry.clock import now
from distributor.web import paging
from distributor.web.errors import InputError
from tests.web.conftest import Desk

_NEXT = re.compile(r'<([^>]*)>; rel="next"')


def noted(desk: Desk, *environments: str | None) -> None:
    with transaction(desk.ledger) as conn:
        for environment in environments:
            audit.record(conn, AuditRecord(now(), "ann", "hold", "x", environment))


def following(answer: Any) -> str | None:
    found = _NEXT.fullmatch(answer.headers.get("Link", ""))
    return found[1] if found else None


def pages(client: TestClient, path: str, name: str) -> list[list[Any]]:
    found = []
    where: str | None = path
    while where:
        answer = client.get(where)
        assert answer.status_code == 200
        found.append(answer.json()[name])
        where = following(answer)
    return found


def test_pages_are_full_and_the_last_one_has_no_next(desk: Desk) -> None:
    noted(desk, *["uat"] * 10)
    client = desk.as_(Role.VIEWER)
    assert [len(page) for page in pages(client, "/v1/audit?limit=4", "audit")] == [4, 4, 2]
    assert [len(page) for page in pages(client, "/v1/audit?limit=5", "audit")] == [5, 5]
    assert [len(page) for page in pages(client, "/v1/audit?limit=10", "audit")] == [10]
    assert [len(page) for page in pages(client, "/v1/audit", "audit")] == [10]


def test_what_is_added_meanwhile_moves_nothing(desk: Desk) -> None:
    client = desk.as_(Role.VIEWER)
    for _ in range(5):
        with transaction(desk.ledger) as conn:
            audit.record(conn, AuditRecord(now(), "ann", "hold", "old", "uat"))
    first = client.get("/v1/audit?limit=2")
    noted(desk, *["uat"] * 7)
    rest = pages(client, following(first) or "", "audit")
    assert [act["why"] for page in rest for act in page] == ["old"] * 3


def test_the_next_page_is_of_the_same_question(desk: Desk) -> None:
    noted(desk, "uat", "prod", "uat", "prod", "uat", None)
    found = pages(desk.as_(Role.VIEWER), "/v1/audit?environment=uat&limit=1&what=hold", "audit")
    assert [act["environment"] for page in found for act in page] == ["uat"] * 3


def test_a_list_has_only_what_its_caller_may_see(desk: Desk) -> None:
    noted(desk, "uat", "prod", None, "uat")
    client = desk.as_(Role.VIEWER, "uat")
    assert [act["environment"] for act in client.get("/v1/audit").json()["audit"]] == ["uat", "uat"]
    assert client.get("/v1/audit?environment=prod").status_code == 404
    assert "prod" not in client.get("/v1/audit?environment=prod").json()["mend"]
    assert [one["environment"] for one in client.get("/v1/status").json()["environments"]] == ["uat"]
    assert [one["environment"] for one in client.get("/v1/environments").json()["environments"]] == ["uat"]


LISTS = ("audit", "rollouts", "releases", "refresh-requests", "freezes", "dead-letters")
NO_PLACES = ("", "x", "é", "W10", "bnVsbA", "WzFd" * 60, "WyJhIl0", "Wy0xXQ", "WzFlMzA5XQ", "W3RydWVd", "WzEsMl0")


def test_a_cursor_that_is_none(desk: Desk) -> None:
    client = desk.as_(Role.ADMIN)
    for path, after in itertools.product(LISTS, NO_PLACES):
        found = client.get(f"/v1/{path}", params={"after": after})
        assert (path, after, found.status_code) == (path, after, 422)
        assert found.json()["errors"][0]["field"] == "query.after"


@given(st.text(max_size=40) | st.binary(max_size=30).map(lambda raw: raw.hex()))
def test_no_text_breaks_the_reading_of_cursors(after: str) -> None:
    for read in (paging.number, paging.moment):
        with contextlib.suppress(InputError):
            read(after)


@given(st.integers(0, 2**63 - 1), st.datetimes(), st.from_regex(r"[0-9a-f]{32}", fullmatch=True))
def test_a_cursor_is_read_as_it_was_written(number: int, at: Any, id_: str) -> None:
    from datetime import UTC

    assert paging.number(paging.cursor(number)) == number
    at = at.replace(tzinfo=UTC)
    assert paging.moment(paging.cursor(at, id_)) == (at, id_)

"""Who may use which route where: every route of the application, every role, in scope and out of it.

A route without a line here fails; so does a line without a route.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from fastapi.routing import APIRoute, iter_route_contexts

from distributor.access.roles import Role
from distributor.telemetry.clock import now
from distributor.web.security.needs import need_of
from tests.services.postgresql import PostgreSQLServer
from tests.web.conftest import fingerprint
from tests.web.estate import Lived, lived

V = frozenset({"viewer", "tester", "operator", "approver", "admin"})
T = frozenset({"tester", "operator", "admin"})
O = frozenset({"operator", "admin"})  # noqa: E741
A = frozenset({"approver", "admin"})
K = frozenset({"admin"})
WHY = {"reason": "because"}
LATER = (now() + timedelta(days=3)).isoformat()


@dataclass(frozen=True)
class Line:
    """Who may use a route. `where`: the environment that it is about; "all" for what needs a key for all of them, "any"
    for what every key sees, as far as it sees it. `stranger` is what a key for another environment is answered."""

    roles: frozenset[str]
    where: str
    status: int = 200
    body: dict[str, Any] | None = None
    query: dict[str, str] = field(default_factory=dict)
    path: dict[str, str] = field(default_factory=dict)
    stranger: int = 404


MATRIX = {
    "status": Line(V, "any"),
    "environments": Line(V, "any"),
    "systems": Line(V, "any"),
    "status-environment": Line(V, "uat"),
    "plan": Line(V, "uat"),
    "holds": Line(V, "uat"),
    "triggers": Line(V, "uat"),
    "trigger-call": Line(V, "uat"),
    "compare": Line(V, "uat", query={"left": "uat", "right": "prod"}),
    "rollouts": Line(V, "any"),
    "rollout": Line(V, "prod"),
    "requests": Line(V, "any"),
    "request": Line(V, "uat"),
    "freezes": Line(V, "any"),
    "freeze-one": Line(V, "uat"),
    "releases": Line(V, "any"),
    "release": Line(V, "any"),
    "changes": Line(V, "any"),
    "product": Line(V, "any", path={"key": "P3"}),
    "verifications": Line(V, "uat", query={"environment": "uat"}),
    "verification": Line(V, "uat"),
    "quarantine-list": Line(V, "any"),
    "audit": Line(V, "any"),
    "me": Line(V, "any"),
    "deadletter-list": Line(O, "all"),
    "deadletter-show": Line(O, "all"),
    "hold": Line(T, "prod", 201, WHY),
    "release-hold": Line(O, "uat", query=WHY),
    "refresh": Line(T, "prod", 201, WHY),
    "withdraw": Line(O, "uat", query=WHY),
    "deploy": Line(O, "uat", 202, WHY),
    "rollback": Line(O, "uat", 202, {"to": 1, **WHY}),
    "promote": Line(O, "prod", 202, {"from": "uat", **WHY}),
    "pin": Line(O, "uat", 200, WHY),
    "follow": Line(O, "uat", 409, WHY),
    "detach": Line(O, "uat", 200, WHY),
    "call": Line(O, "uat", 202, WHY),
    "verify": Line(O, "uat", 202, WHY),
    "abort": Line(O, "prod", 200, WHY),
    "approve": Line(A, "prod", 200, WHY),
    "reject": Line(A, "prod", 200, WHY),
    "freeze": Line(O, "prod", 201, {"environment": "prod", "until": LATER, **WHY}, stranger=422),
    "unfreeze": Line(O, "uat", query=WHY),
    "deadletter-retry": Line(O, "all", 200, WHY),
    "deadletter-discard": Line(O, "all", 200, WHY),
    "quarantine-retry-environment": Line(O, "uat", 200, WHY | {"dataset": "products"}),
    "quarantine-retry": Line(O, "all", 200, WHY | {"dataset": "products"}),
    "quarantine-release": Line(O, "all", 200, WHY | {"dataset": "products", "key": ["P4"]}),
    "key-list": Line(K, "all"),
    "key": Line(K, "all"),
    "key-create": Line(K, "all", 201, {"name": "new", "role": "viewer", "expires_at": None, **WHY}),
    "key-revoke": Line(K, "all", query=WHY),
}
STREAMS = {"events"}


@pytest.fixture(scope="module")
def estate(postgresql_server: PostgreSQLServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lived]:
    path: Path = tmp_path_factory.mktemp("web") / "store"
    with lived(postgresql_server, path) as found:
        yield found


def routes(estate: Lived) -> dict[str, tuple[str, str]]:
    """Operation → method and path, of every route under /v1 that is told of."""
    found = {}
    for context in iter_route_contexts(estate.app.routes):
        if isinstance(context.original_route, APIRoute) and context.include_in_schema:
            assert context.methods is not None
            [method] = context.methods
            found[context.operation_id] = (method, (context.path or "").replace(":path}", "}"))
    return found


def request(estate: Lived, operation: str, secret: str | None) -> Any:
    """The answer to a request that would do."""
    line, (method, path) = MATRIX[operation], routes(estate)[operation]
    names = {**estate.ids, "environment": line.where, **line.path}
    return estate.client(secret).request(method, path.format(**names), json=line.body, params=line.query)


def ask(estate: Lived, operation: str, secret: str | None) -> int:
    """Its status."""
    answer = request(estate, operation, secret)
    assert "Traceback" not in answer.text
    if answer.status_code >= 400:
        assert answer.headers["Content-Type"] == "application/problem+json", operation
    return answer.status_code


def expected(line: Line, role: str, scope: tuple[str, ...]) -> int:
    """What the table says, in the order in which it is asked: seen at all, may at all, may here."""
    inside = not scope or line.where == "any" or line.where in scope
    if line.where not in ("any", "all") and not inside:
        return line.stranger if line.stranger == 404 or role in line.roles else 403
    if role not in line.roles or (line.where == "all" and scope):
        return 403
    return line.status


def test_every_route_has_a_line_and_every_line_a_route(estate: Lived) -> None:
    assert set(routes(estate)) == set(MATRIX) | STREAMS


@pytest.mark.parametrize("operation", MATRIX)
def test_who_may(estate: Lived, operation: str, keyring: dict[tuple[str, tuple[str, ...]], str]) -> None:
    """Nothing at all is written for who may not: not even something that is undone again."""
    for (role, scope), secret in keyring.items():
        with estate.undone():
            wanted = expected(MATRIX[operation], role, scope)
            assert (role, scope, ask(estate, operation, secret)) == (role, scope, wanted)
            if wanted in (401, 403, 404):
                assert not estate.wrote(), (role, scope)


@pytest.fixture(scope="module")
def keyring(estate: Lived) -> dict[tuple[str, tuple[str, ...]], str]:
    """Keys of every role: for all environments, for those of the things in the paths, and for another one."""
    return {(role.value, scope): estate.key(role, scope) for role in Role for scope in ((), ("uat", "prod"), ("sit",))}


@pytest.mark.parametrize("operation", MATRIX)
def test_nobody_may_without_a_living_key(estate: Lived, operation: str, dead: dict[str, str | None]) -> None:
    for how, secret in dead.items():
        with estate.undone():
            assert (how, ask(estate, operation, secret)) == (how, 401)
            assert not estate.wrote(), how


@pytest.fixture(scope="module")
def dead(estate: Lived) -> dict[str, str | None]:
    """Keys that open nothing."""
    past = now() - timedelta(seconds=1)
    return {
        "none": None,
        "made up": "pdk_" + "A" * 43,
        "revoked": estate.key(Role.ADMIN, revoked_at=past),
        "expired": estate.key(Role.ADMIN, expires_at=past),
    }


def test_what_is_refused_leaves_every_table_as_it_was(estate: Lived) -> None:
    """The same by plain SQL over committed requests, for those who may do least."""
    strangers = [None, estate.key(Role.VIEWER), estate.key(Role.ADMIN, ("sit",))]
    before = fingerprint(estate.world.engine)
    for operation, line in MATRIX.items():
        if line.body is not None or line.query == WHY:
            for secret in strangers:
                with estate.conn.begin():
                    assert ask(estate, operation, secret) >= 400
    assert fingerprint(estate.world.engine) == before


def test_no_page_is_for_nobody(estate: Lived) -> None:
    """Whoever has not logged in is led to the login, and does nothing; the pages' own tests say who may do what."""
    for context in iter_route_contexts(estate.app.routes):
        if not isinstance(context.original_route, APIRoute) or context.include_in_schema or not need_of(context):
            continue
        for method in context.methods or ():
            path = (context.path or "").replace("{environment}", "uat").replace("{release}", "1")
            with estate.undone():
                answer = estate.client(None).request(method, path, follow_redirects=False)
                assert answer.status_code in (303, 401), (method, path)
                assert not estate.wrote(), (method, path)

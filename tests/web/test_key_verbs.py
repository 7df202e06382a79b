"""`key create|list|revoke`, and what the key that they make opens."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from distributor.cli.main import main
from tests.web.conftest import Desk, fingerprint


@pytest.fixture
def run(desk: Desk, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Any:
    def call(*words: str) -> tuple[int, dict[str, Any]]:
        code = main([*words, "--json", "--config", str(tmp_path / "distributor.toml")])
        return code, json.loads(capsys.readouterr().out)

    return call


def test_a_key_is_made_used_and_revoked(desk: Desk, run: Any) -> None:
    code, made = run("key", "create", "sit-team", "--role", "tester", "--environments", "uat", "--reason", "tests")
    assert code == 0
    client = desk.client(made["secret"])
    assert client.get("/v1/me").json()["environments"] == ["uat"]
    _, listed = run("key", "list")
    assert [(key["name"], key["living"]) for key in listed["keys"]] == [("sit-team", True)]
    assert made["secret"] not in json.dumps(listed)
    assert run("key", "revoke", "sit-team", "--reason", "left")[0] == 0
    assert client.get("/v1/me").status_code == 401
    assert run("key", "list")[1]["keys"] == []
    with desk.ledger.connect() as conn:
        rows = conn.execute(text("SELECT what, why FROM ledger.audit ORDER BY id")).all()
        assert [tuple(row) for row in rows] == [("key create", "tests"), ("key revoke", "left")]


def test_what_cannot_be_made_is_not(desk: Desk, run: Any) -> None:
    assert run("key", "create", "a", "--role", "viewer", "--reason", "x")[0] == 0
    before = fingerprint(desk.ledger)
    for words, code in (
        (("a", "--role", "viewer"), 11),
        (("coordinator", "--role", "viewer"), 2),
        (("", "--role", "viewer"), 2),
        (("b\x1b", "--role", "viewer"), 2),
        (("b", "--role", "king"), 2),
        (("b", "--role", "viewer", "--environments", "nowhere"), 2),
        (("b", "--role", "viewer", "--expires", "2020-01-01"), 2),
        (("b", "--role", "viewer", "--dry-run"), 0),
    ):
        assert (words, run("key", "create", *words, "--reason", "x")[0]) == (words, code)
    assert run("key", "revoke", "nobody", "--reason", "x")[0] == 11
    assert run("key", "revoke", "a", "--reason", "x", "--dry-run")[0] == 0
    assert fingerprint(desk.ledger) == before

"""A key that is for masked environments only reads no rows in clear."""

from __future__ import annotations

from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from distributor.access.roles import Role
from distributor.ledger import processes
from distributor.ledger.engine import transaction
from distributor.ledger.processes import Process, Trouble
from distributor.settings import load_settings
from distributor.telemetry.clock import now
from distributor.web.app import create_app
from tests.web.conftest import Desk

CLEAR = ("/v1/releases/1/changes", "/v1/products/P1", "/v1/quarantine")
MASKING = """
[masking.m]
secret = "0123456789abcdef0123456789abcdef"
[masking.m.columns]
products = {name = "token"}
"""


@pytest.fixture
def masked(desk: Desk, tmp_path: Path) -> Desk:
    """`uat` sees the data masked, `prod` in clear."""
    file = tmp_path / "distributor.toml"
    file.write_text(file.read_text().replace("[environments.uat]", '[environments.uat]\nmasking = "m"') + MASKING)
    settings = load_settings(file, {})
    return Desk(create_app(settings, engine=desk.ledger), settings, desk.ledger)


def statuses(client: TestClient) -> set[int]:
    return {client.get(path).status_code for path in CLEAR}


def test_who_sees_masked_data_only_reads_nothing_in_clear(masked: Desk) -> None:
    assert statuses(masked.as_(Role.ADMIN, "uat")) == {403}
    assert masked.as_(Role.ADMIN, "uat").get("/v1/releases").status_code == 200
    for clear in (masked.as_(Role.VIEWER), masked.as_(Role.VIEWER, "uat", "prod")):
        assert 403 not in statuses(clear)


def test_why_the_publisher_has_stopped_may_name_rows(masked: Desk) -> None:
    why = "nothing was published: products: 1 row fails the rule price: P1: name = 'Secret Name'"
    with transaction(masked.ledger) as conn:
        processes.beat(conn, Process("publisher", "p1", now(), Trouble(now(), why).detail))
    for path in ("/v1/status", "/"):
        blind, clear = (masked.as_(Role.VIEWER, *scope).get(path) for scope in (("uat",), ("uat", "prod")))
        assert "Secret Name" not in blind.text
        assert "it may name rows in clear" in blind.text
        assert "Secret Name" in clear.text

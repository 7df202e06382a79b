"""Whoever is for masked environments only reads no row in clear on any page."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import text

from distributor.access.roles import Role
from distributor.ledger.engine import ledger_engine, transaction
from distributor.settings import Settings, load_settings
from distributor.web.app import create_app
from tests.web.conftest import Desk
from tests.web.pages.test_empty import browser

POLICY = """
[environments.sit]
masking = "tests"
[environments.sit.systems.crm]
adapter = "sqlite"
url = "sqlite:///sit.db"
[masking.tests]
secret = "sixteen characters or more"
[masking.tests.columns.products]
name = "token"
"""
HELD = text(
    'INSERT INTO ledger.quarantine (environment, dataset, key, system, "table", "column", value, why, release, since)'
    " VALUES ('*', 'products', ARRAY['4711'], '', 'products', 'name', 'Secret Name', 'fails a rule', 1, now())"
)
RELEASE = text(
    "INSERT INTO ledger.releases (number, manifest, created_at, rows, counts, schema_fingerprint)"
    ' VALUES (1, \'m1\', now(), 7, \'{"products": {"inserts": 7, "updates": 0, "deletes": 0}}\', \'s\')'
)


@pytest.fixture
def masked(settings: Settings, tmp_path: Path) -> Iterator[Desk]:
    """A third environment, whose data is masked, a release, and a row that is held back from all."""
    file = tmp_path / "masked.toml"
    file.write_text((tmp_path / "distributor.toml").read_text() + POLICY)
    with_policy = load_settings(file, {})
    engine = ledger_engine(with_policy.ledger.url)
    with transaction(engine) as conn:
        conn.execute(RELEASE)
        conn.execute(HELD)
    yield Desk(create_app(with_policy, engine=engine), with_policy, engine)
    engine.dispose()


def test_rows_in_clear_are_not_for_whoever_is_for_masked_environments_only(masked: Desk) -> None:
    client = browser(masked, masked.key(Role.OPERATOR, "sit"))
    release = client.get("/releases/1")
    assert release.status_code == 200
    assert "rows in clear are for keys of other environments" in release.text
    assert "7" in release.text
    assert client.get("/products/1").status_code == 403
    letters = client.get("/letters")
    assert "rows that are held back are told in clear" in letters.text
    assert "4711" not in letters.text
    assert "Secret Name" not in letters.text
    assert "Secret Name" in browser(masked, masked.key(Role.OPERATOR, "sit", "uat")).get("/letters").text

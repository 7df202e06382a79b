"""Rows that are held back, as they are told of an environment that must not see everything."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from distributor.ledger import migrate, quarantine
from distributor.ledger.engine import ledger_engine, transaction
from distributor.ledger.quarantine import EVERYWHERE, HeldRow
from distributor.masking.policy import Method, Policy
from distributor.telemetry.clock import now
from distributor.views.quarantine import held_rows

pytestmark = pytest.mark.services


def row(environment: str, dataset: str, value: str) -> HeldRow:
    return HeldRow(environment, dataset, ("k",), 1, "", dataset, "name", value, f"fails on {value}", now())


def test_what_every_environment_lacks_was_judged_in_clear_and_is_not_told_masked(database: Callable[[], str]) -> None:
    url = database()
    migrate.upgrade(url)
    engine = ledger_engine(url)
    policy = Policy("test", "s" * 16, {"products": {"name": Method.TOKEN}})
    try:
        with transaction(engine) as conn:
            quarantine.hold(conn, [row(EVERYWHERE, "products", "clear"), row(EVERYWHERE, "prices", "known")])
            quarantine.hold(conn, [row("uat", "products", "of the edition")])
            told = held_rows(conn, environment="uat", policy=policy).held_back
            plain = held_rows(conn, environment="uat").held_back
    finally:
        engine.dispose()
    assert sorted((line.environment, line.dataset, line.value, line.why) for line in told) == [
        (EVERYWHERE, "prices", "known", "fails on known"),
        (EVERYWHERE, "products", "(masked)", "a quality rule holds it back"),
        ("uat", "products", "of the edition", "fails on of the edition"),
    ]
    assert [line.key for line in told if line.value == "(masked)"] == [("(masked)",)]
    assert "clear" in {line.value for line in plain}

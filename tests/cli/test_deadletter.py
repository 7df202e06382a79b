"""Dead letters are sent again or given up once, with the name of who did it."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest

from distributor.ledger import deadletters, migrate, outbox
from distributor.ledger.deadletters import DeadLetter
from distributor.ledger.engine import ledger_engine, transaction
from tests.cli.conftest import Run, config_text

AT = datetime(2026, 3, 1, 12, tzinfo=UTC)


def letter(exchange: str, type_: str | None) -> DeadLetter:
    return DeadLetter(AT, "pd.member.uat.pos", exchange, "uat.pos", type_, "it was stale", {}, None, b"{}", attempts=1)


@pytest.fixture
def ledger(database: Callable[[], str]) -> str:
    url = database()
    migrate.upgrade(url)
    engine = ledger_engine(url)
    with transaction(engine) as conn:
        assert deadletters.put(conn, letter("pd.commands", "pd.member.abandon.v1")) == 1
        assert deadletters.put(conn, letter("", None)) == 2
    engine.dispose()
    return url


def test_a_letter_is_retried_or_discarded_once_and_it_is_audited(run: Run, tmp_path: Path, ledger: str) -> None:
    config = tmp_path / "d.toml"
    config.write_text(config_text("postgresql://h/m", ledger, "amqp://h/"))
    options = ("--config", config)
    assert "delivered 1 time\n" in run("deadletter", "show", 1, *options).out
    assert run("deadletter", "retry", 1, "--dry-run", "--json", *options).json["letter"]["state"] == "waiting"
    assert run("deadletter", "retry", 1, "--by", "anna", "--json", *options).json["letter"]["state"] == "retried"
    engine = ledger_engine(ledger)
    with transaction(engine) as conn:
        [again] = outbox.claim(conn, datetime.now(UTC)).messages
        assert (again.message.routing_key, again.message.body) == ("uat.pos", b"{}")
    engine.dispose()
    assert run("deadletter", "retry", 1, *options).code == 11
    assert "was retried already" in run("deadletter", "discard", 1, "--reason", "r", *options).err

    assert "Discard it" in run("deadletter", "retry", 2, *options).err
    assert run("deadletter", "discard", 2, *options).code == 2
    told = run("deadletter", "discard", 2, "--reason", "noise", "--by", "ben", *options)
    assert told.out == "dead letter 2 (no event) is discarded\n"
    assert run("deadletter", "list", "--json", *options).json == {"dead_letters": []}
    assert run("deadletter", "discard", 3, "--reason", "r", *options).code == 11
    acts = run("audit", "--json", *options).json["audit"]
    assert [(act["who"], act["what"], act["why"], act["detail"]) for act in acts] == [
        ("ben", "deadletter discard", "noise", {"letter": 2}),
        ("anna", "deadletter retry", "", {"letter": 1}),
    ]

"""The outbox keeps each destination's order, whatever relays and failures do."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from sqlalchemy import Connection, Engine

from distributor.ledger import inbox, outbox
from distributor.ledger.engine import transaction

AT = datetime(2026, 3, 1, 12, tzinfo=UTC)


def message(id_: str, key: str) -> outbox.OutgoingMessage:
    return outbox.OutgoingMessage(id_, "pd.commands", key, "pd.member.abandon.v1", "s", b"{}", None, AT)


def ids(conn: Connection, at: datetime = AT, most: int = 200) -> list[str]:
    return [claimed.message.message_id for claimed in outbox.claim(conn, at, most).messages]


def test_another_relay_gets_neither_claimed_messages_nor_later_ones_of_their_destinations(ledger: Engine) -> None:
    with transaction(ledger) as conn:
        outbox.enqueue(conn, [message("crm-1", "crm"), message("pos-1", "pos")])
    with transaction(ledger) as first:
        assert ids(first, most=1) == ["crm-1"]
        with transaction(ledger) as conn:
            outbox.enqueue(conn, [message("crm-2", "crm")])
        with transaction(ledger) as second:
            claim = outbox.claim(second, AT)
            assert [c.message.message_id for c in claim.messages] == ["pos-1"]
            assert claim.held_back
    with transaction(ledger) as conn:
        assert ids(conn) == ["crm-1", "pos-1", "crm-2"]


def test_behind_a_failed_message_only_its_own_destination_waits(ledger: Engine) -> None:
    with transaction(ledger) as conn:
        outbox.enqueue(conn, [message("crm-1", "crm"), message("crm-2", "crm"), message("pos-1", "pos")])
        first = outbox.claim(conn, AT).messages[0]
        due = outbox.mark_failed(conn, first, "unroutable", AT)
        assert due > AT
        claim = outbox.claim(conn, AT)
        assert [c.message.message_id for c in claim.messages] == ["pos-1"]
        assert not claim.held_back
        again = outbox.claim(conn, due).messages
        assert [(c.message.message_id, c.attempts) for c in again] == [("crm-1", 1), ("crm-2", 0), ("pos-1", 0)]


def test_the_wait_doubles_up_to_half_a_minute(ledger: Engine) -> None:
    with transaction(ledger) as conn:
        outbox.enqueue(conn, [message("crm-1", "crm")])
        at, waits = AT, []
        for _ in range(10):
            due = outbox.mark_failed(conn, outbox.claim(conn, at).messages[0], "unroutable", at)
            waits.append((due - at).total_seconds())
            at = due
    assert waits == [0.25, 0.5, 1, 2, 4, 8, 16, 30, 30, 30]


def test_sent_messages_are_forgotten_in_time(ledger: Engine) -> None:
    with transaction(ledger) as conn:
        outbox.enqueue(conn, [message("crm-1", "crm"), message("crm-2", "crm")])
        outbox.mark_sent(conn, [outbox.claim(conn, AT).messages[0].id], AT)
        assert ids(conn) == ["crm-2"]
        assert outbox.purge(conn, AT) == 0
        assert outbox.purge(conn, AT + timedelta(seconds=1)) == 1
        assert outbox.waiting(conn) == 1


def test_the_inbox_knows_a_message_once_its_work_is_committed(ledger: Engine) -> None:
    with ledger.connect() as conn:
        assert inbox.first_time(conn, "a", "pd.member.staged.v1", AT)
        conn.rollback()
    with transaction(ledger) as conn:
        assert inbox.first_time(conn, "a", "pd.member.staged.v1", AT)
    with transaction(ledger) as conn:
        assert not inbox.first_time(conn, "a", "pd.member.staged.v1", AT)
        assert inbox.purge(conn, AT + timedelta(seconds=1)) == 1

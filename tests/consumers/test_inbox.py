"""The inbox: what is saved is there after a death, in the order of epochs, and a repeated message opens it again."""

from __future__ import annotations

import sqlite3
from datetime import UTC, datetime
from pathlib import Path

import pytest

from consumers.inbox import Inbox, Letter
from distributor.errors import UnreachableError

AT = datetime(2026, 1, 1, tzinfo=UTC)


def letter(message_id: str, epoch: int, *, closes: bool = False) -> Letter:
    return Letter(
        message_id, epoch, "pd.member.stage.v1", closes, {"ce-id": message_id}, "application/json", b"{}", AT, None
    )


def order(inbox: Inbox) -> list[str]:
    """The letters in the order in which they would be worked on."""
    seen: list[str] = []
    arrivals: list[int] = []
    while found := inbox.waiting(besides=arrivals):
        seen.append(found.message_id)
        arrivals.append(found.arrival)
    return seen


def test_highest_epoch_first_then_what_closes_it_then_arrival(tmp_path: Path) -> None:
    inbox = Inbox(tmp_path / "inbox.db")
    for saved in (letter("old", 1), letter("first", 3), letter("second", 3), letter("end", 3, closes=True)):
        inbox.save(saved)
    assert order(inbox) == ["end", "first", "second", "old"]


def test_open_letters_survive_and_closed_ones_do_not_come_back(tmp_path: Path) -> None:
    inbox = Inbox(tmp_path / "inbox.db")
    inbox.save(letter("a", 1))
    inbox.save(letter("b", 2))
    newest = inbox.waiting()
    assert newest is not None
    inbox.done(newest.arrival)
    inbox.close()
    again = Inbox(tmp_path / "inbox.db").waiting()
    assert again is not None
    assert (again.message_id, again.received_at, again.headers, again.body) == ("a", AT, {"ce-id": "a"}, b"{}")


def test_a_repeated_message_is_worked_again_even_when_it_was_answered_meanwhile(tmp_path: Path) -> None:
    inbox = Inbox(tmp_path / "inbox.db")
    inbox.save(letter("a", 1))
    first = inbox.waiting()
    assert first is not None
    inbox.save(letter("a", 1))
    inbox.done(first.arrival)
    second = inbox.waiting()
    assert second is not None
    assert second.arrival > first.arrival
    inbox.done(second.arrival)
    assert inbox.waiting() is None


def test_what_overtakes_a_load(tmp_path: Path) -> None:
    inbox = Inbox(tmp_path / "inbox.db")
    inbox.save(letter("stage", 5))
    assert inbox.overtakes(4)
    assert not inbox.overtakes(5)
    inbox.save(letter("end", 5, closes=True))
    assert inbox.overtakes(5)
    assert not inbox.overtakes(6)


def test_what_was_answered_or_overtaken_is_late_and_what_nobody_knows_is_not(tmp_path: Path) -> None:
    inbox = Inbox(tmp_path / "inbox.db")
    inbox.save(letter("newest", 5))
    inbox.save(letter("again", 4))
    found = inbox.waiting(besides=[1])
    assert found is not None
    assert not inbox.is_late(found, "r4")
    inbox.answered(found, "r4")
    assert inbox.is_late(found, "r4")
    assert not inbox.is_late(found, "of another ledger")
    inbox.save(letter("newer", 6))
    assert inbox.is_late(found, "of another ledger")


def test_the_end_of_an_epoch_overtakes_what_came_before_it(tmp_path: Path) -> None:
    inbox = Inbox(tmp_path / "inbox.db")
    inbox.save(letter("stage", 5))
    found = inbox.waiting()
    assert found is not None
    inbox.save(letter("end", 5, closes=True))
    assert inbox.is_late(found, "r5")


def test_closed_letters_are_pruned(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("consumers.inbox.KEPT", 10)
    path = tmp_path / "inbox.db"
    inbox = Inbox(path)
    for number in range(200):
        inbox.save(letter(f"m{number}", 1))
        inbox.done(number + 1)
    inbox.close()
    with sqlite3.connect(path) as connection:
        (kept,) = connection.execute("select count(*) from command").fetchone()
    connection.close()
    assert kept == 11


def test_a_directory_that_cannot_be_made_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UnreachableError, match="inbox"):
        Inbox(tmp_path / "file" / "inbox.db")

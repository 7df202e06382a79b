"""`deadletter list|show|retry|discard`: messages that could not be processed."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from distributor.cli.desk import Desk
from distributor.cli.layout import grid
from distributor.cli.options import MOST_NUMBER, By, DryRun, Limit, Reason
from distributor.cli.outcome import Outcome
from distributor.views.deadletters import (
    DeadLetters,
    HandledLetter,
    LetterLine,
    OpenedLetter,
    dead_letter,
    dead_letters,
)
from distributor.views.wording import count, stamp

if TYPE_CHECKING:
    from sqlalchemy import Engine

    from distributor.ledger.deadletters import DeadLetter


class ShownLetters(DeadLetters, Outcome):
    """Dead letters, newest first."""

    def show(self, console: Console) -> None:
        """A table, newest first."""
        table = grid(">id", "when (UTC)", "type", "from", "state", "reason")
        for letter in self.dead_letters:
            row = (stamp(letter.at), letter.type or "-", letter.origin, letter.state, letter.reason)
            table.add_row(str(letter.id), *row)
        console.print(table if self.dead_letters else "no dead letters")


class ShownLetter(OpenedLetter, Outcome):
    """One dead letter with everything that came with it."""

    def show(self, console: Console) -> None:
        """Every field, then the body."""
        letter = self.letter
        console.print(f"dead letter {letter.id}: {letter.type or 'no event'}, {letter.state}")
        delivered = count(letter.attempts, "time")
        console.print(f"put aside {stamp(letter.at)} UTC from {letter.origin}, delivered {delivered}")
        console.print(f"reason: {letter.reason}")
        console.print(f"sent to exchange {self.exchange!r} with key {self.routing_key!r} as {self.content_type}")
        for name, value in self.headers.items():
            console.print(f"  {name}: {value}")
        console.print(self.body)


class ShownHandledLetter(HandledLetter, Outcome):
    """What became of a dead letter."""

    def show(self, console: Console) -> None:
        """One line."""
        would = ", and nothing was changed" if self.dry_run else ""
        console.print(f"dead letter {self.letter.id} ({self.letter.type or 'no event'}) is {self.letter.state}{would}")


Number = Annotated[int, typer.Argument(metavar="ID", min=1, max=MOST_NUMBER, help="The number in `deadletter list`.")]


def list_letters(
    desk: Desk,
    every: Annotated[bool, typer.Option("--all", help="Also those that were retried or discarded.")] = False,
    limit: Limit = 50,
) -> ShownLetters:
    """List the messages that could not be processed, newest first."""
    with desk.reading() as conn:
        return ShownLetters.of(dead_letters(conn, every=every, limit=limit))


def show_letter(desk: Desk, number: Number) -> ShownLetter:
    """Show one of them: where it was going, why it failed, its headers and its body."""
    with desk.reading() as conn:
        return ShownLetter.of(dead_letter(conn, number))


def retry_letter(
    desk: Desk,
    number: Number,
    reason: Annotated[str, typer.Option("--reason", metavar="TEXT", help="Why; it is kept in the audit.")] = "",
    by: By = None,
    dry_run: DryRun = False,
) -> ShownHandledLetter:
    """Send one of them again, to where it was sent first: once what was in its way is mended.

    A command or a report that comes too late, or twice, changes nothing anywhere.
    """
    from distributor.requests import letters

    return _handle(
        desk, number, lambda engine: letters.retry(engine, number, by=by or desk.user, reason=reason), dry_run
    )


def discard_letter(
    desk: Desk, number: Number, reason: Reason, by: By = None, dry_run: DryRun = False
) -> ShownHandledLetter:
    """Give one of them up. It stays readable (`deadletter list --all`)."""
    from distributor.requests import letters

    return _handle(
        desk, number, lambda engine: letters.discard(engine, number, by=by or desk.user, reason=reason), dry_run
    )


def _handle(desk: Desk, number: int, act: Callable[[Engine], DeadLetter], dry_run: bool) -> ShownHandledLetter:
    from distributor.ledger.deadletters import letter

    if dry_run:
        with desk.reading() as conn:
            return ShownHandledLetter(letter=LetterLine.of(letter(conn, number)), dry_run=True)
    with desk.ledger() as engine:
        return ShownHandledLetter(letter=LetterLine.of(act(engine)), dry_run=False)

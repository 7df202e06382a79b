"""`deadletter list|show|retry|discard`: messages that could not be processed."""

from __future__ import annotations

import base64
from collections.abc import Callable
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console

from distributor.cli.desk import Desk
from distributor.cli.layout import grid
from distributor.cli.options import MOST_NUMBER, By, DryRun, Limit, Reason
from distributor.cli.outcome import Outcome
from distributor.views.base import View
from distributor.views.wording import count, stamp

if TYPE_CHECKING:
    from sqlalchemy import Engine

    from distributor.ledger.deadletters import DeadLetter


class LetterLine(View):
    """A message that could not be processed."""

    id: int
    """Its number, for `deadletter show`."""
    at: datetime
    """When it was put aside, in UTC."""
    origin: str
    """The queue whose reader could not process it."""
    type: str | None
    """The type of the event; null when the message was none."""
    reason: str
    """Why it could not be processed."""
    attempts: int
    """How often it was delivered."""
    state: str
    """What has become of it: `waiting`, `retried` or `discarded`."""

    @classmethod
    def of(cls, letter: DeadLetter) -> LetterLine:
        """A letter as the ledger has it."""
        return cls(**{name: getattr(letter, name) for name in cls.model_fields})


class DeadLetters(Outcome):
    """Dead letters, newest first."""

    dead_letters: tuple[LetterLine, ...]
    """The letters, newest first."""

    def show(self, console: Console) -> None:
        """A table, newest first."""
        table = grid(">id", "when (UTC)", "type", "from", "state", "reason")
        for letter in self.dead_letters:
            row = (stamp(letter.at), letter.type or "-", letter.origin, letter.state, letter.reason)
            table.add_row(str(letter.id), *row)
        console.print(table if self.dead_letters else "no dead letters")


class OpenedLetter(Outcome):
    """One dead letter with everything that came with it."""

    letter: LetterLine
    """What `deadletter list` says of it."""
    exchange: str
    """The exchange that it was sent to."""
    routing_key: str
    """The key that it was sent with."""
    headers: dict[str, Any]
    """The headers of the message."""
    content_type: str | None
    """The content type of the message."""
    body: str
    """The body; as base64 when it is not UTF-8."""
    encoding: str
    """`utf-8` or `base64`."""

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


class HandledLetter(Outcome):
    """What became of a dead letter."""

    letter: LetterLine
    """The letter as it is now."""
    dry_run: bool
    """Whether nothing was changed because of `--dry-run`."""

    def show(self, console: Console) -> None:
        """One line."""
        would = ", and nothing was changed" if self.dry_run else ""
        console.print(f"dead letter {self.letter.id} ({self.letter.type or 'no event'}) is {self.letter.state}{would}")


Number = Annotated[int, typer.Argument(metavar="ID", min=1, max=MOST_NUMBER, help="The number in `deadletter list`.")]


def list_letters(
    desk: Desk,
    every: Annotated[bool, typer.Option("--all", help="Also those that were retried or discarded.")] = False,
    limit: Limit = 50,
) -> DeadLetters:
    """List the messages that could not be processed, newest first."""
    from distributor.ledger.deadletters import LetterState, letters

    with desk.reading() as conn:
        found = letters(conn, None if every else LetterState.WAITING, limit)
    return DeadLetters(dead_letters=tuple(map(LetterLine.of, found)))


def show_letter(desk: Desk, number: Number) -> OpenedLetter:
    """Show one of them: where it was going, why it failed, its headers and its body."""
    from distributor.ledger.deadletters import letter

    with desk.reading() as conn:
        found = letter(conn, number)
    try:
        body, encoding = found.body.decode(), "utf-8"
    except UnicodeDecodeError:
        body, encoding = base64.b64encode(found.body).decode(), "base64"
    return OpenedLetter(
        letter=LetterLine.of(found),
        exchange=found.exchange,
        routing_key=found.routing_key,
        headers=dict(found.headers),
        content_type=found.content_type,
        body=body,
        encoding=encoding,
    )


def retry_letter(
    desk: Desk,
    number: Number,
    reason: Annotated[str, typer.Option("--reason", metavar="TEXT", help="Why; it is kept in the audit.")] = "",
    by: By = None,
    dry_run: DryRun = False,
) -> HandledLetter:
    """Send one of them again, to where it was sent first: once what was in its way is mended.

    A command or a report that comes too late, or twice, changes nothing anywhere.
    """
    from distributor.requests import letters

    return _handle(
        desk, number, lambda engine: letters.retry(engine, number, by=by or desk.user, reason=reason), dry_run
    )


def discard_letter(desk: Desk, number: Number, reason: Reason, by: By = None, dry_run: DryRun = False) -> HandledLetter:
    """Give one of them up. It stays readable (`deadletter list --all`)."""
    from distributor.requests import letters

    return _handle(
        desk, number, lambda engine: letters.discard(engine, number, by=by or desk.user, reason=reason), dry_run
    )


def _handle(desk: Desk, number: int, act: Callable[[Engine], DeadLetter], dry_run: bool) -> HandledLetter:
    from distributor.ledger.deadletters import letter

    if dry_run:
        with desk.reading() as conn:
            return HandledLetter(letter=LetterLine.of(letter(conn, number)), dry_run=True)
    with desk.ledger() as engine:
        return HandledLetter(letter=LetterLine.of(act(engine)), dry_run=False)

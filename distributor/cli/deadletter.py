"""`deadletter list|show`: messages that could not be processed."""

from __future__ import annotations

import base64
from datetime import datetime
from typing import Annotated, Any

import typer
from rich.console import Console
from sqlalchemy import select

from distributor.cli.desk import Desk
from distributor.cli.layout import grid, stamp
from distributor.cli.options import Limit
from distributor.cli.outcome import Outcome, Part
from distributor.errors import UsageError
from distributor.ledger.tables import dead_letters


class DeadLetter(Part):
    """A message that could not be processed."""

    id: int
    """Its number, for `deadletter show`."""
    at: datetime
    """When it was put aside, in UTC."""
    origin: str
    """Who put it aside, or the queue that it came from."""
    type: str | None
    """The type of the event; null when the message was none."""
    reason: str
    """Why it could not be processed."""
    attempts: int
    """How often it was tried."""
    state: str
    """What has become of it; `waiting` at first."""


class DeadLetters(Outcome):
    """Dead letters, newest first."""

    dead_letters: tuple[DeadLetter, ...]
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

    letter: DeadLetter
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
        console.print(f"put aside {stamp(letter.at)} UTC by {letter.origin}, {letter.attempts} attempts")
        console.print(f"reason: {letter.reason}")
        console.print(f"sent to exchange {self.exchange!r} with key {self.routing_key!r} as {self.content_type}")
        for name, value in self.headers.items():
            console.print(f"  {name}: {value}")
        console.print(self.body)


def list_letters(desk: Desk, limit: Limit = 50) -> DeadLetters:
    """List the messages that could not be processed, newest first."""
    with desk.reading() as conn:
        rows = conn.execute(select(dead_letters).order_by(dead_letters.c.id.desc()).limit(limit))
        return DeadLetters(dead_letters=tuple(_letter(dict(row._mapping)) for row in rows))


def show_letter(
    desk: Desk, number: Annotated[int, typer.Argument(metavar="ID", help="The number in `deadletter list`.")]
) -> OpenedLetter:
    """Show one of them: where it was going, why it failed, its headers and its body."""
    with desk.reading() as conn:
        found = conn.execute(select(dead_letters).where(dead_letters.c.id == number)).one_or_none()
    if found is None:
        raise UsageError(f"there is no dead letter {number}", where="ledger", mend="See `distributor deadletter list`.")
    row = dict(found._mapping)
    body = bytes(row["body"])
    try:
        text, encoding = body.decode(), "utf-8"
    except UnicodeDecodeError:
        text, encoding = base64.b64encode(body).decode(), "base64"
    return OpenedLetter(
        letter=_letter(row),
        exchange=row["exchange"],
        routing_key=row["routing_key"],
        headers=row["headers"],
        content_type=row["content_type"],
        body=text,
        encoding=encoding,
    )


def _letter(row: dict[str, Any]) -> DeadLetter:
    return DeadLetter.model_validate({name: row[name] for name in DeadLetter.model_fields})

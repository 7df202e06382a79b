"""Messages that could not be processed."""

from __future__ import annotations

import base64
from datetime import datetime
from typing import TYPE_CHECKING, Any

from distributor.views.base import View

if TYPE_CHECKING:
    from sqlalchemy import Connection

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


class DeadLetters(View):
    """Dead letters, newest first."""

    dead_letters: tuple[LetterLine, ...]
    """The letters, newest first."""


class OpenedLetter(View):
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


class HandledLetter(View):
    """What became of a dead letter."""

    letter: LetterLine
    """The letter as it is now."""
    dry_run: bool
    """Whether nothing was changed because of `--dry-run`."""


def dead_letters(conn: Connection, *, every: bool = False, limit: int = 50, before: int | None = None) -> DeadLetters:
    """The newest letters that wait, or `every` one; only those of a lower id than `before`, if that is given."""
    from distributor.ledger.deadletters import LetterState, letters

    found = letters(conn, None if every else LetterState.WAITING, limit, before)
    return DeadLetters(dead_letters=tuple(map(LetterLine.of, found)))


def dead_letter(conn: Connection, number: int) -> OpenedLetter:
    """One letter with all that came with it. Raises RefusedError when there is none of that number."""
    from distributor.ledger.deadletters import letter

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

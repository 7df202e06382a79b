"""Arguments and options that several verbs share, with the words in which they are explained."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Annotated

import typer
from pydantic import TypeAdapter, ValidationError

from distributor.errors import UsageError
from distributor.settings.durations import Duration

_DURATION: TypeAdapter[timedelta] = TypeAdapter(Duration)

Environment = Annotated[str, typer.Argument(metavar="ENV", help="An environment of the config: prod, uat, …")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Say what would be done, and change nothing.")]
Reason = Annotated[str, typer.Option("--reason", metavar="TEXT", help="Why; it is kept in the audit.")]
By = Annotated[
    str | None,
    typer.Option("--by", metavar="NAME", help="Who asks; default: the user of this machine.", show_default=False),
]
MOST_RELEASE = 2**31 - 1
"""Release numbers are stored in four octets; a larger one is no release's."""
MOST_NUMBER = 2**63 - 1
"""The largest number that the ledger can be asked for: an id, or how many rows."""
Limit = Annotated[
    int, typer.Option("--limit", min=1, max=MOST_NUMBER, metavar="N", help="How many to show, newest first.")
]
NoWait = Annotated[bool, typer.Option("--no-wait", help="Ask for it and return; `rollout ID` tells how it went.")]
Timeout = Annotated[
    str | None,
    typer.Option(
        "--timeout", metavar="TIME", help='Stop waiting after this long ("90s", "10m"); the rollout itself goes on.'
    ),
]


def names(text: str | None, option: str) -> tuple[str, ...]:
    """A list with commas; none when the option is not given. Raises UsageError when it is, and names nothing."""
    found = tuple(name.strip() for name in (text or "").split(",") if name.strip())
    if text is not None and not found:
        raise UsageError(f"{text!r} names nothing", where=option, mend="Name one, or leave the option out for all.")
    return found


def duration(text: str, option: str) -> timedelta:
    """A duration as the config writes it. Raises UsageError."""
    try:
        return _DURATION.validate_python(text)
    except ValidationError as error:
        message = error.errors()[0]["msg"].removeprefix("Value error, ")
        raise UsageError(message, where=option, mend=f"{text!r} is none.") from error


def past_moment(text: str, option: str, at: datetime) -> datetime:
    """A time that is past: ISO 8601 (UTC without an offset), or how long ago. Raises UsageError."""
    try:
        given = datetime.fromisoformat(text)
    except ValueError:
        try:
            return at - duration(text, option)
        except UsageError:
            raise UsageError(
                f"{text!r} is no time", where=option, mend='Write "2h" (ago), or a time like 2026-07-01T18:00+02:00.'
            ) from None
    return given if given.tzinfo else given.replace(tzinfo=UTC)


def moment(text: str, option: str, at: datetime) -> datetime:
    """A time: ISO 8601 (UTC without an offset), or a duration from now on. Raises UsageError."""
    try:
        given = datetime.fromisoformat(text)
    except ValueError:
        try:
            return at + duration(text, option)
        except UsageError:
            raise UsageError(
                f"{text!r} is no time",
                where=option,
                mend='Write "2h", or a time like 2026-07-01T18:00+02:00.',
            ) from None
    return given if given.tzinfo else given.replace(tzinfo=UTC)

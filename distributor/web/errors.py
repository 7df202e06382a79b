"""What can go wrong with a request itself."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from distributor.errors import ConfigError, DistributorError, NotThereError, RefusedError, UsageError


class UnauthenticatedError(DistributorError):
    """Nobody knows who asks."""


class InputError(DistributorError):
    """A field of the request cannot be taken; `where` is the field."""


class ChangedMeanwhileError(RefusedError):
    """What was to be changed is no longer as whoever asks saw it."""


class AnsweredOtherwiseError(RefusedError):
    """An idempotency key was used for another request before."""


class StillRunningError(RefusedError):
    """A request of this idempotency key is being worked on at this moment."""

    retryable = True


@contextmanager
def not_there() -> Iterator[None]:
    """What a path names, and whoever looks for it calls wrong usage, does not exist."""
    try:
        yield
    except UsageError as error:
        raise NotThereError(error.what, where=error.where, mend=error.mend) from error


@contextmanager
def named_in_body(field: str) -> Iterator[None]:
    """What a field names does not exist, or cannot be: the field cannot be taken."""
    try:
        yield
    except (NotThereError, UsageError) as error:
        if isinstance(error, ConfigError) and error.where.startswith(("master", "systems.")):
            raise
        raise InputError(error.what, where=f"body.{field}", mend=error.mend) from error

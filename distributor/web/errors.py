"""What can go wrong with a request itself."""

from __future__ import annotations

from distributor.errors import DistributorError, RefusedError


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

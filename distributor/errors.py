"""What can go wrong, said once: what, where, how to mend it, and whether trying again can help.

The retry policy reads `retryable` and nothing else; the command line prints `str(error)` and no traceback.
"""

from __future__ import annotations


class DistributorError(Exception):
    """Any failure that a user or an operator can act upon.

    `what` is one sentence; `where` names the part (a file and line, a table, a member); `mend` says what to do.
    """

    retryable = False
    exit_code = 1

    def __init__(self, what: str, *, where: str = "", mend: str = "") -> None:
        super().__init__(what)
        self.what = what
        self.where = where
        self.mend = mend

    def __str__(self) -> str:
        text = f"{self.where}: {self.what}" if self.where else self.what
        if not self.mend:
            return text
        return f"{text} {self.mend}" if text.endswith((".", "?", "!", "…")) else f"{text}. {self.mend}"

    def as_dict(self) -> dict[str, object]:
        """The error as the `error` object of `--json`."""
        return {
            "error": type(self).__name__,
            "what": self.what,
            "where": self.where,
            "mend": self.mend,
            "retryable": self.retryable,
        }


class UsageError(DistributorError):
    """The command line or the config is wrong."""

    exit_code = 2


class ConfigError(UsageError):
    """The config file cannot be used as it stands."""


class BadInputError(DistributorError):
    """Data that was handed in cannot be taken: nothing of it was."""


class UnreachableError(DistributorError):
    """A server or a directory did not answer; trying again may help."""

    retryable = True


class NotInitialisedError(DistributorError):
    """The ledger's tables are not there, or not of this program's version."""


class StoreError(DistributorError):
    """The store lost, damaged or refused an object."""


class StoreFullError(StoreError):
    """The disk under the store is full: nothing was announced, and the next attempt starts from the same place."""

    retryable = True


class SchemaError(DistributorError):
    """A table is not as it was when it was distributed, or cannot be distributed at all."""


class PublishConflictError(DistributorError):
    """Another publisher made the release first; this one changed nothing."""

    retryable = True


class SystemAlteredError(DistributorError):
    """A system's own tables no longer fit what is loaded into them."""


class MessageError(DistributorError):
    """A message is no valid event of ours: it goes to the dead letters."""


class RefusedError(DistributorError):
    """A gate said no."""

    exit_code = 11


class NotThereError(RefusedError):
    """What was asked for does not exist."""


class RuleFailedError(RefusedError):
    """Quality rules refuse a release: nothing was published, and its keys stay where they are."""


class NotConvergedError(DistributorError):
    """The members did not converge in time; nothing flipped."""

    exit_code = 12


class HeldError(DistributorError):
    """The environment is held or busy."""

    exit_code = 13


class FlippedBackError(DistributorError):
    """The environment was flipped back."""

    exit_code = 14

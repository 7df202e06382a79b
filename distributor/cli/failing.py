"""How a failure is told: one sentence, never a traceback, and the exit code of the contract."""

from __future__ import annotations

import json
import os
import sys
import traceback

import typer

from distributor.cli.desk import notes_console
from distributor.errors import DistributorError, UsageError

DEBUG = "DISTRIBUTOR_DEBUG"


class UnexpectedError(DistributorError):
    """A failure that nobody foresaw."""


def known(error: Exception) -> DistributorError:
    """Any failure as one that a user can read."""
    if isinstance(error, DistributorError):
        return error
    if isinstance(error, typer.TyperException):
        return UsageError(error.format_message().rstrip("."), mend="`--help` after a verb explains it.")
    mend = f"This should not happen: set {DEBUG}=1 and run it again to see where it comes from."
    return UnexpectedError(f"{type(error).__name__}: {_first_line(error)}", mend=mend)


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return lines[0].rstrip(".") if lines else "no reason given"


def tell(error: Exception, as_json: bool) -> int:
    """Writes the failure (with --json as one object on stdout, else a sentence on stderr); returns the exit code."""
    if isinstance(error, typer.TyperException) and not error.format_message():
        return error.exit_code  # a verb was missing: the help has been shown instead
    failure = known(error)
    if os.environ.get(DEBUG):  # noqa: TID251
        traceback.print_exception(error)
    if as_json:
        sys.stdout.write(json.dumps({**failure.as_dict(), "exit_code": failure.exit_code}, indent=2) + "\n")
    else:
        notes_console().print(f"distributor: {failure}")
    return failure.exit_code

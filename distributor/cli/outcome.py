"""What a verb ends with: one documented object, which is either written as JSON or shown to a person."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict
from rich.console import Console

from distributor.errors import DistributorError


class Outcome(BaseModel):
    """The object that `--json` writes. Subclasses describe every field: docs/cli.md is made from them."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    @property
    def exit_code(self) -> int:
        """How the process ends: the exit codes of docs/cli.md."""
        return 0

    def show(self, console: Console) -> None:
        """Shows the outcome to a person, on stdout."""
        raise NotImplementedError


class Part(BaseModel):
    """A described object inside an outcome."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


class Interrupted(DistributorError):
    """Somebody pressed Ctrl-C."""

    exit_code = 130

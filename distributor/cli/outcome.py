"""What a verb ends with: one documented object, which is either written as JSON or shown to a person."""

from __future__ import annotations

from typing import Self

from rich.console import Console

from distributor.errors import DistributorError
from distributor.views.base import View


class Outcome(View):
    """The object that `--json` writes: a document of `distributor.views` that can show itself, or one of a verb's own.

    The fields of both are described, for docs/cli.md is made from them.
    """

    @classmethod
    def of(cls, view: View) -> Self:
        """The document as this verb shows it; its parts are not copied."""
        assert issubclass(cls, type(view))
        return cls.model_construct(**{name: getattr(view, name) for name in type(view).model_fields})

    @property
    def exit_code(self) -> int:
        """How the process ends: the exit codes of docs/cli.md."""
        return 0

    def show(self, console: Console) -> None:
        """Shows the outcome to a person, on stdout."""
        raise NotImplementedError


class Interrupted(DistributorError):
    """Somebody pressed Ctrl-C."""

    exit_code = 130

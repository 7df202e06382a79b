"""One line of `check`: a part of the estate, whether it will do, and how to mend it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

from distributor.errors import DistributorError
from distributor.views.base import View


class Finding(View):
    """What was found about one part."""

    part: str
    """The part: `config`, `master`, `master.products`, `ledger`, `broker`, `store`, `ENV.SYSTEM`."""
    verdict: Literal["ok", "note", "problem"]
    """`ok`; `note`: worth knowing, nothing is in the way; `problem`: it will not work like this."""
    found: str
    """What was found, in a sentence."""
    mend: str
    """What to do about it; empty when there is nothing to do."""


class Findings:
    """Collects findings; a failure inside `about` becomes a problem of that part."""

    def __init__(self) -> None:
        self.all: list[Finding] = []

    def ok(self, part: str, found: str) -> None:
        """All is well."""
        self.all.append(Finding(part=part, verdict="ok", found=found, mend=""))

    def note(self, part: str, found: str, mend: str = "") -> None:
        """Worth knowing."""
        self.all.append(Finding(part=part, verdict="note", found=found, mend=mend))

    def problem(self, part: str, found: str, mend: str) -> None:
        """It will not work like this."""
        self.all.append(Finding(part=part, verdict="problem", found=found, mend=mend))

    def failure(self, part: str, error: DistributorError) -> None:
        """What failed, as a problem."""
        self.problem(part, f"{error.where}: {error.what}" if error.where else error.what, error.mend)

    @contextmanager
    def about(self, part: str) -> Iterator[None]:
        """A failure in here is a problem of this part, and the check goes on."""
        try:
            yield
        except DistributorError as error:
            self.failure(part, error)

"""What one client is told: what it asked for, of what it may see."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass

from distributor.access.roles import Principal, sees
from distributor.ledger.events import RELEASE, EventRecord
from distributor.web.events.frames import PROGRESS, name_of

Seen = Callable[[str, str | None], bool]
"""Whether an event of a kind and an environment may be seen."""


def seen_by(principal: Principal) -> Seen:
    """What a principal may see: its environments, and releases; what else concerns no environment, if it has all."""

    def seen(kind: str, environment: str | None) -> bool:
        if environment is None:
            return kind == RELEASE or not principal.environments
        return sees(principal, environment)

    return seen


@dataclass(frozen=True, slots=True)
class Wanted:
    """`environments` and `kinds`: these only; none: all. A kind may be an event's name on the line as well.

    What concerns no single environment is told whichever were asked for.
    """

    seen: Seen
    environments: Collection[str] = ()
    kinds: Collection[str] = ()

    def __call__(self, event: EventRecord) -> bool:
        """Whether the client is told of an event."""
        asked = not self.kinds or event.kind in self.kinds or name_of(event.kind) in self.kinds
        return asked and self._concerns(event.kind, event.environment)

    @property
    def progress(self) -> bool:
        """Whether the client is told how far loads are."""
        return not self.kinds or PROGRESS in self.kinds

    def progress_of(self, environment: str) -> bool:
        """Whether the client is told how far the loads of an environment are."""
        return self.progress and self._concerns(PROGRESS, environment)

    def _concerns(self, kind: str, environment: str | None) -> bool:
        asked = environment is None or not self.environments or environment in self.environments
        return asked and self.seen(kind, environment)

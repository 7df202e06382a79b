"""What a fault is: it makes its own changes on the master, strikes at a moment that chance gives, and returns when
whatever it took away is back. No fault mends what the product should.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from random import Random
from typing import Protocol

from tests.chaos.lab import Lab


@dataclass(frozen=True, slots=True)
class Struck:
    """`back_at`: the moment (monotonic clock) from which nothing was missing any more. `hit`: whether it came to pass.

    `undo`: what is to be set right once everything was looked at.
    """

    back_at: float
    hit: bool = True
    undo: Callable[[], object] | None = None


class WrongEnd(Exception):
    """What members hold after a way back is not what they held before."""


class Fault(Protocol):
    """One fault. `name`, `where` and `whom` are its row in the matrix."""

    @property
    def name(self) -> str: ...

    @property
    def where(self) -> str: ...

    @property
    def whom(self) -> str: ...

    def strike(self, lab: Lab, chance: Random) -> Struck:
        """Does it."""

"""A way in words, for whoever waits for it or asks beforehand."""

from __future__ import annotations

from distributor.model.manifest import Base
from distributor.store.chain import Chain, Direction


def in_words(chain: Chain, *, from_nothing: bool) -> str:
    """One line: `delta of 12 rows over 1 release`, `base of release 812 (1,000 rows) + 3 releases`; "" when nothing is
    on the way. `from_nothing`: every table is emptied first."""
    return _from_nothing(chain) if from_nothing else _delta(chain)


def count(number: int, noun: str) -> str:
    """`1 row`, `1,204 rows`."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def _from_nothing(chain: Chain) -> str:
    if not chain.steps:
        return "every table emptied"
    first, *others = chain.steps
    if not isinstance(first.manifest, Base):
        return f"everything anew: {count(chain.rows, 'row')} over {_releases(chain, Direction.FORWARD)}"
    base = f"base of release {first.manifest.release} ({count(first.manifest.rows, 'row')})"
    return f"{base} + {_releases(Chain(tuple(others)), Direction.FORWARD)}" if others else base


def _delta(chain: Chain) -> str:
    directions = {step.direction for step in chain.steps}
    back = f"{_releases(chain, Direction.REVERSE)} back" if Direction.REVERSE in directions else ""
    if Direction.FORWARD not in directions:
        return f"{back} ({count(chain.rows, 'row')})" if back else ""
    delta = f"delta of {count(chain.rows, 'row')} over {_releases(chain, Direction.FORWARD)}"
    return f"{delta}, after {back}" if back else delta


def _releases(chain: Chain, direction: Direction) -> str:
    """How many releases a chain goes through that way; a release and its variants count once."""
    return count(len({step.manifest.release for step in chain.steps if step.direction is direction}), "release")

"""What environments take for the releases that they show, and where that lies; nothing is made for it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from distributor.views.status import states

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy import Connection

    from distributor.masking.policy import Policy
    from distributor.rollout.state import Environment
    from distributor.settings import Settings
    from distributor.store.base import Store
    from distributor.store.chain import Position


@dataclass(frozen=True, slots=True)
class Place:
    """An environment with its store and masking policy (None: it sees the rows in clear). `positions`: the releases
    that it and its systems show → what it takes for them; None where it took that under another policy."""

    state: Environment
    store: Store
    policy: Policy | None
    positions: Mapping[int, Position | None]

    @property
    def shown(self) -> Position | None:
        """What the environment shows."""
        return self.positions[self.state.shown]


def places(conn: Connection, settings: Settings, store: Store, names: Sequence[str]) -> tuple[Place, ...]:
    """These environments. `store` is the config's. Raises RefusedError for a release that the ledger does not know."""
    return tuple(_place(conn, settings, store, state) for state in states(conn, settings, names).values())


def _place(conn: Connection, settings: Settings, store: Store, state: Environment) -> Place:
    from distributor.ledger import releases, variants
    from distributor.store.chain import Position
    from distributor.store.editions import store_of

    here, policy = store_of(settings, store, state.name), settings.masking_of(state.name)
    numbers = {state.shown, *(member.shows for member in state.members.values())}
    plain = releases.manifests(conn, numbers)
    positions: dict[int, Position | None] = {}
    for number, taken in variants.manifests(conn, state.name, numbers).items():
        # What has no manifest of its own under a policy was taken in clear; what another store holds, under another.
        foreign = taken is not None and ((taken == plain[number] and policy is not None) or not here.holds(taken))
        positions[number] = None if foreign else Position(number, taken)
    return Place(state, here, policy, positions)

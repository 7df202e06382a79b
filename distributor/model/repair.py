"""A repair list: the right rows for keys whose stored rows an audit found wrong. It lies in the store by its sha256."""

from __future__ import annotations

from distributor.model.dataset import Frozen
from distributor.model.manifest import Chunk


class Repair(Frozen):
    """What the slots of one member must hold under some keys at `release`, whatever they hold now.

    `manifest` is the sha256 of the release's manifest. The chunks, named by dataset, have the columns of a changeset:
    `insert` with the whole row in `after` for a key that the release has, `delete` with the key in `before` for one
    that it has not.
    """

    release: int
    manifest: str | None
    chunks: tuple[Chunk, ...]

    @property
    def rows(self) -> int:
        """How many keys it mends."""
        return sum(chunk.rows for chunk in self.chunks)

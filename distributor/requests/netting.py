"""How many rows of a table a rollout would insert, update and delete, and some of them, field by field."""

from __future__ import annotations

from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from distributor.errors import StoreError
from distributor.mapping.compiled import Compiled
from distributor.requests.expectations import Content
from distributor.shaping.deltas import Shaper
from distributor.store.base import Store
from distributor.store.chain import Chain, walk
from distributor.store.chunks import AFTER, BEFORE, OP, Op
from distributor.store.compose import net_delta
from distributor.store.ways import Ways


@dataclass(frozen=True, slots=True)
class Changed:
    """One row: before and after, by column; None for a row that is not there."""

    op: Op
    before: dict[str, str | None] | None
    after: dict[str, str | None] | None


@dataclass(frozen=True, slots=True)
class Counted:
    """Rows by what happens to them, and the first of them. `anew`: why all of them are inserts."""

    inserted: int = 0
    updated: int = 0
    deleted: int = 0
    sample: tuple[Changed, ...] = ()
    anew: str = ""

    @property
    def rows(self) -> int:
        """All of them."""
        return self.inserted + self.updated + self.deleted


def net(store: Store, table: Compiled, shown: Content, wanted: Content, sample: int) -> Counted:
    """What changes of a table between two contents: the very net delta that a load applies. Raises StoreError."""
    try:
        chain = walk(store, wanted.sha256, wanted.release, shown.sha256, shown.release)
    except StoreError as error:
        return _counted(store, table, _anew(store, wanted), sample, str(error))
    source = table.source.dataset
    if chain.lost(source):
        return _counted(store, table, _anew(store, wanted), sample, "there is no way back to its former shape")
    # To an environment that shows nothing every table is new, however often its dataset began anew on the way.
    reshaped = shown.manifest is not None and chain.restarts(source)
    return _counted(store, table, chain, sample, "its shape changed" if reshaped else "")


def whole(store: Store, table: Compiled, _shown: Content, wanted: Content, sample: int) -> Counted:
    """All rows of a table in a content: what a load from nothing puts there. Raises StoreError."""
    return _counted(store, table, _anew(store, wanted), min(sample, 0), "")


def _anew(store: Store, wanted: Content) -> Chain:
    return Ways(store, wanted.sha256, wanted.release).anew()


def _counted(store: Store, table: Compiled, chain: Chain, sample: int, anew: str) -> Counted:
    numbers = dict.fromkeys(Op, 0)
    shown: list[Changed] = []
    shaper = Shaper(table)
    try:
        for piece in net_delta(store, chain, table.source):
            # Rows that fit no longer are held back before, or the rollout is refused.
            changes, _ = shaper.changes(piece)
            for op in Op:
                numbers[op] += changes.filter(pc.equal(changes[OP], pa.scalar(op.value))).num_rows
            shown += [] if anew else _rows(table, changes.slice(0, max(sample - len(shown), 0)))
    finally:
        shaper.close()
    return Counted(numbers[Op.INSERT], numbers[Op.UPDATE], numbers[Op.DELETE], tuple(shown), anew)


def _rows(table: Compiled, changes: pa.Table) -> list[Changed]:
    names = table.schema.column_names
    found = []
    for row in changes.to_pylist():
        op = Op(row[OP])
        before = None if op is Op.INSERT else {name: row[BEFORE + name] for name in names}
        after = None if op is Op.DELETE else {name: row[AFTER + name] for name in names}
        found.append(Changed(op, before, after))
    return found

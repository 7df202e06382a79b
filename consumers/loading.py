"""The load itself: net delta → batches → the slot, with the certificate folded from what was read back."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

import pyarrow as pa
import pyarrow.compute as pc

from consumers.adapters.base import Batch, Loading, TableSpec
from consumers.planning import Plan
from distributor.model.certificate import EMPTY_TABLE, Certificate, TableCertificate
from distributor.model.dataset import DatasetSchema
from distributor.model.repair import Repair
from distributor.model.unfit import Unfit, UnfitRowsError
from distributor.shaping.deltas import Shaper
from distributor.store.base import Store
from distributor.store.chunks import AFTER, BEFORE, OP, Op, read_chunk
from distributor.store.compose import net_delta
from distributor.telemetry.faults import Point, point

Judge = Callable[[Batch], Sequence[Unfit]]

BATCH_ROWS = 10_000
"""Between two batches a load is cut when something newer waits: so many rows are written in a moment."""


@dataclass(slots=True)
class Phases:
    """Seconds per phase, and what is going on now."""

    seconds: dict[str, float] = field(default_factory=dict)
    current: str = ""
    rows_done: int = 0
    started: float = field(default_factory=time.monotonic)
    _within: bool = False

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Counts the block's time under a name; a phase within another one is part of that."""
        if self._within:
            yield
            return
        self._within, self.current = True, name
        began = time.monotonic()
        try:
            yield
        finally:
            self.seconds[name] = self.seconds.get(name, 0.0) + time.monotonic() - began
            self._within = False

    @property
    def elapsed(self) -> float:
        """Seconds since the load began."""
        return time.monotonic() - self.started


def fill(
    loading: Loading,
    plan: Plan,
    tables: tuple[TableSpec, ...],
    store: Store,
    phases: Phases,
    checkpoint: Callable[[], None],
    judge: Judge | None = None,
) -> Certificate:
    """Carries a plan out inside a load, one batch in memory at a time, and returns the slot's new certificate.

    `checkpoint` is called between batches and may raise to cut the load; `judge` says which rows the store cannot hold.
    Raises StoreError, SystemAlteredError, and UnfitRowsError naming every row that does not fit, of the whole plan.
    """
    unfit: list[Unfit] = []
    folded: dict[str, TableCertificate] = {}
    for table in tables:
        certificate = plan.base.tables.get(table.name, EMPTY_TABLE)
        if plan.rebuild or table.name in plan.anew:
            with phases.phase("load"):
                loading.clear(table)
        for batch in _batches(store, plan, table, phases, unfit):
            if judge is not None:
                unfit += judge(batch)
            if unfit:
                # The load is lost: what remains is to name all rows at once.
                checkpoint()
                continue
            with phases.phase("load"):
                touched = loading.apply(batch)
            certificate = certificate.minus(touched.before).plus(touched.after)
            phases.rows_done += batch.rows
            point(Point.LOAD_BETWEEN_BATCHES)
            checkpoint()
        folded[table.name] = certificate
    if unfit:
        raise UnfitRowsError(unfit)
    return audited(loading, tables, phases, checkpoint) if plan.repair else Certificate(tables=folded)


def audited(
    loading: Loading, tables: tuple[TableSpec, ...], phases: Phases, checkpoint: Callable[[], None]
) -> Certificate:
    """The certificate of everything that the slot holds inside this load, whatever a row says (L3)."""
    found: dict[str, TableCertificate] = {}
    for table in tables:
        with phases.phase("audit"):
            found[table.name] = loading.audit(table)
        checkpoint()
    return Certificate(tables=found)


def _batches(store: Store, plan: Plan, table: TableSpec, phases: Phases, unfit: list[Unfit]) -> Iterator[Batch]:
    """Batches of the table's own rows; `unfit` gets those that its mapping fails on."""
    shaper = Shaper(table.compiled) if table.compiled else None
    changes = _changes(store, plan, table)
    try:
        while True:
            with phases.phase("fetch"):
                found = next(changes, None)
                if found is None:
                    return
                piece, repairs = found
                if shaper is not None:
                    piece, failed = shaper.repairs(piece) if repairs else shaper.changes(piece)
                    unfit += failed
            for start in range(0, piece.num_rows, BATCH_ROWS):
                with phases.phase("fetch"):
                    batch = batch_of(table, piece.slice(start, BATCH_ROWS))
                yield batch
    finally:
        if shaper is not None:
            shaper.close()


def _changes(store: Store, plan: Plan, table: TableSpec) -> Iterator[tuple[pa.Table, bool]]:
    """The net delta of what the table reads, and the repair list (true) before or after it."""
    source = table.compiled.source if table.compiled else table.schema
    if plan.repair and not plan.ends and table.name not in plan.anew:
        yield from _mended(store, plan.repair, source)
    for piece in net_delta(store, plan.chain, source):
        yield piece, False
    if plan.repair and plan.ends:
        yield from _mended(store, plan.repair, source)


def _mended(store: Store, repair: Repair, source: DatasetSchema) -> Iterator[tuple[pa.Table, bool]]:
    for chunk in repair.chunks:
        if chunk.dataset == source.dataset:
            yield read_chunk(store, chunk, source), True


def batch_of(table: TableSpec, changes: pa.Table) -> Batch:
    """A piece of a changeset as what is to be written and what is to go."""
    gone = pc.equal(changes[OP], pa.scalar(Op.DELETE.value))
    columns: Mapping[str, str] = {AFTER + name: name for name in table.schema.column_names}
    keys: Mapping[str, str] = {BEFORE + name: name for name in table.schema.key}
    return Batch(table, _renamed(changes.filter(pc.invert(gone)), columns), _renamed(changes.filter(gone), keys))


def _renamed(changes: pa.Table, names: Mapping[str, str]) -> pa.Table:
    return changes.select(list(names)).rename_columns(list(names.values()))

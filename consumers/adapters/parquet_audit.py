"""Audits of a member's files: one version, pinned; all sums are made in DuckDB's SQL from what lies on the disk."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path

from consumers.adapters import parquet_catalogue as catalogue
from consumers.adapters.base import StoredRow, TableSpec
from consumers.adapters.parquet_engine import Engine
from consumers.adapters.parquet_files import faults, held_as, holding, misshapen, rows_of
from consumers.adapters.parquet_state import State, sight_of
from consumers.adapters.parquet_store import Version
from consumers.adapters.parquet_sums import certified, leaves, rows_in
from distributor.model.certificate import BUCKETS, Bucket, TableCertificate
from distributor.rollout.member_row import SlotName, other


class ParquetAuditing:
    """A snapshot of the row and both slots."""

    def __init__(self, directory: Path, version: Version, engine: Engine) -> None:
        self.row = version.state.row
        self._directory = directory
        self._version = version
        self._engine = engine

    def altered(self, tables: Sequence[TableSpec]) -> list[str]:
        """What is not as it was made: files of both slots, and what readers look at."""
        state, found = self._version.state, []
        for table in tables:
            for slot, held in state.tables.get(table.name, {}).items():
                wrong = faults(self._directory, table.name, slot, held, closely=True)
                found += [str(misshapen(Path(), what)) for what in wrong]
        sights = (sight_of(state), sight_of(state, other(self.row.active)))
        with self._engine.translated():
            shown = catalogue.altered(self._version.folder, state.seen, *sights, self._directory)
            return [*found, *map(str, shown)]

    def buckets(self, slot: SlotName, table: TableSpec, only: Collection[int] = ()) -> TableCertificate:
        """The certificate of everything stored, or of the given buckets: only files that have them are read."""
        with self._engine.session() as connection:
            return certified(connection, table.schema, self._rows(slot, table, only), only)

    def leaves(self, slot: SlotName, table: TableSpec, buckets: Collection[int]) -> dict[int, Bucket]:
        """Rows and lanes per leaf, of all leaves with rows in the given buckets."""
        if not buckets:
            return {}
        with self._engine.session() as connection:
            return leaves(connection, table.schema, self._rows(slot, table, buckets), buckets)

    def rows(self, slot: SlotName, table: TableSpec, leaves: Collection[int]) -> list[StoredRow]:
        """Every row of the given leaves."""
        if not leaves:
            return []
        buckets = {(leaf >> 8) % BUCKETS for leaf in leaves}
        with self._engine.session() as connection:
            found = rows_in(connection, table.schema, self._rows(slot, table, buckets), leaves)
        return [StoredRow(*row) for row in found]

    def _rows(self, slot: SlotName, table: TableSpec, buckets: Collection[int]) -> str:
        return all_rows(self._directory, self._version.state, slot, table, buckets)


def all_rows(directory: Path, state: State, slot: SlotName, table: TableSpec, buckets: Collection[int] = ()) -> str:
    """SELECT of what a slot's files hold, of those in which the buckets lie. Raises SystemAlteredError when a file is
    gone or of another shape."""
    held = held_as(directory, table, slot, state.tables.get(table.name))
    return rows_of(directory, table.schema, holding(held.parts, buckets))

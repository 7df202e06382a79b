"""What an adapter does: keep the member's row, load a slot in a fenced way, and say what is stored.

The rules are elsewhere: `distributor.rollout.member` decides, `consumers.worker` drives. An adapter only knows its
store. It never decides by itself whether a command or a load may go on.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import pyarrow as pa

from distributor.mapping.compiled import Compiled
from distributor.mapping.tables import TableMapping
from distributor.model.certificate import Bucket, TableCertificate
from distributor.model.dataset import DatasetSchema
from distributor.model.unfit import Unfit
from distributor.rollout.member_row import MemberRow, SlotName


@dataclass(frozen=True, slots=True)
class TableSpec:
    """One table of the system: its mapping, and its own shape (the mapped columns, under the dataset's name, which
    begins every row's text). `name` is what readers see."""

    mapping: TableMapping
    schema: DatasetSchema
    compiled: Compiled | None = None
    """How its rows are made, which is no adapter's business; None: they are the dataset's."""

    @property
    def name(self) -> str:
        """The name under which readers find it."""
        return self.mapping.into


@dataclass(frozen=True, slots=True)
class Batch:
    """A piece of a net delta of one table; no key appears twice in it.

    `upserts` has the table's columns, `deletes` its key columns, all as Arrow strings of canonical text.
    """

    table: TableSpec
    upserts: pa.Table
    deletes: pa.Table

    @property
    def rows(self) -> int:
        """Rows touched."""
        return int(self.upserts.num_rows + self.deletes.num_rows)


@dataclass(frozen=True, slots=True)
class Touched:
    """The touched keys' certificates as *stored*: before the write and after it."""

    before: TableCertificate
    after: TableCertificate


@dataclass(frozen=True, slots=True)
class StoredRow:
    """A stored row by its key (canonical texts) and its two lanes."""

    key: tuple[str | None, ...]
    first: int
    second: int


@dataclass(frozen=True, slots=True)
class Obstacle:
    """What stands in the way of whatever this adapter is doing now, to be read after "it waits for", and the command
    that would end it, for the store's own client. Both empty: nothing does, as far as the store knows."""

    what: str = ""
    mend: str = ""


@runtime_checkable
class KnowsObstacles(Protocol):
    """An adapter of a store that can tell what a session waits for. It need not be able to."""

    def waits_for(self) -> Obstacle:
        """Asks the store, on a connection of its own. Called from another thread while the adapter's work goes on,
        which it neither disturbs nor waits for. Raises UnreachableError when the store does not answer."""


@runtime_checkable
class Judges(Protocol):
    """An adapter of a store that cannot hold every canonical text. One that can need not be able to."""

    def unfit(self, batch: Batch) -> Sequence[Unfit]:
        """Every value among the upserts that the store cannot hold, at most one per row; looks at the batch alone, so
        it may be asked at any time. Such rows are never handed to `Loading.apply`."""


class MemberTransaction(Protocol):
    """The member's row under its lock."""

    @property
    def row(self) -> MemberRow:
        """The row as read under the lock."""

    def save(self, row: MemberRow) -> None:
        """Writes the row. When `active`, or the release of the active slot, differs from what was read, readers
        and `distributor_release` change in the same commit."""


class Auditing(Protocol):
    """One snapshot of a member's store: its row, and what both slots hold at that very moment. Nothing waits for it.

    Every method reads the store; `docs/certificates.md` says what buckets and leaves are.
    """

    @property
    def row(self) -> MemberRow:
        """The member's row in this snapshot."""

    def buckets(self, slot: SlotName, table: TableSpec, only: Collection[int] = ()) -> TableCertificate:
        """The certificate of everything stored, or of the given buckets."""

    def leaves(self, slot: SlotName, table: TableSpec, buckets: Collection[int]) -> dict[int, Bucket]:
        """Rows and lanes per leaf, of all leaves with rows in the given buckets."""

    def rows(self, slot: SlotName, table: TableSpec, leaves: Collection[int]) -> list[StoredRow]:
        """Every row of the given leaves."""


@runtime_checkable
class KnowsItsWork(Protocol):
    """A snapshot (`Auditing`) that can also tell whether what the adapter once made still is as it was made. It need
    not be able to."""

    def altered(self, tables: Sequence[TableSpec]) -> Sequence[str]:
        """What is not: tables of both slots, and what readers look through. Whole sentences, each with its mend.

        Comes before the snapshot's other questions, most of which fail on a table of another shape.
        """


@runtime_checkable
class Inspects(Protocol):
    """An adapter of which `distributor check` can ask the same. It need not be one."""

    def prepared(self) -> bool:
        """Whether `prepare` ever did anything in this store. Makes nothing. Raises UnreachableError, ConfigError."""

    def inspect(self, tables: Sequence[tuple[TableMapping, DatasetSchema]]) -> Sequence[str]:
        """See `KnowsItsWork`. Asked only of a store that is `prepared`; raises as `auditing` does."""


class Loading(Protocol):
    """One load into a slot. Nothing of it is visible to readers; leaving without `commit` leaves no trace, or (in
    stores without large transactions) a slot that was marked torn before the first write."""

    def clear(self, table: TableSpec) -> None:
        """Empties the table's slot: the first step of a rebuild, and of a table that changes its shape. Whatever shape
        it had in this slot, it has the given one from then on, if the load commits; the other slot keeps its own."""

    def apply(self, batch: Batch) -> Touched:
        """Writes one batch and reads the touched rows back. Raises SystemAlteredError when the table no longer fits, or
        when this slot has it in another shape and it was not cleared."""

    def audit(self, table: TableSpec, only: Collection[int] = ()) -> TableCertificate:
        """The certificate of everything that the slot holds inside this load, or of the given buckets (L3)."""

    def commit(self, guard: Callable[[MemberRow], MemberRow | None]) -> MemberRow | None:
        """Locks the row, asks `guard` for the new one, commits data and row together; None: rolls everything back."""


class Adapter(Protocol):
    """One member's store.

    Every adapter is made as `factory(member: MemberSettings, directory: Path)` by its entry point in the group
    `distributor.adapters`; `directory` is what relative paths in the config start from. Making it does not connect.
    A lost connection is UnreachableError once, and is made anew by the next call. One thread uses an adapter.
    """

    def prepare(self, environment: str, system: str, tables: Sequence[TableSpec]) -> None:
        """Creates what is missing: the row, two slots, what readers look at, `distributor_release`. Idempotent.

        Called first without tables, before any release is known: then only the row and `distributor_release` come to
        be, so that the member can be answered for. Called again with the tables of a release at every stage: so it
        is cheap when all is there, and it makes again what readers look at and somebody took away. After a restart a
        flip may come before that second call.

        Each slot has its tables in the shape in which they were made here: tables that come with another shape (other
        columns, types or key) than a slot has are no error, and no slot is touched for it. The next load clears them,
        which makes them anew in its own slot alone. Until the flip readers see the online slot's shape; the flip, and
        the way back, lead them to the other slot's in the same commit as to its rows. A reader's snapshot from before
        may then fail; it never sees a mix, nor a table without its rows.

        Raises SystemAlteredError when something of the user's stands in the way or a slot's table is not as it was
        made, UnreachableError.
        """

    def member(self) -> AbstractContextManager[MemberTransaction]:
        """One transaction with the member's row locked; commits on normal exit. Raises UnreachableError."""

    def loading(self, slot: SlotName) -> AbstractContextManager[Loading]:
        """Begins a load into a slot."""

    def audit(self, slot: SlotName, table: TableSpec) -> TableCertificate:
        """The certificate of everything stored in a slot, computed from the store (L3)."""

    def auditing(self) -> AbstractContextManager[Auditing]:
        """A snapshot for an audit, on a connection of its own: loads and flips go on meanwhile, and are not seen."""

    def interrupt(self) -> None:
        """Ends an audit that runs with an UnreachableError. For another thread than the audit's."""

    def read(self, slot: SlotName, table: TableSpec) -> pa.Table:
        """All rows of a slot as canonical texts, for tests and repairs; small tables only."""

    def close(self) -> None:
        """Gives connections back."""

"""Parquet files for reporting: a directory on a file system that the consumer and its readers share.

Readers attach `current/catalog.duckdb` with plain DuckDB and find a view per table and `distributor_release`; everybody
else finds the names of the files in `current/release.json`. Whoever has attached the one, or read the other, sees one
release in all tables until they do it again. Why, and what lies where: parquet_store.py, parquet_catalogue.py.

A load holds the lock for the moments in which it begins, commits and tidies up: `member` and a flip hardly wait for it.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path

import duckdb
import pyarrow as pa

from consumers.adapters import parquet_catalogue as catalogue
from consumers.adapters import parquet_text
from consumers.adapters.base import Batch, Obstacle, TableSpec
from consumers.adapters.common import check_parent
from consumers.adapters.parquet_audit import ParquetAuditing, all_rows
from consumers.adapters.parquet_engine import Engine
from consumers.adapters.parquet_files import empty, faults, misshapen
from consumers.adapters.parquet_load import ParquetLoading
from consumers.adapters.parquet_state import RELEASE, SLOTS, VERSIONS, Held, Slots, State, sight_of
from consumers.adapters.parquet_store import Directory, Version
from consumers.adapters.parquet_sums import certified, texts
from distributor.errors import ConfigError, DistributorError, SystemAlteredError
from distributor.mapping.tables import TableMapping
from distributor.model.certificate import TableCertificate
from distributor.model.dataset import DatasetSchema
from distributor.model.unfit import Unfit
from distributor.rollout.member_row import MemberRow, SlotName, other
from distributor.settings import MemberSettings
from distributor.telemetry import clock
from distributor.telemetry.logs import logger

_SCHEME = "parquet:///"
_OPTIONS = {"grace_seconds": 600, "memory_mb": 512}
_LEAST_MB = 128
_log = logger("adapter")


class ParquetAdapter:
    """One member in a directory of its own. Looks at it when it is first used."""

    def __init__(self, settings: MemberSettings, directory: Path) -> None:
        if not settings.url.startswith(_SCHEME) or settings.url == _SCHEME:
            raise ConfigError(
                "this is no Parquet URL", where=settings.url, mend="It looks like parquet:///path/to/directory."
            )
        # Readers find the files by these names wherever they are started.
        path = (directory / settings.url.removeprefix(_SCHEME)).absolute()
        if any(sign in str(path) for sign in "*?["):
            raise ConfigError("DuckDB takes *, ? and [ in a path for a pattern", where=str(path), mend="Rename it.")
        options = _options(settings)
        self._store = Directory(path, options["grace_seconds"])
        self._path = path
        self._memory_mb = options["memory_mb"]
        # Both hardly ever spill: only with very many doubles that are spelt one by one.
        self._bulk, self._audits = (Engine(str(path), self._memory_mb, _aside()) for _ in range(2))
        self._load: Engine | None = None

    def prepare(self, environment: str, system: str, tables: Sequence[TableSpec]) -> None:
        """Creates what is missing. Raises ConfigError when the directory is another member's or names collide,
        SystemAlteredError when it is somebody else's or something is not as it was made, UnreachableError."""
        _check_names(str(self._path), tables)
        self._store.create()
        with self._store.locked():
            version = self._store.found()
            first = State(row=MemberRow(environment=environment, system=system), tables={}, seen={})
            state = version.state if version else first
            _check_owner(str(self._path), state.row, environment, system)
            new = [table for table in tables if table.name not in state.tables]
            again = version is None or self._to_mend(version, [table.name for table in new])
            for table in tables:
                for slot, held in state.tables.get(table.name, {}).items():
                    for what in faults(self._path, table.name, slot, held):
                        raise misshapen(self._path, what)
            if not new:
                if again:
                    self._publish(version, state, again=True)
                return
            with self._store.writing(under_lock=True) as folder, self._bulk.session() as connection:
                made = {table.name: _made(connection, folder, at, table) for at, table in enumerate(new)}
                self._publish(version, state.model_copy(update={"tables": {**state.tables, **made}}), again=True)

    @contextmanager
    def member(self) -> Iterator[ParquetMember]:
        """The member's row under the lock; what was saved is put in force on normal exit."""
        with self._store.locked():
            version = self._store.read()
            transaction = ParquetMember(version.state.row)
            yield transaction
            if transaction.saved is not None:
                self._publish(version, version.state.model_copy(update={"row": transaction.saved}))

    @contextmanager
    def loading(self, slot: SlotName) -> Iterator[ParquetLoading]:
        """Begins a load from what is in force now."""
        try:
            with self._store.pinned() as version, self._store.writing() as folder:
                # What DuckDB spills goes with the load, however that ends.
                self._load = Engine(str(self._path), self._memory_mb, folder / "spill")
                try:
                    yield ParquetLoading(self._path, version, slot, folder, self._load, self._changed)
                finally:
                    self._load.close()
                    self._load = None
        except Exception:
            self._sweep()
            raise
        self._sweep()

    def audit(self, slot: SlotName, table: TableSpec) -> TableCertificate:
        """The certificate of everything that the slot's files hold."""
        with self._store.pinned() as version, self._bulk.session() as connection:
            return certified(connection, table.schema, all_rows(self._path, version.state, slot, table))

    @contextmanager
    def auditing(self) -> Iterator[ParquetAuditing]:
        """A snapshot: the version in force, whose files stay until the block ends."""
        with self._store.pinned() as version:
            yield ParquetAuditing(self._path, version, self._audits)

    def prepared(self) -> bool:
        """Whether this store was ever prepared."""
        check_parent(self._path)
        return (self._path / VERSIONS).is_dir()

    def inspect(self, tables: Sequence[tuple[TableMapping, DatasetSchema]]) -> list[str]:
        """What is not as it was made."""
        with self.auditing() as snapshot:
            return snapshot.altered([TableSpec(mapping, schema) for mapping, schema in tables])

    def interrupt(self) -> None:
        """Ends an audit that runs."""
        self._audits.interrupt()

    def read(self, slot: SlotName, table: TableSpec) -> pa.Table:
        """All rows of a slot as canonical texts; small tables only."""
        with self._store.pinned() as version, self._bulk.session() as connection:
            return texts(connection, table.schema, all_rows(self._path, version.state, slot, table))

    def unfit(self, batch: Batch) -> list[Unfit]:
        """What Parquet's types have no place for."""
        return parquet_text.unfit(batch)

    def waits_for(self) -> Obstacle:
        """Who has the lock, while it is waited for."""
        return self._store.lock.waits_for()

    def close(self) -> None:
        """Ends everything that DuckDB does."""
        for engine in (self._bulk, self._audits, self._load):
            if engine is not None:
                engine.close()

    def _sweep(self) -> None:
        """What cannot be swept now is swept after another load."""
        with suppress(DistributorError):
            self._store.sweep()

    def _changed(self, decide: Callable[[State], State | None]) -> State | None:
        """One transaction over the state."""
        with self._store.locked():
            version = self._store.read()
            state = decide(version.state)
            return state and self._publish(version, state).state

    def _publish(self, version: Version | None, state: State, *, again: bool = False) -> Version:
        """Puts a state in force, with a new catalogue when readers shall see something else, or `again`."""
        sight = sight_of(state)
        if version is None or again or sight_of(version.state) != sight:
            for name, (_, files) in sight.tables.items():
                if lost := [file for file in files if not (self._path / file).exists()]:
                    raise misshapen(self._path, f"slot {state.row.active} of {name} has lost its file {lost[0]}")
            show = partial(catalogue.make, sight=sight, directory=self._path)
        else:
            show = partial(catalogue.carry, before=version.folder, seen=version.state.seen)
        with self._bulk.translated():
            return self._store.publish(version, state, show)

    def _to_mend(self, version: Version, new: Collection[str]) -> bool:
        """Whether what readers look at must be made again. Raises SystemAlteredError for what may be somebody's."""
        state, mend = version.state, False
        sights = (sight_of(state), sight_of(state, other(state.row.active)))
        for what in catalogue.altered(version.folder, state.seen, *sights, self._path):
            if isinstance(what, SystemAlteredError):
                raise what
            _log.warning("what readers look at was altered by hand, and is put back", what=what)
            mend = True
        for error in catalogue.occupied(version.folder, state.seen, new):
            raise error
        return mend


class ParquetMember:
    """The row as read under the lock."""

    def __init__(self, row: MemberRow) -> None:
        self.row = row
        self.saved: MemberRow | None = None

    def save(self, row: MemberRow) -> None:
        """Takes the row; it is in force when the transaction ends."""
        self.saved = row


def _made(connection: duckdb.DuckDBPyConnection, folder: Path, at: int, table: TableSpec) -> Slots:
    # A file per slot, so that neither depends on what happens to the other's.
    return {
        slot: Held(shape=table.schema, parts=(empty(connection, folder, table, 2 * at + number),))
        for number, slot in enumerate(SLOTS)
    }


def _aside() -> Path:
    return Path(tempfile.gettempdir()) / f"duckdb-{clock.new_id()}"


def _options(settings: MemberSettings) -> dict[str, int]:
    found = dict(_OPTIONS)
    for name, value in settings.options.items():
        known = ", ".join(_OPTIONS)
        if name not in _OPTIONS:
            raise ConfigError(f"there is no option {name}", where=settings.url, mend=f"There are {known}.")
        if isinstance(value, bool) or not isinstance(value, int) or value < (_LEAST_MB if name == "memory_mb" else 0):
            least = f", {_LEAST_MB} at least" if name == "memory_mb" else ", 0 or more"
            raise ConfigError(
                f"{name} is {value!r}", where=settings.url, mend=f"It is a whole number{least}. There are {known}."
            )
        found[name] = value
    return found


def _check_owner(where: str, row: MemberRow, environment: str, system: str) -> None:
    if (row.environment, row.system) != (environment, system):
        raise ConfigError(
            f"this directory is the store of {row.system} in {row.environment}, not of {system} in {environment}",
            where=where,
            mend="Every member needs a directory of its own.",
        )


def _check_names(where: str, tables: Sequence[TableSpec]) -> None:
    """DuckDB takes names that differ in case for one."""
    for names in ([RELEASE, *(table.name for table in tables)], *(table.schema.column_names for table in tables)):
        folded = [name.lower() for name in names]
        for name in names:
            if folded.count(name.lower()) > 1:
                raise ConfigError(f"two names are one to DuckDB: {name}", where=where)

"""What a member of the estate stores, asked of its store itself through its adapter."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from sqlalchemy import Engine

from consumers.adapters.base import TableSpec
from consumers.main import load_adapter
from distributor.ledger import releases
from distributor.ledger.engine import ledger_engine, transaction
from distributor.ledger.releases import ReleaseRecord
from distributor.mapping.compiled import compile_system
from distributor.model.certificate import Certificate
from distributor.settings import Settings, load_settings
from distributor.store.chunks import read_manifest
from distributor.store.directory import DirectoryStore
from tests.bench.lab import ENVIRONMENT, Lab


@dataclass(frozen=True, slots=True)
class Desk:
    """What a verb has at hand: the config, the store and the ledger of a lab."""

    settings: Settings
    store: DirectoryStore
    engine: Engine

    def newest(self) -> ReleaseRecord:
        """The newest release, as the ledger knows it."""
        with transaction(self.engine) as conn:
            head = releases.head(conn)
        assert head is not None
        return head


@contextmanager
def desk_of(lab: Lab) -> Iterator[Desk]:
    """The desk of a lab that runs."""
    settings = load_settings(lab.estate.config)
    engine = ledger_engine(settings.ledger.url)
    try:
        yield Desk(settings, DirectoryStore(settings.resolve(settings.store.path)), engine)
    finally:
        engine.dispose()


def specs(desk: Desk, system: str, manifest: str) -> tuple[TableSpec, ...]:
    """A system's tables in the shapes of a release, which is given by its manifest's sha256."""
    mapping = desk.settings.mapping(system)
    tables = compile_system(mapping, read_manifest(desk.store, manifest))
    return tuple(TableSpec(table.mapping, table.schema, table) for table in tables)


def audited_digest(desk: Desk, system: str) -> str:
    """The digest of what a system's online slot holds, by a full audit. Raises UnreachableError."""
    adapter = load_adapter(desk.settings, ENVIRONMENT, system)
    try:
        with adapter.auditing() as snapshot:
            online = snapshot.row.online
            assert online.manifest is not None
            tables = specs(desk, system, online.manifest)
            found = {table.name: snapshot.buckets(snapshot.row.active, table) for table in tables}
        return Certificate(tables=found).digest
    finally:
        adapter.close()

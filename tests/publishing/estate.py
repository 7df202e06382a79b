"""A master, a ledger and a store for one test; and oracles that read them by plain drivers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import psycopg
import pyarrow.parquet as pq

from distributor.ledger.migrate import upgrade
from distributor.model.certificate import certify
from distributor.model.dataset import DatasetSchema
from distributor.model.manifest import Manifest
from distributor.publishing.publish import Publisher
from distributor.publishing.result import Progress, PublishResult
from distributor.settings.models import Dataset, Settings
from distributor.store.directory import DirectoryStore
from tests.capture.master import install_capture, run, settings_for

Row = tuple[str | None, ...]
Rows = dict[tuple[str | None, ...], Row]


@dataclass
class Estate:
    """`replayed` is what somebody has who applied every changeset to nothing, row by row."""

    master: str
    ledger: str
    store: DirectoryStore
    settings: Settings
    replayed: dict[str, Rows] = field(default_factory=dict)

    @classmethod
    def create(
        cls, database: Callable[[], str], path: Path, configured: Mapping[str, Dataset], *ddl: str, capture: bool = True
    ) -> Estate:
        master, ledger = database(), database()
        run(master, *ddl)
        upgrade(ledger)
        if capture:
            install_capture(master, configured)
        return cls(master, ledger, DirectoryStore(path), settings_for(master, ledger, path, configured))

    def run(self, *statements: str) -> None:
        run(self.master, *statements)

    def configure(self, **datasets: Dataset) -> None:
        """Other datasets in the config."""
        master = self.settings.master.model_copy(update={"datasets": {**self.settings.master.datasets, **datasets}})
        self.settings = self.settings.model_copy(update={"master": master})

    def publish(self, *, dry_run: bool = False, progress: Progress | None = None) -> PublishResult:
        with Publisher(self.settings, self.store) as publisher:
            result = publisher.publish(dry_run=dry_run, progress=progress)
        if result.manifest:
            self._replay(self.manifest(result.manifest))
        return result

    def manifest(self, sha256: str) -> Manifest:
        return Manifest.model_validate_json(self.store.get(sha256))

    def head(self) -> Manifest:
        with psycopg.connect(self.ledger) as connection:
            row = connection.execute("SELECT manifest FROM ledger.releases ORDER BY number DESC LIMIT 1").fetchone()
        assert row
        return self.manifest(row[0])

    def _replay(self, manifest: Manifest) -> None:
        """Applies a changeset strictly: what was there before must be what the changeset says."""
        for restarted in manifest.restarts:
            self.replayed[restarted] = {}
        for chunk in manifest.chunks:
            schema = manifest.schema_of(chunk.dataset)
            rows = self.replayed.setdefault(chunk.dataset, {})
            width = len(schema.columns)
            table = pq.read_table(self.store.local_path(chunk.sha256))
            for op, *values in zip(*(column.to_pylist() for column in table.columns), strict=True):
                before, after = tuple(values[:width]), tuple(values[width:])
                old, new = key_of(schema, before), key_of(schema, after)
                if op != "insert":
                    assert rows.pop(old) == before
                if op != "delete":
                    assert new not in rows
                    rows[new] = after
                assert op != "update" or (old == new and before != after)

    def check(self, dataset: str, expected: Rows) -> None:
        """Image, replayed changesets and certificate all say the same as `expected`."""
        manifest = self.head()
        schema = manifest.schema_of(dataset)
        assert self.replayed.get(dataset, {}) == expected
        assert self.image(schema) == expected
        assert manifest.certificate.tables[dataset] == certify(dataset, schema.key_positions, expected.values())

    def image(self, schema: DatasetSchema) -> Rows:
        with psycopg.connect(self.ledger) as connection:
            rows = connection.execute(f'SELECT * FROM image."{schema.dataset}"').fetchall()
        found = {key_of(schema, row): row for row in rows}
        assert len(found) == len(rows)
        return found

    def scalar(self, url: str, query: str) -> object:
        with psycopg.connect(url) as connection:
            row = connection.execute(query).fetchone()
        return row[0] if row else None


def key_of(schema: DatasetSchema, row: Row) -> tuple[str | None, ...]:
    return tuple(row[at] for at in schema.key_positions)


def texts(url: str, query: str, key: int = 1) -> Rows:
    """A master's rows whose texts the test's own query spells out; the first `key` columns are the key."""
    with psycopg.connect(url) as connection:
        connection.execute("SET TimeZone = 'UTC'")
        return {row[:key]: row for row in connection.execute(query).fetchall()}

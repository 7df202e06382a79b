"""Makes a release of what changed on the master."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from itertools import groupby
from operator import itemgetter
from typing import Self

import psycopg
from psycopg import IsolationLevel, sql
from sqlalchemy import Connection, Engine

from distributor.capture.fixed import clear_errors, connect, where_of
from distributor.capture.inspect import Source, inspect, table_identifier
from distributor.capture.journal import Taken, take
from distributor.capture.rows import Block, all_rows, rows_of_keys
from distributor.capture.triggers import CaptureState, journal_exists, state
from distributor.ledger.engine import ledger_engine, transaction
from distributor.ledger.releases import head, insert_release, publish_lock
from distributor.model.certificate import EMPTY_TABLE, Certificate, TableCertificate
from distributor.model.manifest import ZERO, Chunk, Counts, Manifest
from distributor.publishing import image, keyed
from distributor.publishing.ahead import ahead
from distributor.publishing.changeset import ChangesetWriter
from distributor.publishing.compare import Comparison
from distributor.publishing.drift import next_schemas, settled
from distributor.publishing.result import Progress, PublishResult, Stopwatch
from distributor.settings.models import Settings
from distributor.store.base import Store
from distributor.store.chunks import read_manifest, write_manifest
from distributor.telemetry.clock import now
from distributor.telemetry.faults import Point, point
from distributor.telemetry.tracing import current_traceparent, span

_LOCK_TIMEOUT = "5s"


@dataclass(frozen=True, slots=True)
class _Parent:
    """The release on which the next one stands; release 0 has no manifest."""

    release: int
    sha256: str | None
    manifest: Manifest | None

    def certificate(self, dataset: str) -> TableCertificate:
        return self.manifest.certificate.tables.get(dataset, EMPTY_TABLE) if self.manifest else EMPTY_TABLE


@dataclass(frozen=True, slots=True)
class _Changed:
    """A dataset's part of the release."""

    chunks: tuple[Chunk, ...]
    counts: Counts
    certificate: TableCertificate


def publish(
    settings: Settings, store: Store, *, dry_run: bool = False, progress: Progress | None = None
) -> PublishResult:
    """One publish on connections of its own; see `Publisher.publish`."""
    with Publisher(settings, store) as publisher:
        return publisher.publish(dry_run=dry_run, progress=progress)


class Publisher:
    """Publishes again and again over the same connections. One per thread."""

    def __init__(self, settings: Settings, store: Store, engine: Engine | None = None) -> None:
        self._settings = settings
        self._store = store
        self._engine = engine or ledger_engine(settings.ledger.url)
        self._owns_engine = engine is None
        self._master: psycopg.Connection | None = None
        self._newest: tuple[str, Manifest] | None = None
        self._where = where_of(settings.master.url)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Gives the connections back."""
        self._drop_master()
        if self._owns_engine:
            self._engine.dispose()

    def publish(self, *, dry_run: bool = False, progress: Progress | None = None) -> PublishResult:
        """Makes a release of what changed, or none when nothing did. Waits for another publisher at work.

        Raises UnreachableError (also when a table stays locked), SchemaError (drift, no key), StoreError,
        PublishConflictError, NotInitialisedError; then nothing was published, and nothing is lost. Progress hears of
        the phases `read`, `stored`, `released` and `done`.
        """
        watch = Stopwatch()
        hear = progress or (lambda _phase, _dataset, _rows: None)
        try:
            with span("publish"), transaction(self._engine) as ledger:
                result = self._in_ledger(ledger, dry_run, hear, watch)
                point(Point.RELEASE_BEFORE_COMMIT)
                with watch.phase("commit"):
                    ledger.rollback() if dry_run else ledger.commit()
            point(Point.BETWEEN_COMMITS)
            hear("released", "", result.rows)
            with watch.phase("commit"):
                self._end_master(dry_run)
            point(Point.KEYS_AFTER_COMMIT)
            hear("done", "", result.rows)
        except BaseException:
            # An open transaction would lend its old snapshot to the next publish.
            self._drop_master()
            raise
        return result

    def _in_ledger(self, ledger: Connection, dry_run: bool, hear: Progress, watch: Stopwatch) -> PublishResult:
        with watch.phase("lock"):
            publish_lock(ledger)
            raw = _driver(ledger)
            parent = self._parent(ledger)
        with watch.phase("connect"):
            master = self._connected()
        with watch.phase("journal"), clear_errors(self._where):
            sources, taken = self._look(master, parent)
        point(Point.JOURNAL_TAKEN)
        with clear_errors("ledger"):
            image.prepare(raw)
            compared = image.sources(raw)
        identities = {name: source.identity for name, source in sources.items()}
        known = {schema.dataset for schema in parent.manifest.schemas} if parent.manifest else set()
        whole = {name for name in sources if name in taken.whole or identities[name] != compared.get(name)}
        store = None if dry_run else self._store
        writers = {name: ChangesetWriter(s.schema, store, parent.certificate(name)) for name, s in sources.items()}
        keyed_sources = [name for name in sources if name in known and name not in whole and taken.keys.get(name)]
        with clear_errors("ledger"):
            for name, source in sources.items():
                if name not in known:
                    with watch.phase("read"):
                        rows = self._told(all_rows(master, source), name, hear)
                        image.fill(raw, source.schema, writers[name].inserting(rows))
                elif name in whole:
                    self._compare(raw, source, self._told(all_rows(master, source), name, hear), writers[name], watch)
            blocks = (
                (name, block)
                for name in keyed_sources
                for block in self._told(rows_of_keys(master, sources[name], taken.keys[name]), name, hear)
            )
            for name, read in groupby(ahead(blocks), itemgetter(0)):
                self._compare_keyed(raw, sources[name], (block for _, block in read), writers[name], watch)
        changed = {name: _Changed(tuple(w.chunks), w.counts, w.certificate) for name, w in writers.items()}
        if moved := {name: at for name, at in identities.items() if compared.get(name) != at}:
            image.save_sources(raw, moved)
        counts = {name: part.counts for name, part in changed.items()}
        result = PublishResult(None, None, counts, tuple(sorted(whole)), watch.phases)
        if dry_run or not (result.rows or sources.keys() - known):
            return result
        manifest = self._manifest(parent, sources, changed)
        point(Point.CHUNKS_STORED)
        with watch.phase("store"):
            sha256 = write_manifest(self._store, manifest)
        point(Point.MANIFEST_STORED)
        hear("stored", "", result.rows)
        with watch.phase("release"):
            insert_release(ledger, manifest, sha256, rows=result.rows, traceparent=current_traceparent())
        self._newest = sha256, manifest
        return PublishResult(manifest.release, sha256, counts, result.whole, watch.phases)

    def _look(self, master: psycopg.Connection, parent: _Parent) -> tuple[dict[str, Source], Taken]:
        """Locks, then looks: the snapshot must be younger than the locks (a TRUNCATE that commits is no deletion)."""
        datasets = self._settings.master.datasets
        tables = sql.SQL(", ").join(table_identifier(datasets[name].table) for name in sorted(datasets))
        master.execute(
            sql.SQL("SET LOCAL lock_timeout = {}; LOCK TABLE {} IN ACCESS SHARE MODE").format(_LOCK_TIMEOUT, tables)
        )
        known = {schema.dataset: schema for schema in parent.manifest.schemas} if parent.manifest else {}
        sources = {name: settled(found, known.get(name)) for name, found in inspect(master, datasets).items()}
        unseen = {name for name, found in sources.items() if state(found, master) is not CaptureState.INSTALLED}
        taken = take(master, list(datasets)) if journal_exists(master) else Taken()
        return sources, Taken(taken.keys, taken.whole | unseen)

    @staticmethod
    def _compare(
        raw: psycopg.Connection,
        source: Source,
        rows: Iterable[Block],
        writer: ChangesetWriter,
        watch: Stopwatch,
    ) -> None:
        comparison = Comparison(raw, source.schema)
        with watch.phase("read"):
            comparison.receive(rows)
        with watch.phase("compare"):
            writer.write(comparison.changes())
        with watch.phase("image"):
            comparison.apply(writer.counts)
            comparison.close()

    @staticmethod
    def _compare_keyed(
        raw: psycopg.Connection, source: Source, rows: Iterable[Block], writer: ChangesetWriter, watch: Stopwatch
    ) -> None:
        """While the ledger writes a block to the image, the block's chunk and certificates are made."""
        with watch.phase("compare"), ThreadPoolExecutor(1) as hand:
            for changes in keyed.differences(raw, source.schema, rows):
                applied = hand.submit(keyed.apply, raw, source.schema, changes)
                writer.add(changes)
                applied.result()

    def _manifest(self, parent: _Parent, sources: dict[str, Source], changed: dict[str, _Changed]) -> Manifest:
        before = parent.manifest
        certificates = dict(before.certificate.tables) if before else {}
        certificates.update({name: part.certificate for name, part in changed.items()})
        return Manifest(
            release=parent.release + 1,
            parent_release=parent.release,
            parent=parent.sha256,
            created_at=now(),
            schemas=next_schemas(before.schemas if before else (), sources),
            chunks=tuple(chunk for part in changed.values() for chunk in part.chunks),
            counts={name: part.counts for name, part in changed.items()},
            certificate=Certificate(tables=certificates),
        )

    def _parent(self, ledger: Connection) -> _Parent:
        newest = head(ledger)
        if newest is None:
            return _Parent(ZERO, None, None)
        if self._newest is None or self._newest[0] != newest.manifest:
            self._newest = newest.manifest, read_manifest(self._store, newest.manifest)
        return _Parent(newest.number, *self._newest)

    def _told(self, blocks: Iterator[Block], dataset: str, hear: Progress) -> Iterator[Block]:
        """Rows from the master: its failures under its name, and progress."""
        rows = 0
        with clear_errors(f"{self._where}, dataset {dataset}"):
            for block in blocks:
                rows += block.rows
                hear("read", dataset, rows)
                yield block

    def _connected(self) -> psycopg.Connection:
        if self._master is None or self._master.closed:
            self._master = connect(self._settings.master.url, application="distributor publisher")
            self._master.isolation_level = IsolationLevel.REPEATABLE_READ
        return self._master

    def _end_master(self, dry_run: bool) -> None:
        """Ends the master's transaction. A release that stands is no failure because its keys come a second time."""
        if self._master is None:
            return
        try:
            self._master.rollback() if dry_run else self._master.commit()
        except psycopg.Error:
            self._drop_master()

    def _drop_master(self) -> None:
        if self._master is not None:
            with suppress(psycopg.Error):
                self._master.close()
            self._master = None


def _driver(ledger: Connection) -> psycopg.Connection:
    """The driver's connection under SQLAlchemy's, in the same transaction: COPY is spoken there."""
    raw = ledger.connection.driver_connection
    assert isinstance(raw, psycopg.Connection)
    return raw

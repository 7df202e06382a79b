"""Makes a release of what changed on the master."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import Self

import psycopg
from psycopg import IsolationLevel
from sqlalchemy import Connection, Engine

from distributor.capture.fixed import clear_errors, connect, where_of
from distributor.capture.rows import Block
from distributor.ledger import audit
from distributor.ledger.engine import ledger_engine, transaction
from distributor.ledger.releases import head, insert_release, publish_lock
from distributor.mapping.joined import joins
from distributor.model.manifest import ZERO, Manifest
from distributor.publishing import image
from distributor.publishing.carrying import Carrying
from distributor.publishing.editions import follow
from distributor.publishing.joining import join
from distributor.publishing.looking import look
from distributor.publishing.mapped import mapped
from distributor.publishing.misfits import blamed_on, refuse_misfits
from distributor.publishing.missing import record_missed, record_restarts
from distributor.publishing.parent import Parent, next_manifest
from distributor.publishing.result import Progress, PublishResult, Stopwatch
from distributor.quality.delivery import Delivery
from distributor.quality.judging import Quality
from distributor.quality.rereading import with_held
from distributor.settings.models import Settings
from distributor.store.base import Store
from distributor.store.chunks import read_manifest, write_manifest
from distributor.telemetry.clock import now
from distributor.telemetry.faults import Point, point
from distributor.telemetry.tracing import current_traceparent, span

PUBLISHER = "publisher"
"""Who it is that publishes when nobody asks, in the audit."""


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
        self._mappings = tuple(settings.mapping(system) for system in settings.systems)
        self._quality = Quality(settings)
        self._where = where_of(settings.master.url)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Gives the connections back."""
        self._drop_master()
        self._quality.close()
        if self._owns_engine:
            self._engine.dispose()

    def publish(
        self,
        *,
        dry_run: bool = False,
        progress: Progress | None = None,
        scans: Collection[str] | None = None,
        because: str = "",
    ) -> PublishResult:
        """Makes a release of what changed, or none when nothing did. Waits for another publisher at work.

        `scans` are the datasets that are to be compared whole: those with `capture = "scan"` whose time it is, and
        those whose triggers are to be put to the proof. None: all of the former, and none of the latter. `because`:
        what the audit says of a release that the publisher makes by itself.

        Raises UnreachableError (also when a table stays locked), SchemaError (drift, no key), StoreError,
        PublishConflictError, NotInitialisedError, RuleFailedError (a quality rule refuses); then nothing was published,
        and nothing is lost. Progress hears of the phases `read`, `stored`, `released` and `done`.
        """
        watch = Stopwatch()
        hear = progress or (lambda _phase, _dataset, _rows: None)
        try:
            with span("publish"), transaction(self._engine) as ledger:
                result = self._in_ledger(ledger, dry_run, scans, hear, watch)
                if because and result.release is not None:
                    detail = {"release": result.release, "rows": result.rows}
                    audit.record(ledger, audit.AuditRecord(now(), PUBLISHER, "publish", because, detail=detail))
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

    def _in_ledger(
        self, ledger: Connection, dry_run: bool, scans: Collection[str] | None, hear: Progress, watch: Stopwatch
    ) -> PublishResult:
        with watch.phase("lock"):
            publish_lock(ledger)
            raw = _driver(ledger)
            parent = self._parent(ledger)
            held = self._quality.held(ledger)
        with watch.phase("connect"):
            master = self._connected()
        with clear_errors("ledger"):
            image.prepare(raw)
            compared = image.sources(raw)
        with watch.phase("journal"), clear_errors(self._where):
            places = {name: before.places for name, before in compared.items()}
            found = with_held(look(master, self._settings.master.datasets, parent, places, scans), held)
        point(Point.JOURNAL_TAKEN)
        schemas = {name: source.schema for name, source in found.sources.items()}
        refuse_misfits(self._mappings, schemas, found.restarts)
        with clear_errors("ledger"), self._quality.spool(self._store, held, dry_run=dry_run) as store:
            carrying = Carrying(raw, master, found, parent, compared, store, watch, partial(self._told, hear))
            parts = carrying.carry()
            with watch.phase("rules"):
                datasets = self._settings.master.datasets
                delivery = Delivery(raw, store, parent, datasets, schemas, parts, carrying.new, found.restarts, now())
                judged = self._quality.judge(ledger, delivery, held)
        parts = dict(judged.parts)
        counts = {name: part.counts for name, part in parts.items()}
        result = PublishResult(
            None, None, counts, tuple(sorted(carrying.whole)), watch.phases, found.restarts, found.ignored, judged
        )
        result = replace(result, missed=carrying.missed)
        # Here the image is of the next release, whose manifest is not made yet.
        wanted = joins(self._mappings)
        fresh = any(one.shape(schemas) != parent.schemas.get(one.name) for one in wanted.values())
        if dry_run or not (result.rows or carrying.new or fresh):
            return result
        with watch.phase("join"), clear_errors("ledger"), blamed_on(found.restarts):
            joined = join(raw, self._store, parent, wanted, schemas, parts)
        with watch.phase("map"), blamed_on(found.restarts):
            certificates = mapped(
                ledger,
                self._store,
                parent,
                self._mappings,
                {**schemas, **joined.schemas},
                {**parts, **joined.parts},
                carrying.new | joined.restarts.keys(),
            )
        manifest = next_manifest(parent, found.sources, parts, found.restarts, joined, certificates, now())
        point(Point.CHUNKS_STORED)
        with watch.phase("store"):
            sha256 = write_manifest(self._store, manifest)
        point(Point.MANIFEST_STORED)
        hear("stored", "", result.rows)
        with watch.phase("release"):
            insert_release(ledger, manifest, sha256, rows=result.rows, traceparent=current_traceparent())
            record_missed(ledger, result.missed, manifest.release)
            record_restarts(ledger, result.restarts, manifest.release)
        with watch.phase("mask"):
            unmasked = follow(ledger, self._settings, self._store, manifest)
        self._newest = sha256, manifest
        return replace(result, release=manifest.release, manifest=sha256, unmasked=unmasked)

    def _parent(self, ledger: Connection) -> Parent:
        newest = head(ledger)
        if newest is None:
            return Parent(ZERO, None, None)
        if self._newest is None or self._newest[0] != newest.manifest:
            self._newest = newest.manifest, read_manifest(self._store, newest.manifest)
        return Parent(newest.number, *self._newest)

    def _told(self, hear: Progress, blocks: Iterator[Block], dataset: str) -> Iterator[Block]:
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

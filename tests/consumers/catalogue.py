"""Releases made by plain Python, as the oracle of what a member must hold."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa

from distributor.model.certificate import Certificate, certify
from distributor.model.dataset import Column, DatasetSchema, Index
from distributor.model.manifest import Counts, Manifest
from distributor.model.repair import Repair
from distributor.model.types import LogicalType
from distributor.store.chunks import changeset_schema, read_manifest, write_chunk, write_manifest
from distributor.store.directory import DirectoryStore

Row = tuple[str | None, ...]
Content = dict[str, set[Row]]


def _column(name: str, type_: str, *, nullable: bool = True) -> Column:
    return Column(name=name, type=LogicalType.parse(type_), nullable=nullable)


PRODUCTS = DatasetSchema(
    dataset="products",
    columns=(
        _column("sku", "text", nullable=False),
        _column("name", "text"),
        _column("weight", "decimal(12,3)"),
        _column("active", "boolean"),
    ),
    key=("sku",),
    indexes=(Index(columns=("name",)),),
)
PRICES = DatasetSchema(
    dataset="prices",
    columns=(
        _column("sku", "text", nullable=False),
        _column("currency", "text", nullable=False),
        _column("amount", "decimal(12,2)"),
    ),
    key=("sku", "currency"),
)


class Catalogue:
    """A store, and the content of every release in it."""

    def __init__(self, path: Path, *, schemas: tuple[DatasetSchema, ...] = (PRODUCTS, PRICES)) -> None:
        self.path = path
        self.store = DirectoryStore(path)
        self.schemas = schemas
        self.contents: list[Content] = [{schema.dataset: set() for schema in schemas}]
        self.manifests: list[str | None] = [None]

    @property
    def newest(self) -> int:
        """The number of the last release."""
        return len(self.contents) - 1

    def manifest(self, release: int) -> Manifest:
        """A release's manifest."""
        sha256 = self.manifests[release]
        assert sha256 is not None
        return read_manifest(self.store, sha256)

    def reshape(self, schema: DatasetSchema, rows: set[Row]) -> int:
        """The next release: one dataset in another shape, with all its rows."""
        self.schemas = tuple(schema if known.dataset == schema.dataset else known for known in self.schemas)
        return self.publish(restart=schema.dataset, **{schema.dataset: rows})

    def publish(self, restart: str = "", **content: set[Row]) -> int:
        """The next release: the given datasets as given, the others as before."""
        after = {**self.contents[-1], **content}
        before = {name: set() if name == restart else rows for name, rows in self.contents[-1].items()}
        chunks, counts = [], {}
        for schema in self.schemas:
            name = schema.dataset
            old, new = ({row[: len(schema.key)]: row for row in side[name]} for side in (before, after))
            changes = [(key, old.get(key), new.get(key)) for key in sorted(old | new) if old.get(key) != new.get(key)]
            if changes:
                chunks.append(write_chunk(self.store, schema, _changeset(schema, changes)))
            counts[name] = Counts(
                inserts=sum(was is None for _, was, _ in changes),
                deletes=sum(now is None for _, _, now in changes),
                updates=sum(was is not None and now is not None for _, was, now in changes),
            )
        manifest = Manifest(
            release=self.newest + 1,
            parent_release=self.newest,
            parent=self.manifests[-1],
            created_at=datetime(2026, 1, 1, tzinfo=UTC),
            schemas=self.schemas,
            chunks=tuple(chunks),
            counts=counts,
            certificate=Certificate(
                tables={s.dataset: certify(s.dataset, s.key_positions, after[s.dataset]) for s in self.schemas}
            ),
            restarts={restart: ("its columns changed",)} if restart else {},
        )
        self.manifests.append(write_manifest(self.store, manifest))
        self.contents.append(after)
        return self.newest

    def repair(self, release: int, **keys: set[Row]) -> str:
        """A repair list for some keys, by dataset: its sha256."""
        chunks = []
        for schema in self.schemas:
            right = {row[: len(schema.key)]: row for row in self.contents[release][schema.dataset]}
            nothing = (None,) * (len(schema.columns) - len(schema.key))
            mended = [
                (key, None, right[key]) if key in right else (key, (*key, *nothing), None)
                for key in sorted(keys.get(schema.dataset, set()))
            ]
            if mended:
                chunks.append(write_chunk(self.store, schema, _changeset(schema, mended)))
        repair = Repair(release=release, manifest=self.manifests[release], chunks=tuple(chunks))
        return self.store.put(repair.model_dump_json().encode())

    def chunk_path(self, release: int) -> Path:
        """The file of a release's first chunk."""
        return self.store.local_path(self.manifest(release).chunks[0].sha256)


def products(count: int, *, start: int = 0, name: str = "Stuhl, grün") -> set[Row]:
    """Products with awkward texts; their sku counts up from `start`."""
    return {
        (f"P{number:06}", f"{name} {number}", f"{number}.5" if number % 3 else None, "true" if number % 2 else "false")
        for number in range(start, start + count)
    }


def prices(count: int) -> set[Row]:
    """Two prices per product."""
    return {(f"P{n:06}", currency, f"{n + 1}.25") for n in range(count) for currency in ("EUR", "USD")}


def _changeset(schema: DatasetSchema, changes: list[tuple[Row, Row | None, Row | None]]) -> pa.Table:
    width = len(schema.columns)
    ops = ["insert" if old is None else "delete" if new is None else "update" for _, old, new in changes]
    rows = [
        (op, *(old or (None,) * width), *(new or (None,) * width))
        for op, (_, old, new) in zip(ops, changes, strict=True)
    ]
    wanted = changeset_schema(schema)
    return pa.table([pa.array([row[i] for row in rows], pa.string()) for i in range(len(wanted.names))], schema=wanted)

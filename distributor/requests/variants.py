"""A variant of a release for one environment: the release, with some rows as the environment shows them now.

Never an edit of a release: a child of it, with a small changeset that puts those rows back, and certificates of its
own. Every member of the environment takes it, so that none shows a product that another could not take.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from distributor.errors import RefusedError
from distributor.mapping.compiled import Compiled
from distributor.mapping.tables import is_joined, unjoined
from distributor.model.certificate import Certificate, TableCertificate
from distributor.model.dataset import DatasetSchema
from distributor.model.manifest import Chunk, Manifest
from distributor.requests.expectations import Content
from distributor.requests.putting_back import Key, References
from distributor.requests.rejoining import rejoined
from distributor.shaping.deltas import Shaper, difference
from distributor.store.base import Store
from distributor.store.chain import Chain, walk
from distributor.store.chunks import AFTER, BEFORE, CHUNK_ROWS, write_chunk, write_manifest
from distributor.store.compose import net_delta, reverse


@dataclass(frozen=True, slots=True)
class Variant:
    """What came of it. `rows` are those put back."""

    content: Content
    rows: int


def made(
    store: Store,
    release: Content,
    shown: Content,
    held: Mapping[str, set[Key]],
    references: References,
    tables: Iterable[Compiled],
) -> Variant:
    """Writes the variant of `release` in which the rows of these keys, and the changed rows that reference them, are
    as in `shown`. `tables` are those whose certificates it shall have where the release has them.

    Raises RefusedError when a row does not differ between the two: then `shown` has what cannot be taken, and nothing
    can be put back. StoreError.
    """
    assert release.manifest is not None
    chain = walk(store, release.sha256, release.release, shown.sha256, shown.release)
    own = [schema for schema in release.manifest.schemas if not is_joined(schema.dataset)]
    every = _followed(store, chain, shown, own, held, references)
    _refuse_unchanged(store, chain, own, held, shown)
    parts: dict[str, pa.Table] = {}
    for schema in release.manifest.schemas:
        # Rows that travel joined go by the keys of the dataset that they are of.
        chosen = {**every, schema.dataset: every.get(unjoined(schema.dataset), set())}
        found = list(_chosen(store, chain, shown, schema, chosen, references))
        if not found:
            continue
        changes = pa.concat_tables(found)
        if is_joined(schema.dataset):
            back = rejoined(store, chain, release.manifest, schema, changes, every, references)
        else:
            back = reverse(changes, schema)
        if back.num_rows:
            parts[schema.dataset] = back
    manifest = _manifest(store, release, parts, tables)
    sha256 = write_manifest(store, manifest)
    return Variant(Content(sha256, manifest), sum(map(len, every.values())))


def _followed(
    store: Store,
    chain: Chain,
    shown: Content,
    schemas: list[DatasetSchema],
    held: Mapping[str, set[Key]],
    references: References,
) -> dict[str, set[Key]]:
    """The keys, and those of changed rows that reference one of them, over any number of references."""
    every = {dataset: set(keys) for dataset, keys in held.items() if keys}
    while True:
        before = sum(map(len, every.values()))
        for schema in schemas:
            if not any(target in every for target in references.get(schema.dataset, {}).values()):
                continue
            for rows in _chosen(store, chain, shown, schema, every, references):
                every.setdefault(schema.dataset, set()).update(_keys(schema, rows))
        if sum(map(len, every.values())) == before:
            return every


def _chosen(
    store: Store,
    chain: Chain,
    shown: Content,
    schema: DatasetSchema,
    held: Mapping[str, set[Key]],
    references: References,
) -> Iterator[pa.Table]:
    """Changes of rows that are held back by their own key, or by what they reference. Raises RefusedError."""
    columns = references.get(unjoined(schema.dataset), {})
    followed = {column: held[of] for column, of in columns.items() if held.get(of)}
    keys = held.get(schema.dataset, set())
    if not (keys or followed):
        return
    if chain.lost(schema.dataset):
        raise _no_way_back(schema.dataset)
    for piece in net_delta(store, chain, schema):
        mask = pa.array([key in keys for key in _keys(schema, piece)], pa.bool_())
        for column, wanted in followed.items():
            # One column names no row whose key has several, here as where rules hold rows back.
            values = pa.array([key[0] for key in wanted if len(key) == 1], pa.string())
            for side in (BEFORE, AFTER):
                mask = pc.or_(mask, pc.is_in(piece[side + column], value_set=values))
        rows = piece.filter(mask)
        if rows.num_rows:
            if shown.sha256 and chain.restarts(schema.dataset):
                raise _no_way_back(schema.dataset)
            yield rows


def _keys(schema: DatasetSchema, changes: pa.Table) -> list[Key]:
    columns = [pc.coalesce(changes[BEFORE + name], changes[AFTER + name]).to_pylist() for name in schema.key]
    return list(zip(*columns, strict=True))


def _manifest(store: Store, release: Content, parts: Mapping[str, pa.Table], tables: Iterable[Compiled]) -> Manifest:
    manifest = release.manifest
    assert manifest is not None
    chunks: list[Chunk] = []
    certificates: dict[str, TableCertificate] = dict(manifest.certificate.tables)
    for dataset, changes in parts.items():
        schema = manifest.schema_of(dataset)
        chunks += [
            write_chunk(store, schema, changes.slice(start, CHUNK_ROWS))
            for start in range(0, changes.num_rows, CHUNK_ROWS)
        ]
        certificates[dataset] = certificates[dataset].plus(difference(schema, changes))
    mapped = dict(manifest.mapped)
    for table in tables:
        if table.fingerprint in mapped and table.source.dataset in parts:
            shaper = Shaper(table)
            folded, unfit = shaper.fold(mapped.pop(table.fingerprint), parts[table.source.dataset])
            shaper.close()
            if not unfit:
                mapped[table.fingerprint] = folded
    return manifest.model_copy(
        update={
            "parent_release": manifest.release,
            "parent": release.sha256,
            "chunks": tuple(chunks),
            "counts": {},
            "certificate": Certificate(tables=certificates),
            "mapped": {name: mapped[name] for name in mapped.keys() & {table.fingerprint for table in tables}},
            "restarts": {},
        }
    )


def _no_way_back(dataset: str) -> RefusedError:
    """Where all rows of a dataset are new, nothing tells which ones the environment shows already."""
    return RefusedError(
        f"rows of {unjoined(dataset)} cannot be held back: it has another shape than what is online",
        where="quarantine",
        mend="Mend the rows that are held back (`distributor quarantine list`) on the master, or the mapping.",
    )


def _refuse_unchanged(
    store: Store, chain: Chain, schemas: list[DatasetSchema], held: Mapping[str, set[Key]], shown: Content
) -> None:
    for schema in schemas:
        missing = set(held.get(schema.dataset, ()))
        for rows in _chosen(store, chain, shown, schema, {schema.dataset: missing}, {}) if missing else ():
            missing.difference_update(_keys(schema, rows))
        if missing:
            key = ", ".join(sorted(missing)[0])
            raise RefusedError(
                f"{schema.dataset} {key} cannot be held back: release {shown.release}, which is online, has that row"
                " as it is, and so has every other system",
                where="quarantine",
                mend="Mend it on the master, or the mapping or the store that does not take it.",
            )

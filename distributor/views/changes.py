"""What a release changed, field by field, from the chunks in the store."""

from __future__ import annotations

from functools import reduce
from typing import TYPE_CHECKING, Literal

from distributor.errors import UsageError
from distributor.mapping.tables import is_joined
from distributor.model.dataset import DatasetSchema
from distributor.views.base import View
from distributor.views.wording import count

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pyarrow as pa
    from sqlalchemy import Connection

    from distributor.model.manifest import Chunk, Manifest
    from distributor.store.base import Store


class FieldChange(View):
    """One field of a changed row."""

    column: str
    """The column."""
    before: str | None
    """Its canonical text before; null is NULL, or a row that was not there."""
    after: str | None
    """Its canonical text after; null is NULL, or a row that is no longer there."""


class RowChange(View):
    """One changed row."""

    dataset: str
    """The dataset."""
    key: dict[str, str]
    """Its key: column → canonical text."""
    op: Literal["insert", "update", "delete"]
    """What happened to it."""
    fields: tuple[FieldChange, ...]
    """The fields that differ, without the key; of an inserted or deleted row those that are not NULL."""


class Changes(View):
    """What one release changed."""

    release: int
    """The release."""
    parent_release: int
    """The release that it is compared with: its parent; 0 is empty."""
    total: int
    """How many rows it changed, of those that were asked for."""
    changes: tuple[RowChange, ...]
    """The changed rows, at most `--limit` of them."""
    restarts: dict[str, tuple[str, ...]]
    """Dataset → what changed of its columns, compared with the parent: all its rows are inserts in the new shape."""


def changes(
    conn: Connection,
    store: Store,
    release: int,
    *,
    dataset: str | None = None,
    key: Sequence[str] = (),
    limit: int = 100,
    after: int = 0,
) -> Changes:
    """What a release changed: all of it, one dataset, or the row of one key. `after`: how many of these rows the pages
    before have given; a release never changes, so a number is a place.

    Raises RefusedError for an unknown or collected release, UsageError for a dataset or a key that it cannot have,
    StoreError.
    """
    from distributor.ledger.releases import release as by_number
    from distributor.store.chunks import read_manifest
    from distributor.upkeep.collected import refuse_collected

    record = by_number(conn, release)
    refuse_collected(conn, store, release)
    manifest = read_manifest(store, record.manifest)
    total = 0
    shown: list[RowChange] = []
    for schema in asked_for(manifest, dataset, key):
        for chunk in manifest.chunks:
            if chunk.dataset != schema.dataset:
                continue
            skipped, missing = max(after - total, 0), limit - len(shown)
            if not key and (skipped >= chunk.rows or missing <= 0):
                total += chunk.rows
                continue
            table = _rows(store, chunk, schema, key)
            total += table.num_rows
            shown += [row_change(row, schema) for row in table.slice(skipped, max(missing, 0)).to_pylist()]
    return Changes(
        release=release,
        parent_release=manifest.parent_release,
        total=total,
        changes=tuple(shown),
        restarts={
            name: told for name, told in manifest.restarts.items() if dataset in (None, name) and not is_joined(name)
        },
    )


def asked_for(manifest: Manifest, dataset: str | None, key: Sequence[str]) -> list[DatasetSchema]:
    known = [schema.dataset for schema in manifest.schemas if not is_joined(schema.dataset)]
    if dataset is not None and dataset not in known:
        raise UsageError(
            f"release {manifest.release} has no dataset {dataset!r}",
            where="--dataset",
            mend=f"Known: {', '.join(known)}.",
        )
    chosen = [schema for schema in manifest.schemas if schema.dataset in known and dataset in (None, schema.dataset)]
    if not key:
        return chosen
    fitting = [schema for schema in chosen if len(schema.key) == len(key)]
    if not fitting:
        if dataset is not None:
            columns = chosen[0].key
            what = f"the key of {dataset} has {count(len(columns), 'column')}, and {count(len(key), 'value')} came"
            raise UsageError(what, where="--key", mend=f"Give --key once for each of: {', '.join(columns)}.")
        keys = "; ".join(f"{schema.dataset}: {', '.join(schema.key)}" for schema in chosen)
        raise UsageError(
            f"no dataset has a key of {count(len(key), 'column')}", where="--key", mend=f"Keys are {keys}."
        )
    return fitting


def _rows(store: Store, chunk: Chunk, schema: DatasetSchema, key: Sequence[str]) -> pa.Table:
    import pyarrow as pa
    import pyarrow.compute as pc

    from distributor.store.chunks import AFTER, BEFORE, read_chunk

    table = read_chunk(store, chunk, schema)
    if not key:
        return table
    matches = [
        pc.equal(pc.coalesce(table[BEFORE + column], table[AFTER + column]), pa.scalar(value))
        for column, value in zip(schema.key, key, strict=True)
    ]
    return table.filter(reduce(pc.and_, matches))


def row_change(row: dict[str, str | None], schema: DatasetSchema) -> RowChange:
    before = {name: row[f"before.{name}"] for name in schema.column_names}
    after = {name: row[f"after.{name}"] for name in schema.column_names}
    return RowChange.model_validate(
        {
            "dataset": schema.dataset,
            "op": row["op"],
            "key": {name: after[name] if after[name] is not None else before[name] for name in schema.key},
            "fields": [
                {"column": name, "before": before[name], "after": after[name]}
                for name in schema.column_names
                if before[name] != after[name] and name not in schema.key
            ],
        }
    )

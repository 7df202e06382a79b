"""What a release changed, field by field, from the chunks in the store."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from distributor.errors import UsageError
from distributor.mapping.tables import is_joined
from distributor.model.dataset import DatasetSchema
from distributor.views.base import View
from distributor.views.wording import count

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from sqlalchemy import Connection

    from distributor.model.manifest import Manifest
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
    from distributor.store.chunks import read_chunk, read_manifest, row_of_key
    from distributor.upkeep.collected import refuse_collected

    record = by_number(conn, release)
    refuse_collected(conn, store, release)
    manifest = read_manifest(store, record.manifest)
    total = 0
    shown: list[RowChange] = []
    for schema in _asked_for(manifest, dataset, key):
        for chunk in manifest.chunks:
            if chunk.dataset != schema.dataset:
                continue
            skipped, missing = max(after - total, 0), max(limit - len(shown), 0)
            if key:
                found = row_of_key(store, chunk, dict(zip(schema.key, key, strict=True)))
                rows = [found] if found else []
                total += len(rows)
                shown += [row_change(row, schema) for row in rows[skipped:][:missing]]
                continue
            total += chunk.rows
            if skipped < chunk.rows and missing:
                rows = read_chunk(store, chunk, schema).slice(skipped, missing).to_pylist()
                shown += [row_change(row, schema) for row in rows]
    return Changes(
        release=release,
        parent_release=manifest.parent_release,
        total=total,
        changes=tuple(shown),
        restarts={
            name: told for name, told in manifest.restarts.items() if dataset in (None, name) and not is_joined(name)
        },
    )


def _asked_for(manifest: Manifest, dataset: str | None, key: Sequence[str]) -> list[DatasetSchema]:
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


def row_change(row: Mapping[str, str | None], schema: DatasetSchema) -> RowChange:
    """One row of a chunk."""
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

"""`changes N`: what a release changed, field by field, from the chunks in the store."""

from __future__ import annotations

from collections.abc import Iterator
from functools import reduce
from typing import TYPE_CHECKING, Annotated, Literal

import typer
from rich.console import Console

from distributor.cli.desk import Desk
from distributor.cli.layout import count, plain
from distributor.cli.options import MOST_NUMBER, MOST_RELEASE
from distributor.cli.outcome import Outcome, Part
from distributor.errors import UsageError
from distributor.mapping.tables import is_joined
from distributor.model.dataset import DatasetSchema

if TYPE_CHECKING:
    import pyarrow as pa

    from distributor.model.manifest import Manifest
    from distributor.store.base import Store

MARKS = {"insert": "+", "update": "~", "delete": "-"}


class FieldChange(Part):
    """One field of a changed row."""

    column: str
    """The column."""
    before: str | None
    """Its canonical text before; null is NULL, or a row that was not there."""
    after: str | None
    """Its canonical text after; null is NULL, or a row that is no longer there."""


class RowChange(Part):
    """One changed row."""

    dataset: str
    """The dataset."""
    key: dict[str, str]
    """Its key: column → canonical text."""
    op: Literal["insert", "update", "delete"]
    """What happened to it."""
    fields: tuple[FieldChange, ...]
    """The fields that differ, without the key; of an inserted or deleted row those that are not NULL."""


class Changes(Outcome):
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

    def show(self, console: Console) -> None:
        """What changed of the shapes, then one paragraph for each row."""
        for dataset, told in self.restarts.items():
            console.print(f"! {dataset} begins anew in another shape: {'; '.join(told)}")
        for change in self.changes:
            key = ", ".join(f"{column}={plain(value)}" for column, value in change.key.items())
            console.print(f"{MARKS[change.op]} {change.dataset} {key}")
            for field in change.fields:
                if change.op == "update":
                    console.print(f"    {field.column}: {_told(field.before)} → {_told(field.after)}")
                else:
                    console.print(
                        f"    {field.column}: {_told(field.after if change.op == 'insert' else field.before)}"
                    )
        rest = self.total - len(self.changes)
        more = f"; {rest:,} more with a greater --limit" if rest else ""
        console.print(
            f"release {self.release} changed {count(self.total, 'row')} of release {self.parent_release}{more}"
        )


def changes(
    desk: Desk,
    release: Annotated[int, typer.Argument(metavar="N", help="The number of the release.", min=1, max=MOST_RELEASE)],
    dataset: Annotated[str | None, typer.Option("--dataset", metavar="NAME", help="Only this dataset.")] = None,
    key: Annotated[
        list[str] | None,
        typer.Option("--key", metavar="VALUE", help="Only the row of this key; once for each column of the key."),
    ] = None,
    limit: Annotated[
        int, typer.Option("--limit", min=1, max=MOST_NUMBER, metavar="N", help="How many rows to show.")
    ] = 100,
) -> Changes:
    """Show what one release changed, field by field (+ inserts, ~ updates, - deletes)."""
    from distributor.ledger.releases import release as by_number
    from distributor.store.chunks import read_manifest
    from distributor.upkeep.collected import refuse_collected

    with desk.reading() as conn:
        record = by_number(conn, release)
        refuse_collected(conn, desk.store, release)
    manifest = read_manifest(desk.store, record.manifest)
    total = 0
    shown: list[RowChange] = []
    for schema in _asked_for(manifest, dataset, key):
        for table in _chunks(desk.store, manifest, schema, key):
            total += table.num_rows
            shown += [_change(row, schema) for row in table.slice(0, max(limit - len(shown), 0)).to_pylist()]
    return Changes(
        release=release,
        parent_release=manifest.parent_release,
        total=total,
        changes=tuple(shown),
        restarts={
            name: told for name, told in manifest.restarts.items() if dataset in (None, name) and not is_joined(name)
        },
    )


def _asked_for(manifest: Manifest, dataset: str | None, key: list[str] | None) -> list[DatasetSchema]:
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


def _chunks(store: Store, manifest: Manifest, schema: DatasetSchema, key: list[str] | None) -> Iterator[pa.Table]:
    import pyarrow as pa
    import pyarrow.compute as pc

    from distributor.store.chunks import AFTER, BEFORE, read_chunk

    for chunk in manifest.chunks:
        if chunk.dataset != schema.dataset:
            continue
        table = read_chunk(store, chunk, schema)
        if key:
            matches = [
                pc.equal(pc.coalesce(table[BEFORE + column], table[AFTER + column]), pa.scalar(value))
                for column, value in zip(schema.key, key, strict=True)
            ]
            table = table.filter(reduce(pc.and_, matches))
        yield table


def _change(row: dict[str, str | None], schema: DatasetSchema) -> RowChange:
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


def _told(value: str | None) -> str:
    if value is None:
        return "NULL"
    return plain(value) or "''"

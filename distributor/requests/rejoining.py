"""Rows that are put back and read columns of other rows, which are not: as they were, with what the others are now."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from distributor.mapping.tables import unjoined
from distributor.model.dataset import DatasetSchema
from distributor.model.manifest import Manifest
from distributor.requests.putting_back import References, Rows
from distributor.store.base import Store
from distributor.store.chain import Chain
from distributor.store.chunks import AFTER, BEFORE, OP, Op, changeset_schema
from distributor.store.compose import net_delta

_Values = dict[str | None, dict[str, str | None]]


def rejoined(
    store: Store,
    chain: Chain,
    to: Manifest,
    schema: DatasetSchema,
    changes: pa.Table,
    back: Rows,
    references: References,
) -> pa.Table:
    """Changes that lead from the release to what shall be there instead of these joined rows. `back` are all rows that
    are put back: what is read of another row is as in the release. Raises StoreError."""
    dataset = unjoined(schema.dataset)
    read = {
        column: [name for name in schema.column_names if name.startswith(f"{column}.")]
        for column in references.get(dataset, {})
    }
    now = {
        column: _in_the_release(store, chain, to, references[dataset][column], changes[BEFORE + column], names, column)
        for column, names in read.items()
        if names
    }
    rows = []
    for change in changes.to_pylist():
        after = {name: change[AFTER + name] for name in schema.column_names}
        wanted = {name: change[BEFORE + name] for name in schema.column_names}
        there = change[OP] != Op.INSERT.value
        for column, values in now.items():
            kept = (wanted[column],) in back.get(references[dataset][column], ())
            if there and not kept and wanted[column] in values:
                wanted.update(values[wanted[column]])
        if wanted != after:
            op = Op.DELETE if not there else Op.INSERT if change[OP] == Op.DELETE.value else Op.UPDATE
            rows.append([op.value, *after.values(), *wanted.values()])
    shape = changeset_schema(schema)
    columns = list(zip(*rows, strict=True)) if rows else [()] * len(shape)
    return pa.table([pa.array(column, pa.string()) for column in columns], schema=shape)


def _in_the_release(
    store: Store, chain: Chain, to: Manifest, target: str, wanted: Any, names: list[str], column: str
) -> _Values:
    """Referenced value → the columns that are read of its row, of those rows that differ from what is shown."""
    schema = next((one for one in to.schemas if one.dataset == target), None)
    found: _Values = {}
    if schema is None or len(schema.key) != 1 or chain.lost(target):
        return found
    key, values = schema.key[0], pc.unique(wanted).drop_null()
    plain: Mapping[str, str] = {name: name.removeprefix(f"{column}.") for name in names}
    for piece in net_delta(store, chain, schema):
        keys = pc.coalesce(piece[BEFORE + key], piece[AFTER + key])
        for row in piece.filter(pc.is_in(keys, value_set=values)).to_pylist():
            value = row[BEFORE + key] if row[BEFORE + key] is not None else row[AFTER + key]
            found[value] = {name: row[AFTER + of] for name, of in plain.items() if AFTER + of in row}
    return found

"""Changes of a dataset as an environment sees them under a masking policy."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import pyarrow as pa

from distributor.mapping.tables import is_joined, unjoined
from distributor.masking.columns import masked
from distributor.masking.compiled import Masks, References
from distributor.masking.values import Mask
from distributor.model.dataset import DatasetSchema
from distributor.publishing.keyed import any_distinct
from distributor.store.chunks import CHUNK_ROWS, changeset_schema

_MOST_BYTES = 8 << 20


def masks_of(
    schema: DatasetSchema, schemas: Mapping[str, DatasetSchema], masks: Masks, references: References
) -> Sequence[Mask | None] | None:
    """The masks of a dataset's columns, None for one in clear. None where the config does not say (any more) what the
    columns of a joined dataset are of: then nobody knows how to mask them, and no mapping reads them.

    What a joined dataset has of referenced rows is masked as it is in these. As references and the keys that they name
    are masked alike, its rows are those that one would get by joining the masked ones.
    """
    dataset = unjoined(schema.dataset)
    own = masks.get(dataset, {})
    if not is_joined(schema.dataset):
        return [own.get(name) for name in schema.column_names]
    if dataset not in schemas:
        return None
    width = len(schemas[dataset].columns)
    found = [own.get(name) for name in schema.column_names[:width]]
    targets = references.get(dataset, {})
    for name in schema.column_names[width:]:
        reference = next((one for one in targets if name.startswith(f"{one}.")), None)
        if reference is None:
            return None
        found.append(masks.get(targets[reference], {}).get(name.removeprefix(f"{reference}.")))
    return found


def masked_changes(schema: DatasetSchema, masks: Sequence[Mask | None], changes: pa.Table) -> pa.Table:
    """Both sides of each change masked; what changed only in what nobody sees is no change."""
    if not any(masks):
        return changes
    width = len(schema.columns)
    columns = [
        masked(column, one) if one else column
        for column, one in zip(changes.columns[1:], [*masks, *masks], strict=True)
    ]
    table = pa.table([changes.column(0), *columns], schema=changeset_schema(schema))
    return table.filter(any_distinct(table.columns[1 : 1 + width], table.columns[1 + width :]))


def gathered(pieces: Iterator[pa.Table]) -> Iterator[pa.Table]:
    """The same rows in as few tables as chunks take."""
    waiting: list[pa.Table] = []
    for piece in pieces:
        if waiting and (
            sum(table.num_rows for table in waiting) + piece.num_rows > CHUNK_ROWS
            or sum(table.nbytes for table in waiting) > _MOST_BYTES
        ):
            yield pa.concat_tables(waiting).combine_chunks()
            waiting.clear()
        if piece.num_rows:
            waiting.append(piece)
    if waiting:
        yield pa.concat_tables(waiting).combine_chunks()

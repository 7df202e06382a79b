"""Datasets together with columns of the rows that they reference: which ones the mappings of all systems need.

A consumer never looks up what it does not hold. So the publisher, which has every row, sends for a table that reads
`product_id.name` the rows of `prices` with that column beside them, as a dataset of its own: `prices.joined`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from distributor.errors import ConfigError
from distributor.mapping.tables import SystemMapping, joined
from distributor.model.dataset import Column, DatasetSchema, Frozen


class Reference(Frozen):
    """What is read through one referencing column: `target` is the referenced dataset, `columns` some of its."""

    column: str
    target: str
    columns: tuple[str, ...]


class Join(Frozen):
    """One dataset, and what it needs of the rows that it references."""

    dataset: str
    references: tuple[Reference, ...]

    @property
    def name(self) -> str:
        """The name under which it travels."""
        return joined(self.dataset)

    def shape(self, schemas: Mapping[str, DatasetSchema]) -> DatasetSchema:
        """Its shape: the dataset's own columns, then `<referencing column>.<column>`.

        Raises ConfigError when a referenced dataset has no such column, or a key of several columns.
        """
        own = schemas[self.dataset]
        beside = [column for reference in self.references for column in self._beside(schemas, reference)]
        return DatasetSchema(dataset=self.name, columns=(*own.columns, *beside), key=own.key, indexes=own.indexes)

    def _beside(self, schemas: Mapping[str, DatasetSchema], reference: Reference) -> Iterable[Column]:
        where = f"master.datasets.{self.dataset}.references.{reference.column}"
        if reference.column not in schemas[self.dataset].column_names:
            raise ConfigError(f"{self.dataset} has no column {reference.column!r}", where=where)
        target = schemas[reference.target]
        if len(target.key) != 1:
            raise ConfigError(
                f"{reference.target} has a key of {len(target.key)} columns, and one column cannot name its rows",
                where=where,
                mend="Only datasets with a key of one column can be read through a reference.",
            )
        types = {column.name: column.type for column in target.columns}
        for name in reference.columns:
            if name not in types:
                raise ConfigError(
                    f"{reference.target} has no column {name!r}", where=where, mend=f"It has {', '.join(types)}."
                )
            yield Column(name=f"{reference.column}.{name}", type=types[name])


def joins(mappings: Iterable[SystemMapping]) -> dict[str, Join]:
    """Dataset → its join, of those that some table reads through references. Raises ConfigError."""
    read: dict[str, dict[tuple[str, str], set[str]]] = {}
    for table in (table for mapping in mappings for table in mapping.tables):
        targets = dict(table.references)
        for column, of in table.foreign:
            read.setdefault(table.dataset, {}).setdefault((column, targets[column]), set()).add(of)
    return {
        dataset: Join(
            dataset=dataset,
            references=tuple(
                Reference(column=column, target=target, columns=tuple(sorted(columns)))
                for (column, target), columns in sorted(references.items())
            ),
        )
        for dataset, references in sorted(read.items())
    }

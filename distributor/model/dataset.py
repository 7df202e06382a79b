"""The shape of a dataset: columns in their order, key, and the indexes that its copies should have too."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cached_property
from typing import Annotated

from pydantic import BaseModel, ConfigDict, PlainSerializer, PlainValidator

from distributor.model.types import LogicalType

TypeText = Annotated[
    LogicalType,
    PlainValidator(lambda value: value if isinstance(value, LogicalType) else LogicalType.parse(value)),
    PlainSerializer(str, return_type=str),
]


class Frozen(BaseModel):
    """A value that is written to JSON and never changes."""

    model_config = ConfigDict(frozen=True, extra="forbid", ignored_types=(cached_property,))


class Column(Frozen):
    """One column: its name, logical type and whether it may be null."""

    name: str
    type: TypeText
    nullable: bool = True


class Index(Frozen):
    """A plain index over columns of the dataset."""

    columns: tuple[str, ...]
    unique: bool = False


class DatasetSchema(Frozen):
    """One dataset's shape. `key` names columns, all of them not null."""

    dataset: str
    columns: tuple[Column, ...]
    key: tuple[str, ...]
    indexes: tuple[Index, ...] = ()

    @property
    def column_names(self) -> tuple[str, ...]:
        """Names of the columns, in the order in which rows travel and are hashed."""
        return tuple(column.name for column in self.columns)

    @property
    def key_positions(self) -> tuple[int, ...]:
        """Where the key columns stand in a row."""
        names = self.column_names
        return tuple(names.index(name) for name in self.key)

    @cached_property
    def fingerprint(self) -> str:
        """A hash of everything that a copy of this dataset depends on."""
        return hashlib.sha256(self.model_dump_json().encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class KeyedRow:
    """A row as canonical texts, in column order; None is NULL."""

    values: tuple[str | None, ...]


def schemas_fingerprint(schemas: tuple[DatasetSchema, ...]) -> str:
    """The identity of a release's shape: what a slot must have been built for. Order does not matter."""
    joined = "\n".join(sorted(schema.fingerprint for schema in schemas))
    return hashlib.sha256(joined.encode()).hexdigest()

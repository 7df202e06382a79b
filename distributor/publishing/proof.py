"""What triggers should have seen: changes that a full comparison finds, held against the keys that were recorded."""

from __future__ import annotations

import json
from collections.abc import Collection
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from distributor.model.dataset import DatasetSchema
from distributor.store.chunks import AFTER, BEFORE

LISTED = 20
Key = tuple[str | None, ...]


@dataclass(frozen=True, slots=True)
class Missed:
    """Rows of a dataset that changed unseen: how many, and the first LISTED keys in the order of their finding.

    `columns` are the key's.
    """

    rows: int
    columns: tuple[str, ...]
    keys: tuple[Key, ...]


class Proof:
    """One dataset's. `recorded` are keys as the journal has them."""

    def __init__(self, schema: DatasetSchema, recorded: Collection[str]) -> None:
        self._key = schema.key
        # A key of several columns is recorded as a JSON list.
        self._recorded = {tuple(json.loads(key)) if len(schema.key) > 1 else (key,) for key in recorded}
        self._rows = 0
        self._keys: list[Key] = []

    @property
    def missed(self) -> Missed | None:
        """What was missed so far; None: nothing."""
        return Missed(self._rows, self._key, tuple(self._keys)) if self._rows else None

    def add(self, changes: pa.Table) -> None:
        """Takes changes in the columns of a chunk."""
        columns = [pc.coalesce(changes[BEFORE + name], changes[AFTER + name]).to_pylist() for name in self._key]
        for key in zip(*columns, strict=True):
            if key not in self._recorded:
                self._rows += 1
                if len(self._keys) < LISTED:
                    self._keys.append(key)

"""Changes that are too heavy for memory, on the disk: in parts by key, each in the order in which it came."""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import Any
from zlib import crc32

import pyarrow as pa
import pyarrow.compute as pc

PARTS = 32
_BITS = 5
LEVELS = 32 // _BITS
"""How often keys can be parted: each level reads other bits of the same hash."""


class Spill:
    """A temporary file without a name: a process that is killed leaves nothing behind. A context; raises OSError."""

    def __init__(self, schema: pa.Schema, level: int) -> None:
        self._schema, self._shift = schema, level * _BITS
        self._file: Any = None
        self._writer: Any = None
        self._part_of_batch: list[int] = []

    def __enter__(self) -> Spill:
        return self

    def __exit__(self, *failure: object) -> None:
        if self._file is not None:
            # What could not be written is not wanted any more either.
            with suppress(OSError):
                self._file.close()

    def __bool__(self) -> bool:
        return self._file is not None

    def add(self, table: pa.Table, keys: Sequence[Any]) -> None:
        """Appends rows; `keys` are their key columns, chunked."""
        if self._file is None:
            self._file = tempfile.TemporaryFile(prefix="distributor-compose-")  # noqa: SIM115
            options = pa.ipc.IpcWriteOptions(compression="lz4", use_threads=False)
            self._writer = pa.ipc.new_file(self._file, self._schema, options=options)
        numbers = self._numbers(keys)
        # A stable sort: the rows of a part stay in the order of the chain.
        order = pc.sort_indices(pa.array(numbers, pa.uint8()))
        start = 0
        for number, rows in sorted(Counter(numbers).items()):
            for batch in table.take(order.slice(start, rows)).combine_chunks().to_batches():
                self._writer.write_batch(batch)
                self._part_of_batch.append(number)
            start += rows

    def parts(self) -> Iterator[Iterator[pa.Table]]:
        """All that was added, part by part; no key is in two of them. To be taken one after the other, once."""
        assert self._file is not None
        self._writer.close()
        self._file.flush()
        reader = pa.ipc.open_file(self._file)
        for number in range(PARTS):
            batches = [at for at, part in enumerate(self._part_of_batch) if part == number]
            if batches:
                yield (pa.Table.from_batches([reader.get_batch(at)]) for at in batches)

    def _numbers(self, keys: Sequence[Any]) -> list[int]:
        # Two keys that join to the same text only share a part.
        joined: Any = pc.binary_join_element_wise(*keys, pa.scalar(""))
        return [crc32(key) >> self._shift & PARTS - 1 for key in joined.cast(pa.binary()).to_pylist()]

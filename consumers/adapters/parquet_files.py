"""A table's files in one slot: written, looked at for their shape, and read as rows."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from consumers.adapters.base import TableSpec
from consumers.adapters.parquet_catalogue import scan
from consumers.adapters.parquet_state import DATA, Held, Part, Slots
from consumers.adapters.parquet_sums import names
from consumers.adapters.parquet_text import column_type, mismatches, quoted
from distributor.errors import SystemAlteredError
from distributor.model.certificate import BUCKETS
from distributor.model.dataset import DatasetSchema
from distributor.rollout.member_row import SlotName

PART_ROWS = 65_536
"""A file that would have more rows is parted, until it holds one bucket."""
# So that two threads have something to do, and a reader who asks for few rows can skip some. In octets too: a group of
# wide rows is gathered in memory.
_OPTIONS = "FORMAT parquet, COMPRESSION zstd, COMPRESSION_LEVEL 1, ROW_GROUP_SIZE 16384, ROW_GROUP_SIZE_BYTES '8MB'"
_PLAIN = re.compile("[^A-Za-z0-9_-]")


def rows_of(directory: Path, schema: DatasetSchema, parts: Sequence[Part]) -> str:
    """SELECT of all rows in some files, as c0, c1, …"""
    columns = zip(names(schema), schema.columns, strict=True)
    if not parts:
        nothing = ", ".join(f"CAST(NULL AS {column_type(column.type)}) AS {c}" for c, column in columns)
        return f"SELECT {nothing} LIMIT 0"
    selected = ", ".join(f"{quoted(column.name)} AS {c}" for c, column in columns)
    return f"SELECT {selected} FROM {scan(directory, [part.file for part in parts])}"


def holding(parts: Sequence[Part], buckets: Collection[int]) -> list[Part]:
    """The files in which any of these buckets lies; all of them when none is given."""
    return [part for part in parts if part.holds(buckets)] if buckets else list(parts)


def ranges(first: int, last: int, rows: int) -> list[tuple[int, int]]:
    """How the buckets from `first` up to `last` are parted for so many rows."""
    pieces = 1
    while rows / pieces > PART_ROWS and pieces < last - first:
        pieces *= 2
    step = (last - first) // pieces
    return [(start, start + step) for start in range(first, last, step)]


def write(
    connection: duckdb.DuckDBPyConnection,
    folder: Path,
    table: TableSpec,
    number: int,
    piece: tuple[int, int],
    rows: str,
) -> Part:
    """Writes rows (c0, c1, …) as one file; `number` makes its name one of its own in the folder."""
    schema = table.schema
    selected = ", ".join(f"{c} AS {quoted(name)}" for c, name in zip(names(schema), schema.column_names, strict=True))
    path = folder / f"{_PLAIN.sub('_', table.name)[:80]}-{number}-{piece[0]:02}-{piece[1]:02}.parquet"
    target = "'" + str(path).replace("'", "''") + "'"
    counted = connection.execute(f"COPY (SELECT {selected} FROM ({rows})) TO {target} ({_OPTIONS})").fetchall()
    stat = path.stat()
    return Part(
        file=f"{DATA}/{folder.name}/{path.name}",
        first=piece[0],
        last=piece[1],
        rows=int(counted[0][0]),
        size=stat.st_size,
        mtime_ns=stat.st_mtime_ns,
    )


def empty(connection: duckdb.DuckDBPyConnection, folder: Path, table: TableSpec, number: int) -> Part:
    """A file without rows, which has the table's shape."""
    return write(connection, folder, table, number, (0, BUCKETS), rows_of(folder, table.schema, ()))


def faults(directory: Path, name: str, slot: SlotName, held: Held, *, closely: bool = False) -> Iterator[str]:
    """What is not as it was made with a table in a slot. A file whose size and time are those that it was written with
    is looked into only `closely`."""
    for part in held.parts:
        path = directory / part.file
        try:
            stat = path.stat()
            if not closely and (stat.st_size, stat.st_mtime_ns) == (part.size, part.mtime_ns):
                continue
            found = pq.read_schema(path)
        except FileNotFoundError:
            yield f"slot {slot} of {name} has lost its file {part.file}"
            continue
        except (pa.ArrowException, OSError):
            yield f"slot {slot} of {name} has a file that is no Parquet: {part.file}"
            continue
        for wrong in mismatches(held.shape, [(entry.name, entry.type) for entry in found]):
            yield f"slot {slot} of {name} {wrong} ({part.file})"


def held_as(directory: Path, table: TableSpec, slot: SlotName, slots: Slots | None) -> Held:
    """The table in a slot. Raises SystemAlteredError when it is not as it was made, or was made in another shape."""
    if slots is None:
        raise misshapen(directory, f"{table.name} was not made here")
    if not slots[slot].is_of(table.schema):
        raise misshapen(directory, f"slot {slot} of {table.name} has another shape than what is asked of it")
    for what in faults(directory, table.name, slot, slots[slot]):
        raise misshapen(directory, what)
    return slots[slot]


def misshapen(directory: Path, what: str) -> SystemAlteredError:
    """What is not as it was made, with its mend."""
    return SystemAlteredError(
        what,
        where=str(directory),
        mend="Put it back as it was, or move the directory away to have the system loaded anew.",
    )

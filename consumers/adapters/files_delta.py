"""What changed between the file that readers see and the one that comes next: two files in the order of their keys."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from consumers.adapters.base import TableSpec
from consumers.adapters.files_copy import Ordered, Place
from consumers.adapters.files_form import Form
from consumers.adapters.files_table import scan, write
from consumers.adapters.streaming import Row
from distributor.errors import SystemAlteredError

INSERTED, UPDATED, DELETED = "I", "U", "D"
OP = "op"
_CHUNK = 1 << 20
_Key = tuple[tuple[bool, int | str], ...]
_Record = tuple[_Key, str]


class NoDeltaError(Exception):
    """A file cannot be compared; the text says why."""


def write_delta(
    form: Form, table: TableSpec, shown: Path, stored: Iterator[tuple[str, Row]], into: Path
) -> dict[str, int]:
    """Writes the delta of a table, from the file that readers see to the records that come next, which are read to
    their end; how many records of each op there are.

    Raises NoDeltaError, OSError, and whatever `stored` raises.
    """
    counts = dict.fromkeys((INSERTED, UPDATED, DELETED), 0)
    place = Ordered(table.schema).of_row
    marks = {op: form.record((op,)) + form.delimiter for op in counts}

    def records() -> Iterator[str]:
        for op, record in _changes(_in_order(_shown(form, shown, table), place), _in_order(stored, place)):
            counts[op] += 1
            yield marks[op] + record

    write(form, into, (OP, *table.schema.column_names), records())
    return counts


def same_content(one: Path, other: Path) -> bool:
    """Whether two files are equal, octet by octet."""
    if one.stat().st_size != other.stat().st_size:
        return False
    with one.open("rb") as first, other.open("rb") as second:
        while (chunk := first.read(_CHUNK)) == second.read(_CHUNK):
            if not chunk:
                return True
    return False


def _shown(form: Form, path: Path, table: TableSpec) -> Iterator[tuple[str, Row]]:
    try:
        yield from scan(form, path, table)
    except (SystemAlteredError, OSError) as error:
        raise NoDeltaError(f"what was shown before cannot be read: {error}") from error


def _in_order(scanned: Iterable[tuple[str, Row]], place: Callable[[Row], Place]) -> Iterator[_Record]:
    last: _Key = ()
    for record, row in scanned:
        key = tuple([(isinstance(part, str), part) for part in place(row)])
        if key <= last:
            raise NoDeltaError("a file was altered: its records are not in the order of their keys")
        last = key
        yield key, record


def _changes(shown: Iterator[_Record], stored: Iterator[_Record]) -> Iterator[tuple[str, str]]:
    old, new = next(shown, None), next(stored, None)
    while old or new:
        if new is None or (old is not None and old[0] < new[0]):
            assert old is not None
            yield DELETED, old[1]
            old = next(shown, None)
        elif old is None or new[0] < old[0]:
            yield INSERTED, new[1]
            new = next(stored, None)
        else:
            if old[1] != new[1]:
                yield UPDATED, new[1]
            old, new = next(shown, None), next(stored, None)

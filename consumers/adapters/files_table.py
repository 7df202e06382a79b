"""One table's file: its name, its header, its rows one after another, and how it is written."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import IO

from consumers.adapters.base import TableSpec
from consumers.adapters.files_disk import sync
from consumers.adapters.files_form import LOAD_ANEW, Form
from consumers.adapters.streaming import Row
from distributor.errors import SystemAlteredError
from distributor.model.dataset import DatasetSchema

DELTA = "delta"
_AS_IT_WAS = f"Put it back as it was. {LOAD_ANEW}"


def file_name(table: str) -> str:
    """The name of a table's file, among the tables and among the deltas."""
    return f"{table}.csv"


def write(form: Form, path: Path, names: Iterable[str], records: Iterable[str]) -> None:
    """A new file: the header, where files have one, then the records; synced. Raises OSError, SystemAlteredError."""
    with form.open(path, "w") as file:
        try:
            if form.header:
                file.write(form.record(tuple(names)) + form.line_end)
            file.writelines(record + form.line_end for record in records)
        except UnicodeEncodeError as error:
            raise SystemAlteredError(f"{form.encoding} lacks a character: {error}", where=str(path)) from error
        sync(file)


def scanned(form: Form, file: IO[str], table: TableSpec, where: str) -> Iterator[tuple[str, Row]]:
    """Every record of an open file, from its begin, and its row. Raises SystemAlteredError for another header."""
    file.seek(0)
    records, width = form.records(file, where), len(table.schema.columns)
    if form.header:
        _compare(form, next(records, ""), table.schema, where)
    for record in records:
        yield record, form.row(record, width)


def scan(form: Form, path: Path, table: TableSpec, where: Path | None = None) -> Iterator[tuple[str, Row]]:
    """The same of a file on the disk, which others know as `where`. Raises OSError too."""
    with form.open(path) as file:
        yield from scanned(form, file, table, str(where or path))


def check(form: Form, path: Path, table: TableSpec, where: Path | None = None) -> None:
    """Compares a file's columns with the table's: by the header, without one by how many the first record has.

    Raises SystemAlteredError, OSError.
    """
    width = len(table.schema.columns)
    for record, row in scan(form, path, table, where):
        if not form.header and (row[0] or "").startswith("\0"):
            what = f"has about {record.count(form.delimiter) + 1} columns, not {width}"
            raise SystemAlteredError(what, where=str(where or path), mend=_AS_IT_WAS)
        return


def _compare(form: Form, header: str, schema: DatasetSchema, where: str) -> None:
    if header == form.record(schema.column_names):
        return
    names = form.row(header, header.count(form.delimiter) + 1)
    found = next((name for name in schema.column_names if name not in names), "")
    if found:
        what = f"has no column {found}"
    elif extra := [name for name in names if name not in schema.column_names]:
        what = f"has a column {extra[0]} that was not made here"
    else:
        what = "has its columns in another order or form"
    raise SystemAlteredError(what, where=where, mend=_AS_IT_WAS)

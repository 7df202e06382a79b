"""CSV as docs/adapters/files.md has it, without the adapter's code, and somebody who alters files."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

from consumers.adapters.base import TableSpec
from consumers.conformance.edits import Drop, Edit, Odd, Oddity, Put
from consumers.conformance.samples import Row
from distributor.rollout.member_row import SlotName

_NEVER_SAME = (
    # Column, canonical text, the cell as it stands in the file, what.
    ("title", "Lamp", 'La"mp', "quote within"),
    ("title", "Lamp", '"Lamp', "quote without end"),
    ("title", "Lamp", '"La"mp', "text after its quotes"),
    ("title", "Lamp", "Lamp\r", "carriage return"),
    ("title", "Lamp", "La\nmp", "line end without quotes"),
    ("title", "Lamp", "Lamp\0", "text that ends in a zero octet"),
    ("title", "Lamp", "Lamp\udcff", "octet that is no character"),
    ("title", "Müller é", "M\udcfcller \udce9", "another encoding"),
    ("title", "Lamp, 40 W", "Lamp; 40 W", "one more delimiter"),
    ("title", "", "''", "other quotes"),
    ("title", None, '""', "empty text for NULL"),
    ("title", None, "NULL", "a word for NULL"),
    ("amount", None, '""', "empty text for NULL"),
    ("amount", "12", " 12", "blank before"),
    ("amount", "12", "12.0", "fraction"),
    ("amount", "12", "twelve", "word"),
    ("flag", "true", "TRUE", "upper case"),
    ("flag", "true", "1", "number"),
    ("price", "19.99", "19,99", "comma for the point"),
    ("raw", "\\x00ff", "00ff", "hex without its mark"),
    ("day", "2026-03-04", "04.03.2026", "another order"),
)
_SAME = (
    ("title", "Lamp", '"Lamp"', "quoted without need"),
    ("amount", "12", '"12"', "quoted without need"),
)


@dataclass(frozen=True, slots=True)
class Written:
    """How files are written."""

    encoding: str = "utf-8"
    delimiter: str = ";"
    quotes_all: bool = False
    line_end: str = "\n"
    header: bool = True

    def decoded(self, content: bytes) -> str:
        return content.decode(self.encoding, "surrogateescape")

    def records(self, content: bytes) -> list[list[str]]:
        """Every record after the header, as its cells with their quotes."""
        found = list(self._parsed(self.decoded(content)))
        return found[1:] if self.header else found

    def named(self, content: bytes) -> list[dict[str | None, str | None]]:
        """Every record by the names in the header."""
        header, *found = self._parsed(self.decoded(content))
        return [dict(zip(map(value, header), map(value, cells), strict=True)) for cells in found]

    def content(self, header: Sequence[str], records: Sequence[Sequence[str]]) -> bytes:
        whole = [[self.cell(name) for name in header]] if self.header else []
        lines = (self.delimiter.join(cells) + self.line_end for cells in [*whole, *map(list, records)])
        return "".join(lines).encode(self.encoding, "surrogateescape")

    def cell(self, value: str | None) -> str:
        if value is None:
            return ""
        if not value or self.quotes_all or any(mark in value for mark in (self.delimiter, '"', "\r", "\n")):
            return f'"{value.replace(chr(34), chr(34) * 2)}"'
        return value

    def _parsed(self, text: str) -> Iterator[list[str]]:
        cells: list[str] = []
        begin, quoted = 0, False
        for mark in re.finditer(f'"|{re.escape(self.delimiter)}|{re.escape(self.line_end)}', text):
            if mark[0] == '"':
                quoted = not quoted
            elif not quoted:
                cells.append(text[begin : mark.start()])
                begin = mark.end()
                if mark[0] == self.line_end:
                    yield cells
                    cells = []
        assert begin == len(text)


def value(cell: str) -> str | None:
    """What a cell means: nothing at all is NULL."""
    if not cell.startswith('"'):
        return cell or None
    return cell[1:-1].replace('""', '"')


class FilesMeddler:
    equal = frozenset({("text", "quoted without need"), ("integer", "quoted without need")})

    def __init__(self, root: Path, form: Written) -> None:
        self._root = root
        self._form = form
        self._before: dict[bytes, bytes] = {}
        self.oddities: Sequence[Oddity] = tuple(Oddity(*odd) for odd in (*_NEVER_SAME, *_SAME))
        if form != Written():
            self.oddities = ()

    def alter(self, slot: SlotName, table: TableSpec, edits: Sequence[Edit]) -> None:
        path = slot_file(self._root, slot, table.name)
        there = path.read_bytes()
        # What a quote without its end has done cannot be parsed: whoever mends it has a copy.
        content = self._before.pop(there, there)
        records, key = self._form.records(content), table.schema.key_positions
        for edit in edits:
            match edit:
                case Put(row):
                    found = [at for at, cells in enumerate(records) if _is(cells, key, row)]
                    cells = [self._form.cell(text) for text in row]
                    records[found[0] if found else len(records) : (found[0] + 1) if found else None] = [cells]
                case Drop(gone):
                    records = [c for c in records if [value(c[at]) for at in key] != list(gone)]
                case Odd(odd, column, cell):
                    place = table.schema.column_names.index(column)
                    for cells in records:
                        if [value(cells[at]) for at in key] == list(odd):
                            cells[place] = cell
        after = self._form.content(table.schema.column_names, records)
        if any(isinstance(edit, Odd) for edit in edits):
            self._before[after] = content
        # In place, as an editor does that knows nothing of links.
        path.write_bytes(after)

    def altering(self, slot: SlotName, table: TableSpec, edits: Sequence[Edit]) -> AbstractContextManager[None] | None:
        return None

    def close(self) -> None:
        pass


def slot_file(root: Path, slot: str, table: str) -> Path:
    place: str = json.loads((root / "_distributor" / "member.json").read_text())["places"][slot]
    return root / "_distributor" / "slots" / place / f"{table}.csv"


def _is(cells: Sequence[str], key: Sequence[int], row: Row) -> bool:
    return all(value(cells[at]) == row[at] for at in key)

"""The form of a system's files: how a row of canonical texts is one record of CSV, and a row again.

NULL is nothing between two delimiters, the empty string is two quotes. A cell that the form has no such cell for, in
a file that somebody altered, still has a text, and one that no value of a master has: a zero octet and what it is.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import IO, Any

import pyarrow as pa
import pyarrow.compute as pc

from consumers.adapters.base import Batch
from consumers.adapters.streaming import Row
from distributor.errors import ConfigError, SystemAlteredError
from distributor.model.unfit import Unfit, shortened

LINE_ENDS = {"unix": "\n", "windows": "\r\n"}
# name → default: what the option must be like.
DEFAULTS: dict[str, str | bool] = {
    "encoding": "utf-8",
    "delimiter": ";",
    "quote": "minimal",
    "line_end": "unix",
    "header": True,
}
LOAD_ANEW = "Move the whole directory away to have the system loaded anew."
_LONGEST_RECORD = 1 << 26
_PLAIN = "".join(map(chr, range(32, 127))) + "\r\n\t"
_UNREADABLE = re.compile("[\udc80-\udcff]")
_UNICODE = re.compile(r"utf-(8|16|32)([-_](le|be|sig))?")


class Form:
    """Encoding, delimiter, quotes, line ends, header: DEFAULTS. Raises ConfigError for what none of them can be."""

    def __init__(self, options: Mapping[str, str | int | bool], where: str) -> None:
        chosen = {**DEFAULTS, **options}
        self.options = chosen
        for name, default in DEFAULTS.items():
            if type(chosen[name]) is not type(default):
                kind = "true or false" if isinstance(default, bool) else "a text"
                raise _unusable(
                    f"the option {name} is {kind}, not {chosen[name]!r}", where, f"The default is {default!r}."
                )
        self.encoding, self.delimiter = str(chosen["encoding"]), str(chosen["delimiter"])
        self.header = bool(chosen["header"])
        if not _is_charset(self.encoding):
            raise _unusable(f"{self.encoding!r} is no character set that Python knows", where, "utf-8, cp1252, …")
        if len(self.delimiter) != 1 or self.delimiter in '"\r\n\0' or _lacked(self.encoding, self.delimiter):
            raise _unusable(f"{self.delimiter!r} is no delimiter", where, 'It is one character, like ";" or "\\t".')
        if chosen["quote"] not in ("minimal", "all"):
            raise _unusable(f"the option quote is not {chosen['quote']!r}", where, 'It is "minimal" or "all".')
        if chosen["line_end"] not in LINE_ENDS:
            raise _unusable(f"the option line_end is not {chosen['line_end']!r}", where, 'It is "unix" or "windows".')
        self.line_end = LINE_ENDS[str(chosen["line_end"])]
        self._quotes_all = chosen["quote"] == "all"
        mark = re.escape(self.delimiter)
        # A byte order mark is one at the begin of a file; blanks at an end are what many importers cut off.
        self._special = re.compile(f'[{mark}"\r\n\ufeff]|^\\s|\\s$')
        self._cell = re.compile(f'("(?:[^"]++|"")*+"|[^"\r\n{mark}]*+){mark}')

    def open(self, path: Path, mode: str = "r") -> IO[str]:
        """A file in this form; octets that are no character are kept as they are. Raises OSError."""
        newline = "\n" if mode == "r" else ""
        return path.open(mode, encoding=self.encoding, errors="surrogateescape", newline=newline)

    def record(self, row: Row) -> str:
        """A row as its record, without a line end."""
        return self.delimiter.join([self._written(value) for value in row])

    def row(self, record: str, width: int) -> Row:
        """A record as a row of `width` texts."""
        if '"' in record or "\r" in record or "\n" in record:
            cells = self._cell.findall(record + self.delimiter)
            if sum(map(len, cells)) + len(cells) != len(record) + 1:
                return _odd(record, width)
            values = [_unquoted(cell) if cell[:1] == '"' else cell or None for cell in cells]
        else:
            values = [cell or None for cell in record.split(self.delimiter)]
        if len(values) != width:
            return _odd(record, width)
        if not record.isascii() and _UNREADABLE.search(record):
            return [_strange(value) if value and _UNREADABLE.search(value) else value for value in values]
        return values

    def records(self, lines: Iterable[str], where: str) -> Iterator[str]:
        """The records of an open file. Raises SystemAlteredError when a quote has no end, or octets mean nothing."""
        open_: list[str] = []
        length = 0
        try:
            for line in lines:
                turns = line.count('"') % 2
                if not open_ and not turns:
                    yield line.removesuffix(self.line_end)
                    continue
                open_.append(line)
                length += len(line)
                if len(open_) > 1 and turns:
                    yield "".join(open_).removesuffix(self.line_end)
                    open_, length = [], 0
                elif length > _LONGEST_RECORD:
                    raise SystemAlteredError("a quote that begins there has no end", where=where, mend=LOAD_ANEW)
        except UnicodeError as error:
            raise SystemAlteredError(f"this is no {self.encoding}: {error}", where=where, mend=LOAD_ANEW) from error
        if open_:
            yield "".join(open_)

    def unfit(self, batch: Batch) -> list[Unfit]:
        """Every value with a character that the encoding lacks, at most one per row."""
        found: dict[int, Unfit] = {}
        if _UNICODE.fullmatch(self.encoding.lower()):
            return []
        rows, schema = batch.upserts, batch.table.schema
        for name in schema.column_names:
            column = rows[name].combine_chunks()
            if not (lacked := _lacked(self.encoding, "".join(filter(None, column.to_pylist())))):
                continue
            any_of_them = "".join(rf"\x{{{ord(character):x}}}" for character in lacked)
            wrong: Any = pc.match_substring_regex(column, f"[{any_of_them}]")
            places: Any = pc.indices_nonzero(pc.fill_null(wrong, pa.scalar(value=False)))
            for at in places.to_pylist():
                found.setdefault(
                    at,
                    Unfit(
                        table=batch.table.name,
                        dataset=schema.dataset,
                        key=tuple(rows[key][at].as_py() for key in schema.key),
                        column=name,
                        value=shortened(column[at].as_py()),
                        why=f"has a character that {self.encoding} lacks",
                    ),
                )
        return list(found.values())

    def _written(self, value: str | None) -> str:
        if value is None:
            return ""
        if value and not self._quotes_all and not self._special.search(value):
            return value
        return '"' + value.replace('"', '""') + '"'


def _unquoted(cell: str) -> str:
    return cell[1:-1].replace('""', '"')


def _odd(record: str, width: int) -> Row:
    """A record that is none of the table's rows: all of it is in the first column."""
    return [_strange(record), *["\0"] * (width - 1)]


def _strange(text: str) -> str:
    return "\0" + text.encode("utf-8", "backslashreplace").decode()


def _is_charset(encoding: str) -> bool:
    """Whether plain characters are so many octets each, and come back: which is not so in base64, idna or utf-7."""
    try:
        octets = _PLAIN.encode(encoding)
        return octets.decode(encoding) == _PLAIN and not (len(octets) - len("".encode(encoding))) % len(_PLAIN)
    except (LookupError, UnicodeError):
        return False


def _lacked(encoding: str, text: str) -> list[str]:
    """The characters of a text that do not come back from the encoding as they were."""
    if text.isascii():
        return []
    return sorted(character for character in set(text) if not _comes_back(encoding, character))


def _comes_back(encoding: str, character: str) -> bool:
    try:
        return character.encode(encoding).decode(encoding) == character
    except UnicodeError:
        return False


def _unusable(what: str, where: str, mend: str) -> ConfigError:
    return ConfigError(what, where=where, mend=mend)

"""Reads a catalogue file into the temporary table `given`: the record's number, the line (or row) where it stands, how
it stands there (only where bad records are kept), then every column as text (c0, c1, …)."""

from __future__ import annotations

import csv
import gzip
import json
import zlib
from collections.abc import Sequence
from datetime import date, datetime, time
from pathlib import Path
from typing import IO, Any, cast

import psycopg
import pyarrow as pa
import pyarrow.parquet as pq
from psycopg import sql

from distributor.errors import BadInputError, UsageError
from distributor.publishing.bad_records import NOTHING, BadRecord, BadRecords
from distributor.publishing.records import records

_PIECE = 1 << 20
_BOM = b"\xef\xbb\xbf"
_DELIMITERS = ",;\t|"


def read_into_given(conn: psycopg.Connection, path: Path, known: Sequence[str], bad: BadRecords) -> list[str]:
    """Fills `given` and returns the file's columns, in the order of c0, c1, …

    CSV: a header line, UTF-8; an unquoted nothing is NULL. JSONL: an object per line, a column that a line lacks is
    NULL, objects and lists become json text. Parquet likewise. `.gz` behind the ending is unpacked. Records that are
    none go to `bad`. Raises UsageError for another ending, BadInputError for a file that is none.
    """
    readers = {".csv": _read_csv, ".jsonl": _read_jsonl, ".ndjson": _read_jsonl, ".parquet": _read_parquet}
    ending = path.with_suffix("").suffix if path.suffix == ".gz" else path.suffix
    if ending.lower() not in readers:
        raise UsageError(f"{path.name} is not CSV, JSONL or Parquet by its ending", where=str(path))
    try:
        with path.open("rb") as plain:
            source = cast(IO[bytes], gzip.GzipFile(fileobj=plain)) if path.suffix == ".gz" else plain
            return readers[ending.lower()](conn, source, path, known, bad)
    except (OSError, EOFError, zlib.error) as error:
        raise BadInputError(f"it cannot be read: {error}", where=str(path), mend=NOTHING) from error


def _create(conn: psycopg.Connection, columns: int) -> None:
    texts = sql.SQL(", ").join(sql.SQL("{} text").format(sql.Identifier(f"c{at}")) for at in range(columns))
    conn.execute(
        sql.SQL("CREATE TEMPORARY TABLE given (row bigint, place bigint, raw text, {}) ON COMMIT DROP").format(texts)
    )


def _checked(names: Sequence[str], path: Path, known: Sequence[str]) -> list[str]:
    if unknown := [name for name in names if name not in known]:
        raise BadInputError(
            f"the table has no column {', '.join(map(repr, unknown))}; it has {', '.join(known)}",
            where=str(path),
            mend=f"Rename or remove it. {NOTHING}",
        )
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise BadInputError(f"the column {twice[0]!r} is there twice", where=str(path), mend="Nothing was loaded.")
    if not names:
        raise BadInputError("it has no columns", where=str(path), mend="A CSV file begins with a line of column names.")
    return list(names)


def _read_csv(
    conn: psycopg.Connection, source: IO[bytes], path: Path, known: Sequence[str], bad: BadRecords
) -> list[str]:
    first = source.readline()
    try:
        line = first.removeprefix(_BOM).decode().rstrip("\r\n")
        headers = {delimiter: next(csv.reader([line], delimiter=delimiter), []) for delimiter in _DELIMITERS}
    except UnicodeDecodeError as error:
        raise BadInputError("it is not UTF-8", where=f"{path}, line 1", mend="Save it as UTF-8.") from error
    except csv.Error as error:
        raise BadInputError(
            f"this is no line of column names: {error}", where=f"{path}, line 1", mend=NOTHING
        ) from error
    delimiter = max(_DELIMITERS, key=lambda candidate: len(set(headers[candidate]) & set(known)))
    names = _checked(headers[delimiter], path, known)
    _create(conn, len(names))
    statement = sql.SQL("COPY pg_temp.given FROM STDIN (FORMAT csv, DELIMITER {})").format(delimiter)
    with conn.cursor() as cursor, cursor.copy(statement) as copy:
        pieces: list[str] = []
        size = 0
        for row, record in enumerate(records(source, len(names), delimiter, first=2), 1):
            if record.reason:
                bad.add([BadRecord(record.line, record.reason, record.text)])
                continue
            raw = '"' + record.text.replace('"', '""') + '"' if bad.keeps else ""
            # Alone on its line, this would be the end of the data.
            text = '"\\."' if record.text == "\\." else record.text
            pieces.append(delimiter.join((str(row), str(record.line), raw, text)))
            size += len(pieces[-1])
            if size >= _PIECE:
                copy.write("\n".join(pieces) + "\n")
                pieces, size = [], 0
        copy.write("".join(piece + "\n" for piece in pieces))
    return names


def _read_jsonl(
    conn: psycopg.Connection, source: IO[bytes], path: Path, known: Sequence[str], bad: BadRecords
) -> list[str]:
    conn.execute("CREATE TEMPORARY TABLE documents (row bigint, document text) ON COMMIT DROP")
    with conn.cursor() as cursor, cursor.copy("COPY pg_temp.documents FROM STDIN") as copy:
        for number, line in enumerate(source, 1):
            content = line.removeprefix(_BOM)
            try:
                text = content.decode().strip()
            except UnicodeDecodeError:
                bad.add([BadRecord(number, "it is not UTF-8", content.decode(errors="backslashreplace").strip())])
                continue
            if "\0" in text:
                bad.add([BadRecord(number, "it has a NUL character", text)])
            elif text:
                copy.write_row((number, text))
    for why in (_NO_JSON, _NO_OBJECT, _TWICE):
        wrong = conn.execute(why).fetchall()
        bad.add(BadRecord(row, f"this is no JSON object ({reason})", document) for row, document, reason in wrong)
        conn.execute("DELETE FROM pg_temp.documents WHERE row = ANY(%s)", [[row for row, _, _ in wrong]])
    if bad.count and not bad.keeps:
        bad.settle()
    found = conn.execute("SELECT DISTINCT json_object_keys(document::json) FROM pg_temp.documents").fetchall()
    names = _checked(sorted(name for (name,) in found), path, known)
    _create(conn, len(names))
    # One look at each document for all columns.
    typed = sql.SQL(", ").join(sql.SQL("{} text").format(sql.Identifier(name)) for name in names)
    statement = sql.SQL(
        "INSERT INTO pg_temp.given SELECT row, row, {}, found.* FROM pg_temp.documents,"
        " json_to_record(document::json) AS found({})"
    )
    conn.execute(statement.format(sql.SQL("document" if bad.keeps else "NULL"), typed))
    return names


def _read_parquet(
    conn: psycopg.Connection, source: IO[bytes], path: Path, known: Sequence[str], bad: BadRecords
) -> list[str]:
    bad.places = "row"
    try:
        file = pq.ParquetFile(source)
        names = _checked(file.schema_arrow.names, path, known)
        _create(conn, len(names))
        row = 0
        with conn.cursor() as cursor, cursor.copy("COPY pg_temp.given FROM STDIN") as copy:
            for batch in file.iter_batches(10_000):
                for values in zip(*(column.to_pylist() for column in batch.columns), strict=True):
                    row += 1
                    texts = [*map(_text, values)]
                    if any(text is not None and "\0" in text for text in texts):
                        bad.add([BadRecord(row, "it has a NUL character", json.dumps(texts, ensure_ascii=False))])
                        continue
                    raw = json.dumps(dict(zip(names, texts, strict=True)), ensure_ascii=False) if bad.keeps else None
                    copy.write_row((row, row, raw, *texts))
    except (pa.ArrowException, ValueError) as error:
        raise BadInputError(f"this Parquet file cannot be read: {error}", where=str(path), mend=NOTHING) from error
    return names


def _text(value: Any) -> str | None:
    """A Parquet value as PostgreSQL reads it."""
    match value:
        case None | str():
            return value
        case bool():
            return "true" if value else "false"
        case bytes():
            return "\\x" + value.hex()
        case datetime() | date() | time():
            return value.isoformat()
        case dict() | list():
            return json.dumps(value, ensure_ascii=False, default=_text)
    return str(value)


# An escaped character that no text can hold is an error of jsonb only.
_NO_JSON = r"""
SELECT row, document, reason FROM (
    SELECT row, document, pg_temp.input_error(
        document, CASE WHEN position('\u' IN document) > 0 THEN 'jsonb' ELSE 'json' END) AS reason
    FROM pg_temp.documents) AS judged
WHERE reason IS NOT NULL ORDER BY row
"""
_NO_OBJECT = """
SELECT row, document, 'not an object' FROM pg_temp.documents WHERE json_typeof(document::json) <> 'object' ORDER BY row
"""
# Of two values, the first would be lost.
_TWICE = """
SELECT row, document, format('the name %L is there twice', name) FROM (
    SELECT row, document, (SELECT key FROM json_object_keys(document::json) AS key GROUP BY key HAVING count(*) > 1
        LIMIT 1) AS name
    FROM pg_temp.documents) AS judged
WHERE name IS NOT NULL ORDER BY row
"""

"""The real catalogue history, as other people left it: snapshots, deltas, and the counts that its README states."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psycopg
import pyarrow.parquet as pq

BASE, LAST = "2025-04-20", "2026-08-18"
DAILY_BASE = "2026-07-01"

TABLE = """
CREATE TABLE part (
    category text,
    id text,
    record json NOT NULL,
    PRIMARY KEY (category, id)
)
"""

_APPLY = (
    "CREATE TEMP TABLE given (op text, category text, id text, record json) ON COMMIT DROP",
    "DELETE FROM part USING given g WHERE g.op = 'delete' AND (part.category, part.id) = (g.category, g.id)",
    "UPDATE part SET record = g.record FROM given g"
    " WHERE g.op = 'update' AND (part.category, part.id) = (g.category, g.id)",
    "INSERT INTO part SELECT category, id, record FROM given WHERE op = 'add'",
    # A noop is a new spelling of the same value: other spaces, other order of keys.
    "UPDATE part SET record = part.record::jsonb::text::json FROM given g"
    " WHERE g.op = 'noop' AND (part.category, part.id) = (g.category, g.id)",
)


@dataclass(frozen=True, slots=True)
class Step:
    """One line of the README's tables, and the file that it is about."""

    date: str
    file: Path
    rows_after: int
    add: int
    update: int
    delete: int
    noop: int


def data_directory() -> Path | None:
    """The data set beside the checkout, when it is there."""
    found = Path(__file__).resolve().parents[3] / "shared" / "data" / "buildcores-open-db"
    return found if found.is_dir() else None


def steps(directory: Path, *, daily: bool = False) -> list[Step]:
    """The steps after the base, in order, with the counts that the README gives for them."""
    table = (directory / "README.md").read_text().split("### Daily")[int(daily)]
    folder = directory / "history" / ("daily" if daily else "")
    found = []
    for line in table.splitlines():
        cells = [cell.strip().replace(",", "") for cell in line.strip("|").split("|")]
        if len(cells) >= 6 and cells[0][:2] == "20":
            counts = [int(cell) for cell in cells[1:6]]
            found.append(Step(cells[0], folder / f"delta-{cells[0]}.jsonl.gz", *counts))
    return found


def lines(step: Step) -> Iterator[tuple[str, str, str, str | None]]:
    """(op, category, id, the record as JSON text) for each change of a step."""
    with gzip.open(step.file, "rt", encoding="utf-8") as file:
        for line in file:
            change = json.loads(line)
            record = json.dumps(change["record"], ensure_ascii=False) if "record" in change else None
            yield change["op"], change["category"], change["id"], record


def apply(connection: psycopg.Connection, step: Step) -> None:
    """Writes one step to the master in one transaction, as somebody who has never heard of distribution would."""
    create, *changes = _APPLY
    with connection.transaction(), connection.cursor() as cursor:
        cursor.execute(create)
        with cursor.copy("COPY given FROM STDIN") as copy:
            for line in lines(step):
                copy.write_row(line)
        cursor.execute("ANALYZE given")
        for statement in changes:
            cursor.execute(statement.encode())


def snapshot(directory: Path, date: str) -> dict[tuple[str, str], object]:
    """(category, id) → the record's value, of one full snapshot."""
    table = pq.read_table(directory / "history" / f"full-{date}.parquet")
    columns = (table[name].to_pylist() for name in ("category", "id", "record"))
    return {(category, key): json.loads(record) for category, key, record in zip(*columns, strict=True)}


def apply_to_values(rows: dict[tuple[str, str], object], step: Step) -> None:
    """What a step does to a snapshot in memory."""
    for op, category, key, record in lines(step):
        if op == "delete":
            del rows[category, key]
        elif record is not None:
            rows[category, key] = json.loads(record)

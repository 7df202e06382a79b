"""The durable inbox: a command is on disk before it is acknowledged, and stays open until its answer is confirmed.

One SQLite file in the consumer's state directory. Message ids keep a command from being *worked* twice at once, never
from being answered again: a repeated message opens its row anew, and the member's table turns it into an answer.
"""

from __future__ import annotations

import json
import sqlite3
import threading
from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from distributor.errors import UnreachableError
from distributor.telemetry.faults import Point, point

KEPT = 1000
"""So many answered commands stay, for whoever looks into the file after an incident."""

_TABLES = """
create table if not exists command (
  arrival integer primary key autoincrement,
  message_id text not null unique,
  epoch integer not null,
  type text not null,
  closes integer not null,
  headers text not null,
  content_type text not null,
  body blob not null,
  received_at text not null,
  traceparent text,
  state text not null check (state in ('received', 'done'))
);
create index if not exists command_open on command (epoch desc, closes desc, arrival) where state = 'received';
create table if not exists answered (
  epoch integer not null, rollout_id text not null, type text not null, primary key (epoch, rollout_id, type)
) without rowid;
create table if not exists member (only_row integer primary key check (only_row = 1), row text not null);
create table if not exists sample (only_row integer primary key check (only_row = 1), next_bucket integer not null);
"""


@dataclass(frozen=True, slots=True)
class Letter:
    """A command as it was delivered. `headers` are the CloudEvent's; `closes`: it only ends its epoch."""

    message_id: str
    epoch: int
    type: str
    closes: bool
    headers: dict[str, str]
    content_type: str
    body: bytes
    received_at: datetime
    traceparent: str | None
    arrival: int = 0


class Inbox:
    """Open letters, newest epoch first. For several threads. Raises UnreachableError when the disk fails."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=10)
            self._connection.execute("pragma journal_mode = wal")
            self._connection.executescript(_TABLES)
        except (OSError, sqlite3.Error) as error:
            raise self._unreachable(error) from error

    def save(self, letter: Letter) -> None:
        """Keeps a letter durably. The same message id again is a new arrival of the same letter."""
        point(Point.INBOX_BEFORE_SAVE)
        self._write(
            "insert or replace into command (message_id, epoch, type, closes, headers, content_type, body,"
            " received_at, traceparent, state) values (?, ?, ?, ?, ?, ?, ?, ?, ?, 'received')",
            letter.message_id,
            letter.epoch,
            letter.type,
            letter.closes,
            json.dumps(letter.headers),
            letter.content_type,
            letter.body,
            letter.received_at.isoformat(),
            letter.traceparent,
            lasting=True,
        )
        point(Point.INBOX_AFTER_SAVE)

    def waiting(self, besides: Collection[int] = ()) -> Letter | None:
        """The next letter to work on: highest epoch, then what closes the epoch, then arrival.

        `besides` are arrivals that are being worked on, or wait for their time.
        """
        found = self._read(
            "select message_id, epoch, type, closes, headers, content_type, body, received_at, traceparent, arrival"
            " from command where state = 'received' and arrival not in (select value from json_each(?))"
            " order by epoch desc, closes desc, arrival limit 1",
            json.dumps(sorted(besides)),
        )
        if found is None:
            return None
        message_id, epoch, type_, closes, headers, content_type, body, received_at, traceparent, arrival = found
        return Letter(
            message_id=message_id,
            epoch=epoch,
            type=type_,
            closes=bool(closes),
            headers=json.loads(headers),
            content_type=content_type,
            body=body,
            received_at=datetime.fromisoformat(received_at),
            traceparent=traceparent,
            arrival=arrival,
        )

    def overtakes(self, epoch: int) -> bool:
        """Whether a letter waits that makes work under this epoch useless: a newer epoch, or the end of this one."""
        return (
            self._read(
                "select 1 from command where state = 'received' and (epoch > ? or epoch = ? and closes) limit 1",
                epoch,
                epoch,
            )
            is not None
        )

    def answered(self, letter: Letter, rollout_id: str) -> None:
        """Notes that a command was in time: what comes of it later is a repetition."""
        self._write("insert or ignore into answered values (?, ?, ?)", letter.epoch, rollout_id, letter.type)
        self._write("delete from answered where epoch < ?", letter.epoch - KEPT)

    def is_late(self, letter: Letter, rollout_id: str) -> bool:
        """Whether a letter whose epoch is over is an ordinary one: answered before, or overtaken while it waited."""
        return (
            self._read(
                "select 1 from answered where epoch = ? and rollout_id = ? and type = ? union all select 1 from command"
                " where arrival > ? and (epoch > ? or epoch = ? and closes) limit 1",
                letter.epoch,
                rollout_id,
                letter.type,
                letter.arrival,
                letter.epoch,
                letter.epoch,
            )
            is not None
        )

    def done(self, arrival: int) -> None:
        """Closes a letter whose answer is confirmed; one that arrived again meanwhile stays open."""
        self._write("update command set state = 'done' where arrival = ?", arrival)
        if arrival % 100 == 0:
            self._write("delete from command where state = 'done' and arrival < ?", arrival - KEPT)

    def remember(self, row: str) -> None:
        """Keeps the member's row as last read, for answers while its store cannot be reached."""
        self._write("insert or replace into member (only_row, row) values (1, ?)", row)

    def remembered(self) -> str | None:
        """The member's row as last read."""
        found = self._read("select row from member")
        return None if found is None else str(found[0])

    def next_bucket(self) -> int:
        """Where the next sampled audit begins."""
        found = self._read("select next_bucket from sample")
        return 0 if found is None else int(found[0])

    def sample_from(self, bucket: int) -> None:
        """Notes where the next sampled audit begins, so that restarts do not look at the same buckets for ever."""
        self._write("insert or replace into sample (only_row, next_bucket) values (1, ?)", bucket)

    def close(self) -> None:
        """Closes the file."""
        with self._lock:
            self._connection.close()

    def _write(self, statement: str, *values: object, lasting: bool = False) -> None:
        """A power cut may undo what is not `lasting`: then an answer is given twice, or an older row remembered."""
        try:
            with self._lock:
                self._connection.execute(f"pragma synchronous = {'full' if lasting else 'normal'}")
                self._connection.execute(statement, values)
        except sqlite3.Error as error:
            raise self._unreachable(error) from error

    def _read(self, statement: str, *values: object) -> tuple[Any, ...] | None:
        try:
            with self._lock:
                row: tuple[Any, ...] | None = self._connection.execute(statement, values).fetchone()
                return row
        except sqlite3.Error as error:
            raise self._unreachable(error) from error

    def _unreachable(self, error: Exception) -> UnreachableError:
        return UnreachableError(
            f"the inbox cannot be used: {error}", where=str(self._path), mend="Free or mend that disk."
        )

"""Somebody in a member's Redis who alters rows at once. The adapter's code is not used.

Redis has nothing that could alter rows while they are written: no triggers, and keyspace notifications come afterwards.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence

import redis

from consumers.adapters.base import TableSpec
from consumers.conformance.edits import Drop, Edit, Odd, Oddity, Put
from consumers.conformance.samples import Row
from distributor.rollout.member_row import SlotName

# Column, canonical text, the field as it is stored instead, what. In Python's notation of octets.
_ODD = (
    ("title", "Lamp", rb"-", "field of NULL"),
    ("title", "Lamp", rb"5:Lamp\x00", "zero octet at the end"),
    ("title", "Müller é", rb"8:M\xfcller \xe9", "octets that are no UTF-8, cut"),
    ("title", "Lamp", rb"04:Lamp", "length with a zero before it"),
    ("title", "Lamp", rb"5:Lamp", "length that is too large"),
    ("title", "Lamp", rb"3:Lamp", "length that is too small"),
    ("title", "Lamp", rb"", "no field at all"),
    ("title", "Lamp", rb"Lamp", "text without a length"),
    ("title", "Lamp", rb"4:Lamp-", "one field more"),
    ("amount", "12", rb"1:\x0c", "number as an octet"),
    ("flag", "true", rb"4:\x00\x00\x00\x01", "number of four octets"),
    ("raw", "\\x00ff", rb"2:\x00\xff", "the octets themselves"),
)


class RedisMeddler:
    oddities: Sequence[Oddity] = tuple(
        Oddity(column, was, repr(value)[2:-1], what) for column, was, value, what in _ODD
    )
    # Everything is canonical text: any other text is another one.
    equal: frozenset[tuple[str, str]] = frozenset()

    def __init__(self, url: str, prefix: str) -> None:
        self._redis = redis.Redis.from_url(url)
        self._prefix = prefix

    def alter(self, slot: SlotName, table: TableSpec, edits: Sequence[Edit]) -> None:
        places = {edit: self._place(slot, table, edit) for edit in edits}
        with self._redis.pipeline(transaction=True) as transaction:
            for edit in edits:
                match edit:
                    case Put(row):
                        transaction.hset(places[edit], _key(table, edit), "".join(map(_field, row)).encode())
                    case Drop(_):
                        transaction.hdel(places[edit], _key(table, edit))
                    case Odd(_, column, value):
                        found = self._redis.hget(places[edit], _key(table, edit))
                        assert isinstance(found, bytes)
                        fields = list(_fields(found))
                        fields[table.schema.column_names.index(column)] = (
                            value.encode().decode("unicode_escape").encode("latin-1")
                        )
                        transaction.hset(places[edit], _key(table, edit), b"".join(fields))
            transaction.execute()

    def altering(self, slot: SlotName, table: TableSpec, edits: Sequence[Edit]) -> None:
        return None

    def close(self) -> None:
        self._redis.close()

    def _place(self, slot: SlotName, table: TableSpec, edit: Edit) -> str:
        """The hash in which a row lies, or would."""
        piece = hashlib.sha1(_key(table, edit)).hexdigest()[:3]
        generation = self._redis.hget(f"{self._prefix}:slot:{slot}:{table.name}", "generation")
        assert isinstance(generation, bytes)
        directory = f"{self._prefix}:directory:{generation.decode()}:{table.name}"
        self._redis.hsetnx(directory, piece, generation)
        made_by = self._redis.hget(directory, piece)
        assert isinstance(made_by, bytes)
        return f"{self._prefix}:rows:{made_by.decode()}:{piece}:{table.name}"


def _key(table: TableSpec, edit: Edit) -> bytes:
    key: Row = tuple(edit.row[at] for at in table.schema.key_positions) if isinstance(edit, Put) else edit.key
    return "".join(map(_field, key)).encode()


def _field(text: str | None) -> str:
    return "-" if text is None else f"{len(text.encode())}:{text}"


def _fields(row: bytes) -> Iterator[bytes]:
    while row:
        if row.startswith(b"-"):
            end = 1
        else:
            length, _, _ = row.partition(b":")
            end = len(length) + 1 + int(length)
        yield row[:end]
        row = row[end:]

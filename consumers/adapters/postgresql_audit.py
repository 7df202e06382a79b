"""Audits in PostgreSQL: everything that a slot holds, computed by the server in one scan, on all its workers."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import psycopg

from consumers.adapters.base import StoredRow, TableSpec
from consumers.adapters.postgresql_layout import Layout, slot_table
from consumers.adapters.postgresql_line import Transaction
from consumers.adapters.postgresql_row import read_row, stray
from consumers.adapters.postgresql_sight import HOME
from consumers.adapters.postgresql_text import (
    canonical,
    canonical_columns,
    key_md5,
    key_texts,
    literal,
    quoted,
    row_md5,
)
from distributor.errors import DistributorError, UnreachableError
from distributor.model.certificate import BUCKETS, LANE, Bucket, TableCertificate, from_sums
from distributor.rollout.member_row import SlotName

_BUCKET_DIGITS, _LEAF_DIGITS = 2, 4
# Keeps the planner from writing an expression out twice, as OFFSET 0 would; but that also keeps a scan from being
# shared among workers. Volatile, parallel safe, and as cheap as a function can be.
_FENCE = "pg_is_in_recovery() AS fence"
_BYTES_ARE_NUMBERS = 180000
"""The server's version from which on octets are cast to integers."""
# To hash every row at once is quicker than to look first which are wanted, when most are.
_MOST_OCTETS = 128


class PostgreSQLAuditing:
    """A snapshot: a REPEATABLE READ transaction, which locks nothing that a load or a flip would wait for."""

    def __init__(
        self, transaction: Transaction, layout: Layout, reason: Callable[[psycopg.Error, TableSpec], DistributorError]
    ) -> None:
        self._transaction = transaction
        self._layout = layout
        self._reason = reason
        # Tables that stay as this snapshot sees them, because they are locked against being made anew.
        self._held: set[tuple[SlotName, str]] = set()
        # 65,536 groups of a few numbers belong into memory.
        transaction.later("SET LOCAL work_mem = '64MB'")
        self.row = read_row(transaction)

    def buckets(self, slot: SlotName, table: TableSpec, only: Collection[int] = ()) -> TableCertificate:
        """The certificate of everything stored, or of the given buckets."""
        with self._fitting(slot, table):
            return audited(self._transaction, slot, table, only)

    def altered(self, tables: Sequence[TableSpec]) -> list[str]:
        """What is not as it was made, or leads readers elsewhere than the row says."""
        return self._layout.altered(self._transaction, tables) + stray(self._transaction, self.row)

    def leaves(self, slot: SlotName, table: TableSpec, buckets: Collection[int]) -> dict[int, Bucket]:
        """Rows and lanes per leaf, of all leaves with rows in the given buckets."""
        wanted = set(buckets)
        with self._fitting(slot, table):
            sums = _sums(self._transaction, slot, table, _LEAF_DIGITS, wanted)
        found = {
            int(digits, 16): Bucket(rows=rows, first=int(first) % LANE, second=int(second) % LANE)
            for digits, rows, first, second in sums
        }
        return {leaf: sums for leaf, sums in found.items() if (leaf >> 8) % BUCKETS in wanted}

    def rows(self, slot: SlotName, table: TableSpec, leaves: Collection[int]) -> list[StoredRow]:
        """Every row of the given leaves."""
        wanted = [f"{leaf:04x}" for leaf in sorted(leaves)]
        if not wanted:
            return []
        query = (
            f"SELECT {row_md5(table)}, {', '.join(key_texts(table))}"
            f" FROM (SELECT {canonical_columns(table.schema, 't')}, {_FENCE}"
            f" FROM {slot_table(slot, table)} AS t WHERE {_starts(table, wanted)}) AS texts"
        )
        with self._fitting(slot, table):
            found = self._transaction.run(query)
        return [StoredRow(tuple(key), int(md5[:16], 16), int(md5[16:], 16)) for md5, *key in found]

    @contextmanager
    def _fitting(self, slot: SlotName, table: TableSpec) -> Iterator[None]:
        try:
            if (slot, table.name) not in self._held:
                self._hold(slot, table)
            yield
        except psycopg.Error as error:
            raise self._reason(error, table) from error

    def _hold(self, slot: SlotName, table: TableSpec) -> None:
        """A table that was made anew after the snapshot has no rows in it, and must not be taken for one that lost
        them."""
        schema, place = f"{HOME}_{slot}", slot_table(slot, table)
        _, ((anew,),) = self._transaction.run_all(
            f"LOCK TABLE {place} IN ACCESS SHARE MODE",
            f"SELECT to_regclass({literal(place)})::oid <> c.oid FROM pg_class c"
            f" WHERE relnamespace = to_regnamespace({literal(schema)}) AND relname = {literal(table.name)}"
            f" UNION ALL SELECT true LIMIT 1",
        )
        if anew:
            raise UnreachableError(
                f"{schema}.{table.name} was made anew in another shape while it was audited", mend="Try again."
            )
        self._held.add((slot, table.name))


def audited(transaction: Transaction, slot: SlotName, table: TableSpec, only: Collection[int] = ()) -> TableCertificate:
    """The certificate of everything that a slot holds, as this transaction sees it, or of some buckets."""
    sums: dict[int, tuple[int, int, int]] = {}
    for digits, rows, first, second in _sums(transaction, slot, table, _BUCKET_DIGITS, only):
        bucket = int(digits, 16) % BUCKETS
        if not only or bucket in only:
            before = sums.get(bucket, (0, 0, 0))
            sums[bucket] = (before[0] + rows, before[1] + int(first), before[2] + int(second))
    return from_sums(sums)


def _sums(
    transaction: Transaction, slot: SlotName, table: TableSpec, digits: int, only: Collection[int]
) -> list[tuple[Any, ...]]:
    """First hex digits of keys' hashes, rows, sums of both lanes; at least of the given buckets."""
    if transaction.server_version >= _BYTES_ARE_NUMBERS:
        hashed, lanes = f"decode({row_md5(table)}, 'hex')", ("substr(hash, 1, 8)", "substr(hash, 9, 8)")
    else:
        hashed, lanes = f"('x' || {row_md5(table)})::bit(128)", ("hash::bit(64)", "(hash << 64)::bit(64)")
    octets = [f"{octet:02x}" for octet in range(256) if octet % BUCKETS in only]
    where = f" WHERE {_starts(table, octets)}" if 0 < len(octets) < _MOST_OCTETS else ""
    return transaction.run(
        f"SELECT place, count(*), sum({lanes[0]}::bigint), sum({lanes[1]}::bigint) FROM ("
        f"SELECT {hashed} AS hash, substr({key_md5(key_texts(table))}, 1, {digits}) AS place, {_FENCE}"
        f" FROM (SELECT {canonical_columns(table.schema, 't')}, {_FENCE}"
        f" FROM {slot_table(slot, table)} AS t{where}) AS texts) AS hashes GROUP BY 1"
    )


def _starts(table: TableSpec, prefixes: Sequence[str]) -> str:
    """Whether the hash of the key of `t` starts with one of these hex digits: so no other row is made a text of."""
    types = {column.name: column.type for column in table.schema.columns}
    key = key_md5([canonical(f"t.{quoted(name)}", types[name]) for name in table.schema.key])
    listing = literal("{" + ",".join(prefixes) + "}")
    return f"substr({key}, 1, {len(prefixes[0])}) = ANY ({listing}::text[])"

"""Audits in MariaDB: everything that a slot holds, hashed and summed by the server in one scan."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager

import pymysql

from consumers.adapters.base import StoredRow, TableSpec
from consumers.adapters.mariadb_layout import Layout
from consumers.adapters.mariadb_line import Transaction
from consumers.adapters.mariadb_places import Place, known
from consumers.adapters.mariadb_row import read_row
from consumers.adapters.mariadb_sums import canonical_rows, in_buckets, starts, summed
from distributor.errors import DistributorError
from distributor.model.certificate import BUCKETS, Bucket, TableCertificate, from_sums, leaf_of, row_lanes
from distributor.rollout.member_row import SlotName

_LEAF_DIGITS = 4
# To hash every row at once is quicker than to look first which are wanted, when most are.
_MOST_OCTETS = 128


class MariaDBAuditing:
    """A snapshot: a REPEATABLE READ transaction, which locks nothing that a load or a flip would wait for."""

    def __init__(
        self, transaction: Transaction, layout: Layout, reason: Callable[[pymysql.Error, TableSpec], DistributorError]
    ) -> None:
        self._transaction = transaction
        self._layout = layout
        self._reason = reason
        self.row = read_row(transaction)

    def buckets(self, slot: SlotName, table: TableSpec, only: Collection[int] = ()) -> TableCertificate:
        """The certificate of everything stored, or of the given buckets."""
        with self._fitting(table):
            return audited(self._transaction, slot, table, self._place(slot, table), only)

    def altered(self, tables: Sequence[TableSpec]) -> list[str]:
        """What is not as it was made, or leads readers elsewhere than the row says."""
        return self._layout.altered(self._transaction, self.row, tables)

    def leaves(self, slot: SlotName, table: TableSpec, buckets: Collection[int]) -> dict[int, Bucket]:
        """Rows and lanes per leaf, of all leaves with rows in the given buckets."""
        wanted = set(buckets)
        octets = [f"{octet:02x}" for octet in range(256) if octet % BUCKETS in wanted]
        with self._fitting(table):
            place = self._place(slot, table)
            where = _where(slot, table, place, octets)
            sums = summed(self._transaction, table, place.source, where, _LEAF_DIGITS, leaf_of)
        return from_sums({leaf: found for leaf, found in sums.items() if (leaf >> 8) % BUCKETS in wanted}).buckets

    def rows(self, slot: SlotName, table: TableSpec, leaves: Collection[int]) -> list[StoredRow]:
        """Every row of the given leaves."""
        wanted = set(leaves)
        found = []
        with self._fitting(table):
            place = self._place(slot, table)
            where = _where(slot, table, place, [f"{leaf:04x}" for leaf in sorted(wanted)])
            for row in canonical_rows(self._transaction, table, place.source, where) if wanted else ():
                key = tuple(row[at] for at in table.schema.key_positions)
                if leaf_of(key) in wanted:
                    found.append(StoredRow(key, *row_lanes(table.schema.dataset, row)))
        return found

    def _place(self, slot: SlotName, table: TableSpec) -> Place:
        return known(self._transaction).read(slot, table)

    @contextmanager
    def _fitting(self, table: TableSpec) -> Iterator[None]:
        try:
            yield
        except pymysql.Error as error:
            raise self._reason(error, table) from error


def audited(
    transaction: Transaction, slot: SlotName, table: TableSpec, place: Place, only: Collection[int] = ()
) -> TableCertificate:
    """The certificate of everything that a slot holds in its place, as this transaction sees it, or of some buckets."""
    octets = [f"{octet:02x}" for octet in range(256) if octet % BUCKETS in only]
    where = _where(slot, table, place, octets if len(octets) < _MOST_OCTETS else [])
    return certificate(in_buckets(transaction, table, place.source, where), only)


def certificate(found: dict[int, tuple[int, int, int]], only: Collection[int] = ()) -> TableCertificate:
    """Sums per octet as a certificate, of all buckets or of some."""
    sums: dict[int, tuple[int, int, int]] = {}
    for octet, (rows, first, second) in found.items():
        bucket = octet % BUCKETS
        if not only or bucket in only:
            before = sums.get(bucket, (0, 0, 0))
            sums[bucket] = (before[0] + rows, before[1] + first, before[2] + second)
    return from_sums(sums)


def _where(slot: SlotName, table: TableSpec, place: Place, prefixes: Collection[str]) -> str:
    return f"{place.in_slot(slot)} AND {starts(table, prefixes)}" if prefixes else place.in_slot(slot)

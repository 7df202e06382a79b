"""Certificates in MariaDB: summed by the server, but for exotic rows, which are spelled and hashed here."""

from __future__ import annotations

import struct
from collections.abc import Callable, Collection, Iterator
from typing import Any

from consumers.adapters import mariadb_text as text
from consumers.adapters.base import TableSpec
from consumers.adapters.mariadb_line import Transaction
from consumers.adapters.streaming import Row
from distributor.errors import ConfigError
from distributor.model.certificate import bucket_of, row_lanes
from distributor.model.texts import double_text
from distributor.model.types import Kind

Place = Callable[[Row], int]
"""Where in the answer a key belongs, from its texts."""
Found = dict[int, tuple[int, int, int]]
_BUCKET_DIGITS = 2
_HASH = struct.Struct(">QQB")


def in_buckets(transaction: Transaction, table: TableSpec, source: str, where: str) -> Found:
    """Rows and lanes (unreduced) per first octet of the key's hash; `source` gives the rows under the alias `t`."""
    return summed(transaction, table, source, where, _BUCKET_DIGITS, bucket_of)


def of_few(transaction: Transaction, table: TableSpec, source: str) -> Found:
    """As `in_buckets`, of so few rows that their hashes travel in one answer."""
    ((rows, odd, octets),) = transaction.run(text.hashes(table, source))
    octets = octets or b""
    if len(octets) != (rows - odd) * _HASH.size:
        raise _too_long(table)
    sums = [[0, 0, 0] for _ in range(256)]
    for first, second, octet in _HASH.iter_unpack(octets):
        entry = sums[octet]
        entry[0] += 1
        entry[1] += first
        entry[2] += second
    found = {octet: (count, first, second) for octet, (count, first, second) in enumerate(sums) if count}
    return _with_exotic(transaction, table, source, "TRUE", bucket_of, found) if odd else found


def summed(transaction: Transaction, table: TableSpec, source: str, where: str, digits: int, place: Place) -> Found:
    """The same by so many hex digits of the key's hash; `place` is where an exotic row belongs."""
    found: Found = {}
    odd = 0
    for key, rows, hashes, first, second in transaction.run(text.sums(table, source, where, digits)):
        if key == text.EXOTIC:
            odd = rows
        elif rows != hashes:
            raise _too_long(table)
        else:
            found[int(key, 16)] = (rows, int(first), int(second))
    return _with_exotic(transaction, table, source, where, place, found) if odd else found


def _with_exotic(
    transaction: Transaction, table: TableSpec, source: str, where: str, place: Place, found: Found
) -> Found:
    for row in exotic_rows(transaction, table, source, where):
        at = place([row[position] for position in table.schema.key_positions])
        lanes = row_lanes(table.schema.dataset, row)
        before = found.get(at, (0, 0, 0))
        found[at] = (before[0] + 1, before[1] + lanes[0], before[2] + lanes[1])
    return found


def _too_long(table: TableSpec) -> ConfigError:
    return ConfigError(
        f"a row of {table.name} is longer than MariaDB can hash",
        where="max_allowed_packet",
        mend="Set it higher on the server; a row's text is as long as those of its columns together.",
    )


def exotic_rows(transaction: Transaction, table: TableSpec, source: str, where: str) -> Iterator[Row]:
    """The canonical texts of the exotic rows."""
    return canonical_rows(transaction, table, source, f"({where}) AND ({text.exotic(table.schema, 't')})")


def canonical_rows(transaction: Transaction, table: TableSpec, source: str, where: str) -> Iterator[Row]:
    """The canonical texts of rows, as they come."""
    texts = ", ".join(text.canonical_columns(table.schema, "t"))
    doubles = [at for at, column in enumerate(table.schema.columns) if column.type.kind is Kind.DOUBLE]
    for found in transaction.stream(f"SELECT {texts} FROM {source} WHERE {where}"):
        row = list(found)
        for at in doubles:
            row[at] = _spelled(row[at])
        yield row


def _spelled(value: Any) -> str | None:
    """MariaDB's own text of a double reads back as the same double."""
    return None if value is None else double_text(float(value))


def starts(table: TableSpec, prefixes: Collection[str]) -> str:
    """Whether the hash of the key of `t` starts with one of these hex digits, all of one length; or the row is exotic,
    and it must be looked at to know."""
    length = len(next(iter(prefixes)))
    listing = ", ".join(f"'{prefix}'" for prefix in prefixes)
    wanted = f"LEFT({text.key_md5(table, 't')}, {length}) IN ({listing})"
    odd = text.exotic(table.schema, "t")
    return f"({odd} OR {wanted})" if odd else wanted

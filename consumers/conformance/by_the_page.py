"""docs/certificates.md computed once more, from the page and from nothing of the product.

A certificate here is a plain mapping: bucket → (rows, first lane, second lane), without empty buckets.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping

from consumers.adapters.base import TableSpec
from consumers.conformance.samples import Row
from distributor.model.certificate import TableCertificate

Sums = Mapping[int, tuple[int, int, int]]
_LANE = 2**64


def sums_of(table: TableSpec, rows: Iterable[Row]) -> Sums:
    """Sections 2 to 4 of the page."""
    found: dict[int, tuple[int, int, int]] = {}
    for row in rows:
        digest = _md5((table.schema.dataset, *row))
        bucket = bucket_of(tuple(row[position] for position in table.schema.key_positions))
        count, first, second = found.get(bucket, (0, 0, 0))
        found[bucket] = (
            count + 1,
            (first + int(digest[:16], 16)) % _LANE,
            (second + int(digest[16:], 16)) % _LANE,
        )
    return found


def bucket_of(key: Row) -> int:
    """Section 3."""
    return int(_md5(key)[:2], 16) % 64


def told(certificate: TableCertificate) -> Sums:
    """What an adapter says, as numbers."""
    return {number: (bucket.rows, bucket.first, bucket.second) for number, bucket in certificate.buckets.items()}


def folded(base: Sums, before: Sums, after: Sums) -> Sums:
    """Section 4's fold. Empty buckets vanish; a count below zero stays to be seen."""
    found = {}
    for number in base.keys() | before.keys() | after.keys():
        was, gone, come = (side.get(number, (0, 0, 0)) for side in (base, before, after))
        rows = was[0] - gone[0] + come[0]
        first, second = ((was[i] - gone[i] + come[i]) % _LANE for i in (1, 2))
        if (rows, first, second) != (0, 0, 0):
            found[number] = (rows, first, second)
    return found


def _md5(values: Row) -> str:
    text = b""
    for value in values:
        octets = None if value is None else value.encode()
        text += b"-" if octets is None else b"%d:%s" % (len(octets), octets)
    return hashlib.md5(text, usedforsecurity=False).hexdigest()

"""Questions about audits: one snapshot of a store, against numbers that are made with hashlib alone."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Iterable, Iterator

import pytest

from consumers.adapters.base import Adapter, TableSpec
from consumers.conformance.hands import fitting, flip, holding, load
from consumers.conformance.samples import (
    KEY_TABLE,
    PRICE_TABLE,
    SAMPLE_TABLE,
    Row,
    batch,
    nasty_rows,
    numbered_rows,
)
from consumers.conformance.seat import Seat
from distributor.errors import UnreachableError
from distributor.model.certificate import Bucket, TableCertificate

_PATIENCE = 2000
"""Hundredths of a second."""


def _field(text: str | None) -> bytes:
    octets = (text or "").encode()
    return b"-" if text is None else b"%d:%s" % (len(octets), octets)


class Page:
    """docs/certificates.md for the rows of one table: key hash and row hash of each."""

    def __init__(self, table: TableSpec, rows: Iterable[Row]) -> None:
        positions = table.schema.key_positions
        self.rows = [
            (
                tuple(row[at] for at in positions),
                hashlib.md5(b"".join(_field(row[at]) for at in positions), usedforsecurity=False).digest(),
                hashlib.md5(_field(table.schema.dataset) + b"".join(map(_field, row)), usedforsecurity=False).digest(),
            )
            for row in rows
        ]

    def sums(self, place: Callable[[int], int], only: Callable[[int], bool] = lambda _: True) -> dict[int, Bucket]:
        """Sums per `place` of a leaf, of those leaves that `only` takes."""
        sums: dict[int, tuple[int, int, int]] = {}
        for _, key, row in self.rows:
            if only(leaf := int.from_bytes(key[:2], "big")):
                rows, first, second = sums.get(place(leaf), (0, 0, 0))
                lanes = int.from_bytes(row[:8], "big"), int.from_bytes(row[8:], "big")
                sums[place(leaf)] = (rows + 1, (first + lanes[0]) % 2**64, (second + lanes[1]) % 2**64)
        return {n: Bucket(rows=r, first=a, second=b) for n, (r, a, b) in sums.items()}

    def in_leaves(self, leaves: set[int]) -> set[tuple[tuple[str | None, ...], int, int]]:
        """Key and both lanes of the rows in these leaves."""
        return {
            (key, int.from_bytes(row[:8], "big"), int.from_bytes(row[8:], "big"))
            for key, hashed, row in self.rows
            if int.from_bytes(hashed[:2], "big") in leaves
        }


def bucket(leaf: int) -> int:
    """The bucket in which a leaf lies."""
    return (leaf >> 8) % 64


CASES: dict[str, tuple[TableSpec, list[Row]]] = {
    "every type, one row each": (SAMPLE_TABLE, nasty_rows()),
    "many rows": (PRICE_TABLE, numbered_rows(3000, 7)),
    "nothing but its key": (KEY_TABLE, [(f"00000000-0000-0000-0000-{number:012}",) for number in range(300)]),
    "empty": (PRICE_TABLE, []),
}


class AuditsConformance:
    """Part of the exam."""

    @pytest.fixture
    def auditor(self, seat: Seat, adapter: Adapter) -> Iterator[Adapter]:
        """An adapter of its own, as an auditor beside a worker has it."""
        auditor = seat.adapter()
        yield auditor
        auditor.close()

    @pytest.mark.parametrize(("table", "rows"), CASES.values(), ids=CASES)
    def test_buckets_leaves_and_rows_are_those_of_the_page(
        self, adapter: Adapter, auditor: Adapter, table: TableSpec, rows: list[Row]
    ) -> None:
        rows = fitting(adapter, table, rows)
        load(adapter, "b", 1, batch(table, rows))
        page = Page(table, rows)
        leaves = page.sums(lambda leaf: leaf)
        chosen = set(sorted(leaves)[:200:7])
        with auditor.auditing() as snapshot:
            assert (snapshot.row.active, snapshot.row.shadow.release) == ("a", 1)
            whole = TableCertificate(buckets=page.sums(bucket))
            assert snapshot.buckets("b", table) == whole == adapter.audit("b", table)
            assert snapshot.buckets("a", table) == TableCertificate()
            for only in ({3}, {0, 1, 63}, set(range(40)), set(range(64))):
                part = page.sums(bucket, lambda leaf, only=only: bucket(leaf) in only)  # type: ignore[misc]
                assert snapshot.buckets("b", table, only).buckets == part
                finer = page.sums(lambda leaf: leaf, lambda leaf, only=only: bucket(leaf) in only)  # type: ignore[misc]
                assert snapshot.leaves("b", table, only) == finer
            found = snapshot.rows("b", table, chosen)
            assert {(row.key, row.first, row.second) for row in found} == page.in_leaves(chosen)
            assert len(found) == len({row.key for row in found})
            assert snapshot.rows("b", table, ()) == []

    def test_a_load_can_be_audited_before_its_commit(self, adapter: Adapter, auditor: Adapter) -> None:
        rows = numbered_rows(500, 1)
        with adapter.loading("b") as loading:
            loading.apply(batch(PRICE_TABLE, rows))
            page = Page(PRICE_TABLE, rows)
            assert loading.audit(PRICE_TABLE).buckets == page.sums(bucket)
            assert loading.audit(PRICE_TABLE, {5, 6}).buckets == page.sums(bucket, lambda leaf: bucket(leaf) in {5, 6})
            with auditor.auditing() as snapshot:
                assert snapshot.buckets("b", PRICE_TABLE) == TableCertificate()
            loading.commit(lambda row: holding(row, "b", 1))

    def test_a_snapshot_sees_neither_the_load_nor_the_flip_that_happen_meanwhile(
        self, adapter: Adapter, auditor: Adapter
    ) -> None:
        old, new = numbered_rows(400, 1), numbered_rows(300, 2, start=200)
        load(adapter, "b", 1, batch(PRICE_TABLE, old))
        with auditor.auditing() as snapshot:
            before = snapshot.buckets("b", PRICE_TABLE)
            flip(adapter)
            load(adapter, "a", 2, batch(PRICE_TABLE, new))
            flip(adapter)
            load(adapter, "b", 3, batch(PRICE_TABLE, (), old))
            assert (snapshot.row.active, snapshot.row.shadow.release) == ("a", 1)
            assert snapshot.buckets("b", PRICE_TABLE) == before
            assert snapshot.buckets("a", PRICE_TABLE) == TableCertificate()
            assert len(snapshot.rows("b", PRICE_TABLE, range(65536))) == 400
        with auditor.auditing() as snapshot:
            assert (snapshot.row.active, snapshot.row.shadow.release) == ("a", 3)
            assert snapshot.buckets("a", PRICE_TABLE).buckets == Page(PRICE_TABLE, new).sums(bucket)

    def test_an_audit_that_runs_is_ended_by_another_thread(self, adapter: Adapter, auditor: Adapter) -> None:
        # An interruption that comes between two statements ends nothing: so the audit never stops by itself.
        load(adapter, "b", 1, batch(PRICE_TABLE, numbered_rows(20_000, 1)))
        ended: list[Exception] = []

        def audit() -> None:
            try:
                with auditor.auditing() as snapshot:
                    while True:
                        snapshot.buckets("b", PRICE_TABLE)
            except Exception as error:  # noqa: BLE001  (it is looked at below)
                ended.append(error)

        thread = threading.Thread(target=audit)
        thread.start()

        for _ in range(_PATIENCE):
            auditor.interrupt()
            thread.join(0.01)
            if not thread.is_alive():
                break
        assert not thread.is_alive()
        assert isinstance(ended[0], UnreachableError)
        with auditor.auditing() as snapshot:
            assert snapshot.buckets("b", PRICE_TABLE) == adapter.audit("b", PRICE_TABLE)

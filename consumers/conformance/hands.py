"""What every question does with an adapter, and the reader that never stops looking."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime

from consumers.adapters.base import Adapter, Batch, Judges, TableSpec, Touched
from consumers.conformance.samples import PRICE_TABLE, Row, batch
from consumers.conformance.seat import Reader, Seat, Sight
from distributor.model.certificate import TableCertificate, certify
from distributor.rollout.member_row import MemberRow, Slot, SlotIdentity, SlotName, other

_FLIPPED_AT = datetime(2026, 3, 1, 12, 0, 0, 123456, tzinfo=UTC)


def certificate_of(table: TableSpec, rows: Iterable[Row]) -> TableCertificate:
    """What the specification says about these rows."""
    return certify(table.schema.dataset, table.schema.key_positions, rows)


def holding(row: MemberRow, slot: SlotName, release: int, token: str | None = None) -> MemberRow:
    """The row with a slot that holds a release."""
    identity = SlotIdentity(release=release, mapping="m", schema_="s")
    return row.model_copy(update={"slots": {**row.slots, slot: Slot(identity=identity, token=token)}})


def load(adapter: Adapter, slot: SlotName, release: int, *batches: Batch) -> list[Touched]:
    """A whole load, committed."""
    with adapter.loading(slot) as loading:
        touched = [loading.apply(piece) for piece in batches]
        assert loading.commit(lambda row: holding(row, slot, release)) is not None
    return touched


def flip(adapter: Adapter) -> None:
    """The shadow goes online."""
    with adapter.member() as member:
        row = member.row
        member.save(row.model_copy(update={"active": other(row.active), "flipped_at": _FLIPPED_AT}))


def fitting(adapter: Adapter, table: TableSpec, rows: Iterable[Row]) -> list[Row]:
    """The rows that the adapter's store can hold, by what the adapter itself says."""
    found = list(rows)
    if not isinstance(adapter, Judges):
        return found
    bad = {unfit.key for unfit in adapter.unfit(batch(table, found))}
    return [row for row in found if tuple(row[at] for at in table.schema.key_positions) not in bad]


class Sights:
    """What a reader that looks again and again has seen."""

    def __init__(self) -> None:
        self.seen: list[Sight] = []
        self.failure: Exception | None = None
        self.stopped = threading.Event()
        self._grown = threading.Condition()

    def run(self, reader: Reader) -> None:
        """Looks until stopped."""
        try:
            while not self.stopped.is_set():
                sight = reader.look(PRICE_TABLE)
                with self._grown:
                    self.seen.append(sight)
                    self._grown.notify_all()
        except Exception as error:  # noqa: BLE001  (whatever a reader meets fails the question)
            self.failure = error

    def enough(self) -> None:
        """Waits until one more look was had."""
        with self._grown:
            had = len(self.seen)
            assert self._grown.wait_for(lambda: len(self.seen) > had, timeout=20), self.failure


@contextmanager
def watched(seat: Seat) -> Iterator[Sights]:
    """A reader in a thread of its own, already looking. Fails when it met any error."""
    sights, reader = Sights(), seat.reader()
    thread = threading.Thread(target=sights.run, args=(reader,))
    thread.start()
    try:
        sights.enough()
        yield sights
    finally:
        sights.stopped.set()
        thread.join()
        reader.close()
    assert sights.failure is None, sights.failure


@contextmanager
def second(seat: Seat) -> Iterator[Adapter]:
    """Another process's adapter."""
    adapter = seat.adapter()
    try:
        yield adapter
    finally:
        adapter.close()


@contextmanager
def looking(seat: Seat) -> Iterator[Reader]:
    """A reader for a while."""
    reader = seat.reader()
    try:
        yield reader
    finally:
        reader.close()


def rows_of(adapter: Adapter, slot: SlotName, table: TableSpec) -> list[Row]:
    """What the adapter itself reads."""
    return [tuple(row.values()) for row in adapter.read(slot, table).to_pylist()]

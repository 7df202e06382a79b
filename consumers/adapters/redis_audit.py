"""Snapshots and audits: which rows a slot has at one moment, and their sums. Hashes are made here; Redis has no md5."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager, suppress

import redis

from consumers.adapters import redis_reading as reading
from consumers.adapters import redis_scripts as scripts
from consumers.adapters.base import StoredRow, TableSpec
from consumers.adapters.redis_layout import altered
from consumers.adapters.redis_line import Session
from consumers.adapters.redis_state import State
from consumers.adapters.redis_text import Hasher, leaf_of, piece_of, texts
from distributor.errors import SystemAlteredError, UnreachableError
from distributor.model.certificate import BUCKETS, Bucket, TableCertificate, from_sums
from distributor.rollout.member_row import SlotName
from distributor.telemetry import clock

SNAPSHOT_SECONDS = 120.0
"""A snapshot of a process that died keeps what was replaced from being swept for this long."""
_PIECES = 32
"""So many are read in one journey: a moment for the server, and for whoever interrupts."""


class RedisAuditing:
    """A snapshot. While it lasts nothing that it saw is swept; loads and flips go on."""

    def __init__(self, session: Session, where: str, interrupted: Callable[[], bool]) -> None:
        self._session = session
        self._where = where
        self._interrupted = interrupted
        self._id = clock.new_id()
        self._state = State.parse(session.run(scripts.PIN, self._id, _milliseconds()))
        try:
            self.row = self._state.row(where)
        except SystemAlteredError:
            self.end()
            raise

    def buckets(self, slot: SlotName, table: TableSpec, only: Collection[int] = ()) -> TableCertificate:
        """The certificate of everything stored, or of the given buckets."""
        wanted = frozenset(only)
        found = self._rows(slot, table, (lambda leaf: (leaf >> 8) % BUCKETS in wanted) if wanted else None)
        return Hasher(table.schema).certificate(found)

    def leaves(self, slot: SlotName, table: TableSpec, buckets: Collection[int]) -> dict[int, Bucket]:
        """Rows and lanes per leaf, of all leaves with rows in the given buckets."""
        wanted, hasher = frozenset(buckets), Hasher(table.schema)
        sums: dict[int, tuple[int, int, int]] = {}
        for key, row in self._rows(slot, table, lambda leaf: (leaf >> 8) % BUCKETS in wanted):
            rows, *sum_of = sums.get(leaf := leaf_of(key), (0, 0, 0))
            first, second = (old + new for old, new in zip(sum_of, hasher.lanes(key, row), strict=True))
            sums[leaf] = (rows + 1, first, second)
        return from_sums(sums).buckets

    def rows(self, slot: SlotName, table: TableSpec, leaves: Collection[int]) -> list[StoredRow]:
        """Every row of the given leaves."""
        hasher, wanted = Hasher(table.schema), frozenset(leaves)
        found = self._rows(slot, table, wanted.__contains__) if wanted else iter(())
        return [StoredRow(texts(key), *hasher.lanes(key, row)) for key, row in found]

    def altered(self, tables: Sequence[TableSpec]) -> list[str]:
        """What is not as it was made, or leads readers elsewhere than the row says."""
        return altered(self._session, self._where, self._state, tables) + reading.altered(self._session)

    def _rows(
        self, slot: SlotName, table: TableSpec, wanted: Callable[[int], bool] | None
    ) -> Iterator[tuple[bytes, bytes]]:
        made = self._state.tables.get(table.name)
        generation = made.slots[slot].get("generation", "") if made else ""
        return stored(self._session, table.name, generation, wanted, self._still)

    def _still(self) -> None:
        """Comes after every piece: what was read is of the snapshot only if it still was kept then."""
        if self._interrupted():
            raise UnreachableError("the audit was interrupted", where=self._where)
        if not self._session.run(scripts.KEEP, self._id, _milliseconds()):
            raise UnreachableError("the snapshot was given up: the audit took too long a rest", where=self._where)

    def end(self) -> None:
        """Lets go of what was kept."""
        if not self._session.lost:
            with suppress(redis.RedisError):
                self._session.client.zrem(self._session.key("snapshots"), self._id)


@contextmanager
def snapshot(session: Session, where: str, interrupted: Callable[[], bool]) -> Iterator[RedisAuditing]:
    """A snapshot for a while."""
    auditing = RedisAuditing(session, where, interrupted)
    try:
        yield auditing
    finally:
        auditing.end()


def stored(
    session: Session,
    name: str,
    generation: str,
    wanted: Callable[[int], bool] | None = None,
    still: Callable[[], None] = lambda: None,
) -> Iterator[tuple[bytes, bytes]]:
    """Key and row, both packed, of all rows of a generation, or of those in wanted leaves. `still` may raise, and comes
    after each journey to the server and before its rows."""
    directory = session.client.hgetall(session.key("directory", generation, name)) if generation else {}
    still()
    all_pieces = [(piece.decode(), made_by.decode()) for piece, made_by in directory.items()]
    for at in range(0, len(all_pieces), _PIECES):
        pieces = all_pieces[at : at + _PIECES]
        pipeline = session.client.pipeline(transaction=False)
        for piece, made_by in pieces:
            pipeline.hgetall(session.key("rows", made_by, piece, name))
        found = pipeline.execute()
        still()
        for (piece, _), rows in zip(pieces, found, strict=True):
            for key, row in rows.items():
                if wanted is None or wanted(leaf_of(key)):
                    # Where nobody looks for it a row is none: it has a text that no row of a master has.
                    yield key, row if piece_of(key) == piece else b"\0" + row


def _milliseconds() -> int:
    return int(SNAPSHOT_SECONDS * 1000)

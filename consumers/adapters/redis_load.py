"""A load: a generation of its own beside what the slot holds, which the commit puts in its place.

Why not under the slot's keys, and why no overlay that the commit folds in: a script blocks every reader for as long as
it runs, and folding would take as long as the delta is large. Here a commit sets one field per table, whatever was
loaded. A load that is left or killed leaves pieces that nobody is led to; they are swept by the next load.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager, suppress

import redis

from consumers.adapters import redis_scripts as scripts
from consumers.adapters.base import Batch, TableSpec, Touched
from consumers.adapters.redis_audit import stored
from consumers.adapters.redis_layout import check
from consumers.adapters.redis_line import Line, Session
from consumers.adapters.redis_member import locked, overtaken
from consumers.adapters.redis_state import Shape
from consumers.adapters.redis_text import Hasher, packed, piece_of
from distributor.errors import UnreachableError
from distributor.model.certificate import BUCKETS, TableCertificate
from distributor.rollout.member_row import MemberRow, SlotName
from distributor.telemetry import clock

ROWS_PER_STEP = 250
"""Readers wait while a step runs: so many rows are written in it."""
_COPIED_PER_STEP = 4000
"""Rows. Pieces are larger in a larger table, and fewer of them are copied in one step."""
_ASKED_PER_STEP = 256
_SWEPT_PER_STEP = 256


class RedisLoading:
    """A load over one connection, and no other: when that is lost, so is the load."""

    def __init__(self, line: Line, session: Session, slot: SlotName) -> None:
        self._line = line
        self._session = session
        self._slot = slot
        self._id = clock.new_id()
        self._checked: set[str] = set()
        self._owned: dict[str, set[str]] = {}
        self._ended = False
        session.run(scripts.BEGIN, self._id, slot, session.owner)

    def clear(self, table: TableSpec) -> None:
        """Empties the table's slot for this load, which gives it the table's shape."""
        shape = Shape.of(table.schema)
        with self._fitting(table, cleared=True):
            self._owned.pop(table.name, None)
            arguments = (_SWEPT_PER_STEP, shape.columns, shape.key, shape.made)
            while self._session.run(scripts.CLEAR, self._id, table.name, *arguments):
                pass

    def apply(self, batch: Batch) -> Touched:
        """Writes one batch and reads the touched rows back, each step in one journey that nobody comes between."""
        table, schema = batch.table, batch.table.schema
        gone = packed(batch.deletes, schema.key)
        keys, rows = packed(batch.upserts, schema.key), packed(batch.upserts, schema.column_names)
        with self._fitting(table):
            self._own(table.name, {piece_of(key) for some in (gone, keys) for key in some})
            replies = self._session.run_many(scripts.APPLY, self._steps(table.name, gone, keys, rows))
        hasher = Hasher(schema)
        before, after = (hasher.certificate(_found(gone, keys, replies, half)) for half in (0, 1))
        return Touched(before, after)

    def audit(self, table: TableSpec, only: Collection[int] = ()) -> TableCertificate:
        """The certificate of everything that the slot holds inside this load, or of the given buckets."""
        wanted = frozenset(only)
        with self._fitting(table):
            client, key = self._session.client, self._session.key
            generation = self._id.encode()
            if not client.hexists(key("load", self._id), f"base:{table.name}"):
                generation = client.hget(key("slot", self._slot, table.name), "generation") or b""
            found = stored(
                self._session,
                table.name,
                generation.decode(),
                (lambda leaf: (leaf >> 8) % BUCKETS in wanted) if wanted else None,
            )
            return Hasher(table.schema).certificate(found)

    def commit(self, guard: Callable[[MemberRow], MemberRow | None]) -> MemberRow | None:
        """Locks the row, asks the guard, and lets what was loaded take the place of what the slot held.

        Raises UnreachableError when another load was committed into the slot since this one began.
        """
        with self._line.translated():
            self._same()
            with locked(self._session, self._line.where) as member:
                row = guard(member.row)
                if row is None:
                    return None
                if self._session.run(scripts.COMMIT, self._id, *member.arguments(row)) != b"SAVED":
                    raise overtaken(self._line.where)
            self._ended = True
            return row

    def end(self) -> None:
        """Gives up what was not committed, and sweeps what nobody has any more."""
        if self._session.lost:
            return
        with suppress(redis.RedisError):
            if not self._ended:
                self._session.run(scripts.DISCARD, self._id)
            sweep(self._session)

    def _own(self, name: str, pieces: set[str]) -> None:
        """What the slot holds is never written over: a piece is copied before the first row of it is written."""
        owned = self._owned.setdefault(name, set())
        new = sorted(pieces - owned)
        at = 0
        # One journey for each step: a server takes all that a connection has sent before it turns to the next one.
        while at < len(new):
            asked = new[at : at + _ASKED_PER_STEP]
            at += self._session.run(scripts.OWN, self._id, name, _COPIED_PER_STEP, *asked)
        owned.update(new)

    def _steps(
        self, name: str, gone: Sequence[bytes], keys: Sequence[bytes], rows: Sequence[bytes]
    ) -> Iterator[list[str | bytes | int]]:
        for deletes, some in _slices(len(gone), len(keys)):
            upserts = [part for pair in zip(keys[some], rows[some], strict=True) for part in pair]
            yield [self._id, name, len(gone[deletes]), *gone[deletes], *upserts]

    @contextmanager
    def _fitting(self, table: TableSpec, *, cleared: bool = False) -> Iterator[None]:
        """Redis has no columns: whether a table is as it was made must be asked, once per load."""
        with self._line.translated():
            self._same()
            if table.name not in self._checked:
                check(self._session, self._line.where, self._slot, table, cleared=cleared)
                self._checked.add(table.name)
            yield

    def _same(self) -> None:
        if self._session.lost:
            raise UnreachableError("the connection was lost, and this load with it", where=self._line.where)


def _slices(deletes: int, upserts: int) -> Iterator[tuple[slice, slice]]:
    for at in range(0, deletes, ROWS_PER_STEP):
        yield slice(at, at + ROWS_PER_STEP), slice(0)
    for at in range(0, upserts, ROWS_PER_STEP):
        yield slice(0), slice(at, at + ROWS_PER_STEP)


def _found(
    gone: Sequence[bytes], keys: Sequence[bytes], replies: Sequence[Sequence[bytes | None]], half: int
) -> Iterator[tuple[bytes, bytes]]:
    """The rows that were there before (half 0), or are there after (half 1)."""
    for (deletes, upserts), reply in zip(_slices(len(gone), len(keys)), replies, strict=True):
        asked = [*gone[deletes], *keys[upserts]]
        for key, row in zip(asked, reply[half * len(asked) : (half + 1) * len(asked)], strict=True):
            if row is not None:
                yield key, row


@contextmanager
def loading(line: Line, session: Session, slot: SlotName) -> Iterator[RedisLoading]:
    """A load, begun after what dead ones left was put away."""
    for load in session.client.smembers(session.key("loads")):
        owner = session.client.hget(session.key("load", load.decode()), "owner")
        if owner is None or not session.alive(owner.decode()):
            session.run(scripts.DISCARD, load)
    sweep(session)
    begun = RedisLoading(line, session, slot)
    try:
        yield begun
    finally:
        begun.end()


def sweep(session: Session) -> None:
    """Takes away what no slot has any more, piece by piece, unless a snapshot may need it."""
    while session.run(scripts.SWEEP, _SWEPT_PER_STEP):
        pass

"""One audit: a snapshot of the store, what it holds against what the row says, doubt where they differ, reports.

The row that is compared with and the rows that are counted are of one moment. Between that moment and the lock under
which doubt is marked the slot may be written: `member.doubt` sees that.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice

from consumers.adapters.base import Adapter, Auditing, KnowsItsWork, StoredRow, TableSpec
from consumers.library import Library
from distributor.errors import MessageError, SystemAlteredError
from distributor.mapping.tables import SystemMapping
from distributor.model.certificate import BUCKETS, EMPTY_TABLE, Bucket, Certificate, TableCertificate
from distributor.rollout import member
from distributor.rollout.member_row import Slot, SlotName, other
from distributor.store.base import Store
from distributor.telemetry import clock
from distributor.telemetry.logs import logger
from distributor.wire.messages import AuditCommand, AuditDepth, AuditedReport

ROWS_PER_PART = 20_000
_log = logger("consumer")


@dataclass(frozen=True, slots=True)
class _Part:
    """What was found of a table, or of a slot without one; rows as the report has them."""

    slot: SlotName
    table: str = ""
    sums: Mapping[int, Bucket] | None = None
    rows: tuple[tuple[tuple[str | None, ...], str, str], ...] = ()


class Audits:
    """Audits of one member's store, with an adapter of their own. For one thread."""

    def __init__(self, environment: str, mapping: SystemMapping, adapter: Adapter, store: Store) -> None:
        self._environment = environment
        self._mapping = mapping
        self._adapter = adapter
        self._library = Library(store, mapping)

    def answer(self, command: AuditCommand) -> list[AuditedReport]:
        """Every part of the answer. What is wrong comes into doubt; an audit of everything ends doubt too.

        Raises MessageError for tables that this system has not, SystemAlteredError when a table, or what readers look
        through, is not as the adapter made it (the rows say nothing then), UnreachableError, StoreError.
        """
        began = time.monotonic()
        if unknown := command.tables.keys() - {table.into for table in self._mapping.tables}:
            raise MessageError(f"there is no table {min(unknown)} here")
        parts: list[_Part] = []
        with self._adapter.auditing() as snapshot:
            row = snapshot.row
            self._look(snapshot)
            slots = (row.active, other(row.active)) if command.shadow else (row.active,)
            for slot in slots:
                parts += self._parts(snapshot, slot, command)
        doubts = {slot: row.slots[slot].doubt for slot in slots}
        if command.depth is AuditDepth.BUCKETS:
            for slot in slots:
                found = {part.table: part.sums or {} for part in parts if part.slot == slot and part.table}
                why = self._difference(row.slots[slot], found)
                if found and (why or not command.tables):
                    doubts[slot] = self._mark(slot, row.slots[slot], why)
        reports = [
            self._report(command.audit_id, command.depth, row.slots[part.slot], part, online=part.slot == row.active)
            for part in parts
        ]
        return _numbered(reports, [doubts[part.slot] for part in parts], began)

    def sample(self, buckets: Collection[int]) -> list[AuditedReport] | None:
        """Looks at some buckets of the slot that the next load will build on; reports only what differs there. None:
        there was nothing to look at.

        Raises as `answer` does.
        """
        began = time.monotonic()
        with self._adapter.auditing() as snapshot:
            slot = other(snapshot.row.active)
            audited = snapshot.row.slots[slot]
            held = self._library.held(snapshot.row, slot)
            # Whatever is loaded into a slot in doubt, or without a release, does not build on what it holds.
            if held is None or held.identity is None or audited.doubt:
                return None
            found = {table.name: snapshot.buckets(slot, table, buckets).buckets for table in held.tables}
        if not (why := self._difference(audited, found, buckets)) or not (doubt := self._mark(slot, audited, why)):
            return []
        wrong = [name for name, sums in found.items() if self._difference(audited, {name: sums}, buckets)]
        reports = [
            self._report("", AuditDepth.BUCKETS, audited, _Part(slot, name, found[name]), online=False)
            for name in wrong
        ]
        return _numbered(reports, [doubt] * len(reports), began)

    def failed(self, command: AuditCommand, error: str) -> AuditedReport:
        """The answer when there is none."""
        return AuditedReport(
            environment=self._environment,
            system=self._mapping.system,
            audit_id=command.audit_id,
            depth=command.depth,
            part=1,
            parts=1,
            error=error,
            reported_at=clock.now(),
        )

    def _look(self, snapshot: Auditing) -> None:
        """Right rows prove nothing to readers who look through something else, or at the other slot."""
        if not isinstance(snapshot, KnowsItsWork):
            return
        held = (self._library.held(snapshot.row, slot) for slot in snapshot.row.slots)
        tables = {table.name: table for target in held if target for table in target.tables}
        if altered := snapshot.altered(tuple(tables.values())):
            raise SystemAlteredError(" ".join(altered))

    def _parts(self, snapshot: Auditing, slot: SlotName, command: AuditCommand) -> Iterator[_Part]:
        held = self._library.held(snapshot.row, slot)
        chosen = [table for table in held.tables if not command.tables or table.name in command.tables] if held else []
        if not chosen:
            # Torn, of another mapping, or without any table yet: there is nothing to tell but that.
            yield _Part(slot)
        for table in chosen:
            numbers = command.tables.get(table.name, ())
            match command.depth:
                case AuditDepth.BUCKETS:
                    yield _Part(slot, table.name, snapshot.buckets(slot, table, numbers).buckets)
                case AuditDepth.LEAVES:
                    yield _Part(slot, table.name, snapshot.leaves(slot, table, numbers or range(BUCKETS)))
                case AuditDepth.ROWS:
                    yield from _pieces(slot, table, snapshot.rows(slot, table, numbers))

    def _difference(self, audited: Slot, found: Mapping[str, Mapping[int, Bucket]], only: Collection[int] = ()) -> str:
        """In what these tables differ from the certificate in the slot's row; "": in nothing."""
        expected = self._library.stored(audited).tables
        stored = Certificate(tables={name: TableCertificate(buckets=dict(sums)) for name, sums in found.items()})
        right = Certificate(
            tables={
                name: TableCertificate(
                    buckets={
                        number: sums
                        for number, sums in expected.get(name, EMPTY_TABLE).buckets.items()
                        if not only or number in only
                    }
                )
                for name in found
            }
        )
        wrong = "; ".join(stored.difference(right))
        return f"of {len(only)} buckets: {wrong}" if wrong and only else wrong

    def _mark(self, slot: SlotName, audited: Slot, why: str) -> str:
        """Marks doubt, or ends it; what the row says of the slot then. Without news the row is not locked."""
        if audited.doubt == why:
            return why
        with self._adapter.member() as transaction:
            row = transaction.row
            if audited.doubt and not row.slots[slot].doubt:
                # Mended meanwhile: what was audited is not there any more.
                return ""
            marked = member.doubt(row, slot, audited, why)
            if marked != row:
                transaction.save(marked)
                _log.warning("what an audit found", slot=slot, release=audited.release, doubt=why or "none any more")
        return marked.slots[slot].doubt

    def _report(self, audit_id: str, depth: AuditDepth, audited: Slot, part: _Part, *, online: bool) -> AuditedReport:
        return AuditedReport(
            environment=self._environment,
            system=self._mapping.system,
            audit_id=audit_id,
            depth=depth,
            part=1,
            parts=1,
            slot="online" if online else "shadow",
            release=audited.release,
            mapping=audited.identity.mapping if audited.identity else self._mapping.version,
            table=part.table,
            sums=dict(part.sums or {}),
            rows=part.rows,
            reported_at=clock.now(),
        )


def _pieces(slot: SlotName, table: TableSpec, found: Sequence[StoredRow]) -> Iterator[_Part]:
    """As many parts as keep a message small; at least one."""
    rows = iter(found)
    for _ in range(max(1, -(-len(found) // ROWS_PER_PART))):
        some = islice(rows, ROWS_PER_PART)
        yield _Part(slot, table.name, rows=tuple((r.key, f"{r.first:016x}", f"{r.second:016x}") for r in some))


def _numbered(reports: Sequence[AuditedReport], doubts: Sequence[str], began: float) -> list[AuditedReport]:
    """The parts of one answer. Their time less their seconds is when the snapshot was taken, or just before."""
    common = {"parts": len(reports), "seconds": time.monotonic() - began, "reported_at": clock.now()}
    return [
        report.model_copy(update={**common, "part": number, "doubt": doubt})
        for number, (report, doubt) in enumerate(zip(reports, doubts, strict=True), 1)
    ]

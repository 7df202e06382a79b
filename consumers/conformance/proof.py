"""The mutation test of the proof: whatever is altered in stored rows, the certificate is another one.

Each mutation is tried in up to four ways, and judged by numbers that are computed from docs/certificates.md alone:

    WRITTEN  the store alters rows while a delta is written: what is read back (L2) must not fold to what is expected
    HANDED   the adapter is handed another batch than the expectation was made from: as WRITTEN (L2)
    DRIFTED  rows are altered behind the adapter's back before a delta overwrites them: as WRITTEN, for the old side of
             the fold is what was stored (L2)
    STORED   rows are altered behind the adapter's back: the audit (L3) must not be what is expected

L2 speaks of touched keys. A mutation that leaves what is stored under all of them as it should be is not tried as
WRITTEN or DRIFTED.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum

from consumers.adapters.base import Adapter, Batch, Touched
from consumers.conformance.alterations import Damage
from consumers.conformance.by_the_page import Sums, folded, sums_of, told
from consumers.conformance.edits import Drop, Edit, Put
from consumers.conformance.hands import fitting, load
from consumers.conformance.mutations import PROOF_TABLE, Mutation, Rows, Script
from consumers.conformance.samples import Row, batch
from consumers.conformance.seat import Meddler, Seat

FEWEST = 200


class Way(StrEnum):
    """How a mutation reaches the store."""

    WRITTEN = "written"
    HANDED = "handed"
    DRIFTED = "drifted"
    STORED = "stored"


LEVELS = {"L2": {Way.WRITTEN, Way.HANDED, Way.DRIFTED}, "L3": {Way.STORED}}


@dataclass(frozen=True, slots=True)
class Trial:
    """One mutation tried in one way. `exact`: what the adapter said is, to the number, what the page says of the
    altered rows; true as well where the page has no text for them."""

    mutation: Mutation
    way: Way
    wanted: bool
    differs: bool
    exact: bool

    @property
    def good(self) -> bool:
        """Found when it is a difference, and not found when it is none."""
        return self.differs == self.wanted and self.exact

    def __str__(self) -> str:
        wanted = "a difference" if self.wanted else "no difference"
        found = f"{'one' if self.differs else 'none'}{'' if self.exact else ', by other numbers than the page'}"
        mutation = f"{self.mutation.type}: {self.mutation.damage}: {self.mutation.what or self.mutation.edits[:2]}"
        return f"{self.way}: {mutation[:200]}: wanted {wanted}, found {found}"


class Proof:
    """All trials of one adapter, in slot b of a fresh store."""

    def __init__(self, adapter: Adapter, meddler: Meddler) -> None:
        self.adapter = adapter
        self.meddler = meddler
        self.script = Script(meddler.oddities, self._takes)
        self._before = sums_of(PROOF_TABLE, self.script.first.values())
        self._expected = sums_of(PROOF_TABLE, self.script.second.values())

    def _takes(self, column: str, value: str | None) -> bool:
        code, number = (value, "0") if column == "code" else ("x", "0")
        row = {**dict.fromkeys(PROOF_TABLE.schema.column_names), "code": code, "number": number, column: value}
        return bool(fitting(self.adapter, PROOF_TABLE, [tuple(row.values())]))

    def trials(self) -> Iterator[Trial]:
        """L2 first, on a slot that has the first release; then L3, on one that has the second. Both slots end as
        they were."""
        script, delta = self.script, batch(PROOF_TABLE, self.script.written, self.script.deleted)
        load(self.adapter, "b", 1, batch(PROOF_TABLE, script.first.values()))
        for mutation in script.mutations:
            if _touches(mutation, script.touched) and (trial := self._written(mutation, delta)):
                yield trial
            if mutation.plain:
                yield self._handed(mutation)
                if _under(script.touched, mutation.done_to(script.first)) != _under(script.touched, script.first):
                    yield self._drifted(mutation, delta)
        load(self.adapter, "b", 2, delta)
        for mutation in script.mutations:
            yield self._stored(mutation)
        assert told(self.adapter.audit("b", PROOF_TABLE)) == self._expected

    def _written(self, mutation: Mutation, delta: Batch) -> Trial | None:
        altering = self.meddler.altering("b", PROOF_TABLE, mutation.edits)
        if altering is None:
            return None
        with altering:
            touched = self._loaded(delta)
        after = mutation.done_to(self.script.second) if mutation.plain else None
        return self._judge(mutation, Way.WRITTEN, touched, self.script.touched, self.script.first, after)

    def _handed(self, mutation: Mutation) -> Trial:
        script, rows = self.script, mutation.done_to(self.script.second)
        keys = script.touched | {_key(edit) for edit in mutation.edits}
        gone = [script.first[key] for key in keys if key in script.first and key not in rows]
        touched = self._loaded(batch(PROOF_TABLE, (rows[key] for key in keys if key in rows), gone))
        return self._judge(mutation, Way.HANDED, touched, keys, script.first, rows)

    def _drifted(self, mutation: Mutation, delta: Batch) -> Trial:
        script = self.script
        with self._behind_its_back(mutation, script.first):
            touched = self._loaded(delta)
        before = mutation.done_to(script.first)
        return self._judge(mutation, Way.DRIFTED, touched, script.touched, before, script.second)

    def _stored(self, mutation: Mutation) -> Trial:
        with self._behind_its_back(mutation, self.script.second):
            found = told(self.adapter.audit("b", PROOF_TABLE))
        rows = mutation.done_to(self.script.second)
        exact = not mutation.plain or found == sums_of(PROOF_TABLE, rows.values())
        return Trial(mutation, Way.STORED, self._differs(mutation), found != self._expected, exact)

    def _loaded(self, delta: Batch) -> Touched:
        """Not committed: as when the certificate differs."""
        with self.adapter.loading("b") as loading:
            return loading.apply(delta)

    def _judge(
        self, mutation: Mutation, way: Way, touched: Touched, keys: Collection[Row], before: Rows, after: Rows | None
    ) -> Trial:
        """`before` and `after` are the rows that are stored; None where the page has no text for them."""
        said = told(touched.before), told(touched.after)
        exact = said[0] == _under(keys, before) and (after is None or said[1] == _under(keys, after))
        wanted = way is Way.DRIFTED or self._differs(mutation)
        return Trial(mutation, way, wanted, folded(self._before, *said) != self._expected, exact)

    @contextmanager
    def _behind_its_back(self, mutation: Mutation, rows: Rows) -> Iterator[None]:
        keys = dict.fromkeys(_key(edit) for edit in mutation.edits)
        back: list[Edit] = [Put(rows[key]) if key in rows else Drop(key) for key in keys]
        self.meddler.alter("b", PROOF_TABLE, mutation.edits)
        yield
        self.meddler.alter("b", PROOF_TABLE, back)

    def _differs(self, mutation: Mutation) -> bool:
        if mutation.damage is Damage.REWRITTEN:
            return False
        return (mutation.type, mutation.what) not in self.meddler.equal


def _key(edit: Edit) -> Row:
    return edit.row[:2] if isinstance(edit, Put) else edit.key


def _touches(mutation: Mutation, keys: Collection[Row]) -> bool:
    return any(_key(edit) in keys for edit in mutation.edits)


def _under(keys: Collection[Row], rows: Rows) -> Sums:
    return sums_of(PROOF_TABLE, (row for key, row in rows.items() if key in keys))


class ProofConformance:
    """Part of `AdapterConformance`."""

    def test_the_proof_finds_every_mutation(self, seat: Seat, adapter: Adapter) -> None:
        trials = tried(adapter, seat)
        bad = [trial for trial in trials if not trial.good]
        assert not bad, "\n".join(map(str, bad[:20]))
        for level in LEVELS.values():
            found = {trial.mutation.edits for trial in trials if trial.way in level and trial.differs}
            assert len(found) >= FEWEST


def tried(adapter: Adapter, seat: Seat) -> list[Trial]:
    """All trials of an adapter on its seat."""
    with adapter.member() as member:
        owner = member.row
    adapter.prepare(owner.environment, owner.system, (PROOF_TABLE,))
    meddler = seat.meddler()
    try:
        return list(Proof(adapter, meddler).trials())
    finally:
        meddler.close()

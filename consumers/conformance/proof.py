"""The mutation test of the proof: whatever is altered in stored rows, the certificate is another one.

Each mutation is tried in three ways, and judged by numbers that are computed from docs/certificates.md alone:

    WRITTEN  the store alters rows while a delta is written: what is read back (L2) must not fold to what is expected
    HANDED   the adapter is handed another batch than the expectation was made from: as WRITTEN (L2)
    STORED   rows are altered behind the adapter's back: the audit (L3) must not be what is expected

L2 speaks of touched keys. A mutation that leaves what is stored under all of them as it should be is tried as HANDED
and STORED only.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum

from consumers.adapters.base import Adapter, Batch, Touched
from consumers.conformance.alterations import Damage
from consumers.conformance.by_the_page import folded, sums_of, told
from consumers.conformance.edits import Drop, Edit, Put
from consumers.conformance.hands import load
from consumers.conformance.mutations import PROOF_TABLE, Mutation, Rows, Script
from consumers.conformance.samples import batch
from consumers.conformance.seat import Meddler, Seat

FEWEST = 200


class Way(StrEnum):
    """How a mutation reaches the store."""

    WRITTEN = "written"
    HANDED = "handed"
    STORED = "stored"


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
        self.script = Script(meddler.oddities)
        self._before = sums_of(PROOF_TABLE, self.script.first.values())
        self._expected = sums_of(PROOF_TABLE, self.script.second.values())

    def trials(self) -> Iterator[Trial]:
        """L2 first, on a slot that has the first release; then L3, on one that has the second. Both slots end as
        they were."""
        script, delta = self.script, batch(PROOF_TABLE, self.script.written, self.script.deleted)
        load(self.adapter, "b", 1, batch(PROOF_TABLE, script.first.values()))
        for mutation in script.mutations:
            if _under(script.touched, mutation) and (trial := self._written(mutation, delta)):
                yield trial
            if mutation.plain:
                altered = _altered(mutation, script)
                yield self._judge(mutation, Way.HANDED, self._loaded(altered), altered)
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
        return self._judge(mutation, Way.WRITTEN, touched, delta)

    def _loaded(self, delta: Batch) -> Touched:
        """Not committed: as when the certificate differs."""
        with self.adapter.loading("b") as loading:
            return loading.apply(delta)

    def _judge(self, mutation: Mutation, way: Way, touched: Touched, delta: Batch) -> Trial:
        script, before, after = self.script, told(touched.before), told(touched.after)
        keys = {tuple(row.values())[:2] for part in (delta.upserts, delta.deletes) for row in part.to_pylist()}
        held = [row for key, row in script.first.items() if key in keys]
        exact = before == sums_of(PROOF_TABLE, held)
        if mutation.plain:
            rows = mutation.done_to(script.second)
            exact &= after == sums_of(PROOF_TABLE, (row for key, row in rows.items() if key in keys))
        differs = folded(self._before, before, after) != self._expected
        return Trial(mutation, way, self._differs(mutation), differs, exact)

    def _stored(self, mutation: Mutation) -> Trial:
        with self._behind_its_back(mutation):
            found = told(self.adapter.audit("b", PROOF_TABLE))
        rows = mutation.done_to(self.script.second)
        exact = not mutation.plain or found == sums_of(PROOF_TABLE, rows.values())
        return Trial(mutation, Way.STORED, self._differs(mutation), found != self._expected, exact)

    @contextmanager
    def _behind_its_back(self, mutation: Mutation) -> Iterator[None]:
        rows = self.script.second
        keys = dict.fromkeys(_key(edit) for edit in mutation.edits)
        back: list[Edit] = [Put(rows[key]) if key in rows else Drop(key) for key in keys]
        self.meddler.alter("b", PROOF_TABLE, mutation.edits)
        yield
        self.meddler.alter("b", PROOF_TABLE, back)

    def _differs(self, mutation: Mutation) -> bool:
        if mutation.damage is Damage.REWRITTEN:
            return False
        return (mutation.type, mutation.what) not in self.meddler.equal


def _key(edit: Edit) -> tuple[str | None, ...]:
    return edit.row[:2] if isinstance(edit, Put) else edit.key


def _under(touched: set[tuple[str | None, ...]], mutation: Mutation) -> bool:
    """Whether it shows under a touched key, or (nothing but written again) under no other."""
    return any(_key(edit) in touched for edit in mutation.edits)


def _altered(mutation: Mutation, script: Script) -> Batch:
    """The delta from the first release to the altered second one."""
    rows: Rows = mutation.done_to(script.second)
    keys = script.touched | {_key(edit) for edit in mutation.edits}
    gone = [script.first[key] for key in keys if key in script.first and key not in rows]
    return batch(PROOF_TABLE, (rows[key] for key in keys if key in rows), gone)


class ProofConformance:
    """Part of `AdapterConformance`."""

    def test_the_proof_finds_every_mutation(self, seat: Seat, adapter: Adapter) -> None:
        trials = tried(adapter, seat)
        bad = [trial for trial in trials if not trial.good]
        assert not bad, "\n".join(map(str, bad[:20]))
        for level in ({Way.WRITTEN, Way.HANDED}, {Way.STORED}):
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

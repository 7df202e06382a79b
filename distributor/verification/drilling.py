"""A verification, from sums per bucket down to single rows: closer only where something differs."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import replace
from datetime import timedelta

from sqlalchemy import Engine

from distributor.errors import RefusedError
from distributor.ledger.engine import transaction
from distributor.mapping.compiled import Compiled, compile_system
from distributor.mapping.tables import SystemMapping
from distributor.model.certificate import EMPTY_TABLE, Certificate, TableCertificate, leaf_of
from distributor.model.manifest import ZERO
from distributor.requests.expectations import Content, expected_certificate
from distributor.requests.taking import taken_content
from distributor.requests.verifications import FIRST, Asked, Question
from distributor.settings import Settings
from distributor.store.base import Store
from distributor.store.editions import store_of
from distributor.verification.answers import Answer, Key, Lanes, SlotAnswer, Sum, TableAnswer
from distributor.verification.closer import (
    CHANGED_OVER,
    Place,
    differing_buckets,
    leaves_to_list,
    places,
    questions,
    with_leaves,
    with_rows,
)
from distributor.verification.comparison import differing, rows_in, sums_of
from distributor.verification.expected import Expected, expected_side
from distributor.verification.findings import ONLINE, SHADOW, Findings, MemberFinding, Outcome, TableFinding
from distributor.verification.gathering import Gathering, Hear, Pause
from distributor.wire.messages import AuditDepth

ROUNDS = 3
PAUSE_SECONDS = 1.0
_PASSING = (Outcome.MOVED, Outcome.FAILED)
_Members = dict[str, MemberFinding]


def verify(
    engine: Engine,
    settings: Settings,
    store: Store,
    asked: Asked,
    *,
    shadow: bool = False,
    patience: timedelta,
    hear: Hear,
    pause: Pause = time.sleep,
) -> Findings:
    """Waits for the audits that `asked` has begun, and looks closer where something differs.

    `shadow`: the other slots too, each against the release that it holds: a load builds on it. A member that goes to
    another release meanwhile, or fails, is asked anew. Raises UnreachableError, StoreError, and what `pause` raises.
    """
    gathering = Gathering(engine, asked, patience=patience, hear=hear, pause=pause)
    drill = _Drill(engine, settings, store, gathering, hear, shadow=shadow)
    found = _rounds(drill.round, FIRST, asked.systems, pause)
    return Findings(asked, tuple(found[system] for system in asked.systems))


def verify_again(
    engine: Engine,
    settings: Settings,
    store: Store,
    asked: Asked,
    systems: Collection[str],
    *,
    patience: timedelta,
    hear: Hear,
) -> Mapping[str, MemberFinding]:
    """Audits both slots of these systems once more, when a repair is over: buckets only, nobody looks closer.

    Raises UnreachableError, StoreError.
    """
    gathering = Gathering(engine, asked, patience=patience, hear=hear)
    drill = _Drill(engine, settings, store, gathering, hear, shadow=True)
    return _rounds(drill.glance, FIRST + ROUNDS, systems)


def _rounds(
    audit: Callable[[int, Collection[str]], _Members],
    first: int,
    systems: Collection[str],
    pause: Pause = time.sleep,
) -> _Members:
    found: _Members = {}
    pending = systems
    for round_ in range(first, first + ROUNDS):
        found |= audit(round_, pending)
        pending = tuple(system for system in pending if found[system].outcome in _PASSING)
        if not pending or round_ == first + ROUNDS - 1:
            break
        # A member that has just started, or whose store has, may only need a moment.
        pause(PAUSE_SECONDS)
    return found


class _Drill:
    def __init__(
        self, engine: Engine, settings: Settings, store: Store, gathering: Gathering, hear: Hear, *, shadow: bool
    ) -> None:
        self._engine = engine
        self._settings = settings
        self._store = store
        self._shadow = shadow
        self._gathering = gathering
        self._hear = hear
        self._environment = gathering.environment
        self._here = store_of(settings, store, gathering.environment)
        self._contents: dict[int, Content] = {}
        self._mapped: dict[Place, tuple[Compiled, TableCertificate]] = {}

    def round(self, round_: int, systems: Collection[str]) -> _Members:
        """What each of these systems is found to store."""
        found = self._buckets(round_, systems)
        if any(member.differing for member in found.values()):
            with expected_side(self._engine, self._here) as side:
                found |= self._leaves(round_, side, found)
                found |= self._rows(round_, side, found)
        return self._told(found, systems)

    def glance(self, round_: int, systems: Collection[str]) -> _Members:
        """The same, bucket by bucket only."""
        return self._told(self._buckets(round_, systems), systems)

    def _buckets(self, round_: int, systems: Collection[str]) -> _Members:
        everything = {system: Question(shadow=self._shadow) for system in systems}
        if round_ != FIRST:
            self._gathering.ask(round_, AuditDepth.BUCKETS, everything)
        self._tell(everything, "auditing")
        answers = self._gathering.wait(round_, AuditDepth.BUCKETS, everything)
        return {system: self._at_a_glance(system, answer) for system, answer in answers.items()}

    def _told(self, found: _Members, systems: Collection[str]) -> _Members:
        for system in systems:
            if why := self._gathering.silent.get(system):
                # What it had told before is still true.
                known = found.get(system, MemberFinding(system, Outcome.SILENT))
                found[system] = replace(known, outcome=Outcome.SILENT, why=why)
            self._tell([system], "differs" if found[system].differing else found[system].outcome.value)
        return found

    def _at_a_glance(self, system: str, answer: Answer) -> MemberFinding:
        """Buckets against the certificate of the release that the slot says it holds."""
        found = MemberFinding(system, Outcome.VERIFIED, seconds=answer.seconds)
        if answer.error:
            return replace(found, outcome=Outcome.FAILED, why=answer.error)
        online, shadow = answer.slots.get(ONLINE), answer.slots.get(SHADOW)
        if answer.torn_apart or online is None or online.release is None:
            return replace(found, outcome=Outcome.MOVED, why=CHANGED_OVER)
        found = replace(found, release=online.release)
        mapping = self._settings.mapping(system, self._environment)
        if online.release != ZERO and online.mapping != mapping.version:
            why = "it was built under another mapping than the config has"
            return replace(found, outcome=Outcome.UNFIT, why=why)
        try:
            tables = self._tables(mapping, ONLINE, online)
            if shadow and shadow.release and shadow.mapping == online.mapping:
                tables += self._tables(mapping, SHADOW, shadow)
        except RefusedError as error:
            return replace(found, outcome=Outcome.UNFIT, why=error.what)
        return replace(found, tables=tuple(tables))

    def _tables(self, mapping: SystemMapping, name: str, slot: SlotAnswer) -> list[TableFinding]:
        assert slot.release is not None
        content = self._content(slot.release)
        right = self._right(mapping, content)
        tables = compile_system(mapping, content.manifest) if content.manifest else ()
        compiled = {table.name: table for table in tables}
        found = []
        for table in mapping.tables:
            stored = slot.tables.get(table.into, TableAnswer()).sums
            certified = right.tables.get(table.into, EMPTY_TABLE)
            expected = sums_of(certified)
            shape = compiled.get(table.into)
            rows_of = table.dataset
            if shape and not shape.is_the_datasets:
                rows_of = shape.fingerprint
                self._mapped[slot.release, rows_of] = (shape, certified)
            found.append(
                TableFinding(
                    slot=name,
                    table=table.into,
                    dataset=table.dataset,
                    source=table.source,
                    rows_of=rows_of,
                    key=shape.schema.key if shape else (),
                    release=slot.release,
                    rows_stored=rows_in(stored),
                    rows_expected=rows_in(expected),
                    buckets=differing(stored, expected),
                )
            )
        return found

    def _right(self, mapping: SystemMapping, content: Content) -> Certificate:
        if content.manifest is None:
            return Certificate()
        with transaction(self._engine) as conn:
            return expected_certificate(conn, self._here, mapping, content)

    def _leaves(self, round_: int, side: Expected, members: _Members) -> _Members:
        """Differing buckets, leaf by leaf."""
        asked = questions(members, differing_buckets)
        self._ask(round_, AuditDepth.LEAVES, asked, "looking closer")
        # Members and ledger are at it at the same time.
        wanted = places(members, differing_buckets)
        expected = {place: self._expected_leaves(side, place, buckets) for place, buckets in wanted.items()}
        answers = self._gathering.wait(round_, AuditDepth.LEAVES, asked)
        return {system: with_leaves(members[system], answer, expected) for system, answer in answers.items()}

    def _rows(self, round_: int, side: Expected, members: _Members) -> _Members:
        """Differing leaves, row by row, where they are not too many."""
        here = {system: member for system, member in members.items() if member.outcome is Outcome.VERIFIED}
        asked = questions(here, leaves_to_list)
        self._ask(round_, AuditDepth.ROWS, asked, "looking at rows")
        wanted = places(here, leaves_to_list)
        expected = {place: self._expected_rows(side, place, leaves) for place, leaves in wanted.items()}
        answers = self._gathering.wait(round_, AuditDepth.ROWS, asked)
        return {system: with_rows(members[system], answer, expected) for system, answer in answers.items()}

    def _ask(self, round_: int, depth: AuditDepth, asked: Mapping[str, Question], word: str) -> None:
        if asked:
            self._gathering.ask(round_, depth, asked)
        self._tell(asked, word)

    def _tell(self, systems: Iterable[str], word: str) -> None:
        for system in systems:
            self._hear(system, word)

    def _expected_leaves(self, side: Expected, place: Place, buckets: set[int]) -> dict[int, Sum]:
        content = self._content(place[0])
        if place in self._mapped:
            table, certified = self._mapped[place]
            return side.shaped_leaves(content, table, certified, buckets)
        return side.leaves(content, place[1], buckets) if _has(content, place[1]) else {}

    def _expected_rows(self, side: Expected, place: Place, leaves: set[int]) -> dict[int, dict[Key, Lanes]]:
        """Leaf → key → lanes."""
        content = self._content(place[0])
        rows: Mapping[Key, Lanes] = {}
        if place in self._mapped:
            rows = side.shaped_rows(content, self._mapped[place][0], leaves)
        elif _has(content, place[1]):
            rows = side.rows(content, place[1], leaves)
        found: dict[int, dict[Key, Lanes]] = {}
        for key, lanes in rows.items():
            found.setdefault(leaf_of(key), {})[key] = lanes
        return found

    def _content(self, release: int) -> Content:
        """What the environment takes for a release."""
        if release not in self._contents:
            with transaction(self._engine) as conn:
                self._contents[release] = taken_content(conn, self._settings, self._store, self._environment, release)
        return self._contents[release]


def _has(content: Content, dataset: str) -> bool:
    return content.manifest is not None and dataset in content.manifest.certificate.tables

"""What to look at more closely, and what the closer look found. Pure."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import replace

from distributor.model.certificate import leaf_of
from distributor.requests.verifications import Question
from distributor.verification.answers import Answer, Key, Lanes, Sum, TableAnswer
from distributor.verification.comparison import bucket_of_leaf, differing, rows_in, wrong_rows
from distributor.verification.findings import SHADOW, MemberFinding, Outcome, TableFinding

ROWS_MOST = 200_000
"""Rows of one table, stored and expected together, that are looked at one by one; beyond that they are only counted."""

Place = tuple[int, str]
"""A release, and `TableFinding.rows_of`: what members that drifted alike share."""
Chosen = Callable[[TableFinding], Collection[int]]


def differing_buckets(table: TableFinding) -> Collection[int]:
    """The buckets whose leaves are to be told."""
    return table.buckets


def leaves_to_list(table: TableFinding) -> Collection[int]:
    """The leaves whose rows are to be told: none when they would be too many."""
    return table.leaves if table.rows_near <= ROWS_MOST else ()


def questions(members: Mapping[str, MemberFinding], chosen: Chosen) -> dict[str, Question]:
    """What to ask for, of both slots together; nobody is asked for nothing, nor of a slot in which nothing differs."""
    found: dict[str, Question] = {}
    for member in members.values():
        tables: dict[str, set[int]] = {}
        for table in member.tables:
            if numbers := chosen(table):
                tables.setdefault(table.table, set()).update(numbers)
        if tables:
            shadow = any(table.slot == SHADOW and chosen(table) for table in member.tables)
            found[member.system] = Question(tables, shadow)
    return found


def places(members: Mapping[str, MemberFinding], chosen: Chosen) -> dict[Place, set[int]]:
    """What is to be expected, each place once for all members."""
    found: dict[Place, set[int]] = {}
    for member in members.values():
        for table in member.tables:
            if numbers := chosen(table):
                found.setdefault((table.release, table.rows_of), set()).update(numbers)
    return found


def with_leaves(member: MemberFinding, answer: Answer, expected: Mapping[Place, Mapping[int, Sum]]) -> MemberFinding:
    """The member with the leaves that differ in its differing buckets."""
    if other := _no_longer(member, answer):
        return other
    tables = []
    for table in member.tables:
        if table.differs:
            sums = _stored(answer, table).sums
            stored = {leaf: sum_ for leaf, sum_ in sums.items() if bucket_of_leaf(leaf) in table.buckets}
            everything = expected[table.release, table.rows_of]
            right = {leaf: sum_ for leaf, sum_ in everything.items() if bucket_of_leaf(leaf) in table.buckets}
            leaves = differing(stored, right)
            table = replace(
                table,
                buckets=frozenset(map(bucket_of_leaf, leaves)),
                leaves=leaves,
                rows_near=rows_in(stored, leaves) + rows_in(right, leaves),
            )
        tables.append(table)
    return replace(member, tables=tuple(tables), seconds=member.seconds + answer.seconds)


def with_rows(
    member: MemberFinding, answer: Answer, expected: Mapping[Place, Mapping[int, Mapping[Key, Lanes]]]
) -> MemberFinding:
    """The member with the rows that are wrong in its differing leaves. `expected`: leaf → key → lanes."""
    if other := _no_longer(member, answer):
        return other
    tables = []
    for table in member.tables:
        if leaves_to_list(table):
            # Both slots tell of the leaves in which either of them differs.
            stored = [row for row in _stored(answer, table).rows if leaf_of(row[0]) in table.leaves]
            everything = expected[table.release, table.rows_of]
            right = {key: lanes for leaf in table.leaves for key, lanes in everything.get(leaf, {}).items()}
            wrong = wrong_rows(stored, right)
            table = replace(table, wrong=tuple(wrong), buckets=table.buckets if wrong else frozenset())
        tables.append(table)
    return replace(member, tables=tuple(tables), seconds=member.seconds + answer.seconds)


def _no_longer(member: MemberFinding, answer: Answer) -> MemberFinding | None:
    """The finding when the closer look is not of what was looked at before, or could not be had."""
    if answer.error:
        return replace(member, outcome=Outcome.FAILED, why=answer.error)
    for table in member.differing:
        slot = answer.slots.get(table.slot)
        if answer.torn_apart or slot is None or slot.release != table.release:
            return replace(member, outcome=Outcome.MOVED, why=CHANGED_OVER, tables=())
    return None


CHANGED_OVER = "it changed over while it was audited"


def _stored(answer: Answer, table: TableFinding) -> TableAnswer:
    return answer.slots[table.slot].tables.get(table.table, TableAnswer())

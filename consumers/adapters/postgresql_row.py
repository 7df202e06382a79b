"""The member's row in PostgreSQL, and the two rows that readers' views follow: it is the authority, they are what it
says."""

from __future__ import annotations

from typing import Any

from consumers.adapters.postgresql_line import Transaction
from distributor.errors import SystemAlteredError
from distributor.rollout.member_row import MemberRow

_ROW = "SELECT row::text FROM distributor.member WHERE id = 1"
_SEEN = """
    SELECT (SELECT slot FROM distributor.active), environment, system, release
    FROM (SELECT 1) AS always LEFT JOIN distributor.release ON true
"""
_STRAY = """
    SELECT NOT EXISTS (
        SELECT 1 FROM distributor.member AS m, distributor.active AS a, distributor.release AS r
        WHERE a.slot = m.row->>'active'
        AND (r.environment, r.system) = (m.row->>'environment', m.row->>'system')
        AND r.release = coalesce((m.row->'slots'->a.slot->'identity'->>'release')::bigint, 0))
"""


def lock_row(transaction: Transaction) -> MemberRow:
    """The row, locked until the transaction ends. Raises SystemAlteredError when it is not there."""
    return _read(transaction, f"{_ROW} FOR UPDATE")


def lock_row_and_ask(transaction: Transaction, question: str) -> tuple[MemberRow, bool]:
    """Like `lock_row`, and on the same journey the answer to a query of one boolean, under the lock."""
    found, answer = transaction.run_all(f"{_ROW} FOR UPDATE", question)
    return _as_row(found), bool(answer[0][0])


def read_row(transaction: Transaction) -> MemberRow:
    """The row as the transaction's snapshot has it, without a lock. Raises SystemAlteredError when it is not there."""
    return _read(transaction, _ROW)


def _read(transaction: Transaction, query: str) -> MemberRow:
    return _as_row(transaction.run(query))


def _as_row(found: list[tuple[Any, ...]]) -> MemberRow:
    if not found:
        raise SystemAlteredError("the member's row is not in distributor.member", mend="Was the adapter prepared?")
    return MemberRow.model_validate_json(found[0][0])


def save_row(transaction: Transaction, read: MemberRow, row: MemberRow) -> None:
    """Writes the row with the commit; what readers see follows when it says so.

    This is the flip: DML on three one-row tables.
    """
    transaction.later("UPDATE distributor.member SET row = %s::jsonb WHERE id = 1", (row.model_dump_json(),))
    if row.active != read.active:
        transaction.later("UPDATE distributor.active SET slot = %s WHERE id = 1", (row.active,))
    if _shown(row) != _shown(read):
        transaction.later("UPDATE distributor.release SET release = %s, flipped_at = %s WHERE id = 1", _shown(row)[1:])


def is_stray(transaction: Transaction) -> bool:
    """Whether readers are led by something else than what the member's row says. Locks nothing."""
    return bool(transaction.run(_STRAY)[0][0])


def stray(transaction: Transaction, row: MemberRow) -> list[str]:
    """In what readers are led otherwise than `row`, of the same snapshot, says; in sentences with their mend."""
    slot, *told = transaction.run(_SEEN)[0]
    found = []
    if slot != row.active:
        found.append(
            f"readers see {f'slot {slot}' if slot else 'nothing'} (distributor.active), and slot {row.active} is online"
            f" by the member's row. {_BACK}"
        )
    if told != [row.environment, row.system, _shown(row)[1]]:
        what = f"release {told[2]} of {told[1]} in {told[0]}" if told[0] else "nothing"
        found.append(f"distributor_release tells readers {what}, and not release {_shown(row)[1]}. {_BACK}")
    return found


def put_back(transaction: Transaction) -> MemberRow:
    """Leads readers to what the row says, under its lock."""
    row = lock_row(transaction)
    transaction.run("DELETE FROM distributor.active")
    transaction.run("INSERT INTO distributor.active VALUES (1, %s)", (row.active,))
    transaction.run("DELETE FROM distributor.release")
    shown = (row.environment, row.system, *_shown(row)[1:])
    transaction.run("INSERT INTO distributor.release VALUES (1, %s, %s, %s, %s)", shown)
    return row


_BACK = "The member's consumer puts it back when it starts, or stages."


def _shown(row: MemberRow) -> tuple[object, ...]:
    return row.active, row.online.identity.release if row.online.identity else 0, row.flipped_at

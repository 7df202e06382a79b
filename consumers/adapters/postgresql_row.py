"""The member's row in PostgreSQL, and the two rows that readers' views follow."""

from __future__ import annotations

from consumers.adapters.postgresql_line import Transaction
from distributor.errors import SystemAlteredError
from distributor.rollout.member_row import MemberRow

_ROW = "SELECT row::text FROM distributor.member WHERE id = 1"


def lock_row(transaction: Transaction) -> MemberRow:
    """The row, locked until the transaction ends. Raises SystemAlteredError when it is not there."""
    return _read(transaction, f"{_ROW} FOR UPDATE")


def read_row(transaction: Transaction) -> MemberRow:
    """The row as the transaction's snapshot has it, without a lock. Raises SystemAlteredError when it is not there."""
    return _read(transaction, _ROW)


def _read(transaction: Transaction, query: str) -> MemberRow:
    found = transaction.run(query)
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


def _shown(row: MemberRow) -> tuple[object, ...]:
    return row.active, row.online.identity.release if row.online.identity else 0, row.flipped_at

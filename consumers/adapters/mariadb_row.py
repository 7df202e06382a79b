"""The member's row in MariaDB, and the row that readers' views follow: the first is the authority, the second what it
says. Both are changed under one lock, in one commit.

A flip between slots in which every table has one shape is an UPDATE of both rows. Where a table's slots have two shapes
its view must become another one, and no DDL is in a transaction: then both rows are written into new tables, new views
are made beside the old ones, and one RENAME TABLE puts all of them in place. It is atomic for readers and in a crash,
and there is nothing that would have to be reconciled after it.
"""

from __future__ import annotations

from datetime import UTC
from typing import Any

import pymysql
from pymysql.constants import ER

from consumers.adapters.mariadb_catalogue import relations
from consumers.adapters.mariadb_line import LOCK_SECONDS, Transaction
from consumers.adapters.mariadb_places import SLOT_TYPE, Place, known
from consumers.adapters.mariadb_text import TEXT, literal, quoted
from distributor.errors import SystemAlteredError
from distributor.rollout.member_row import MemberRow

MEMBER, ACTIVE = "_distributor_member", "_distributor_active"
TABLES = {
    ACTIVE: (
        f"id TINYINT NOT NULL PRIMARY KEY CHECK (id = 1), slot {SLOT_TYPE}, environment VARCHAR(255) {TEXT} NOT NULL,"
        f" `system` VARCHAR(255) {TEXT} NOT NULL, `release` BIGINT NOT NULL, flipped_at DATETIME(6)"
    ),
    MEMBER: f"id TINYINT NOT NULL PRIMARY KEY CHECK (id = 1), `row` LONGTEXT {TEXT} NOT NULL",
}
_ROW = f"SELECT `row` FROM {MEMBER} WHERE id = 1"
_SEEN = f"SELECT slot, environment, `system`, `release` FROM {ACTIVE}"
_BACK = "The member's consumer puts it back when it starts, or stages."


def read_row(transaction: Transaction) -> MemberRow:
    """The row as the transaction sees it. Raises SystemAlteredError when it is not there."""
    found = transaction.glance(_ROW)
    if not found:
        raise SystemAlteredError(f"the member's row is not in {MEMBER}", mend="Was the adapter prepared?")
    return MemberRow.model_validate_json(found[0][0])


def first_rows(transaction: Transaction, row: MemberRow) -> None:
    """The row of a member that was never here, and what its readers see."""
    transaction.run(_member_row(MEMBER, row))
    transaction.run(_active_row(ACTIVE, row))


def save_row(transaction: Transaction, row: MemberRow, *, flips: bool) -> None:
    """Writes the row into the transaction; what readers see follows when it `flips`. Under the member's lock."""
    transaction.run(f"UPDATE {MEMBER} SET `row` = {literal(row.model_dump_json())} WHERE id = 1")
    if flips:
        transaction.run(f"UPDATE {ACTIVE} SET {_assignments(row)} WHERE id = 1")


def flips(read: MemberRow, row: MemberRow) -> bool:
    """Whether readers see something else by the second row."""
    return _shown(row) != _shown(read)


def save_alone(statements: Transaction, read: MemberRow, row: MemberRow) -> None:
    """Writes the row, and commits. Under the member's lock, with nothing else in the transaction.

    Raises UnreachableError when readers' transactions do not let go of their views for LOCK_SECONDS, and
    SystemAlteredError when something else has taken the name of a view that must be made anew.
    """
    swapped: list[Place] = []
    if row.active != read.active:
        there = known(statements)
        swapped = [there.of(row.active, name) for name, of in there.numbers.items() if of["a"] != of["b"]]
    if swapped:
        _swap(statements, row, swapped)
    else:
        statements.run("START TRANSACTION")
        save_row(statements, row, flips=flips(read, row))
        statements.commit()


def _swap(statements: Transaction, row: MemberRow, places: list[Place]) -> None:
    kinds = relations(statements, [place.name for place in places])
    if taken := [name for name, kind in kinds.items() if kind != "VIEW"]:
        raise SystemAlteredError(f"{taken[0]} has taken the place of a readers' view", mend="Rename it.")
    _sweep(statements, places)
    renames = []
    for place in places:
        was, coming = (quoted(f"_slots{when}_{place.name}") for when in ("was", "next"))
        statements.run(f"CREATE ALGORITHM = MERGE VIEW {coming} AS {place.view}")
        renames += [f"{quoted(place.name)} TO {was}", f"{coming} TO {quoted(place.name)}"]
    for name, make in ((ACTIVE, _active_row), (MEMBER, _member_row)):
        statements.run(f"CREATE TABLE {name}_next ({TABLES[name]}) ENGINE = InnoDB")
        statements.run(make(f"{name}_next", row))
        renames += [f"{name} TO {name}_was", f"{name}_next TO {name}"]
    # A view that somebody took away is no reason not to flip.
    rename = f"SET STATEMENT lock_wait_timeout = 1 FOR RENAME TABLE IF EXISTS {', '.join(renames)}"
    for attempt in range(LOCK_SECONDS):
        try:
            statements.run(rename)
            break
        except pymysql.OperationalError as error:
            # Readers that came meanwhile wait behind this statement: between two attempts they get through.
            if error.args[0] != ER.LOCK_WAIT_TIMEOUT or attempt == LOCK_SECONDS - 1:
                raise
    _sweep(statements, places)


def _sweep(statements: Transaction, places: list[Place]) -> None:
    """Takes away what a flip leaves behind, or one that was cut."""
    for when in ("was", "next"):
        for place in places:
            statements.run(f"DROP VIEW IF EXISTS {quoted(f'_slots{when}_{place.name}')}")
        statements.run(f"DROP TABLE IF EXISTS {ACTIVE}_{when}, {MEMBER}_{when}")


def stray(transaction: Transaction, row: MemberRow) -> list[str]:
    """In what readers are led otherwise than `row`, of the same snapshot, says; in sentences with their mend."""
    seen: list[tuple[Any, ...]] = transaction.glance(_SEEN)
    slot, *told = seen[0] if seen else (None,)
    found = []
    if slot != row.active:
        found.append(
            f"readers see {f'slot {slot}' if slot else 'nothing'} ({ACTIVE}), and slot {row.active} is online by the"
            f" member's row. {_BACK}"
        )
    if told != [row.environment, row.system, _release(row)]:
        what = f"release {told[2]} of {told[1]} in {told[0]}" if told else "nothing"
        found.append(f"distributor_release tells readers {what}, and not release {_release(row)}. {_BACK}")
    return found


def put_back(statements: Transaction, row: MemberRow) -> None:
    """Leads readers to what the row says, under its lock."""
    statements.run("START TRANSACTION")
    statements.run(f"DELETE FROM {ACTIVE}")
    statements.run(_active_row(ACTIVE, row))
    statements.commit()


def _member_row(table: str, row: MemberRow) -> str:
    return f"INSERT INTO {table} SET id = 1, `row` = {literal(row.model_dump_json())}"


def _active_row(table: str, row: MemberRow) -> str:
    return f"INSERT INTO {table} SET id = 1, {_assignments(row)}"


def _assignments(row: MemberRow) -> str:
    at = f"'{row.flipped_at.astimezone(UTC):%Y-%m-%d %H:%M:%S.%f}'" if row.flipped_at else "NULL"
    return (
        f"slot = '{row.active}', environment = {literal(row.environment)}, `system` = {literal(row.system)},"
        f" `release` = {_release(row)}, flipped_at = {at}"
    )


def _shown(row: MemberRow) -> tuple[object, ...]:
    return row.active, _release(row), row.flipped_at


def _release(row: MemberRow) -> int:
    return row.online.identity.release if row.online.identity else 0

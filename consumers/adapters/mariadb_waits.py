"""What sessions of ours wait for in MariaDB: who holds the lock, as far as the account may see it, and how to end that.

MariaDB does not keep what an idle session ran last, so unlike PostgreSQL it cannot tell by which statement a row was
locked; and who holds a table's metadata lock it tells only with the plugin metadata_lock_info.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from consumers.adapters.base import Obstacle
from consumers.adapters.mariadb_line import Transaction
from consumers.adapters.mariadb_text import literal

LONGEST_QUERY = 200
_OURS = "SELECT ID, COALESCE(STATE, '') FROM information_schema.PROCESSLIST WHERE ID IN ({ids}) AND COMMAND <> 'Sleep'"
_MAY_SEE = "SELECT 1 FROM information_schema.USER_PRIVILEGES WHERE PRIVILEGE_TYPE = 'PROCESS'"
_HOLDERS = """
SELECT b.trx_mysql_thread_id, p.USER, p.COMMAND, p.TIME, p.INFO, l.lock_table
FROM information_schema.INNODB_LOCK_WAITS AS w
JOIN information_schema.INNODB_TRX AS r ON r.trx_id = w.requesting_trx_id
JOIN information_schema.INNODB_TRX AS b ON b.trx_id = w.blocking_trx_id
LEFT JOIN information_schema.INNODB_LOCKS AS l ON l.lock_id = w.requested_lock_id
LEFT JOIN information_schema.PROCESSLIST AS p ON p.ID = b.trx_mysql_thread_id
WHERE r.trx_mysql_thread_id IN ({ids}) ORDER BY b.trx_started
"""
_METADATA, _USER_LOCK = "metadata lock", "User lock"


def obstacle(transaction: Transaction, threads: Sequence[int], lock: str) -> Obstacle:
    """What stands in the way of these sessions; `lock` is the name of the member's."""
    if not threads:
        return Obstacle()
    ids = ", ".join(map(str, threads))
    ours = transaction.run(_OURS.format(ids=ids))
    if not ours:
        return Obstacle()
    if waiting := [state for _, state in ours if _METADATA in state]:
        what = f"a lock on a table ({waiting[0]}): somebody alters it, or made it and keeps its transaction open"
        return Obstacle(what, "SHOW FULL PROCESSLIST")
    if any(state == _USER_LOCK for _, state in ours):
        ((holder,),) = transaction.run(f"SELECT IS_USED_LOCK({literal(lock)})")
        if holder is None or holder in threads:
            return Obstacle()
        return Obstacle(
            f"session {holder}, another consumer of this member, which has its row locked", f"KILL {holder}"
        )
    if not transaction.run(_MAY_SEE):
        return Obstacle()
    found = transaction.run(_HOLDERS.format(ids=ids))
    return _held(found) if found else Obstacle()


def _held(found: Sequence[tuple[Any, ...]]) -> Obstacle:
    thread, user, command, seconds, query, table = found[0]
    who = f"session {thread} of {user or 'somebody'} ({command or 'gone'} since {seconds or 0} s)"
    others = f", and {len(found) - 1} more" if len(found) > 1 else ""
    where = f" of {table.replace('`', '')}" if table else ""
    return Obstacle(f"{who}, which has locked a row{where} and not committed{_said(query)}{others}", f"KILL {thread}")


def _said(query: str | None) -> str:
    if not query:
        return ""
    words = " ".join("".join(sign if sign.isprintable() else " " for sign in query).split())
    return f"; its query: {words if len(words) <= LONGEST_QUERY else f'{words[: LONGEST_QUERY - 1]}…'}"

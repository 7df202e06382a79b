"""Peer (b): PostgreSQL's logical replication with six subscriptions. No shadow, no proof, no common changeover."""

from __future__ import annotations

import time

import psycopg
from psycopg.conninfo import make_conninfo

_DEADLINE_SECONDS = 300.0


class Replication:
    """One publication and a slot for each copy."""

    def __init__(self, master: str, copies: list[str]) -> None:
        self.master = psycopg.connect(master, autocommit=True)
        self.copies = [psycopg.connect(url, autocommit=True) for url in copies]
        self.master.execute("CREATE PUBLICATION catalogue FOR TABLE products, prices")
        for number, copy in enumerate(self.copies):
            copy.execute("DROP TRIGGER gone ON products")
            slot = f"copy_{number}"
            # In one and the same cluster CREATE SUBSCRIPTION would wait for itself: the slot has to be there before.
            self.master.execute("SELECT pg_create_logical_replication_slot(%s, 'pgoutput')", [slot])
            copy.execute(
                f"CREATE SUBSCRIPTION {slot} CONNECTION '{make_conninfo(master)}' PUBLICATION catalogue"
                f" WITH (create_slot = false, slot_name = '{slot}', copy_data = false)".encode()
            )

    def arrived(self, revision: int, begun: float) -> float:
        """Milliseconds since `begun` (perf_counter) when every copy shows a revision. Raises TimeoutError."""
        waiting = list(self.copies)
        while waiting:
            waiting = [copy for copy in waiting if _revision(copy) < revision]
            if time.perf_counter() - begun > _DEADLINE_SECONDS:
                raise TimeoutError(f"{len(waiting)} subscriptions did not show revision {revision}")
            time.sleep(0.002)
        return (time.perf_counter() - begun) * 1000

    def close(self) -> None:
        """Drops subscriptions and slots."""
        for number, copy in enumerate(self.copies):
            copy.execute(f"ALTER SUBSCRIPTION copy_{number} DISABLE".encode())
            copy.execute(f"ALTER SUBSCRIPTION copy_{number} SET (slot_name = NONE)".encode())
            copy.execute(f"DROP SUBSCRIPTION copy_{number}".encode())
            copy.close()
        slots = "SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE NOT active"
        deadline = time.perf_counter() + 30
        while self.master.execute("SELECT count(*) FROM pg_replication_slots").fetchone() != (0,):
            self.master.execute(slots)
            if time.perf_counter() > deadline:
                raise TimeoutError("replication slots stayed active")
        self.master.close()


def _revision(copy: psycopg.Connection) -> int:
    row = copy.execute("SELECT revision FROM prices WHERE product_id = 1").fetchone()
    return int(row[0]) if row else -1

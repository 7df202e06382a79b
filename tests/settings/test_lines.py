"""Both ends of a connection to PostgreSQL notice soon that the other one has vanished."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing

from psycopg import Connection

from distributor.capture.fixed import connect
from distributor.ledger.engine import ledger_engine, transaction
from distributor.settings.lines import CLIENT


def both_ends(connection: Connection) -> tuple[dict[str, int], dict[str, int]]:
    """The settings of this end, and of the server's."""
    ours = connection.info.get_parameters()
    asked = "SELECT setting FROM pg_settings WHERE name = %s"
    theirs = {name: connection.execute(asked, [f"tcp_{name.removeprefix('tcp_')}"]).fetchone() for name in CLIENT}
    return {name: int(ours[name]) for name in CLIENT}, {name: int(row[0]) for name, row in theirs.items() if row}


def test_to_the_ledger(database: Callable[[], str]) -> None:
    engine = ledger_engine(database())
    with transaction(engine) as conn:
        raw = conn.connection.driver_connection
        assert isinstance(raw, Connection)
        assert both_ends(raw) == (CLIENT, CLIENT)
    engine.dispose()


def test_to_the_master(database: Callable[[], str]) -> None:
    with closing(connect(database())) as master:
        assert both_ends(master) == (CLIENT, CLIENT)

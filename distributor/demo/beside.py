"""Every row that a system's users read, beside what the master should have put there."""

from __future__ import annotations

import psycopg

from distributor.demo.checks import Compared
from distributor.demo.readers import Place
from distributor.demo.sights import open_sight
from distributor.demo.tables import FIELD, NULL, Table, master_query


class Master:
    """What systems should have, by SQL of the demo; the same table of two systems is asked for once."""

    def __init__(self, connection: psycopg.Connection) -> None:
        self._connection = connection
        self._known: dict[Table, list[str]] = {}

    def lines(self, table: Table) -> list[str]:
        """The rows as sorted lines."""
        if table not in self._known:
            self._known[table] = sorted(row[0] for row in self._connection.execute(master_query(table).encode()))
        return self._known[table]


def compare(place: Place, master: Master) -> list[Compared]:
    """Every table of one system, read in one snapshot. Raises the driver's errors."""
    sight = open_sight(place)
    try:
        stored = sight.lines()
    finally:
        sight.close()
    return [_beside(place, table, master.lines(table), sorted(stored[table.name])) for table in place.facts]


def _beside(place: Place, table: Table, wanted: list[str], found: list[str]) -> Compared:
    difference = ""
    if wanted != found:
        missing, extra = set(wanted) - set(found), set(found) - set(wanted)
        shown = f"stored {_short(min(extra, default=None))}, the master has {_short(min(missing, default=None))}"
        difference = f"{table.name}: {shown}"
    return Compared(place.name, table.name, len(found), difference)


def _short(line: str | None) -> str:
    text = "nothing" if line is None else line.replace(FIELD, " | ").replace(NULL, "NULL")
    return text if len(text) < 200 else f"{text[:200]}…"

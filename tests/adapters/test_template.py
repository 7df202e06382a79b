"""The template sits the exam that its readers will sit, and stays short enough to be read."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from contextlib import AbstractContextManager, closing
from pathlib import Path
from typing import Any

import pytest

from consumers.adapters.base import TableSpec
from consumers.adapters.template import TemplateAdapter
from consumers.conformance.edits import Drop, Edit, Odd, Oddity, Put
from consumers.conformance.exam import AdapterConformance
from consumers.conformance.seat import Meddler, Reader, Seat, Sight
from distributor.errors import ConfigError
from distributor.rollout.member_row import SlotName
from distributor.settings import MemberSettings

pytestmark = [pytest.mark.conformance, pytest.mark.long]

HERE = Path(__file__).parents[2]


class TemplateReader:
    """A user of the system: a plain driver, and one statement for what must be of one moment."""

    def __init__(self, path: Path) -> None:
        self._connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)

    def look(self, table: TableSpec) -> Sight:
        columns = ", ".join('"' + name.replace('"', '""') + '"' for name in table.schema.column_names)
        query = (
            "SELECT r.release, t.* FROM distributor_release AS r"
            f' LEFT JOIN (SELECT 1, {columns} FROM "{table.name}") AS t ON true'
        )
        found = self._connection.execute(query).fetchall()
        return Sight(found[0][0], frozenset(tuple(row[2:]) for row in found if row[1]))

    def close(self) -> None:
        self._connection.close()


class TemplateMeddler:
    """Somebody with all rights in the file."""

    oddities: Sequence[Oddity] = (
        Oddity("title", "Lamp", "x'4c616d70'", "octets of the same characters"),
        Oddity("amount", "12", "12", "number"),
    )
    # Every column holds texts, and two texts are never the same.
    equal: frozenset[tuple[str, str]] = frozenset()

    def __init__(self, path: Path) -> None:
        self._path = path

    def alter(self, slot: SlotName, table: TableSpec, edits: Sequence[Edit]) -> None:
        place, marks = f'"_{slot}_{table.name}"', ", ".join("?" * len(table.schema.columns))
        with closing(sqlite3.connect(self._path)) as connection, connection:
            for edit in edits:
                match edit:
                    case Put(row):
                        connection.execute(f"INSERT OR REPLACE INTO {place} VALUES ({marks})", row)
                    case Drop(key):
                        connection.execute(f"DELETE FROM {place} WHERE {_same(table)}", key)
                    case Odd(key, column, value):
                        connection.execute(f'UPDATE {place} SET "{column}" = {value} WHERE {_same(table)}', key)

    def altering(self, slot: SlotName, table: TableSpec, edits: Sequence[Edit]) -> AbstractContextManager[None] | None:
        # SQLite has triggers (sqlite_meddler.py uses them); a store without any says so like this.
        return None

    def close(self) -> None:
        pass


def _same(table: TableSpec) -> str:
    return " AND ".join(f'"{name}" = ?' for name in table.schema.key)


class TemplateSeat:
    """One fresh file, and hands in it that are not the adapter's."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.path = directory / "system.db"

    def adapter(self) -> TemplateAdapter:
        return TemplateAdapter(MemberSettings(adapter="template", url="template:///system.db"), self.directory)

    def reader(self) -> Reader:
        return TemplateReader(self.path)

    def meddler(self) -> Meddler:
        return TemplateMeddler(self.path)

    def drop_column(self, table: TableSpec, column: str) -> None:
        self._run(f'ALTER TABLE "_b_{table.name}" DROP COLUMN "{column}"')

    def lose(self, name: str) -> None:
        ((kind,),) = self._run(f"SELECT type FROM sqlite_schema WHERE name = '{name}'")
        self._run(f'DROP {kind} "{name}"')

    def occupy(self, name: str) -> None:
        self._run(f'CREATE TABLE "{name}" AS SELECT 1 AS one')

    def occupied(self, name: str) -> int:
        return int(self._run(f'SELECT count(*) FROM "{name}"')[0][0])

    def _run(self, statement: str) -> list[tuple[Any, ...]]:
        with closing(sqlite3.connect(self.path, isolation_level=None)) as connection:
            return connection.execute(statement).fetchall()


class TestTemplate(AdapterConformance):
    @pytest.fixture
    def seat(self, tmp_path: Path) -> Seat:
        return TemplateSeat(tmp_path)


def test_it_is_read_in_a_few_minutes() -> None:
    lines = (HERE / "consumers/adapters/template.py").read_text(encoding="utf-8").splitlines()
    assert len(lines) < 200


def test_what_it_does_not_know_is_refused(tmp_path: Path) -> None:
    settings = MemberSettings(adapter="template", url="template:///x.db", options={"colour": "red"})
    with pytest.raises(ConfigError, match=r"no option 'colour'. Known: none\."):
        TemplateAdapter(settings, tmp_path)
    with pytest.raises(ConfigError, match="template:///path/to/it"):
        TemplateAdapter(MemberSettings(adapter="template", url="sqlite:///x.db"), tmp_path)

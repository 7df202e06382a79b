"""MariaDB sits the exam, and answers for what only it promises."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from consumers.adapters.base import TableSpec
from consumers.adapters.mariadb import MariaDBAdapter
from consumers.conformance.exam import AdapterConformance
from consumers.conformance.seat import Meddler, Reader, Seat, Sight
from distributor.settings import MemberSettings
from tests.adapters.mariadb_meddler import MariaDBMeddler
from tests.services.mariadb import connected

pytestmark = pytest.mark.conformance


class MariaDBReader:
    """A plain driver, and texts made from what it returns."""

    def __init__(self, url: str) -> None:
        self._connection = connected(url)

    def look(self, table: TableSpec) -> Sight:
        columns = ", ".join(f"`{name.replace('`', '``')}`" for name in table.schema.column_names)
        # One statement, one snapshot: the release stands beside every row, and alone when there is none.
        rows_of = f"(SELECT 1 AS there, {columns} FROM `{table.name}`) AS t"
        found = self._rows(f"SELECT r.`release`, t.* FROM distributor_release AS r LEFT JOIN {rows_of} ON TRUE")
        kinds = [str(column.type) for column in table.schema.columns]
        return Sight(found[0][0], frozenset(tuple(map(_text, kinds, row[2:])) for row in found if row[1]))

    def close(self) -> None:
        self._connection.close()

    def _rows(self, query: str) -> list[tuple[Any, ...]]:
        with self._connection.cursor() as cursor:
            cursor.execute(query)
            return list(cursor.fetchall())


def _text(type_: str, value: Any) -> str | None:
    match type_, value:
        case _, None:
            return None
        case "boolean", 0 | 1:
            return "true" if value else "false"
        case "bytes", bytes():
            return f"\\x{value.hex()}"
        case "double", float():
            return _shortest(value)
        case _, Decimal():
            return f"{value.normalize() + 0:f}"
        case _, timedelta():
            seconds = value.days * 86400 + value.seconds
            clock = f"{seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02}"
            return f"{clock}.{value.microseconds:06}".rstrip("0").rstrip(".")
        case _, datetime():
            return f"{value.isoformat(' ')}".rstrip("0" if value.microsecond else "") + "+00" * (type_ == "timestamptz")
        case _, date():
            return value.isoformat()
    return str(value)


def _shortest(value: float) -> str:
    """The form that docs/certificates.md describes, from digits and exponent."""
    sign, digits, exponent = Decimal(repr(value)).normalize().as_tuple()
    assert isinstance(exponent, int)
    text, point = "".join(map(str, digits)), len(digits) + exponent - 1
    if value == 0:
        body = "0"
    elif point < -4 or point >= 15:
        body = f"{text[0]}{'.' if text[1:] else ''}{text[1:]}e{'-' if point < 0 else '+'}{abs(point):02}"
    else:
        body = f"{Decimal(text).scaleb(exponent):f}"
    return ("-" if sign else "") + body


class MariaDBSeat:
    def __init__(self, url: str) -> None:
        self.url = url

    def adapter(self, **options: str | int | bool) -> MariaDBAdapter:
        settings = MemberSettings.model_validate({"adapter": "mariadb", "url": self.url, "options": options})
        return MariaDBAdapter(settings, Path())

    def reader(self) -> Reader:
        return MariaDBReader(self.url)

    def meddler(self) -> Meddler:
        return MariaDBMeddler(self.url)

    def drop_column(self, table: TableSpec, column: str) -> None:
        self.run(f"ALTER TABLE `_slots_{table.name}` DROP COLUMN `{column}`")

    def lose(self, name: str) -> None:
        self.run(f"DROP VIEW `{name}`")

    def occupy(self, name: str) -> None:
        self.run(f"CREATE TABLE `{name}` AS SELECT 1 AS one")

    def occupied(self, name: str) -> int:
        return int(self.run(f"SELECT COUNT(*) FROM `{name}`")[0][0])

    def run(self, *statements: str) -> list[tuple[Any, ...]]:
        with connected(self.url) as connection, connection.cursor() as cursor:
            for statement in statements:
                cursor.execute(statement)
            return list(cursor.fetchall())


class TestMariaDB(AdapterConformance):
    @pytest.fixture
    def seat(self, mariadb_database: Callable[[], str]) -> Seat:
        return MariaDBSeat(mariadb_database())

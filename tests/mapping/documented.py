"""The table of docs/mappings.md: what it says that expressions give."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

PAGE = Path(__file__).parents[2] / "docs" / "mappings.md"
_ROW = re.compile(
    r"^\|[^|]*\| (?:`(?P<plain>[^|]+)`|<code>(?P<code>[^|]+)</code>) \| `(?P<type>[^|]+)` \| (?P<gives>.+) \|$"
)


@dataclass(frozen=True, slots=True)
class Example:
    """One line of the table."""

    expr: str
    type: str
    gives: str | None


ROW: dict[str, tuple[str, str | None]] = {
    "sku": ("text", "LMP-7"),
    "name": ("text", "Desk lamp"),
    "price": ("decimal(12,2)", "12.5"),
    "qty": ("integer", "7"),
    "weight": ("double", "0.5"),
    "active": ("boolean", "true"),
    "born": ("date", "2026-02-28"),
    "sold": ("timestamp", "2026-02-28 13:45:30.5"),
    "note": ("text", None),
    "attributes": ("json", '{"size": {"w": 3, "tags": ["a", "b"]}, "brand": "Lux"}'),
}
"""Column → type and canonical text of the row that the examples are of."""


def examples() -> list[Example]:
    """All of them."""
    found = []
    for line in PAGE.read_text().splitlines():
        if row := _ROW.match(line):
            expr = row["plain"] or row["code"].replace("&#124;", "|")
            gives = None if row["gives"] == "NULL" else row["gives"].strip("`")
            found.append(Example(expr, row["type"], gives))
    return found

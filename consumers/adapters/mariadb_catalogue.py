"""What MariaDB's information_schema says about the relations of the connection's database, by name."""

from __future__ import annotations

from collections.abc import Collection

from consumers.adapters.mariadb_line import Transaction
from consumers.adapters.mariadb_text import literal, quoted

_HERE = "TABLE_SCHEMA = DATABASE()"


def relations(transaction: Transaction, names: Collection[str]) -> dict[str, str]:
    """What has one of these names: `BASE TABLE`, `VIEW`, `SEQUENCE`, …"""
    listing = ", ".join(map(literal, names))
    query = f"SELECT TABLE_NAME, TABLE_TYPE FROM information_schema.TABLES WHERE {_HERE} AND TABLE_NAME IN ({listing})"
    return dict(transaction.run(query)) if names else {}


def views(transaction: Transaction, names: Collection[str], database: str) -> dict[str, str]:
    """The queries of views as the server spells them, but for the name of their database."""
    listing = ", ".join(map(literal, names))
    query = (
        f"SELECT TABLE_NAME, VIEW_DEFINITION FROM information_schema.VIEWS WHERE {_HERE} AND TABLE_NAME IN ({listing})"
    )
    found = transaction.run(query) if names else []
    return {name: text.replace(f"{quoted(database)}.", "") for name, text in found}


def columns_of(transaction: Transaction, name: str) -> dict[str, tuple[str, str]]:
    """Name → type and collation (empty where it has none) of a table's columns, in their order."""
    found = transaction.run(
        "SELECT COLUMN_NAME, COLUMN_TYPE, COALESCE(COLLATION_NAME, '') FROM information_schema.COLUMNS"
        f" WHERE {_HERE} AND TABLE_NAME = {literal(name)} ORDER BY ORDINAL_POSITION"
    )
    return {column: (type_, collation) for column, type_, collation in found}


def primary_key(transaction: Transaction, name: str) -> tuple[str, ...]:
    """The columns of a table's primary key, in their order."""
    found = transaction.run(
        f"SELECT COLUMN_NAME FROM information_schema.STATISTICS WHERE {_HERE} AND TABLE_NAME = {literal(name)}"
        " AND INDEX_NAME = 'PRIMARY' ORDER BY SEQ_IN_INDEX"
    )
    return tuple(column for (column,) in found)

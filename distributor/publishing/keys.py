"""Keys that only the config names: whether they identify every row, asked of the rows themselves."""

from __future__ import annotations

from collections.abc import Sequence

import psycopg
from psycopg import sql

from distributor.capture.inspect import Source
from distributor.errors import BadInputError
from distributor.model.unfit import shortened

_SHOWN = 5


def refuse_bad_keys(
    conn: psycopg.Connection, source: Source, relation: sql.Composable, columns: Sequence[sql.Identifier]
) -> None:
    """`relation` holds all rows of the source; `columns` are its key there. Raises BadInputError naming some keys."""
    if source.key_is_proven:
        return
    key = sql.SQL(", ").join(columns)
    missing = sql.SQL(" OR ").join(sql.SQL("{} IS NULL").format(column) for column in columns)
    query = sql.SQL("SELECT {}, count(*) FROM {} GROUP BY {} HAVING {} OR count(*) > 1 ORDER BY {} LIMIT {}").format(
        key, relation, key, missing, key, _SHOWN + 1
    )
    found = conn.execute(query).fetchall()
    if not found:
        return
    shown = "; ".join(_told(source.schema.key, *row) for row in found[:_SHOWN])
    more = "; and others" if len(found) > _SHOWN else ""
    raise BadInputError(
        f"the key ({', '.join(source.schema.key)}) does not identify every row: {shown}{more}",
        where=f"dataset {source.dataset}, {source.name}",
        mend=f"Mend its rows, or name columns in `key` of [master.datasets.{source.dataset}] that are unique and"
        " never null.",
    )


def _told(names: Sequence[str], *row: object) -> str:
    *values, rows = row
    key = ", ".join(
        f"{name} is NULL" if value is None else f"{name}={shortened(str(value))}"
        for name, value in zip(names, values, strict=True)
    )
    return f"{key} in {rows} rows" if rows != 1 else f"{key} in 1 row"

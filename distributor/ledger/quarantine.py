"""Rows that are held back: from every environment, because a rule fails, or from one whose system cannot take them."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, and_, delete, func, select, update
from sqlalchemy.dialects.postgresql import insert

from distributor.ledger.tables import quarantine as table
from distributor.model.unfit import Unfit, shortened

EVERYWHERE = "*"
"""The environment of rows that are held back when a release is made."""

Key = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class HeldRow:
    """`key` is the row's, as canonical texts. `release` was being made, or taken, when it did not fit the last time.

    `system` is "" and `table` the dataset where the row is held back from every environment; `why` is half a sentence
    like that of `model.unfit.Unfit`. `let_pass`: the reason for which it may go out once as it is.
    """

    environment: str
    dataset: str
    key: Key
    release: int
    system: str
    table: str
    column: str
    value: str | None
    why: str
    since: datetime
    let_pass: str | None = None

    @classmethod
    def of(cls, unfit: Unfit, environment: str, system: str, release: int, at: datetime) -> HeldRow:
        """A row that a system of an environment cannot take."""
        return cls(
            environment=environment,
            dataset=unfit.dataset,
            key=unfit.key,
            release=release,
            system=system,
            table=unfit.table,
            column=unfit.column,
            value=unfit.value,
            why=unfit.why,
            since=at,
        )


_COLUMNS = [table.c[name] for name in HeldRow.__dataclass_fields__]
_KEY = ("environment", "dataset", "key")
_KEPT = (*_KEY, "since", "let_pass")


def hold(conn: Connection, entries: Iterable[HeldRow]) -> None:
    """Holds rows back. Those that already are keep since when, and what was said of them by a person."""
    values = [{name: getattr(entry, name) for name in HeldRow.__dataclass_fields__} for entry in entries]
    for value in values:
        value["key"] = list(value["key"])
        value["value"] = shortened(value["value"])
    if values:
        statement = insert(table)
        news: dict[str, Any] = {
            name: statement.excluded[name] for name in HeldRow.__dataclass_fields__ if name not in _KEPT
        }
        # Reports come late: one of a former release says nothing of what the row has become since.
        news["release"] = func.greatest(table.c.release, statement.excluded.release)
        conn.execute(statement.on_conflict_do_update(index_elements=list(_KEY), set_=news), values)


def held(
    conn: Connection, environment: str | None = EVERYWHERE, datasets: Collection[str] | None = None
) -> list[HeldRow]:
    """What is held back, by environment, dataset and key; None stands for all environments, or all datasets."""
    query = select(*_COLUMNS).order_by(table.c.environment, table.c.dataset, table.c.key)
    if environment is not None:
        query = query.where(table.c.environment == environment)
    if datasets is not None:
        query = query.where(table.c.dataset.in_(datasets))
    return [HeldRow(**{**row._mapping, "key": tuple(row.key)}) for row in conn.execute(query)]


def let_go(conn: Connection, environment: str, dataset: str, keys: Collection[Key]) -> int:
    """These rows are held back no longer; returns how many were."""
    return sum(conn.execute(delete(table).where(_of(environment, dataset, key))).rowcount for key in keys)


def let_all_go(conn: Connection, environment: str) -> None:
    """No row is held back from this environment any longer."""
    conn.execute(delete(table).where(table.c.environment == environment))


def let_pass(conn: Connection, dataset: str, keys: Collection[Key], reason: str) -> None:
    """These rows, held back from every environment, go out with the next release although their rule fails."""
    for key in keys:
        conn.execute(update(table).where(_of(EVERYWHERE, dataset, key)).values(let_pass=reason))


def _of(environment: str, dataset: str, key: Key) -> ColumnElement[bool]:
    return and_(table.c.environment == environment, table.c.dataset == dataset, table.c.key == list(key))

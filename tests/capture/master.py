"""A master and its datasets for tests."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import psycopg

from distributor.capture.fixed import connect
from distributor.capture.inspect import Source, inspect
from distributor.capture.triggers import install
from distributor.settings.models import Broker, Dataset, Ledger, Master, Settings, StoreSettings

Row = tuple[str | None, ...]


def datasets(**tables: str) -> dict[str, Dataset]:
    return {name: Dataset(table=table) for name, table in tables.items()}


def settings_for(master: str, ledger: str, store: Path, configured: Mapping[str, Dataset]) -> Settings:
    return Settings(
        master=Master(url=master, datasets=dict(configured)),
        ledger=Ledger(url=ledger),
        broker=Broker(url="amqp://localhost"),
        store=StoreSettings(path=store),
    )


def sources(url: str, configured: Mapping[str, Dataset]) -> dict[str, Source]:
    with connect(url) as connection:
        return inspect(connection, configured)


def install_capture(url: str, configured: Mapping[str, Dataset]) -> tuple[str, ...]:
    with connect(url) as connection:
        return install(connection, inspect(connection, configured).values())


def run(url: str, *statements: str) -> None:
    """Each statement in a transaction of its own, by a plain connection."""
    with psycopg.connect(url, autocommit=True) as connection:
        for statement in statements:
            connection.execute(statement)


def journal(url: str) -> dict[str, set[str]]:
    """What the triggers wrote: dataset → keys; `*` stands for the whole dataset."""
    found: dict[str, set[str]] = {}
    with psycopg.connect(url) as connection:
        for dataset, keys, whole in connection.execute(
            "SELECT dataset, keys, whole FROM distributor_capture.changed_keys"
        ):
            found.setdefault(dataset, set()).update(["*"] if whole else keys)
    return found


def empty_journal(url: str) -> None:
    run(url, "DELETE FROM distributor_capture.changed_keys")

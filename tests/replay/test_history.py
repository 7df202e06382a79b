"""Sixteen months of a real catalogue, replayed: the first snapshot is imported, every later one arrives as ordinary
SQL of somebody else, and the daemons carry it to four systems. Nothing of the comparison is the project's own code.
"""

from __future__ import annotations

import json
import os
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import psycopg
import pytest

from distributor.demo.estate import Estate
from distributor.demo.estate_config import EnvironmentPlan, SystemPlan
from distributor.demo.readers import Place
from tests.replay import history
from tests.replay.history import Step

pytestmark = [pytest.mark.services, pytest.mark.replay, pytest.mark.long, pytest.mark.timeout(900)]

DATA = history.data_directory()
ENVIRONMENT = "prod"
_PARTS = {"part": "part"}
SYSTEMS = (
    SystemPlan("shop", "postgresql", _PARTS),
    SystemPlan("search", "postgresql", {"part": "documents"}),
    SystemPlan("till", "sqlite", _PARTS),
    SystemPlan("kiosk", "sqlite", {"part": "articles"}),
)
STEP_SECONDS = 120.0


@pytest.fixture
def estate(services_directory: Path, amqp_url: str) -> Iterator[Estate]:
    plan = EnvironmentPlan(ENVIRONMENT, "auto", SYSTEMS)
    estate = Estate(services_directory / "replay", [plan], datasets=_PARTS, broker_url=amqp_url)
    try:
        estate.start_servers()
        with psycopg.connect(estate.master_url, autocommit=True) as master:
            master.execute(history.TABLE.encode())
        estate.verb("init")
        estate.verb("capture install")
        yield estate
    finally:
        estate.remove()


@pytest.mark.skipif(DATA is None, reason="the data set shared/data/buildcores-open-db is not beside this checkout")
def test_every_monthly_release_has_the_counts_of_the_history_and_the_end_is_the_last_snapshot(estate: Estate) -> None:
    assert DATA is not None
    file = DATA / "history" / f"full-{history.BASE}.parquet"
    estate.verb("import", dataset="part", file=file)
    base = history.snapshot(DATA, history.BASE)
    replay(estate, history.steps(DATA), first_rows=len(base))
    expected = history.snapshot(DATA, history.LAST)
    for place in estate.places():
        assert stored(place) == expected, place.name


@pytest.mark.skipif(DATA is None, reason="the data set shared/data/buildcores-open-db is not beside this checkout")
@pytest.mark.skipif(
    "DISTRIBUTOR_REPLAY_DAILY" not in os.environ, reason="48 more releases: set DISTRIBUTOR_REPLAY_DAILY=1"
)
def test_every_daily_release_has_the_counts_of_the_history(estate: Estate, tmp_path: Path) -> None:
    assert DATA is not None
    monthly, daily = history.steps(DATA), history.steps(DATA, daily=True)
    rows = history.snapshot(DATA, history.BASE)
    for step in monthly:
        if step.date <= history.DAILY_BASE:
            history.apply_to_values(rows, step)
    file = tmp_path / "base.jsonl"
    file.write_text(
        "".join(
            json.dumps({"category": category, "id": key, "record": record}) + "\n"
            for (category, key), record in rows.items()
        )
    )
    estate.verb("import", dataset="part", file=file)
    replay(estate, daily, first_rows=len(rows))
    for step in daily:
        history.apply_to_values(rows, step)
    for place in estate.places():
        assert stored(place) == rows, place.name


def replay(estate: Estate, steps: list[Step], *, first_rows: int) -> None:
    """Publishes what is there as release 1, then each step as one; checks counts and rows of every release."""
    estate.verb("publish")
    estate.start_roles()
    wait_for_release(estate, 1)
    with psycopg.connect(estate.master_url, autocommit=True) as master:
        for number, step in enumerate(steps, 2):
            history.apply(master, step)
            wait_for_release(estate, number)
            assert [rows_in(place) for place in estate.places()] == [step.rows_after] * len(SYSTEMS), step.date
    listed = estate.verb("releases", limit=100)["releases"]
    counts = {line["number"]: line["counts"]["part"] for line in listed}
    assert counts.pop(1) == {"inserts": first_rows, "updates": 0, "deletes": 0}
    assert counts == {
        number: {"inserts": step.add, "updates": step.update, "deletes": step.delete}
        for number, step in enumerate(steps, 2)
    }


def wait_for_release(estate: Estate, release: int) -> None:
    """Until every system itself says that it shows a release."""
    deadline = time.monotonic() + STEP_SECONDS
    while (shown := [shows(place) for place in estate.places()]) != [release] * len(SYSTEMS):
        assert not estate.dead(), estate.dead()
        assert time.monotonic() < deadline, f"release {release} did not come online: {shown}"
        time.sleep(0.02)


def shows(place: Place) -> int | None:
    """The release that a system's readers see; None before there is anything to read."""
    try:
        found = ask(place, "SELECT max(release) FROM distributor_release")[0][0]
    except (psycopg.errors.UndefinedTable, sqlite3.OperationalError):
        return None
    return None if found is None else int(found)


def rows_in(place: Place) -> int:
    """How many rows a system's readers see."""
    return int(ask(place, f"SELECT count(*) FROM {place.tables['part']}")[0][0])


def stored(place: Place) -> dict[tuple[str, str], object]:
    """(category, id) → the record's value, as a system's readers see it."""
    text = "record::text" if place.adapter == "postgresql" else "record"
    rows = ask(place, f"SELECT category, id, {text} FROM {place.tables['part']}")
    return {(category, key): json.loads(record) for category, key, record in rows}


def ask(place: Place, query: str) -> list[tuple[Any, ...]]:
    """One query in a system, with its plain driver."""
    if place.adapter == "postgresql":
        with psycopg.connect(place.url) as connection:
            return connection.execute(query.encode()).fetchall()
    with closing(sqlite3.connect(f"file:{place.sqlite_path}?mode=rw", uri=True, timeout=10)) as file:
        return file.execute(query).fetchall()

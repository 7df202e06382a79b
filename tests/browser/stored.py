"""What the systems store, read past everything of ours: with the drivers of their stores."""

from __future__ import annotations

import sqlite3
from contextlib import closing

import psycopg

from tests.browser.estate import World

QUERY = "SELECT product_id, revision FROM products ORDER BY product_id"
Rows = list[tuple[int, int]]


def in_master(world: World) -> Rows:
    """Product and revision, as the master has them."""
    with psycopg.connect(world.estate.master_url) as master:
        return [(int(key), int(revision)) for key, revision in master.execute(QUERY)]


def in_systems(world: World, environment: str) -> dict[str, Rows]:
    """The same in every system of an environment."""
    found: dict[str, Rows] = {}
    for place in world.estate.places(environment):
        if place.adapter == "sqlite":
            with closing(sqlite3.connect(place.url.removeprefix("sqlite:///"), timeout=10)) as store:
                rows = store.execute(QUERY).fetchall()
        else:
            with psycopg.connect(place.url) as postgresql:
                rows = postgresql.execute(QUERY).fetchall()
        found[place.system] = [(int(key), int(revision)) for key, revision in rows]
    return found

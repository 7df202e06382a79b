"""The expected side, computed in SQL from the image, against an independent computation with hashlib."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

import pytest

from distributor.errors import DistributorError
from distributor.ledger.engine import ledger_engine
from distributor.mapping.compiled import Compiled, compile_table
from distributor.mapping.tables import ColumnMapping, TableMapping
from distributor.model.certificate import TableCertificate
from distributor.model.types import LogicalType
from distributor.requests.expectations import Content
from distributor.settings.models import Dataset
from distributor.verification.answers import Sum
from distributor.verification.expected import expected_side
from tests.capture.master import datasets, run
from tests.publishing.estate import Estate, Row, Rows

pytestmark = pytest.mark.services
DDL = (
    'CREATE TABLE items (sku text, "leaf" int, "Name, of ""it""" text, hash numeric(12,3), PRIMARY KEY (sku, leaf))',
    """INSERT INTO items SELECT 'P' || i, i % 3, CASE i % 5 WHEN 0 THEN NULL WHEN 1 THEN '' ELSE 'Größe ' || i END, i
       FROM generate_series(1, 2000) i""",
    "CREATE TABLE prices (sku text PRIMARY KEY)",
)
CHANGES = (
    "UPDATE items SET hash = hash + 0.5 WHERE leaf = 1; INSERT INTO prices VALUES ('x')",
    "DELETE FROM items WHERE sku LIKE 'P1%'; INSERT INTO items VALUES ('new', 1, 'x', NULL), ('P1', 1, 'again', 7)",
    "INSERT INTO items VALUES ('P10', 1, NULL, 8), ('late', 0, '', 0); DELETE FROM items WHERE sku = 'new'",
)


@pytest.fixture
def history(database: Callable[[], str], tmp_path: Path) -> tuple[Estate, list[dict[str, Rows]]]:
    """An estate of four releases, and what each of them had: replayed from the chunks by plain code."""
    estate = Estate.create(database, tmp_path / "store", datasets(items="items", prices="prices"), *DDL)
    estate.publish()
    known = [{name: dict(rows) for name, rows in estate.replayed.items()}]
    for change in CHANGES:
        estate.run(*change.split("; "))
        estate.publish()
        known.append({name: dict(rows) for name, rows in estate.replayed.items()})
    return estate, known


@pytest.mark.parametrize("release", [4, 3, 2, 1])
def test_releases_before_and_after_a_change_of_columns(
    database: Callable[[], str], tmp_path: Path, release: int
) -> None:
    configured = {"items": Dataset(table="items", drift="evolve"), "prices": Dataset(table="prices")}
    estate = Estate.create(database, tmp_path / "store", configured, *DDL)
    changes = ("", CHANGES[0], "ALTER TABLE items RENAME hash TO price; UPDATE items SET price = 1 WHERE leaf = 2")
    known = []
    for change in (*changes, "DELETE FROM items WHERE leaf = 0; INSERT INTO prices VALUES ('y')"):
        estate.run(*filter(None, change.split("; ")))
        estate.publish()
        known.append({name: dict(rows) for name, rows in estate.replayed.items()})
    engine = ledger_engine(estate.ledger)
    with expected_side(engine, estate.store) as side:
        content = at(estate, release)
        for dataset, rows in known[release - 1].items():
            assert side.leaves(content, dataset, range(64)) == leaves(dataset, rows, set(range(64)))
    engine.dispose()


def at(estate: Estate, release: int) -> Content:
    found = estate.scalar(estate.ledger, f"SELECT manifest FROM ledger.releases WHERE number = {release}")
    return Content.read(estate.store, str(found))


def field(value: str | None) -> bytes:
    return b"-" if value is None else str(len(value.encode())).encode() + b":" + value.encode()


def lanes(dataset: str, row: Row) -> tuple[int, int]:
    digest = hashlib.md5(b"".join(map(field, (dataset, *row)))).hexdigest()
    return int(digest[:16], 16), int(digest[16:], 16)


def leaf(key: Row) -> int:
    return int(hashlib.md5(b"".join(map(field, key))).hexdigest()[:4], 16)


def leaves(dataset: str, rows: Rows, buckets: set[int]) -> dict[int, Sum]:
    found: dict[int, list[tuple[int, int]]] = {}
    for key, row in rows.items():
        if leaf(key) // 256 % 64 in buckets:
            found.setdefault(leaf(key), []).append(lanes(dataset, row))
    return {
        number: (len(all_), sum(a for a, _ in all_) % 2**64, sum(b for _, b in all_) % 2**64)
        for number, all_ in found.items()
    }


@pytest.mark.parametrize("release", [4, 3, 2, 1])
def test_leaves_rows_and_whole_rows_at_every_release(
    history: tuple[Estate, list[dict[str, Rows]]], release: int
) -> None:
    estate, known = history
    engine = ledger_engine(estate.ledger)
    content = at(estate, release)
    manifest = content.manifest
    assert manifest
    rows = known[release - 1]["items"]
    with expected_side(engine, estate.store) as side:
        everything = side.leaves(content, "items", range(64))
        assert everything == leaves("items", rows, set(range(64)))
        assert side.leaves(content, "items", [3, 60]) == leaves("items", rows, {3, 60})
        assert side.leaves(content, "items", []) == {}
        chosen = sorted(everything)[:100]
        right = {key: lanes("items", row) for key, row in rows.items() if leaf(key) in chosen}
        assert side.rows(content, "items", chosen) == right
        asked: list[Row] = [("P7", "1"), ("P10", "1"), ("new", "1"), ("never", "2"), ("late", "0"), ("P1", "1")]
        found = side.whole(content, "items", asked)
        assert {key: tuple(row) for key, row in found.items()} == {k: rows[k] for k in asked if k in rows}
        # Every bucket of the manifest is the fold of its leaves, at an older release too.
        certificate = manifest.certificate.tables["items"]
        assert {leaf // 256 % 64 for leaf in everything} == certificate.buckets.keys()
        assert sum(rows for rows, _, _ in everything.values()) == certificate.total.rows
        prices = side.leaves(content, "prices", range(64))
        assert prices == leaves("prices", known[release - 1].get("prices", {}), set(range(64)))
    engine.dispose()


def test_a_publish_meanwhile_is_not_seen(history: tuple[Estate, list[dict[str, Rows]]]) -> None:
    estate, known = history
    engine = ledger_engine(estate.ledger)
    content = at(estate, 4)
    with expected_side(engine, estate.store) as side:
        estate.run("UPDATE items SET hash = -1")
        assert estate.publish().release == 5
        assert side.leaves(content, "items", range(64)) == leaves("items", known[3]["items"], set(range(64)))
    engine.dispose()


def test_an_image_that_was_altered_is_not_what_anybody_is_compared_with(
    history: tuple[Estate, list[dict[str, Rows]]],
) -> None:
    estate, _ = history
    run(estate.ledger, "UPDATE image.items SET hash = '7.25' WHERE sku = 'P20'")
    engine = ledger_engine(estate.ledger)
    with expected_side(engine, estate.store) as side, pytest.raises(DistributorError, match="it was altered"):
        side.leaves(at(estate, 4), "items", range(64))
    engine.dispose()


def mapped(content: Content) -> Compiled:
    """Renamed keys in another order, a computed column, and not all rows."""
    columns = (
        ColumnMapping(name="Größe", expr="leaf"),
        ColumnMapping(name="label", expr='lower("Name, of ""it""") || \'!\'', type=LogicalType.parse("text")),
        ColumnMapping(name="no", expr="sku"),
    )
    assert content.manifest
    where = "hash > 100 OR hash IS NULL"
    mapping = TableMapping(dataset="items", into="articles", where=where, columns=columns)
    return compile_table("pos", mapping, content.manifest.schema_of("items"))


@pytest.mark.parametrize("release", [4, 2])
def test_leaves_and_rows_of_a_mapped_table(history: tuple[Estate, list[dict[str, Rows]]], release: int) -> None:
    estate, known = history
    engine = ledger_engine(estate.ledger)
    content = at(estate, release)
    table = mapped(content)
    rows: dict[Row, Row] = {
        (sku, leaf_): (leaf_, None if name is None else name.lower() + "!", sku)
        for (sku, leaf_), (_, _, name, hash_) in known[release - 1]["items"].items()
        if hash_ is None or float(hash_) > 100
    }
    everything = leaves("items", rows, set(range(64)))
    certified = TableCertificate.model_validate({"buckets": _folded(everything)})
    with expected_side(engine, estate.store) as side:
        assert side.shaped_leaves(content, table, certified, range(64)) == everything
        assert side.shaped_leaves(content, table, certified, [3, 60]) == leaves("items", rows, {3, 60})
        assert side.shaped_leaves(content, table, certified, []) == {}
        chosen = sorted(everything)[:100]
        right = {key: lanes("items", row) for key, row in rows.items() if leaf(key) in chosen}
        assert side.shaped_rows(content, table, chosen) == right
        with pytest.raises(DistributorError, match="it was altered"):
            side.shaped_leaves(content, table, TableCertificate(), range(64))
    engine.dispose()


def _folded(found: dict[int, Sum]) -> dict[int, list[object]]:
    buckets: dict[int, list[int]] = {}
    for number, (rows, first, second) in found.items():
        sums = buckets.setdefault(number // 256 % 64, [0, 0, 0])
        buckets[number // 256 % 64] = [sums[0] + rows, (sums[1] + first) % 2**64, (sums[2] + second) % 2**64]
    return {at: [rows, f"{first:016x}", f"{second:016x}"] for at, (rows, first, second) in buckets.items()}

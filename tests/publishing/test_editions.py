"""Editions of releases: judged by masking whole states of the master, value by value, and joining these in Python."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path

import psycopg
import pyarrow.parquet as pq
import pytest
from sqlalchemy import Engine

from distributor.errors import ConfigError
from distributor.ledger.engine import ledger_engine, transaction
from distributor.mapping.compiled import compile_system
from distributor.masking.keyed import Keyed
from distributor.masking.policy import Method
from distributor.masking.values import mask
from distributor.model.certificate import certify
from distributor.model.dataset import DatasetSchema
from distributor.model.manifest import Manifest
from distributor.publishing.editions import edition_of
from distributor.settings.desk import MaskingPolicy
from distributor.settings.environments import EnvironmentSettings, MemberSettings
from distributor.settings.models import Dataset, Settings
from distributor.settings.systems import ColumnSettings, SystemSettings, TableSettings
from distributor.store.bases import base_of
from distributor.store.chain import walk
from distributor.store.compose import net_delta
from distributor.store.directory import DirectoryStore
from distributor.store.ways import Ways
from tests.capture.master import install_capture
from tests.publishing.estate import Estate, Row, Rows, key_of, texts

pytestmark = pytest.mark.services

SECRET = "nobody knows this one"
MASKED = {
    "suppliers": {"id": "token", "name": "token", "phone": "digits", "note": "fixed"},
    "products": {"sku": "token", "supplier": "token", "ean": "digits", "cost": "token", "remark": "null"},
}
DDL = (
    "CREATE TABLE suppliers (id int PRIMARY KEY, name text, phone text, note text, city text)",
    "CREATE TABLE products (sku text PRIMARY KEY, supplier int, ean text, cost numeric(8,2), remark text, name text)",
    """INSERT INTO suppliers SELECT n, 'Supplier ' || n % 7, '+43 1 ' || 5550000 + n, 'secret ' || n, 'Wien'
       FROM generate_series(1, 40) n""",
    """INSERT INTO products SELECT 'SKU-' || n, n % 45, 4006381000000 + n, n * 1.25, 'remark ' || n, 'Chair ' || n
       FROM generate_series(1, 300) n""",
)
READ = {
    "suppliers": "SELECT id::text, name, phone, note, city FROM suppliers",
    "products": "SELECT sku, supplier::text, ean, trim_scale(cost)::text, remark, name FROM products",
}
SHELF = TableSettings(
    dataset="products",
    into="shelf",
    where="supplier IS NOT NULL",
    columns={
        "sku": "sku",
        "of": "supplier.name",
        "label": ColumnSettings(expr="upper(coalesce(supplier.phone, '?')) || ean", type="text"),
    },
)
States = dict[str, Rows]


@pytest.fixture
def estate(database: Callable[[], str], tmp_path: Path) -> Estate:
    configured = {
        "suppliers": Dataset(table="suppliers"),
        "products": Dataset(table="products", references={"supplier": "suppliers"}),
    }
    made = Estate.create(database, tmp_path / "store", configured, *DDL)
    made.settings = masked(made.settings, MASKED)
    return made


def masked(settings: Settings, columns: Mapping[str, Mapping[str, str]], secret: str = SECRET) -> Settings:
    policy = MaskingPolicy.model_validate({"secret": secret, "columns": columns})
    member = MemberSettings(adapter="sqlite", url="sqlite:///x.db")
    return settings.model_copy(
        update={
            "masking": {"test": policy},
            "environments": {"uat": EnvironmentSettings(masking="test", systems={"shop": member})},
            "systems": {"shop": SystemSettings(tables=(SHELF,))},
        }
    )


def edition(estate: Estate, number: int) -> tuple[str, Manifest, DirectoryStore]:
    engine: Engine = ledger_engine(estate.ledger)
    try:
        with transaction(engine) as conn:
            [policy] = estate.settings.policies_in_use
            sha256 = edition_of(conn, estate.settings, estate.store, policy, number)
    finally:
        engine.dispose()
    store = estate.store.edition(policy.version)
    return sha256, Manifest.model_validate_json(store.get(sha256)), store


def made_already(estate: Estate) -> dict[int, str]:
    with psycopg.connect(estate.ledger) as connection:
        return dict(connection.execute("SELECT release, manifest FROM ledger.editions ORDER BY release").fetchall())


def right(estate: Estate, manifest: Manifest, columns: Mapping[str, Mapping[str, str]] = MASKED) -> States:
    """The master's rows as they are now, masked value by value; and joined then."""
    keyed, found = Keyed(SECRET), {}
    for dataset, query in READ.items():
        schema = manifest.schema_of(dataset)
        one = columns[dataset]
        masks = [mask(Method(one[c.name]), c.type, keyed) if c.name in one else None for c in schema.columns]
        rows = {}
        clear = texts(estate.master, query)
        for row in clear.values():
            made = tuple(m(v) if m and v is not None else v for m, v in zip(masks, row, strict=True))
            rows[made[:1]] = made
        assert len(rows) == len(clear)
        found[dataset] = rows
    suppliers = found["suppliers"]
    found["products.joined"] = {
        key: (*row, *(suppliers[(row[1],)][1:3] if (row[1],) in suppliers else (None, None)))
        for key, row in found["products"].items()
    }
    return found


def shelf(states: States) -> list[Row]:
    return [
        (row[0], row[6], f"{(row[7] or '?').upper()}{row[2]}" if row[2] is not None else None)
        for row in states["products.joined"].values()
        if row[1] is not None
    ]


def apply(states: States, manifest: Manifest, store: DirectoryStore) -> None:
    """A changeset, strictly: what was there before must be what it says."""
    for restarted in manifest.restarts:
        states[restarted] = {}
    for chunk in manifest.chunks:
        schema = manifest.schema_of(chunk.dataset)
        rows = states.setdefault(chunk.dataset, {})
        width = len(schema.columns)
        table = pq.read_table(store.local_path(chunk.sha256))
        for op, *values in zip(*(column.to_pylist() for column in table.columns), strict=True):
            before, after = tuple(values[:width]), tuple(values[width:])
            if op != "insert":
                assert rows.pop(key_of(schema, before)) == before
            if op != "delete":
                assert key_of(schema, after) not in rows
                rows[key_of(schema, after)] = after
            assert op != "update" or (key_of(schema, before) == key_of(schema, after) and before != after)


def check(estate: Estate, states: States, manifest: Manifest) -> None:
    wanted = right(estate, manifest)
    assert states == wanted
    for dataset, rows in wanted.items():
        schema = manifest.schema_of(dataset)
        assert manifest.certificate.tables[dataset] == certify(dataset, schema.key_positions, rows.values())
    (table,) = compile_system(estate.settings.mapping("shop"), manifest)
    assert manifest.mapped[table.fingerprint] == certify("products", (0,), shelf(wanted))


def contents(store: DirectoryStore, manifest: Manifest, sha256: str, schema: DatasetSchema) -> Rows:
    """All rows of a dataset by the way from nothing."""
    found: States = {}
    for piece in net_delta(store, Ways(store, sha256, manifest.release).anew(), schema):
        for row in piece.to_pylist():
            values = tuple(row[f"after.{name}"] for name in schema.column_names)
            found.setdefault("", {})[key_of(schema, values)] = values
    return found.get("", {})


EDITS = (
    "UPDATE suppliers SET note = note || '!' WHERE id % {a} = 0",
    "UPDATE suppliers SET name = 'Supplier ' || {a} WHERE id % 5 = {b} % 5",
    "UPDATE products SET remark = 'other' WHERE length(sku) = 5",
    "UPDATE products SET cost = cost + {a}.07, ean = NULL WHERE supplier = {b}",
    "UPDATE products SET supplier = CASE WHEN supplier IS NULL THEN {b} END WHERE coalesce(supplier, {a}) % 11 = {a}",
    "DELETE FROM products WHERE supplier = {b}",
    "DELETE FROM suppliers WHERE id = {b}",
    "INSERT INTO suppliers VALUES ({n}, 'Supplier ' || {a}, '0' || {n}, NULL, NULL)",
    "INSERT INTO products VALUES ('new-{n}', {b}, '{n}', -{a}.5, NULL, 'new')",
    "UPDATE products SET sku = 'renamed-' || sku WHERE supplier = {a}",
    "TRUNCATE suppliers",
)


@pytest.mark.parametrize("seed", range(2))
def test_masked_changes_are_the_differences_of_masked_states(estate: Estate, seed: int) -> None:
    chance = random.Random(seed)
    states: States = {}
    assert estate.publish().release == 1
    for number in range(1, 10):
        assert number in made_already(estate)
        _, manifest, store = edition(estate, number)
        assert manifest.parent_release == number - 1
        apply(states, manifest, store)
        check(estate, states, manifest)
        released = None
        while released is None:
            values = {"a": chance.randint(2, 9), "b": chance.randint(1, 44), "n": 1000 * number + chance.randint(0, 99)}
            for text in chance.sample(EDITS[:-1] if chance.random() < 0.9 else EDITS, 3):
                with suppress(psycopg.errors.UniqueViolation):
                    estate.run(text.format(**values))
            released = estate.publish().release
        assert released == number + 1


def test_nothing_in_clear_lies_in_the_edition(estate: Estate, tmp_path: Path) -> None:
    estate.publish()
    estate.run("UPDATE products SET remark = 'remark again', cost = cost + 1 WHERE supplier < 9")
    estate.publish()
    _, _, store = edition(estate, 2)
    seen: dict[str, set[str]] = {}
    for file in store.path.rglob("*"):
        if file.is_file() and file.read_bytes()[:4] == b"PAR1":
            table = pq.read_table(file)
            for name, column in zip(table.column_names, table.columns, strict=True):
                seen.setdefault(name.split(".", 1)[-1], set()).update(map(str, column.to_pylist()))
    clear = {name: texts(estate.master, query) for name, query in READ.items()}
    suppliers, products = clear["suppliers"].values(), clear["products"].values()
    assert not {row[0] for row in products} & seen["sku"]
    assert not {row[2] for row in products} & seen["ean"]
    assert not {row[4] for row in products} & seen["remark"]
    assert not {row[1] for row in suppliers} & (seen["supplier.name"] | seen["name"])
    assert not {row[2] for row in suppliers} & seen["phone"]
    assert seen["note"] == {"masked", "None"}
    assert {row[5] for row in products} <= seen["name"]
    assert not any(SECRET.encode() in file.read_bytes() for file in estate.store.path.rglob("*") if file.is_file())


def test_tokens_join_as_clear_values_do(estate: Estate) -> None:
    estate.publish()
    sha256, manifest, store = edition(estate, 1)
    states = {schema.dataset: contents(store, manifest, sha256, schema) for schema in manifest.schemas}
    with psycopg.connect(estate.master) as master:
        counts = master.execute(
            "SELECT (SELECT count(*) FROM products p JOIN suppliers s ON s.id = p.supplier),"
            " (SELECT count(DISTINCT name) FROM suppliers),"
            " (SELECT count(*) FROM products p LEFT JOIN suppliers s ON s.id = p.supplier WHERE s.id IS NULL)"
        ).fetchone()
        master.execute("CREATE TEMP TABLE s (id text, name text); CREATE TEMP TABLE p (sku text, supplier text)")
        for row in states["suppliers"].values():
            master.execute("INSERT INTO s VALUES (%s, %s)", row[:2])
        for row in states["products"].values():
            master.execute("INSERT INTO p VALUES (%s, %s)", row[:2])
        tokens = master.execute(
            "SELECT (SELECT count(*) FROM p JOIN s ON s.id = p.supplier), (SELECT count(DISTINCT name) FROM s),"
            " (SELECT count(*) FROM p LEFT JOIN s ON s.id = p.supplier WHERE s.id IS NULL)"
        ).fetchone()
    assert tokens == counts


def test_a_first_edition_far_on_has_all_rows_and_older_ones_are_made_when_needed(estate: Estate) -> None:
    policy = estate.settings
    estate.settings = policy.model_copy(update={"masking": {}, "environments": {}})
    estate.publish()
    for step in range(2, 7):
        estate.run(f"UPDATE products SET cost = {step} WHERE supplier = {step}")
        estate.publish()
    base_of(estate.store, 4, edition_free_manifest(estate, 4))
    estate.settings = policy
    sha256, manifest, store = edition(estate, 6)
    assert (manifest.parent_release, manifest.parent) == (0, None)
    states: States = {}
    apply(states, manifest, store)
    check(estate, states, manifest)
    estate.run("UPDATE products SET name = 'x' WHERE supplier = 3")
    assert estate.publish().release == 7
    assert set(made_already(estate)) == {6, 7}
    seven, after, store = edition(estate, 7)
    assert (after.parent_release, after.parent) == (6, sha256)
    apply(states, after, store)
    check(estate, states, after)
    _, older, _ = edition(estate, 5)
    assert older.parent_release == 0
    estate.settings = policy.model_copy(update={"masking": {}, "environments": {}})
    for step in (8, 9):
        estate.run(f"UPDATE products SET name = 'y{step}' WHERE supplier < {step}")
        estate.publish()
    estate.settings = policy
    nine, newest, store = edition(estate, 9)
    eight, beside, store = edition(estate, 8)
    assert newest.parent == beside.parent == seven
    apply(states, newest, store)
    check(estate, states, newest)
    schema = newest.schema_of("products")
    back = [row for piece in net_delta(store, walk(store, eight, 8, nine, 9), schema) for row in piece.to_pylist()]
    assert len(back) == estate.scalar(estate.master, "SELECT count(*) FROM products WHERE supplier < 9")


def edition_free_manifest(estate: Estate, number: int) -> str:
    return str(estate.scalar(estate.ledger, f"SELECT manifest FROM ledger.releases WHERE number = {number}"))


def test_a_changed_policy_is_another_edition_and_the_secret_is_nowhere(estate: Estate) -> None:
    estate.publish()
    first = edition(estate, 1)
    estate.settings = masked(estate.settings, MASKED, "somebody knows another")
    second = edition(estate, 1)
    assert first[2].path != second[2].path
    assert first[0] != second[0]
    versions = [path.name for path in (estate.store.path / "editions").iterdir()]
    assert len(versions) == 2
    assert "nobody" not in repr(estate.settings.policies_in_use)


def test_a_changed_shape_begins_the_edition_anew_and_keeps_what_is_new_masked(estate: Estate) -> None:
    configured = {
        name: dataset.model_copy(update={"drift": "evolve"})
        for name, dataset in estate.settings.master.datasets.items()
    }
    estate.configure(**configured)
    estate.publish()
    estate.run("ALTER TABLE suppliers ADD COLUMN zip text DEFAULT '1010'")
    install_capture(estate.master, configured)
    assert estate.publish().release == 2
    _, manifest, store = edition(estate, 2)
    assert "zip" in manifest.restarts["suppliers"][0]
    states: States = {}
    apply(states, edition(estate, 1)[1], store)
    apply(states, manifest, store)
    assert len(states["suppliers"]) == 40
    assert {row[5] for row in states["suppliers"].values()} == {"1010"}
    estate.run("ALTER TABLE suppliers RENAME COLUMN note TO notes")
    install_capture(estate.master, configured)
    # It went out in clear, where it may; nobody who must not see it gets it under its new name.
    result = estate.publish()
    assert result.release == 3
    assert "suppliers.note: there is no such column" in result.unmasked["test"]
    with pytest.raises(ConfigError, match=r"suppliers\.note"):
        edition(estate, 3)


def test_what_left_the_config_leaves_the_edition(estate: Estate) -> None:
    estate.publish()
    master = estate.settings.master.model_copy(update={"datasets": {"products": Dataset(table="products")}})
    estate.settings = masked(
        estate.settings.model_copy(update={"master": master}), {"products": {**MASKED["products"], "supplier": "null"}}
    ).model_copy(update={"systems": {}})
    estate.run("UPDATE products SET cost = 0")
    assert estate.publish().release == 2
    assert {schema.dataset for schema in estate.head().schemas} == {"suppliers", "products"}
    _, manifest, _ = edition(estate, 2)
    assert [schema.dataset for schema in manifest.schemas] == ["products"]


def test_no_two_rows_become_one(estate: Estate) -> None:
    for columns, why in (
        ({"products": {"sku": "fixed"}}, "products.sku: unlike keys must stay unlike"),
        ({"products": {"sku": "null"}}, "products.sku: unlike keys must stay unlike"),
        ({"suppliers": {"id": "token"}}, "products.supplier: it is in clear, and suppliers.id"),
        ({"suppliers": {"id": "token"}, "products": {"supplier": "digits"}}, "mask both alike"),
        ({"products": {"nam": "token"}}, "products.nam: there is no such column; there is name"),
    ):
        estate.settings = masked(estate.settings, columns)
        estate.publish()
        with pytest.raises(ConfigError) as error:
            edition(estate, 1)
        assert why in str(error.value)

"""Changes of a dataset as changes of a table, against plain Python: rows that enter, leave and change."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from decimal import ROUND_HALF_UP, Decimal

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from distributor.mapping.compiled import Compiled
from distributor.model.certificate import EMPTY_TABLE, TableCertificate
from distributor.shaping.deltas import Shaper
from distributor.store.chunks import changeset_schema
from tests.shaping.shapes import Row, dataset, table

Rows = Mapping[str, Row]
Oracle = Callable[[Row], tuple[str | None, ...] | None]

SOURCE = dataset({"sku": "text", "Name": "text", "price": "decimal(12,2)", "active": "boolean"}, name="products")


def _gross(price: str | None) -> str | None:
    if price is None:
        return None
    exact = (Decimal(price) * Decimal("1.19")).quantize(Decimal("0.01"), ROUND_HALF_UP)
    return "0" if exact == 0 else format(exact.normalize(), "f")


ACTIVE = table(SOURCE, {"no": "sku", "gross": ("price * 1.19", "decimal(14,2)")}, "active AND price IS NOT NULL")
RENAMED = table(SOURCE, {"label": '"Name"', "the key": "sku"})
CHEAP = table(SOURCE, where="price < 10 OR price IS NULL")
SHOUTED = table(SOURCE, {"*": "*", "Name": ("upper(\"Name\") || '!'", "text")})
TABLES: list[tuple[Compiled, Oracle]] = [
    (ACTIVE, lambda r: (r[0], _gross(r[2])) if r[3] == "true" and r[2] is not None else None),
    (RENAMED, lambda r: (r[1], r[0])),
    (CHEAP, lambda r: tuple(r) if r[2] is None or Decimal(r[2]) < 10 else None),
]

_rows = st.dictionaries(
    st.sampled_from([f"P{at}" for at in range(12)]),
    st.tuples(
        st.sampled_from([None, "", "Lamp", "lamp", "Größe"]),
        st.one_of(
            st.none(), st.decimals(-20, 20, places=2).map(lambda d: "0" if d == 0 else format(d.normalize(), "f"))
        ),
        st.sampled_from(["true", "false", None]),
    ),
).map(lambda found: {key: (key, *rest) for key, rest in found.items()})


def changes(before: Rows, after: Rows) -> pa.Table:
    """What leads from one state to another, as a chunk has it; unchanged rows are not in it."""
    nothing: Row = [None] * len(SOURCE.columns)
    written = []
    for key in sorted(before.keys() | after.keys()):
        old, new = before.get(key), after.get(key)
        if old == new:
            continue
        op = "insert" if old is None else "delete" if new is None else "update"
        written.append([op, *(old or nothing), *(new or nothing)])
    columns = [pa.array([row[at] for row in written], pa.string()) for at in range(1 + 2 * len(SOURCE.columns))]
    return pa.table(columns, schema=changeset_schema(SOURCE))


def shown(compiled: Compiled, oracle: Oracle, rows: Rows) -> dict[Row, tuple[str | None, ...]]:
    """Key → row of the table, by the oracle."""
    found = [row for given_ in rows.values() if (row := oracle(given_)) is not None]
    return {tuple(row[at] for at in compiled.schema.key_positions): row for row in found}


def certificate(compiled: Compiled, rows: Mapping[Row, Row]) -> TableCertificate:
    """By docs/certificates.md, with hashlib."""
    buckets: dict[int, tuple[int, int, int]] = {}
    for key, row in rows.items():
        at = hashlib.md5(b"".join(map(_field, key))).digest()[0] % 64
        digest = hashlib.md5(b"".join(map(_field, (compiled.schema.dataset, *row)))).digest()
        first, second = int.from_bytes(digest[:8], "big"), int.from_bytes(digest[8:], "big")
        rows_, one, two = buckets.get(at, (0, 0, 0))
        buckets[at] = (rows_ + 1, (one + first) % 2**64, (two + second) % 2**64)
    written = {at: [rows_, f"{one:016x}", f"{two:016x}"] for at, (rows_, one, two) in buckets.items()}
    return TableCertificate.model_validate({"buckets": written})


def _field(text: str | None) -> bytes:
    return b"-" if text is None else f"{len(text.encode())}:".encode() + text.encode()


@pytest.mark.parametrize(("compiled", "oracle"), TABLES, ids=["active", "renamed", "cheap"])
@given(before=_rows, after=_rows)
def test_changes_lead_from_the_table_before_to_the_table_after(
    compiled: Compiled, oracle: Oracle, before: Rows, after: Rows
) -> None:
    shaper = _shaper(compiled)
    found, unfit = shaper.changes(changes(before, after))
    assert not unfit
    rows = dict(shown(compiled, oracle, before))
    wanted = shown(compiled, oracle, after)
    width = len(compiled.columns)
    for change in found.to_pylist():
        op, *values = change.values()
        old, new = tuple(values[:width]), tuple(values[width:])
        key = tuple((new if op != "delete" else old)[at] for at in compiled.schema.key_positions)
        assert rows.get(key) == (None if op == "insert" else old)
        assert (op == "delete") or new != rows.get(key)
        rows.pop(key, None)
        if op != "delete":
            rows[key] = new
    assert rows == wanted
    # What is in neither, or the same in both, is not among the changes.
    assert found.num_rows == sum(
        shown(compiled, oracle, before).get(key) != wanted.get(key)
        for key in shown(compiled, oracle, before).keys() | wanted.keys()
    )


@pytest.mark.parametrize(("compiled", "oracle"), TABLES, ids=["active", "renamed", "cheap"])
@given(first=_rows, second=_rows)
def test_the_certificate_folds_to_that_of_the_rows(
    compiled: Compiled, oracle: Oracle, first: Rows, second: Rows
) -> None:
    shaper = _shaper(compiled)
    there, _ = shaper.fold(EMPTY_TABLE, changes({}, first))
    assert there == certificate(compiled, shown(compiled, oracle, first))
    then, _ = shaper.fold(there, changes(first, second))
    assert then == certificate(compiled, shown(compiled, oracle, second))
    back, _ = shaper.fold(then, changes(second, first))
    assert back == there


def test_a_column_that_the_table_has_not_makes_no_change() -> None:
    row = ("P1", "Lamp", "1", "true")
    found, _ = _shaper(RENAMED).changes(changes({"P1": row}, {"P1": ("P1", "Lamp", "2", "false")}))
    assert found.num_rows == 0


def test_a_row_that_does_not_fit_is_named_and_counts_as_none_of_the_table() -> None:
    compiled = table(SOURCE, {"sku": "sku", "n": ('CAST("Name" AS INTEGER)', "integer")})
    fits, fails = ("P1", "7", None, None), ("P1", "seven", None, None)
    shaper = _shaper(compiled)
    gone, unfit = shaper.changes(changes({"P1": fits}, {"P1": fails}))
    assert [row["op"] for row in gone.to_pylist()] == ["delete"]
    assert [bad.key for bad in unfit] == [("P1",)]
    again, unfit = shaper.changes(changes({"P1": fails}, {"P1": fits}))
    assert [row["op"] for row in again.to_pylist()] == ["insert"]
    assert not unfit


def test_a_repair_list_says_what_shall_be_there_and_what_shall_not() -> None:
    nothing: Row = [None] * 4
    listed = [
        ["insert", *nothing, "P1", "Lamp", "2.5", "true"],
        ["insert", *nothing, "P2", "Lamp", "2.5", "false"],
        ["delete", "P3", None, None, None, *nothing],
    ]
    columns = [pa.array([row[at] for row in listed], pa.string()) for at in range(9)]
    found, unfit = _shaper(ACTIVE).repairs(pa.table(columns, schema=changeset_schema(SOURCE)))
    assert not unfit
    assert [list(row.values()) for row in found.to_pylist()] == [
        ["insert", None, None, "P1", "2.98"],
        ["delete", "P2", None, None, None],
        ["delete", "P3", None, None, None],
    ]


def test_a_star_stands_for_what_no_entry_reads_plainly() -> None:
    assert [column.name for column in RENAMED.columns] == ["label", "the key"]
    names = [column.name for column in table(SOURCE, {"*": "*", "no": "sku"}).columns]
    assert names == ["Name", "price", "active", "no"]


_shapers: dict[int, Shaper] = {}


def _shaper(compiled: Compiled) -> Shaper:
    return _shapers.setdefault(id(compiled), Shaper(compiled))

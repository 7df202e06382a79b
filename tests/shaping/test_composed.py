"""A mapped table over a chain of fifty releases: step by step, composed, from a base and back, against plain Python."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from random import Random

import pytest

from distributor.mapping.compiled import Compiled
from distributor.model.certificate import Certificate, certify
from distributor.model.manifest import Manifest
from distributor.shaping.expected import computed
from distributor.store.bases import base_of
from distributor.store.chain import walk
from distributor.store.chunks import write_chunk, write_manifest
from distributor.store.directory import DirectoryStore
from distributor.store.ways import Ways
from tests.shaping.shapes import Row, table
from tests.shaping.test_deltas import ACTIVE, CHEAP, SOURCE, TABLES, certificate, changes, shown

LENGTH = 50
# Four octets, combining marks, a family that is one sign on the screen: characters are counted, not octets.
SHORT = table(SOURCE, {"sku": "sku", "label": ('"Name"', "text(4)")})
NAMES = ("", "Lamp", "😀😀😀😀", "u\u0308u\u0308", "ß", None)
TOO_LONG = "😀😀😀😀😀"


def states(chance: Random) -> list[dict[str, Row]]:
    """Rows whose filters flip nearly every time; some rows go and come again."""
    found: list[dict[str, Row]] = [{}]
    for _ in range(LENGTH):
        rows = dict(found[-1])
        for sku in chance.sample([f"P{at}" for at in range(12)], 5):
            price = chance.choice((None, "0", "9.99", "10", "-3.5"))
            rows[sku] = (sku, chance.choice(NAMES), price, chance.choice(("true", "false", None)))
            if chance.random() < 0.2:
                del rows[sku]
        found.append(rows)
    return found


def published(store: DirectoryStore, wanted: list[dict[str, Row]]) -> list[str]:
    manifests: list[str] = []
    for number, rows in enumerate(wanted[1:], 1):
        manifest = Manifest(
            release=number,
            parent_release=number - 1,
            parent=manifests[-1] if manifests else None,
            created_at=datetime(2026, 1, 1, tzinfo=UTC),
            schemas=(SOURCE,),
            chunks=(write_chunk(store, SOURCE, changes(wanted[number - 1], rows)),),
            counts={},
            certificate=Certificate(tables={"products": certify("products", [0], rows.values())}),
        )
        manifests.append(write_manifest(store, manifest))
    return manifests


@pytest.mark.parametrize("seed", range(2))
def test_whatever_the_way_the_certificate_is_that_of_the_rows(tmp_path: Path, seed: int) -> None:
    store, wanted = DirectoryStore(tmp_path), states(Random(seed))
    manifests = published(store, wanted)
    tables: list[Compiled] = [ACTIVE, CHEAP]
    oracles = {compiled.fingerprint: (compiled, oracle) for compiled, oracle in TABLES}

    def right(release: int) -> Mapping[str, object]:
        rows = {one.fingerprint: shown(*oracles[one.fingerprint], wanted[release]) for one in tables}
        return {one.fingerprint: certificate(one, rows[one.fingerprint]) for one in tables}

    before, last = {}, (None, 0)
    for number, sha256 in enumerate(manifests, 1):
        before, unfit = computed(store, walk(store, sha256, number, *last), tables, before)
        assert (before, unfit) == (right(number), ())
        last = (sha256, number)
    middle = LENGTH // 2
    half, _ = computed(store, Ways(store, manifests[middle - 1], middle).anew(), tables, {})
    forth, back = Ways(store, manifests[-1], LENGTH), Ways(store, manifests[middle - 1], middle)
    assert computed(store, forth.delta(manifests[middle - 1], middle), tables, half)[0] == right(LENGTH)
    assert computed(store, back.delta(manifests[-1], LENGTH), tables, before)[0] == half == right(middle)
    base_of(store, middle, manifests[middle - 1])
    assert len(forth.anew().steps) == LENGTH - middle + 1
    assert computed(store, forth.anew(), tables, {})[0] == right(LENGTH)


def test_a_length_counts_characters_of_any_width(tmp_path: Path) -> None:
    store = DirectoryStore(tmp_path)
    fits: dict[str, Row] = {f"P{at}": (f"P{at}", name, None, None) for at, name in enumerate(NAMES)}
    manifests = published(store, [{}, fits, {**fits, "P1": ("P1", TOO_LONG, None, None)}])
    found, unfit = computed(store, walk(store, manifests[0], 1, None, 0), [SHORT], {})
    assert not unfit
    assert found[SHORT.fingerprint] == certificate(SHORT, {(k,): (k, row[1]) for k, row in fits.items()})
    found, unfit = computed(store, walk(store, manifests[1], 2, manifests[0], 1), [SHORT], found)
    assert [(one.key, one.column) for one in unfit] == [(("P1",), "label")]
    assert found == {}


# One row of its table divides by zero, runs over its digits, or is no number; beside it are rows that do not.
ONE_FAILS = [
    ("100 // CAST(price AS INTEGER)", "integer", "0"),
    ("price * 1000000000000000000000000000000", "decimal(38,2)", "9999999999.99"),
    ("price * 10", "decimal(4,2)", "99.99"),
    ("1 % CAST(price AS INTEGER)", "integer", "0.4"),
]


@pytest.mark.parametrize(("expr", "type_", "price"), ONE_FAILS)
def test_one_row_that_fails_is_named_and_no_other(tmp_path: Path, expr: str, type_: str, price: str) -> None:
    compiled = table(SOURCE, {"sku": "sku", "n": (expr, type_)})
    rows: dict[str, Row] = {f"P{at}": (f"P{at}", None, "1", None) for at in range(200)}
    store = DirectoryStore(tmp_path)
    manifests = published(store, [{}, rows, {**rows, "P77": ("P77", None, price, None)}, rows])
    before, unfit = computed(store, walk(store, manifests[0], 1, None, 0), [compiled], {})
    assert not unfit
    _, unfit = computed(store, walk(store, manifests[1], 2, manifests[0], 1), [compiled], before)
    assert [(one.key, one.column, one.value) for one in unfit] == [(("P77",), "n", price)]
    _, from_nothing = computed(store, Ways(store, manifests[1], 2).anew(), [compiled], {})
    assert [one.key for one in from_nothing] == [("P77",)]
    # What lies between does not matter: the net of both is nothing.
    assert computed(store, walk(store, manifests[2], 3, manifests[0], 1), [compiled], before) == (before, ())

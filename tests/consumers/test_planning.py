"""Plans: from what a slot holds to what is wanted, as values."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pytest

from consumers.adapters.base import TableSpec
from consumers.explaining import told
from consumers.loading import batch_of
from consumers.planning import Plan, plan, target_of
from distributor.errors import SchemaError, StoreError
from distributor.mapping.compiled import expected_of
from distributor.mapping.tables import SystemMapping, TableMapping
from distributor.model.dataset import Column
from distributor.model.manifest import Chunk
from distributor.model.repair import Repair
from distributor.model.types import LogicalType
from distributor.rollout.member_row import Slot
from distributor.store.bases import base_of
from distributor.store.chain import Direction
from distributor.store.chunks import changeset_schema, write_manifest
from distributor.store.ways import Ways
from tests.consumers.catalogue import PRICES, PRODUCTS, Catalogue, prices, products
from tests.consumers.estate import MAPPING


@pytest.fixture
def four(tmp_path: Path) -> Catalogue:
    """Release 2 changes five rows, 3 takes nearly all away, 4 changes one."""
    catalogue = Catalogue(tmp_path)
    catalogue.publish(products=products(50), prices=prices(50))
    catalogue.publish(products=products(5, name="Bank") | products(45, start=5))
    catalogue.publish(products=products(2), prices=set())
    catalogue.publish(products=products(3))
    return catalogue


def slot_with(catalogue: Catalogue, release: int, mapping: SystemMapping = MAPPING) -> Slot:
    manifest = catalogue.manifest(release)
    target = target_of(mapping, release, catalogue.manifests[release], manifest)
    certificate = expected_of(mapping, manifest)
    assert certificate is not None
    return Slot(identity=target.identity, manifest=target.manifest, certificate=certificate.model_dump_json())


def plan_to(catalogue: Catalogue, release: int, slot: Slot, mapping: SystemMapping = MAPPING) -> Plan:
    manifest = catalogue.manifest(release) if release else catalogue.manifest(1)
    target = target_of(mapping, release, catalogue.manifests[release], manifest)
    return plan(slot, target, Ways(catalogue.store, target.manifest, release))


def test_forwards_from_what_the_slot_holds(four: Catalogue) -> None:
    found = plan_to(four, 3, slot_with(four, 1))
    assert [(step.manifest.release, step.direction) for step in found.chain.steps] == [
        (2, Direction.FORWARD),
        (3, Direction.FORWARD),
    ]
    assert found.rebuild == ""
    assert found.base == expected_of(MAPPING, four.manifest(1))


def test_backwards_where_that_is_less_work(four: Catalogue) -> None:
    found = plan_to(four, 1, slot_with(four, 2))
    assert [(step.manifest.release, step.direction) for step in found.chain.steps] == [(2, Direction.REVERSE)]
    assert found.rows == 5


def base(catalogue: Catalogue, release: int) -> None:
    base_of(catalogue.store, release, str(catalogue.manifests[release]))


def test_a_base_where_the_way_there_is_longer(four: Catalogue) -> None:
    base(four, 3)
    found = plan_to(four, 4, slot_with(four, 1))
    assert (found.rebuild, found.rows) == ("fewer rows than from what it holds", 3)
    assert told(found) == "base of release 3 (2 rows) + 1 release"
    assert all(not table.buckets for table in found.base.tables.values())
    assert plan_to(four, 4, slot_with(four, 3)).rebuild == ""
    assert told(plan_to(four, 3, slot_with(four, 4).model_copy(update={"intact": False}))) == (
        "base of release 3 (2 rows)"
    )


def test_a_base_that_is_longer_than_the_way_there_is_left_alone(four: Catalogue) -> None:
    base(four, 1)
    base(four, 2)
    assert told(plan_to(four, 2, slot_with(four, 1))) == "delta of 5 rows over 1 release"
    assert told(plan_to(four, 1, slot_with(four, 2))) == "1 release back (5 rows)"


def test_without_anything_to_hold_on_to_the_nearest_base_is_taken(four: Catalogue) -> None:
    base(four, 1)
    base(four, 2)
    assert told(plan_to(four, 3, Slot())) == "base of release 2 (150 rows) + 1 release"
    assert told(plan_to(four, 1, Slot())) == "base of release 1 (150 rows)"


@pytest.mark.parametrize(
    ("release", "held", "way"),
    [
        (3, 1, "delta of 155 rows over 2 releases"),
        (1, 1, "nothing to load"),
        (4, None, "everything anew: 306 rows over 4 releases"),
        (0, 2, "every table emptied"),
    ],
)
def test_a_way_in_words(four: Catalogue, release: int, held: int | None, way: str) -> None:
    assert told(plan_to(four, release, slot_with(four, held) if held else Slot())) == way


def test_from_a_variant_over_its_release(four: Catalogue) -> None:
    """A variant is held: the way leads back to its release first."""
    manifest = four.manifest(2)
    variant = manifest.model_copy(update={"parent_release": 2, "parent": four.manifests[2]})
    held = slot_with(four, 2).model_copy(update={"manifest": write_manifest(four.store, variant)})
    found = plan_to(four, 4, held)
    assert [(step.manifest.release, step.direction) for step in found.chain.steps] == [
        (2, Direction.REVERSE),
        (3, Direction.FORWARD),
        (4, Direction.FORWARD),
    ]
    assert told(found) == "delta of 156 rows over 2 releases, after 1 release back"


def test_a_repair_list_is_told_too(four: Catalogue) -> None:
    assert told(in_doubt(four, 1, of=1, to=2, keys=3)) == "delta of 5 rows over 1 release, 3 rows of a repair list"


def test_a_rebuild_where_the_way_back_is_longer(tmp_path: Path) -> None:
    catalogue = Catalogue(tmp_path)
    catalogue.publish(products=products(2))
    catalogue.publish(products=products(200))
    found = plan_to(catalogue, 1, slot_with(catalogue, 2))
    assert (bool(found.rebuild), found.rows) == (True, 2)


@pytest.mark.parametrize(
    ("slot", "reason"),
    [
        (lambda c: Slot(), "empty"),
        (lambda c: slot_with(c, 1).model_copy(update={"intact": False}), "torn"),
        (
            lambda c: slot_with(
                c, 1, SystemMapping(system="crm", tables=(TableMapping(dataset="products", into="p"),))
            ),
            "mapping",
        ),
        (lambda c: slot_with(c, 1).model_copy(update={"manifest": "0" * 64}), "is missing|does not descend"),
    ],
    ids=["empty", "torn", "mapping", "another history"],
)
def test_what_leaves_only_a_rebuild(four: Catalogue, slot: object, reason: str) -> None:
    found = plan_to(four, 2, slot(four))  # type: ignore[operator]
    assert [step.manifest.release for step in found.chain.steps] == [1, 2]
    assert any(part in found.rebuild for part in reason.split("|"))
    assert all(not table.buckets for table in found.base.tables.values())


def test_other_shapes_leave_only_a_rebuild(four: Catalogue) -> None:
    held = slot_with(four, 1)
    assert held.identity is not None
    changed = held.identity.model_copy(update={"schema_": "of last year"})
    assert "shape" in plan_to(four, 2, held.model_copy(update={"identity": changed})).rebuild


def test_a_dataset_that_the_system_does_not_hold_may_change_its_shape(four: Catalogue) -> None:
    mapping = SystemMapping(system="crm", tables=(TableMapping(dataset="products", into="items"),))
    wider = PRICES.model_copy(
        update={"columns": (*PRICES.columns, Column(name="note", type=LogicalType.parse("text")))}
    )
    manifest = four.manifest(1)
    changed = manifest.model_copy(update={"schemas": (PRODUCTS, wider)})
    assert target_of(mapping, 1, "x", manifest) == target_of(mapping, 1, "x", changed)


def test_to_release_zero_empties_every_table(four: Catalogue) -> None:
    found = plan_to(four, 0, slot_with(four, 2))
    assert found.rebuild
    assert (found.chain.steps, set(found.base.tables)) == ((), {"items", "prices"})


def test_a_lost_manifest_is_said(four: Catalogue) -> None:
    target = target_of(MAPPING, 4, "f" * 64, four.manifest(4))
    with pytest.raises(StoreError, match="missing"):
        plan(slot_with(four, 1), target, Ways(four.store, target.manifest, 4))


def test_a_release_without_a_mapped_dataset_is_said(four: Catalogue) -> None:
    manifest = four.manifest(1).model_copy(update={"schemas": (PRODUCTS,)})
    with pytest.raises(SchemaError, match="prices"):
        target_of(MAPPING, 1, "x", manifest)


def test_a_batch_is_rows_to_write_and_keys_to_remove() -> None:
    schema = PRICES
    changes = pa.table(
        {
            "op": ["insert", "delete", "update"],
            "before.sku": [None, "b", "c"],
            "before.currency": [None, "EUR", "EUR"],
            "before.amount": [None, "2", None],
            "after.sku": ["a", None, "c"],
            "after.currency": ["EUR", None, "EUR"],
            "after.amount": ["1", None, "3"],
        },
        schema=changeset_schema(schema),
    )
    batch = batch_of(TableSpec(TableMapping(dataset="prices", into="prices"), schema), changes)
    assert batch.upserts.to_pylist() == [
        {"sku": "a", "currency": "EUR", "amount": "1"},
        {"sku": "c", "currency": "EUR", "amount": "3"},
    ]
    assert batch.deletes.to_pylist() == [{"sku": "b", "currency": "EUR"}]
    assert batch.rows == 3


def in_doubt(catalogue: Catalogue, release: int, *, of: int | None, to: int, keys: int = 1) -> Plan:
    """The plan for a slot in doubt, with a repair list of some release."""
    slot = slot_with(catalogue, release).model_copy(update={"doubt": "items: 1 of 64 buckets differs"})
    manifest = catalogue.manifest(to)
    target = target_of(MAPPING, to, catalogue.manifests[to], manifest)
    chunk = Chunk(dataset="products", sha256="0" * 64, rows=keys, bytes=1)
    repair = Repair(release=of, manifest=catalogue.manifests[of], chunks=(chunk,)) if of else None
    return plan(slot, target, Ways(catalogue.store, target.manifest, to), repair=repair)


@pytest.mark.parametrize(
    ("release", "of", "to", "ends"), [(1, 1, 2, False), (2, 2, 2, False), (1, 2, 2, True), (2, 2, 1, False)]
)
def test_a_slot_in_doubt_is_mended_where_the_list_fits(
    four: Catalogue, release: int, of: int, to: int, ends: bool
) -> None:
    found = in_doubt(four, release, of=of, to=to)
    assert found.repair is not None
    assert (found.rebuild, found.repair.release, found.ends) == ("", of, ends)
    assert found.rows == (0 if release == to else 5) + 1


@pytest.mark.parametrize(("of", "why"), [(None, "buckets differs"), (4, "its repair list is of release 4")])
def test_a_slot_in_doubt_without_a_list_that_fits_is_rebuilt(four: Catalogue, of: int | None, why: str) -> None:
    found = in_doubt(four, 1, of=of, to=2)
    assert (found.repair, [step.manifest.release for step in found.chain.steps]) == (None, [1, 2])
    assert why in found.rebuild


def test_a_list_that_is_longer_than_everything_is_left_alone(four: Catalogue) -> None:
    found = in_doubt(four, 2, of=2, to=2, keys=1000)
    assert (bool(found.rebuild), found.repair) == (True, None)

"""The way that `plan` tells beforehand is the one that a member's own plan comes to."""

from __future__ import annotations

from pathlib import Path

import pytest

from consumers.explaining import told
from consumers.planning import plan, target_of
from distributor.mapping.compiled import expected_of
from distributor.mapping.tables import SystemMapping, TableMapping
from distributor.requests.expectations import Content
from distributor.requests.wayfinding import Known, way
from distributor.rollout.member_row import Slot
from distributor.store.ways import Ways
from tests.consumers.catalogue import Catalogue, prices, products
from tests.consumers.estate import MAPPING

OTHER = SystemMapping(system=MAPPING.system, tables=(TableMapping(dataset="products", into="articles"),))


@pytest.fixture
def catalogue(tmp_path: Path) -> Catalogue:
    """Release 2 changes five rows, 3 takes nearly all away, 4 changes one."""
    made = Catalogue(tmp_path)
    made.publish(products=products(50), prices=prices(50))
    made.publish(products=products(5, name="Bank") | products(45, start=5))
    made.publish(products=products(2), prices=set())
    made.publish(products=products(3))
    return made


def slot_with(catalogue: Catalogue, release: int, mapping: SystemMapping, *, intact: bool) -> Slot:
    manifest = catalogue.manifest(release)
    target = target_of(mapping, release, catalogue.manifests[release], manifest)
    certificate = expected_of(mapping, manifest)
    assert certificate is not None
    written = certificate.model_dump_json()
    return Slot(identity=target.identity, manifest=target.manifest, certificate=written, intact=intact)


@pytest.mark.parametrize("mapping", [MAPPING, OTHER], ids=["same mapping", "another one"])
@pytest.mark.parametrize("target", range(5))
@pytest.mark.parametrize("held", [None, *range(5)])
def test_both_say_the_same(catalogue: Catalogue, held: int | None, target: int, mapping: SystemMapping) -> None:
    """`held`: the release in the shadow; None while it is torn."""
    sha256 = catalogue.manifests[target]
    shadow = catalogue.manifests[held] if held is not None else None
    known = Known(heard=True, shadow=held, manifest=shadow, mapping_changed=mapping != MAPPING)
    found = way(catalogue.store, known, Content.read(catalogue.store, sha256), ["products", "prices"])

    slot = slot_with(catalogue, held or 1, mapping, intact=held is not None) if held != 0 else Slot()
    shapes = catalogue.manifest(target or 1)
    own = plan(slot, target_of(MAPPING, target, sha256, shapes), Ways(catalogue.store, sha256, target))
    assert (found.told, found.rows, found.rebuild) == (told(own), own.rows, own.rebuild)

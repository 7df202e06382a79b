"""A mapping that changes while a rollout under the former one waits: readers see one content or the other, whole."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.cli import mapped
from tests.cli.mapped import CHANGES, World
from tests.support import wait_for

pytestmark = pytest.mark.services
make_mapped = mapped.make_mapped


@pytest.mark.parametrize("system", ["crm", pytest.param("pos", marks=pytest.mark.long)])
def test_a_mapping_changed_while_a_rollout_is_staged(make_mapped: Callable[..., World], system: str) -> None:
    world = make_mapped()
    world.deploy()
    before = world.stored()
    world.change(*CHANGES)
    world("hold", "uat", "--reason", "a change of the mapping")
    asked = world.json("deploy", "uat", "--no-wait")["rollout"]["id"]

    def state() -> str:
        return str(world.json("rollout", asked)["rollout"]["state"])

    def heard() -> str:
        [environment] = world.json("status", "uat")["environments"]
        [member] = [one for one in environment["members"] if one["system"] == system]
        return str(member["heard_at"])

    wait_for(lambda: state() == "converged", 60, "the staged rollout")
    staged = world.right()
    world.stop(system)
    if system == "crm":
        world.configure(where="price > 100", rate="1.07")
    else:
        world.config.write_text(world.config.read_text().replace("'yes', 'no'", "'ja', 'nein'"))
    last = heard()
    world.start(system)
    wait_for(lambda: heard() != last, 60, "its greeting under the new mapping")
    assert world.stored() == before
    world("release-hold", "uat")
    wait_for(lambda: state() in ("online", "abandoned", "reverted"), 60, "the end")
    assert world.stored() == (staged if state() == "online" else before)
    if system == "crm":
        world.deploy()
        assert world.stored() == world.right()
        assert not world.json("verify", "uat")["different"]

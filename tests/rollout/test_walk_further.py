"""The walks that take about a minute together. They need no server, and run with the tests that do: those have time."""

from __future__ import annotations

import pytest

from tests.rollout.walk import walk
from tests.rollout.world import DEPLOY_1, DEPLOY_2, Bounds

pytestmark = [pytest.mark.services, pytest.mark.timeout(900)]


@pytest.mark.long
@pytest.mark.parametrize(
    "bounds",
    [
        Bounds(wishes=DEPLOY_2, epochs=3),
        Bounds(wishes=DEPLOY_1, epochs=2, refusals=True, misfits=True, greetings=True, holds=True),
        Bounds(required=("a", "b", "c"), wishes=DEPLOY_1, epochs=2, misfits=True),
    ],
    ids=["two members, two releases", "two members, everything", "three members"],
)
def test_nothing_breaks_with_all_rules(bounds: Bounds) -> None:
    assert walk(bounds).complete

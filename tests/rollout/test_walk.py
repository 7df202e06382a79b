"""Every state that the rule-book can reach, within small bounds; and the same walk with each rule switched off."""

from __future__ import annotations

import pytest

from distributor.rollout.state import Cause
from tests.rollout.mutants import MUTANTS, Mutant
from tests.rollout.walk import walk
from tests.rollout.world import Bounds, Violation

_ONE = (Cause.OPERATOR,)
_TWO = (Cause.OPERATOR, Cause.OPERATOR)


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda m: m.name.split()[0])
def test_a_walk_finds_what_breaks_without_a_rule(mutant: Mutant, monkeypatch: pytest.MonkeyPatch) -> None:
    mutant.patch(monkeypatch)
    with pytest.raises(Violation) as found:
        walk(mutant.bounds, limit=60_000, fair_every=20 if mutant.breaks == "liveness" else 0, prune=mutant.prune)
    assert str(found.value).startswith(mutant.breaks)


@pytest.mark.parametrize(
    "bounds",
    [
        Bounds(causes=_ONE, epochs=2, loaders=1),
        Bounds(causes=_ONE, epochs=3, loaders=1, loaded=True, detaches=("a",), greetings=True, deadlines=False),
        Bounds(causes=_ONE, epochs=2, loaders=1, required=("a",), optional=("b",), start={"b": 1}, refusals=True),
        Bounds(causes=_TWO, epochs=4, loaders=2, required=("a",), refusals=True, deaths=True),
    ],
    ids=["two required", "detached and back", "optional already there", "two releases, two loaders"],
)
def test_nothing_breaks_with_all_rules(bounds: Bounds) -> None:
    assert walk(bounds, limit=10_000, fair_every=40).states > 1_000

"""Every state that the rule-book can reach, within small bounds; and the same walk with each rule switched off.

Larger bounds are in test_walk_further.py and, with what each of them counted, in docs/protocol-walk.md.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from distributor.rollout.state import Cause
from tests.rollout import restores
from tests.rollout.mutants import MUTANTS, Mutant
from tests.rollout.walk import walk
from tests.rollout.world import DEPLOY_1, Bounds, Violation

PAGE = Path(__file__).parents[2] / "docs" / "protocol-walk.md"
_DEPLOY_AND_BACK = ((Cause.OPERATOR, 1), (Cause.ROLLBACK, 0))


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda m: m.rule)
def test_what_breaks_without_a_rule_is_found(mutant: Mutant, monkeypatch: pytest.MonkeyPatch) -> None:
    mutant.patch(monkeypatch)
    with pytest.raises(Violation) as found:
        mutant.look()
    assert str(found.value).startswith(mutant.breaks)


def test_every_rule_is_switched_off_once_and_the_page_says_what_finds_it() -> None:
    assert {mutant.rule.rstrip("ab") for mutant in MUTANTS} == {f"V{n}" for n in range(1, 23)}
    rows = [line.split(" | ")[:2] for line in PAGE.read_text(encoding="utf-8").splitlines() if line.startswith("| V")]
    assert [f"{rule.removeprefix('| ')} {name}" for rule, name in rows] == [mutant.name for mutant in MUTANTS]


@pytest.mark.parametrize(
    "scenario",
    [restores.forgotten_decision, restores.reused_epoch, restores.forgotten_epochs],
    ids=lambda s: s.__name__,
)
def test_a_restored_ledger_does_no_harm(scenario: restores.Scenario) -> None:
    scenario()


@pytest.mark.parametrize(
    "bounds",
    [
        Bounds(wishes=DEPLOY_1, epochs=2, refusals=True, misfits=True),
        Bounds(wishes=DEPLOY_1, epochs=2, greetings=True),
        Bounds(wishes=DEPLOY_1, epochs=2, holds=True),
        Bounds(wishes=DEPLOY_1, epochs=3, loaded=True, detaches=("a",), greetings=True, deadlines=False),
        Bounds(required=("a",), optional=("b",), wishes=DEPLOY_1, epochs=2, start={"b": 1}, misfits=True),
        Bounds(required=("a",), wishes=_DEPLOY_AND_BACK, epochs=4, refusals=True, misfits=True, greetings=True),
        Bounds(required=("a", "b", "c"), wishes=DEPLOY_1, epochs=2, aborts=False, deadlines=False, loaded=True),
    ],
    ids=[
        "two required",
        "they come and go",
        "holds",
        "detached and back",
        "optional already there",
        "there and back again",
        "three required",
    ],
)
def test_nothing_breaks_with_all_rules(bounds: Bounds) -> None:
    assert walk(bounds).complete


def test_what_a_walk_leaves_out_would_break_nothing() -> None:
    bounds = Bounds(wishes=DEPLOY_1, epochs=2, loaders=1)
    whole, less = walk(bounds, prune=False, greatest=False), walk(bounds)
    assert whole.complete
    assert less.complete
    assert whole.states > less.states

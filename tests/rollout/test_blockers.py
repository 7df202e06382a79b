"""Every reason why something does not get on: what is said, since when, what would help; docs/runbook.md has it all."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from distributor.rollout.blockers import Beside, Blocker, Reason, Stall, blockers
from distributor.rollout.state import (
    Answer,
    Cause,
    Environment,
    Hold,
    Member,
    Requirement,
    Rollout,
    RolloutState,
    Timing,
)
from distributor.rollout.waiting import waiting_for

NOW = datetime(2026, 7, 1, 12, tzinfo=UTC)
LONG_AGO = NOW - timedelta(hours=3)
SERVE = "distributor serve consumer --env prod --system warehouse"
DETACH = "distributor detach prod warehouse --reason …"
ROLLOUT = Rollout(
    id="r1",
    release=7,
    cause=Cause.OPERATOR,
    by="ann",
    reason="",
    requested_at=NOW,
    required=frozenset({"crm", "warehouse"}),
    optional=frozenset({"till"}),
    expected={},
    timing=Timing(),
    state=RolloutState.STAGING,
    from_release=6,
    epoch=3,
    answers={"crm": Answer(staged=True, from_release=6, sent_at=NOW), "warehouse": Answer(sent_at=NOW)},
)
HEARD = Member(Requirement.REQUIRED, shows=6, floor=3, heard_at=NOW)
PROD = Environment(
    "prod",
    epoch=3,
    shown=6,
    members={"crm": HEARD, "warehouse": HEARD, "till": replace(HEARD, requirement=Requirement.OPTIONAL)},
    active=ROLLOUT,
)
SLOW = "nothing that its store knows of: the phase is slow"
LOCK = Stall(
    "r1",
    "load",
    NOW - timedelta(seconds=42),
    "session 4711 of ann (psql, idle in transaction since 2026-07-01 11:58:00 UTC), which holds AccessExclusiveLock on"
    " distributor_b.stock; its last query: LOCK TABLE distributor_b.stock",
    "SELECT pg_terminate_backend(4711)",
    NOW,
)


def rollout(**changes: object) -> Environment:
    return replace(PROD, active=replace(ROLLOUT, **changes))  # type: ignore[arg-type]


def warehouse(state: Environment, **changes: object) -> Environment:
    member = replace(state.members["warehouse"], **changes)  # type: ignore[arg-type]
    return replace(state, members={**state.members, "warehouse": member})


def converged(state: Environment = PROD) -> Environment:
    assert state.active
    return replace(state, active=replace(state.active, state=RolloutState.CONVERGED))


def hold(owner: str, until: datetime | None = None) -> Hold:
    return Hold(owner, "price tests", LONG_AGO, until)


IDLE = replace(PROD, active=None)
CASES: dict[str, tuple[Environment, Beside, list[Blocker]]] = {
    "silent": (
        warehouse(PROD, heard_at=LONG_AGO),
        Beside(),
        [
            Blocker(
                Reason.SILENT,
                "warehouse",
                "warehouse was not heard of since 2026-07-01 09:00:00 UTC",
                LONG_AGO,
                (SERVE, DETACH),
            )
        ],
    ),
    "unheard": (
        warehouse(PROD, heard_at=None),
        Beside(),
        [Blocker(Reason.UNHEARD, "warehouse", "warehouse was never heard of", None, (SERVE, DETACH))],
    ),
    "stalled": (
        PROD,
        Beside(stalls={"warehouse": LOCK}),
        [
            Blocker(
                Reason.STALLED,
                "warehouse",
                f"warehouse does not get on in the phase load: it waits for {LOCK.waiting_for}",
                LOCK.since,
                ("SELECT pg_terminate_backend(4711)",),
            )
        ],
    ),
    "slow": (
        PROD,
        Beside(stalls={"warehouse": replace(LOCK, waiting_for=SLOW, mend="")}),
        [
            Blocker(
                Reason.STALLED,
                "warehouse",
                f"warehouse does not get on in the phase load: it waits for {SLOW}",
                LOCK.since,
            )
        ],
    ),
    "refused": (
        rollout(answers={"crm": Answer(staged=True), "warehouse": Answer(refusal="warehouse is full")}),
        Beside(),
        [Blocker(Reason.REFUSED, "warehouse", "warehouse cannot yet: is full", None, ("distributor check",))],
    ),
    "cannot go back": (
        rollout(
            state=RolloutState.REVERTING,
            answers={"crm": Answer(reverted=True), "warehouse": Answer(refusal="its disk is full")},
        ),
        Beside(),
        [
            Blocker(
                Reason.REFUSED,
                "warehouse",
                "warehouse cannot yet: its disk is full",
                None,
                ("distributor check", DETACH),
            )
        ],
    ),
    "loading": (
        PROD,
        Beside(loads={"warehouse": "load 40,000 of 120,000 rows, 35,000/s"}),
        [Blocker(Reason.LOADING, "warehouse", "warehouse is at work: load 40,000 of 120,000 rows, 35,000/s")],
    ),
    "unanswered": (
        PROD,
        Beside(),
        [Blocker(Reason.UNANSWERED, "warehouse", "warehouse has not answered yet", NOW)],
    ),
    "held": (
        replace(converged(), holds=(hold("ann"),)),
        Beside(),
        [Blocker(Reason.HOLD, "ann", "held by ann: price tests", LONG_AGO, ("distributor release-hold prod",))],
    ),
    "held twice": (
        replace(converged(), holds=(hold("ann"), hold("the test team", NOW))),
        Beside(),
        [
            Blocker(
                Reason.HOLD,
                "ann",
                "held by ann: price tests",
                LONG_AGO,
                ("distributor release-hold prod --owner ann",),
            ),
            Blocker(
                Reason.HOLD,
                "the test team",
                "held by the test team until 2026-07-01 12:00:00 UTC: price tests",
                LONG_AGO,
                ("distributor release-hold prod --owner 'the test team'",),
            ),
        ],
    ),
    "quiet before the flip": (
        converged(warehouse(PROD, heard_at=NOW - timedelta(seconds=20))),
        Beside(),
        [
            Blocker(
                Reason.UNANSWERED,
                "warehouse",
                "warehouse must be heard of before the flip; its last word was at 2026-07-01 11:59:40 UTC",
                NOW - timedelta(seconds=20),
                (SERVE,),
            )
        ],
    ),
    "mixed": (
        warehouse(replace(IDLE, blocked="the members disagree", mixed=True), shows=5),
        Beside(),
        [
            Blocker(
                Reason.BLOCKED,
                "an operator",
                "an operator has to pick the release to go on from",
                None,
                ("distributor deploy prod --release 5", "distributor deploy prod --release 6"),
            )
        ],
    ),
    "blocked": (
        warehouse(replace(IDLE, blocked="the ledger is older than the estate"), floor=2),
        Beside(),
        [Blocker(Reason.BLOCKED, "warehouse", "warehouse has not said yet what it shows", NOW, (SERVE,))],
    ),
    "queued": (
        replace(IDLE, queue=(replace(ROLLOUT, state=RolloutState.QUEUED),)),
        Beside(),
        [Blocker(Reason.QUEUED, "prod", "release 7 waits to start", NOW)],
    ),
    "joining": (
        warehouse(IDLE, requirement=Requirement.JOINING, shows=4),
        Beside(),
        [
            Blocker(
                Reason.JOINING,
                "warehouse",
                "warehouse joins as soon as it is fenced and shows release 6; it shows 4",
                None,
                ("distributor refresh prod",),
            )
        ],
    ),
    "detached": (
        warehouse(IDLE, requirement=Requirement.DETACHED),
        Beside(),
        [
            Blocker(
                Reason.DETACHED,
                "warehouse",
                "warehouse is detached: what it shows is unknown until it is back",
                NOW,
                (SERVE,),
            )
        ],
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_what_is_said(name: str) -> None:
    state, beside, expected = CASES[name]
    assert list(blockers(state, NOW, beside)) == expected


@pytest.mark.parametrize("name", CASES)
def test_the_runbook_quotes_it(name: str) -> None:
    runbook = (Path(__file__).parents[2] / "docs" / "runbook.md").read_text(encoding="utf-8")
    for blocker in CASES[name][2]:
        for part in blocker.what.split("it waits for "):
            assert part in runbook
        for command in blocker.helps:
            assert command in runbook


def test_each_state_waits_for_the_answers_that_it_needs() -> None:
    flipping = rollout(
        state=RolloutState.FLIPPING, answers={"crm": Answer(staged=True), "warehouse": Answer(flipped_at=NOW)}
    )
    assert [blocker.who for blocker in blockers(flipping, NOW)] == ["crm"]
    reverting = rollout(state=RolloutState.REVERTING, revert_id="r2", answers={"crm": Answer(reverted=True)})
    stuck = replace(LOCK, rollout_id="r2", phase="revert")
    [found] = blockers(reverting, NOW, Beside(stalls={"warehouse": stuck}))
    assert found.what.startswith("warehouse does not get on in the phase revert")
    assert list(blockers(converged(), NOW)) == []
    assert list(blockers(IDLE, NOW)) == []


def test_a_stall_of_another_rollout_or_of_long_ago_is_none() -> None:
    for stall in (replace(LOCK, rollout_id="r0"), replace(LOCK, at=NOW - timedelta(seconds=31))):
        [found] = blockers(PROD, NOW, Beside(stalls={"warehouse": stall}))
        assert found.reason is Reason.UNANSWERED
    [found] = blockers(warehouse(PROD, heard_at=LONG_AGO), NOW, Beside(stalls={"warehouse": LOCK}))
    assert found.reason is Reason.STALLED, "whoever says that it is stuck is not silent"


def test_nobody_is_blamed_while_nobody_listens() -> None:
    away = Blocker(Reason.COORDINATOR, "coordinator", "no coordinator was ever started")
    assert list(blockers(warehouse(PROD, heard_at=LONG_AGO), NOW, Beside(away=away))) == [away]


def test_the_sentence_names_the_phase() -> None:
    said = waiting_for(PROD, NOW, Beside(stalls={"warehouse": LOCK}))
    assert said == "warehouse (in the phase load since 2026-07-01 11:59:18 UTC) to stage release 7"

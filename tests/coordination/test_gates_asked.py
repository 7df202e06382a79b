"""What people put before a flip, through the ledger: freezes, windows, approvals; and pins, which automation meets."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import text

from distributor.errors import RefusedError, UsageError
from distributor.ledger import audit, freezes, rollouts
from distributor.ledger.engine import transaction
from distributor.ledger.rollouts import INSTEAD
from distributor.requests import approvals, closures, interventions, pins, request_rollout, rollback
from distributor.requests import freezes as desk
from distributor.requests.rollouts import ask
from distributor.rollout.gates import GateKind, shut
from distributor.rollout.state import Cause, RolloutState
from distributor.telemetry.clock import now
from distributor.triggers.calendar import FOR_EVER
from distributor.views.asked import would_ask
from tests.coordination.conftest import Estate
from tests.support import wait_for

HOUR = timedelta(hours=1)
MakeEstate = Callable[..., Estate]


def deploy(estate: Estate, by: str = "ann", **more: Any) -> str:
    return request_rollout(
        estate.engine, estate.settings, estate.store, "prod", cause=Cause.OPERATOR, by=by, reason="prices", **more
    )


def state_of(estate: Estate, rollout_id: str) -> RolloutState:
    with transaction(estate.engine) as conn:
        record = rollouts.rollout(conn, rollout_id)
    assert record is not None
    return record.rollout.state


def gates(estate: Estate) -> list[str]:
    """What the rollout that goes on waits for, once it is converged."""
    wait_for(lambda: (active := estate.state().active) and active.state is RolloutState.CONVERGED, what="convergence")
    state = estate.state()
    assert state.active
    return [gate.kind.value for gate in shut(state, state.active, now())]


def running(estate: Estate, *skus: str) -> None:
    manifest = estate.publish(*skus)
    estate.coordinate()
    for name in ("crm", "pos"):
        estate.member(name, manifest)


def online(estate: Estate, rollout_id: str) -> None:
    wait_for(lambda: state_of(estate, rollout_id) is RolloutState.ONLINE, what="the flip")


def freeze(estate: Estate, environment: str | None = "prod", **more: Any) -> str:
    given: dict[str, Any] = {"since": None, "until": now() + HOUR, "by": "olga", "reason": "quarter end", **more}
    return desk.freeze(estate.engine, estate.settings, environment=environment, **given)


def audited(estate: Estate) -> list[tuple[str, str, str]]:
    with transaction(estate.engine) as conn:
        return [(entry.who, entry.what, entry.why) for entry in reversed(audit.records(conn))]


def test_a_freeze_keeps_the_flip_back_until_it_is_ended_and_a_rollback_goes_through(estate: Estate) -> None:
    running(estate, "A-1")
    online(estate, deploy(estate))
    estate.publish("A-1")
    placed = freeze(estate)
    assert [closure.why for closure in estate.state().closures] == ["frozen by olga: quarter end"]
    second = deploy(estate)
    assert gates(estate) == [GateKind.CLOSURE]
    ended = desk.end_freeze(estate.engine, estate.settings, placed, by="ann", reason="it is over")
    assert (ended.ended_by, ended.stands(now())) == ("ann", False)
    online(estate, second)
    assert estate.state().closures == ()
    with pytest.raises(RefusedError, match="ann ended it"):
        desk.end_freeze(estate.engine, estate.settings, placed, by="ann")

    freeze(estate, None)
    back = rollback(estate.engine, estate.settings, estate.store, "prod", by="ann", reason="prices")
    online(estate, back)
    told = audited(estate)
    assert ("olga", "freeze", "quarter end") in told
    assert ("ann", "unfreeze", "it is over") in told


def test_a_rollback_goes_back_only_or_it_would_go_round_freezes_and_approvals(make_estate: MakeEstate) -> None:
    estate = make_estate(approvals={"needed": 1, "of": ["deploy"]})
    running(estate, "A-1")
    estate.publish("A-1")
    for release in (1, 2):
        rollout = deploy(estate, release=release)
        assert gates(estate) == [GateKind.APPROVAL]
        approvals.approve(estate.engine, estate.settings, rollout, by="ben", reason="looked at it")
        online(estate, rollout)
    estate.publish("A-1")
    freeze(estate)

    def back(to: int | None = None) -> str:
        return rollback(estate.engine, estate.settings, estate.store, "prod", to=to, by="ann", reason="at once")

    with pytest.raises(RefusedError, match="release 3 is newer than release 2"):
        back(3)
    with transaction(estate.engine) as conn, pytest.raises(RefusedError, match="that is no rollback"):
        would_ask(conn, estate.settings, estate.store, "prod", 3, Cause.ROLLBACK)
    online(estate, back())
    with pytest.raises(RefusedError, match="release 2 is newer than release 1"):
        # What was shown before is what was taken back.
        back()
    assert estate.state().shown == 1


def test_a_freeze_that_cannot_be_is_refused_and_leaves_nothing(estate: Estate) -> None:
    for given, why in (
        ({"until": now() - HOUR}, "is past"),
        ({"since": now() + 2 * HOUR}, "before it begins"),
        ({"environment": "nowhere"}, "no environment 'nowhere'"),
    ):
        with pytest.raises(UsageError, match=why):
            freeze(estate, **given)
    with transaction(estate.engine) as conn:
        assert freezes.known(conn) == []
        assert audit.records(conn) == []


def test_an_environment_flips_in_its_windows_only(make_estate: MakeEstate) -> None:
    later = datetime.now(UTC) + 6 * HOUR
    window = {"cron": f"{later.minute} {later.hour} * * *", "lasts": "1h"}
    estate = make_estate(windows=[window])
    running(estate, "A-1")
    assert estate.state().closures[-1].until == FOR_EVER
    deploy(estate)
    assert gates(estate) == [GateKind.CLOSURE]
    open_now = make_estate(windows=[window, {"cron": "* * * * *", "lasts": "2h"}])
    with transaction(open_now.engine) as conn:
        assert closures.tell(conn, open_now.settings, "prod", now()) is not None
        assert closures.tell(conn, open_now.settings, "prod", now()) is None, "nothing is told twice"
    wait_for(lambda: estate.state().shown == 1, what="the flip")


def test_four_eyes(make_estate: MakeEstate) -> None:
    estate = make_estate(approvals={"needed": 2})
    running(estate, "A-1")
    first = deploy(estate)
    assert gates(estate) == [GateKind.APPROVAL]

    def approve(by: str, rollout: str = first) -> None:
        approvals.approve(estate.engine, estate.settings, rollout, by=by, reason="looked at it")

    with pytest.raises(RefusedError, match="nobody approves their own"):
        approve("ann")
    approve("ben")
    with pytest.raises(RefusedError, match="ben has approved"):
        approve("ben")
    assert gates(estate) == [GateKind.APPROVAL]
    approve("cleo")
    online(estate, first)
    with pytest.raises(RefusedError, match="is over: it was online"):
        approve("dan")

    estate.publish("A-1")
    second = deploy(estate)
    assert gates(estate) == [GateKind.APPROVAL]
    approvals.reject(estate.engine, estate.settings, second, by="ben", reason="not today")
    assert state_of(estate, second) is RolloutState.ABANDONED
    with transaction(estate.engine) as conn:
        record = rollouts.rollout(conn, second)
    assert record is not None
    assert record.rollout.outcome == "aborted by ben: rejected: not today"
    assert [(who, what) for who, what, _ in audited(estate) if what in ("approve", "reject")] == [
        ("ben", "approve"),
        ("cleo", "approve"),
        ("ben", "reject"),
    ]

    with transaction(estate.engine) as conn:
        # What is asked for in its place, without rows that do not fit, has no other requester.
        instead = ask(
            conn, estate.settings, estate.store, "prod",
            release=2, cause=Cause.OPERATOR, by="quarantine", reason=f"1 row held back, {INSTEAD} {second}",
        )  # fmt: skip
    with pytest.raises(RefusedError, match="ann asked for rollout"):
        approve("ann", instead)
    approve("ben", instead)


def test_what_needs_no_approval_and_what_comes_too_late(make_estate: MakeEstate) -> None:
    estate = make_estate(approvals={"needed": 1, "of": ["rollback"]})
    manifest = estate.publish("A-1")
    estate.coordinate()
    silent = {"pd.member.flip.v1": lambda member, command: None}
    for name in ("crm", "pos"):
        estate.member(name, manifest, replies=silent)
    rollout = deploy(estate)
    wait_for(lambda: state_of(estate, rollout) is RolloutState.FLIPPING, what="the decision")
    for act in (approvals.approve, approvals.reject):
        with pytest.raises(RefusedError, match=r"too late: rollout .* was decided and is"):
            act(estate.engine, estate.settings, rollout, by="ben", reason="")
    interventions.abort(estate.engine, estate.settings, "prod", by="ann", reason="enough")
    wait_for(lambda: estate.state().active is None, what="the end")
    estate.publish("A-1")
    second = deploy(estate)
    with pytest.raises(RefusedError, match="needs no approval"):
        approvals.approve(estate.engine, estate.settings, second, by="ben", reason="")


def test_a_pin_stops_automation_until_it_is_followed_again(make_estate: MakeEstate) -> None:
    estate = make_estate(follow="auto")
    running(estate, "A-1")
    wait_for(lambda: estate.state().shown == 1, what="release 1")
    pins.pin(estate.engine, estate.settings, "prod", by="ann", reason="a demo")
    assert estate.state().pinned == "pinned by ann: a demo"
    estate.publish("A-1")
    with transaction(estate.engine) as conn:
        conn.execute(text("NOTIFY distributor_releases"))
    with pytest.raises(RefusedError, match="no hold of ann"):
        interventions.release_hold(estate.engine, estate.settings, "prod", by="ann", owner="ann")
    assert estate.state().shown == 1
    pins.follow(estate.engine, estate.settings, "prod", by="ben", reason="it is over")
    wait_for(lambda: estate.state().shown == 2, what="release 2")
    with pytest.raises(RefusedError, match="it is not pinned"):
        pins.follow(estate.engine, estate.settings, "prod", by="ben")
    assert [(who, what) for who, what, _ in audited(estate) if what in ("pin", "follow") and who != "follow"] == [
        ("ann", "pin"),
        ("ben", "follow"),
    ]


def test_where_the_config_says_manual_there_is_nothing_to_pin(estate: Estate) -> None:
    for act in (pins.pin, pins.follow):
        with pytest.raises(RefusedError, match='the config says follow = "manual"'):
            act(estate.engine, estate.settings, "prod", by="ann", reason="")


def test_a_hold_is_ended_by_its_owner_or_noted(estate: Estate) -> None:
    for owner in ("tess", "tom"):
        interventions.hold(estate.engine, estate.settings, "prod", owner=owner, reason="tests")
    with pytest.raises(RefusedError, match="the hold of tom is theirs"):
        interventions.release_hold(estate.engine, estate.settings, "prod", by="tess", owner="tom", only_own=True)
    interventions.release_hold(estate.engine, estate.settings, "prod", by="tess", owner="tess", only_own=True)
    interventions.release_hold(estate.engine, estate.settings, "prod", by="ann")
    assert estate.state().holds == ()
    with transaction(estate.engine) as conn:
        noted = [entry.detail for entry in audit.records(conn) if entry.what == "release-hold"]
    assert noted == [{"owner": None, "of others": ["tom"]}, {"owner": "tess"}]

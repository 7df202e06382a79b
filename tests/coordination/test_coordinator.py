"""Whole rollouts with a real ledger and a real broker, and members that are none of our code."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import text

from distributor.coordination.following import Following
from distributor.errors import RefusedError, UsageError
from distributor.ledger import audit, deadletters, processes, refresh_requests, rollouts, timeline
from distributor.ledger.engine import transaction
from distributor.requests import abort, hold, refreshing, release_hold, request_rollout, rollback
from distributor.rollout.state import Cause, RolloutState
from distributor.triggers import patience
from tests.coordination.conftest import Estate
from tests.support import wait_for

STAGE, FLIP, REVERT, ABANDON, SETTLE = (
    f"pd.member.{kind}.v1" for kind in ("stage", "flip", "revert", "abandon", "settle")
)


def ask(estate: Estate, **more: Any) -> str:
    return request_rollout(
        estate.engine,
        estate.settings,
        estate.store,
        "prod",
        cause=Cause.OPERATOR,
        by="ann",
        reason="new prices",
        **more,
    )


def ended(estate: Estate, rollout_id: str) -> Any:
    def found() -> Any:
        with transaction(estate.engine) as conn:
            record = rollouts.rollout(conn, rollout_id)
        return record.rollout if record and record.rollout.state.ended else None

    return wait_for(found, what="the rollout's end")


def test_two_members_walk_to_online(estate: Estate) -> None:
    manifest = estate.publish("A-1", "A-2")
    estate.coordinate()
    members = [estate.member(name, manifest) for name in ("crm", "pos")]
    rollout = ended(estate, ask(estate))
    assert (rollout.state, rollout.release, rollout.from_release, rollout.epoch) == (RolloutState.ONLINE, 1, 0, 1)
    assert rollout.skew_ms is not None
    for member in members:
        assert member.kinds()[:2] == [STAGE, FLIP]
        stage, flip = member.command(STAGE), member.command(FLIP)
        assert stage == {
            "environment": "prod",
            "system": member.system,
            "epoch": 1,
            "rollout_id": rollout.id,
            "release": 1,
            "manifest": estate.manifests[0],
            "from_release": 0,
            "void": [],
        }
        assert (flip["epoch"], flip["rollout_id"], flip["release"]) == (1, rollout.id, 1)
        assert datetime.fromisoformat(flip["at"]) < datetime.fromisoformat(flip["not_after"])
        assert member.shows == 1
    state = estate.state()
    assert (state.shown, state.epoch) == (1, 1)
    assert {name: m.shows for name, m in state.members.items()} == {"crm": 1, "pos": 1}
    with transaction(estate.engine) as conn:
        kinds = [entry.kind for entry in timeline.entries(conn, rollout_id=rollout.id)]
        staged = [e for e in timeline.entries(conn, rollout_id=rollout.id) if e.kind == "member-staged"]
        [audited] = audit.records(conn)
    assert [kind for kind in kinds if not kind.startswith("member-")] == [
        "requested",
        "staging",
        "converged",
        "flipping",
        "online",
    ]
    assert [e.detail and e.detail["rows_applied"] for e in staged] == [1, 1]
    assert (audited.who, audited.what, audited.why) == ("ann", "deploy", "new prices")


def test_the_flip_reaches_a_members_own_clock(estate: Estate) -> None:
    """A member whose clock is an hour ahead is told a time an hour ahead."""
    manifest = estate.publish("A-1")
    estate.coordinate()
    estate.member("crm", manifest)
    skewed = estate.member("pos", manifest, ahead_by=3600.0)
    rollout = ended(estate, ask(estate))
    assert rollout.state is RolloutState.ONLINE
    told = datetime.fromisoformat(skewed.command(FLIP)["at"])
    assert 3590 < (told - rollout.flip_at).total_seconds() < 3610
    assert rollout.skew_ms < 60_000


def test_a_new_release_is_followed(make_estate: Callable[..., Estate]) -> None:
    estate = make_estate(follow="auto")
    estate.coordinate()
    manifest = estate.publish("A-1")
    for name in ("crm", "pos"):
        estate.member(name, manifest)
    wait_for(lambda: estate.state().shown == 1, what="release 1 online")
    with transaction(estate.engine) as conn:
        [record] = rollouts.rollouts(conn, "prod")
    assert (record.rollout.cause, record.rollout.by) == (Cause.AUTO, "follow")


def test_a_release_that_came_while_nobody_coordinated_is_caught_up(make_estate: Callable[..., Estate]) -> None:
    estate = make_estate(follow="auto")
    estate.publish("A-1")
    with transaction(estate.engine) as conn:
        conn.execute(text("DELETE FROM ledger.outbox"))
    estate.coordinate()
    wait_for(lambda: (active := estate.state().active) and active.release == 1, what="a rollout of release 1")


def test_the_ledger_tells_of_a_release_before_the_broker_does(make_estate: Callable[..., Estate]) -> None:
    estate = make_estate(follow="auto")
    estate.coordinate()
    with transaction(estate.engine) as conn:
        conn.execute(
            text(
                "CREATE FUNCTION keep() RETURNS trigger LANGUAGE plpgsql AS"
                " $$ BEGIN new.due_at := new.due_at + interval '1 hour'; RETURN new; END $$;"
                " CREATE TRIGGER keep BEFORE INSERT ON ledger.outbox FOR EACH ROW EXECUTE FUNCTION keep()"
            )
        )
    estate.publish("A-1")
    wait_for(lambda: (active := estate.state().active) and active.release == 1, what="a rollout of release 1")


def test_a_release_is_followed_once_the_store_is_back(
    make_estate: Callable[..., Estate], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(patience, "FIRST_PAUSE", timedelta(milliseconds=100))
    estate = make_estate(follow="auto")
    away = estate.store.path.with_name("away")
    estate.publish("A-1")
    estate.store.path.rename(away)
    estate.coordinate()

    def reasons() -> list[str]:
        with transaction(estate.engine) as conn:
            return [entry.text for entry in timeline.entries(conn, environment="prod") if entry.kind == "not-followed"]

    assert "release 1 cannot be asked for yet" in wait_for(reasons, what="the reason for the lag")[0]
    away.rename(estate.store.path)
    wait_for(lambda: (active := estate.state().active) and active.release == 1, what="a rollout of release 1")
    with transaction(estate.engine) as conn:
        assert deadletters.letters(conn) == []


def test_an_abandoned_release_is_followed_again_when_the_systems_are_back(
    make_estate: Callable[..., Estate], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(patience, "FIRST_PAUSE", timedelta(milliseconds=100))
    estate = make_estate(follow="auto", stage_deadline="1s")
    estate.coordinate()
    manifest = estate.publish("A-1")

    def abandoned() -> bool:
        with transaction(estate.engine) as conn:
            return any(r.rollout.state is RolloutState.ABANDONED for r in rollouts.rollouts(conn, "prod"))

    wait_for(abandoned, what="the stage deadline")
    for name in ("crm", "pos"):
        estate.member(name, manifest)
    wait_for(lambda: estate.state().shown == 1, what="release 1 online")


def test_what_an_operator_called_off_is_not_asked_for_again(
    make_estate: Callable[..., Estate], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(patience, "FIRST_PAUSE", timedelta())
    estate = make_estate(follow="auto")
    estate.coordinate()
    estate.publish("A-1")
    wait_for(lambda: estate.state().active, what="a rollout of release 1")
    abort(estate.engine, estate.settings, "prod", by="ann", reason="not today")
    following = Following(estate.engine, estate.settings, estate.store)
    assert following.follow("prod") is None
    estate.publish("A-1", "A-2")
    wait_for(lambda: (active := estate.state().active) and active.release == 2, what="a rollout of release 2")
    with transaction(estate.engine) as conn:
        assert [r.rollout.release for r in rollouts.rollouts(conn, "prod")] == [2, 1]


def test_a_wrong_certificate_abandons(estate: Estate) -> None:
    manifest = estate.publish("A-1")
    estate.coordinate()
    crm = estate.member("crm", manifest)
    pos = estate.member("pos", estate.publish("A-1", "forged"))
    rollout = ended(estate, ask(estate, release=1))
    assert rollout.state is RolloutState.ABANDONED
    assert "pos" in rollout.outcome
    for member in (crm, pos):
        wait_for(lambda member=member: ABANDON in member.kinds(), what="abandon")
        assert FLIP not in member.kinds()
    assert estate.state().shown == 0


def test_a_member_that_cannot_flip_takes_all_back(make_estate: Callable[..., Estate]) -> None:
    estate = make_estate(flip_deadline="1s")
    manifest = estate.publish("A-1")
    estate.coordinate()
    crm = estate.member("crm", manifest)
    pos = estate.member("pos", manifest, replies={FLIP: lambda *_: None})
    rollout = ended(estate, ask(estate))
    assert rollout.state is RolloutState.REVERTED
    assert (crm.shows, pos.shows, estate.state().shown) == (0, 0, 0)
    assert crm.command(REVERT)["of"] == 1
    assert crm.command(REVERT)["epoch"] == rollout.revert_epoch == 2
    assert estate.state().barred == {1}


def test_two_coordinators_and_one_that_goes(estate: Estate) -> None:
    manifest = estate.publish("A-1")
    stop = estate.coordinate()
    estate.coordinate()
    for name in ("crm", "pos"):
        estate.member(name, manifest)
    assert ended(estate, ask(estate)).state is RolloutState.ONLINE
    stop()
    second = ask(estate)
    assert ended(estate, second).state is RolloutState.ONLINE
    with transaction(estate.engine) as conn:
        doubled = conn.execute(
            text("SELECT kind FROM ledger.timeline WHERE rollout_id IS NOT NULL GROUP BY rollout_id, kind, member "
                 "HAVING count(*) > 1")
        )  # fmt: skip
        assert doubled.all() == []


def test_a_hold_keeps_the_flip_back(estate: Estate) -> None:
    manifest = estate.publish("A-1")
    estate.coordinate()
    members = [estate.member(name, manifest) for name in ("crm", "pos")]
    hold(estate.engine, estate.settings, "prod", owner="testers", reason="demo at noon")
    rollout_id = ask(estate)
    wait_for(lambda: (active := estate.state().active) and active.state is RolloutState.CONVERGED, what="convergence")
    assert all(FLIP not in member.kinds() for member in members)
    release_hold(estate.engine, estate.settings, "prod", by="ann", owner="testers")
    assert ended(estate, rollout_id).state is RolloutState.ONLINE
    with transaction(estate.engine) as conn:
        assert [entry.what for entry in audit.records(conn)] == ["release-hold", "deploy", "hold"]


def refresh(estate: Estate, **more: Any) -> str:
    """A refresh that begins at once: the id of its rollout."""
    request_id = refreshing.request(estate.engine, estate.settings, estate.store, "prod", **more)
    with transaction(estate.engine) as conn:
        request = refresh_requests.request(conn, request_id)
    assert request is not None
    assert request.rollout_id is not None
    return request.rollout_id


def test_back_to_an_older_release_and_pinned(estate: Estate) -> None:
    empty = estate.publish()
    estate.coordinate()
    for name in ("crm", "pos"):
        estate.member(name, empty)
    assert ended(estate, ask(estate)).state is RolloutState.ONLINE
    estate.publish()
    assert ended(estate, ask(estate)).state is RolloutState.ONLINE
    again = refresh(estate, by="ann", reason="nothing new")
    assert ended(estate, again).from_release == 2
    back = ended(estate, rollback(estate.engine, estate.settings, estate.store, "prod", by="ann", reason="prices"))
    assert (back.state, back.release, back.cause) == (RolloutState.ONLINE, 1, Cause.ROLLBACK)
    assert estate.state().shown == 1
    assert estate.state().pinned


def test_one_system_alone_is_repaired_but_never_split_off(estate: Estate) -> None:
    manifest = estate.publish("A-1")
    estate.coordinate()
    for name in ("crm", "pos"):
        estate.member(name, manifest)
    assert ended(estate, ask(estate)).state is RolloutState.ONLINE
    estate.publish("A-1", "A-2")
    with pytest.raises(RefusedError, match="would split prod, which shows 1"):
        refresh(estate, systems=["crm"], release=2, by="ann", reason="")
    with pytest.raises(UsageError, match="no system 'erp'"):
        refresh(estate, systems=["erp"], by="ann", reason="")
    again = refresh(estate, systems=["crm"], by="ann", reason="drift")
    done = ended(estate, again)
    assert (done.state, done.release, done.required) == (RolloutState.ONLINE, 1, {"crm"})


def test_a_coordinator_is_seen_and_says_goodbye(estate: Estate) -> None:
    def roles() -> list[str]:
        with transaction(estate.engine) as conn:
            return [p.role for p in processes.seen_since(conn, datetime.fromisoformat("2000-01-01T00:00:00Z"))]

    stop = estate.coordinate()
    wait_for(lambda: roles() == ["coordinator"], what="a heartbeat")
    stop()
    assert roles() == []

"""Refresh requests: one after the other, none lost and none done twice, whoever drives them and wherever they die."""

from __future__ import annotations

import pickle
import subprocess
import sys
import threading
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from distributor.coordination.desk import DeskWork
from distributor.coordination.step import step
from distributor.errors import RefusedError, UsageError
from distributor.ledger import audit, environments, refresh_requests, rollouts
from distributor.ledger.engine import transaction
from distributor.ledger.refresh_requests import RefreshRequest, RequestState
from distributor.ledger.rollouts import INSTEAD
from distributor.requests import abort, hold, refreshing, release_hold
from distributor.requests.rollouts import ask
from distributor.rollout.events import Tick
from distributor.rollout.state import Cause, Environment, RolloutState
from distributor.settings import Settings
from distributor.telemetry.clock import new_id, now
from distributor.telemetry.faults import KILLED, Point
from tests.coordination.conftest import Estate
from tests.support import wait_for

WAITING, ROLLING_OUT, DONE, FAILED, WITHDRAWN = (
    RequestState.WAITING,
    RequestState.ROLLING_OUT,
    RequestState.DONE,
    RequestState.FAILED,
    RequestState.WITHDRAWN,
)


def asked(estate: Estate, by: str = "tess", **more: Any) -> str:
    return refreshing.request(estate.engine, estate.settings, estate.store, "prod", by=by, reason="a test", **more)


def found(estate: Estate, request_id: str) -> RefreshRequest:
    with transaction(estate.engine) as conn:
        request = refresh_requests.request(conn, request_id)
    assert request is not None
    return request


def rollout_of(estate: Estate, request_id: str) -> Any:
    with transaction(estate.engine) as conn:
        record = rollouts.rollout(conn, found(estate, request_id).rollout_id or "")
    assert record is not None
    return record.rollout


def desk(estate: Estate) -> DeskWork:
    return DeskWork(estate.engine, estate.settings, estate.store, lambda _: None)


def causes(estate: Estate) -> list[str]:
    with transaction(estate.engine) as conn:
        return list(conn.execute(text("SELECT cause FROM ledger.rollouts ORDER BY requested_at")).scalars())


def test_one_after_the_other_in_the_order_of_asking(estate: Estate) -> None:
    manifest = estate.publish("A-1")
    ids = [asked(estate, by=name) for name in ("tess", "tom", "tim")]
    assert [found(estate, id_).state for id_ in ids] == [ROLLING_OUT, WAITING, WAITING]
    assert len(causes(estate)) == 1
    estate.coordinate()
    for name in ("crm", "pos"):
        estate.member(name, manifest)
    wait_for(lambda: all(found(estate, id_).state is DONE for id_ in ids), what="the end of all requests")
    done = [rollout_of(estate, id_) for id_ in ids]
    assert [rollout.by for rollout in done] == ["tess", "tom", "tim"]
    assert all(one.ended_at <= other.started_at for one, other in pairwise(done))
    assert causes(estate) == ["refresh"] * 3
    with transaction(estate.engine) as conn:
        told = [(entry.who, entry.what) for entry in reversed(audit.records(conn))]
    assert told[:3] == [("tess", "refresh"), ("tom", "refresh"), ("tim", "refresh")]
    assert told[3:] == [("coordinator", "refresh begins")] * 2


def test_a_hold_lets_it_be_staged_and_its_end_flips(estate: Estate) -> None:
    manifest = estate.publish("A-1")
    hold(estate.engine, estate.settings, "prod", owner="ann", reason="demo")
    estate.coordinate()
    for name in ("crm", "pos"):
        estate.member(name, manifest)
    first, second = asked(estate), asked(estate)
    wait_for(lambda: rollout_of(estate, first).state is RolloutState.CONVERGED, what="convergence")
    assert found(estate, second).state is WAITING
    release_hold(estate.engine, estate.settings, "prod", by="ann")
    wait_for(lambda: found(estate, second).state is DONE, what="the end of both")


def test_what_a_rollout_came_to_is_what_became_of_the_request(estate: Estate) -> None:
    estate.publish("A-1")
    first, second, third = (asked(estate) for _ in range(3))
    abort(
        estate.engine, estate.settings, "prod", by="ann", reason="not now", rollout_id=found(estate, first).rollout_id
    )
    desk(estate).drive("prod")
    ended = found(estate, first)
    assert (ended.state, ended.outcome) == (FAILED, "its rollout was abandoned: aborted by ann: not now")
    assert found(estate, second).state is ROLLING_OUT

    with transaction(estate.engine) as conn:
        # Behind a deploy that does not end, the rule-book lets it wait for so long only.
        timing = rollout_of(estate, second).timing
        step(conn, "prod", Tick(now(), new_id()))
    assert rollout_of(estate, second).state is RolloutState.STAGING
    late = now() + timing.stage_deadline + timedelta(seconds=1)
    with transaction(estate.engine) as conn:
        step(conn, "prod", Tick(late, new_id()))
    desk(estate).drive("prod")
    assert found(estate, second).state is FAILED
    assert found(estate, third).state is ROLLING_OUT


def test_a_request_that_found_no_turn_in_the_queue_waits_again(estate: Estate) -> None:
    estate.publish("A-1")
    with transaction(estate.engine) as conn:
        deploy = ask(conn, estate.settings, estate.store, "prod", release=1, cause=Cause.OPERATOR, by="ann", reason="")
        step(conn, "prod", Tick(now(), new_id()))
    waiting = asked(estate)
    queued = rollout_of(estate, waiting)
    assert queued.state is RolloutState.QUEUED
    with transaction(estate.engine) as conn:
        state = environments.lock(conn, "prod")
        # It is gated for longer than a request may wait there.
        active = replace(state.active, deadline=None) if state.active else None
        environments.save(conn, state, replace(state, active=active), at=now())
        step(conn, "prod", Tick(queued.requested_at + queued.timing.stage_deadline, new_id()))
    assert rollout_of(estate, waiting).outcome == "expired: the environment did not come free"
    desk(estate).drive("prod")
    again = found(estate, waiting)
    assert again.state is ROLLING_OUT
    assert again.rollout_id not in (None, queued.id, deploy)


def test_a_request_goes_on_with_the_rollout_that_takes_the_place_of_its_own(estate: Estate) -> None:
    estate.publish("A-1")
    request = asked(estate)
    before = found(estate, request).rollout_id
    abort(estate.engine, estate.settings, "prod", by="ann", reason="rows", rollout_id=before)
    with transaction(estate.engine) as conn:
        instead = ask(
            conn, estate.settings, estate.store, "prod",
            release=1, cause=Cause.REFRESH, by="quarantine", reason=f"2 rows held back, {INSTEAD} {before}",
        )  # fmt: skip
    desk(estate).drive("prod")
    assert (found(estate, request).state, found(estate, request).rollout_id) == (ROLLING_OUT, instead)


def test_taken_back(estate: Estate) -> None:
    manifest = estate.publish("A-1")
    first, second = asked(estate), asked(estate)
    gone = refreshing.withdraw(estate.engine, estate.settings, second, by="tess", reason="not needed")
    assert (gone.state, gone.outcome) == (WITHDRAWN, "withdrawn by tess: not needed")
    with pytest.raises(RefusedError, match="is over: it is withdrawn"):
        refreshing.withdraw(estate.engine, estate.settings, second, by="tess")
    refreshing.withdraw(estate.engine, estate.settings, first, by="ann")
    assert rollout_of(estate, first).state is RolloutState.ABANDONED
    third = asked(estate)
    estate.coordinate()
    for name in ("crm", "pos"):
        estate.member(name, manifest)
    wait_for(lambda: found(estate, third).state is DONE, what="the end of the third")
    assert [found(estate, one).state for one in (first, second)] == [WITHDRAWN, WITHDRAWN]
    with transaction(estate.engine) as conn:
        rows = [(entry.who, entry.detail) for entry in audit.records(conn) if entry.what == "withdraw"]
    assert [(who, detail and detail.get("of")) for who, detail in rows] == [("ann", "tess"), ("tess", None)]


def test_the_release_of_a_time(estate: Estate) -> None:
    estate.publish("A-1")
    between = datetime.now(UTC)
    estate.publish("A-1", "A-2")
    assert found(estate, asked(estate, as_of=between)).release == 1
    with pytest.raises(RefusedError, match="no release yet"):
        asked(estate, as_of=between - timedelta(hours=1))
    with pytest.raises(UsageError, match="still to come"):
        asked(estate, as_of=between + timedelta(hours=1))
    with pytest.raises(RefusedError, match="no release 9"):
        asked(estate, release=9)
    with transaction(estate.engine) as conn:
        assert len(refresh_requests.known(conn)) == 1, "what is refused leaves nothing"


_WORKER = """
import pickle, sys
from distributor.coordination.desk import DeskWork
from distributor.ledger.engine import ledger_engine
from distributor.store.directory import DirectoryStore
settings = pickle.load(sys.stdin.buffer)
engine = ledger_engine(settings.ledger.url)
DeskWork(engine, settings, DirectoryStore(settings.store.path), lambda _: None).drive("prod")
"""


def dying(settings: Settings, at: Point | None) -> int:
    """One look of a coordinator that dies at a point."""
    fault = {"DISTRIBUTOR_FAULT": at.value} if at else {}
    done = subprocess.run(
        [sys.executable, "-c", _WORKER],
        input=pickle.dumps(settings),
        env={"PATH": "/usr/bin:/bin", **fault},
        cwd=Path(__file__).parents[2],
        check=False,
    )
    return done.returncode


@pytest.mark.long
@pytest.mark.parametrize("at", [Point.REQUEST_BEFORE_COMMIT, Point.REQUEST_AFTER_COMMIT])
def test_a_coordinator_that_dies_between_two_transactions_loses_nothing_and_does_nothing_twice(
    estate: Estate, at: Point
) -> None:
    estate.publish("A-1")
    first, second = asked(estate), asked(estate)
    abort(estate.engine, estate.settings, "prod", by="ann", reason="", rollout_id=found(estate, first).rollout_id)
    assert dying(estate.settings, at) == KILLED
    committed = at is Point.REQUEST_AFTER_COMMIT
    assert found(estate, second).state is (ROLLING_OUT if committed else WAITING)
    for _ in range(2):
        assert dying(estate.settings, None) == 0
    assert (found(estate, first).state, found(estate, second).state) == (FAILED, ROLLING_OUT)
    assert causes(estate) == ["refresh", "refresh"]


def test_many_who_drive_the_same_requests_do_each_once(estate: Estate) -> None:
    estate.publish("A-1")
    ids = [asked(estate) for _ in range(6)]
    failures: list[BaseException] = []

    def drive() -> None:
        work = desk(estate)
        try:
            for _ in range(40):
                work.drive("prod")
                with transaction(estate.engine) as conn:
                    state = environments.lock(conn, "prod")
                    if state.queue and state.active is None:
                        step(conn, "prod", Tick(now(), new_id()))
                    elif state.active:
                        _end(conn, state)
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=drive) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
    assert len(causes(estate)) == len(ids)
    assert {found(estate, id_).state for id_ in ids} == {FAILED}
    assert len({found(estate, id_).rollout_id for id_ in ids}) == len(ids)


def _end(conn: Any, state: Environment) -> None:
    """Time is over for the rollout that goes on."""
    assert state.active
    assert state.active.deadline
    step(conn, "prod", Tick(state.active.deadline, new_id()))

"""The environment's row orders whoever decides, on real connections."""

from __future__ import annotations

import threading
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError

from distributor.coordination.step import Step, apply
from distributor.errors import NotInitialisedError, RefusedError
from distributor.ledger import environments, rollouts
from distributor.ledger.engine import transaction
from distributor.requests import abort
from distributor.requests.rollouts import configure
from distributor.rollout.events import Aborted, Hello, HoldPlaced, Staged, Tick
from distributor.rollout.state import Clock, Environment, Member, Requirement, RolloutState
from distributor.telemetry.clock import new_id, now
from tests.coordination.conftest import Estate
from tests.coordination.test_coordinator import ask
from tests.support import wait_for


def report(estate: Estate, kind: type, member: str, **more: Any) -> Step:
    active = estate.state().active
    event = kind(
        at=now(),
        member=member,
        epoch=active.epoch if active else 0,
        rollout_id=active.id if active else "",
        floor=active.epoch if active else 0,
        shows=0,
        shadow=None,
        clock=None,
        fresh_id=new_id(),
        **more,
    )
    return apply(estate.engine, "prod", event)


def converged_under_a_hold(estate: Estate) -> None:
    """One tick away from the decision: everything is staged, and the hold ends in five seconds."""
    estate.publish("A-1")
    ask(estate)
    state = estate.state()
    assert state.active is not None
    for member in ("crm", "pos"):
        report(estate, Hello, member, flipped_epoch=None)
    apply(estate.engine, "prod", HoldPlaced(now(), "testers", "demo", now() + timedelta(seconds=5)))
    for member in ("crm", "pos"):
        expected = state.active.expected[member]
        report(estate, Staged, member, certificate=expected.certificate, mapping=expected.mapping)


@pytest.mark.parametrize("attempt", range(5))
def test_two_coordinators_decide_and_abandon(estate: Estate, attempt: int) -> None:
    converged_under_a_hold(estate)
    active = estate.state().active
    assert active is not None
    assert active.state is RolloutState.CONVERGED
    barrier, ends = threading.Barrier(2), list[Step]()

    def run(event: Any) -> None:
        barrier.wait()
        ends.append(apply(estate.engine, "prod", event))

    later = now() + timedelta(seconds=10)
    threads = [
        threading.Thread(target=run, args=(Tick(later, new_id()),)),
        threading.Thread(target=run, args=(Aborted(later, "ann", "no", new_id(), active.id),)),
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with transaction(estate.engine) as conn:
        record = rollouts.rollout(conn, active.id)
        sent = conn.execute(text("SELECT type FROM ledger.outbox WHERE exchange = 'pd.commands' ORDER BY id")).scalars()
        kinds = [kind for kind in sent if kind != "pd.member.stage.v1"]
    assert record is not None
    flips, abandons = kinds.count("pd.member.flip.v1"), kinds.count("pd.member.abandon.v1")
    if record.rollout.state is RolloutState.ABANDONED:
        assert (flips, abandons) == (0, 2)
    else:
        assert record.rollout.state is RolloutState.REVERTING
        assert (flips, abandons) == (2, 0)
        assert kinds.index("pd.member.flip.v1") < kinds.index("pd.member.revert.v1")


def test_a_second_step_waits_for_the_first(estate: Estate) -> None:
    with transaction(estate.engine) as conn:
        configure(conn, estate.settings, "prod", now())
    done = threading.Event()

    def second() -> None:
        apply(estate.engine, "prod", lambda state: None)
        done.set()

    with transaction(estate.engine) as conn:
        environments.lock(conn, "prod")
        thread = threading.Thread(target=second)
        thread.start()

        def waits() -> bool:
            with transaction(estate.engine) as other:
                return bool(other.execute(text("SELECT count(*) FROM pg_locks WHERE NOT granted")).scalar_one())

        wait_for(waits, what="the second step's waiting")
        assert not done.is_set()
    thread.join()
    assert done.is_set()


def test_one_active_rollout_per_environment(estate: Estate) -> None:
    estate.publish("A-1")
    rollout_id = ask(estate)
    with pytest.raises(IntegrityError, match="one_active_rollout_per_environment"), transaction(estate.engine) as conn:
        conn.execute(
            text(
                'INSERT INTO ledger.rollouts SELECT (jsonb_populate_record(r, \'{"id": "other"}\')).*'
                " FROM ledger.rollouts r WHERE id = :id AND state = 'staging'"
            ),
            {"id": rollout_id},
        )


def test_a_state_comes_back_as_it_was_saved(estate: Estate) -> None:
    """With everything that JSON does not know: infinity, sets, durations, times with zones."""
    converged_under_a_hold(estate)
    state = estate.state()
    assert state.members["crm"].clock == Clock()
    assert environments.load(environments.dump(state)) == state
    odd = Environment("x", members={"m": Member(Requirement.OPTIONAL, clock=Clock(-1.5, 0.25))}, barred=frozenset({3}))
    assert environments.load(environments.dump(odd)) == odd


def test_a_step_that_fails_leaves_nothing(estate: Estate) -> None:
    estate.publish("A-1")
    with transaction(estate.engine) as conn:
        configure(conn, estate.settings, "prod", now())
    before = estate.state()
    with transaction(estate.engine) as conn:
        conn.execute(text("ALTER TABLE ledger.outbox RENAME TO gone"))
    with pytest.raises(NotInitialisedError):
        ask(estate)
    assert estate.state() == before
    with transaction(estate.engine) as conn:
        assert rollouts.rollouts(conn) == []
        assert conn.execute(text("SELECT count(*) FROM ledger.audit")).scalar_one() == 0


def test_abort_names_what_there_is_to_abort(estate: Estate) -> None:
    with pytest.raises(RefusedError, match="no rollout is under way"):
        abort(estate.engine, estate.settings, "prod", by="ann", reason="no")
    estate.publish("A-1")
    ask(estate)
    done = abort(estate.engine, estate.settings, "prod", by="ann", reason="no")
    assert done.after.active is None
    assert done.commands == 2

"""What members do not get on with is known to whoever asks, until they get on or nobody waits any more."""

from __future__ import annotations

from typing import Any

from distributor.ledger import stalls, timeline
from distributor.ledger.engine import transaction
from distributor.requests.interventions import abort
from distributor.rollout.blockers import Stall
from distributor.rollout.state import RolloutState
from distributor.views.status import look
from tests.coordination.conftest import Estate
from tests.coordination.fake_member import send, stamp
from tests.coordination.test_coordinator import ask, ended
from tests.coordination.test_deliveries import channel
from tests.support import wait_for

LOCKED = "session 4711 of ann (psql, idle in transaction), which holds AccessExclusiveLock on distributor_b.products"


def stalled(rollout_id: str, **changes: object) -> dict[str, Any]:
    return {
        "environment": "prod",
        "system": "crm",
        "epoch": 1,
        "rollout_id": rollout_id,
        "phase": "load",
        "since": stamp(-7),
        "waiting_for": LOCKED,
        "mend": "SELECT pg_terminate_backend(4711)",
        "reported_at": stamp(),
        **changes,
    }


def known(estate: Estate) -> dict[str, Stall]:
    with transaction(estate.engine) as conn:
        return stalls.latest(conn, "prod")


def told(estate: Estate, rollout_id: str) -> list[str]:
    with transaction(estate.engine) as conn:
        return [e.text for e in timeline.entries(conn, rollout_id=rollout_id) if e.kind.startswith("member-")]


def stuck(estate: Estate) -> str:
    """A rollout in which crm never answers; its id."""
    manifest = estate.publish("A-1")
    estate.coordinate()
    estate.member("crm", manifest, replies={"pd.member.stage.v1": lambda *_: None})
    rollout_id = ask(estate)
    wait_for(lambda: estate.state().active, what="the rollout")
    return rollout_id


def test_a_stall_is_kept_told_once_and_over_when_the_member_says_so(estate: Estate) -> None:
    rollout_id = stuck(estate)
    with channel(estate) as on:
        send(on, "pd.member.stalled.v1", stalled(rollout_id))
        first = wait_for(lambda: known(estate).get("crm"), what="the stall")
        assert (first.rollout_id, first.phase, first.waiting_for) == (rollout_id, "load", LOCKED)
        assert 6 < (first.at - first.since).total_seconds() < 8, "a length of time, whatever the member's clock says"
        send(on, "pd.member.stalled.v1", stalled(rollout_id, waiting_for=f"{LOCKED}; its query: SELECT 1"))
        wait_for(lambda: known(estate)["crm"].waiting_for != LOCKED, what="the newer word")
        assert told(estate, rollout_id) == [f"crm does not get on in the phase load: it waits for {LOCKED}"]
        with transaction(estate.engine) as conn:
            [environment] = look(conn, estate.settings, ["prod"]).environments
        [blocker] = [b for b in environment.blockers if b.reason == "stalled"]
        assert (blocker.who, blocker.helps) == ("crm", ("SELECT pg_terminate_backend(4711)",))
        [member] = [m for m in environment.members if m.system == "crm"]
        assert (member.state, member.contact) == ("stalled", "heard")
        send(on, "pd.member.stalled.v1", stalled(rollout_id, waiting_for="", mend=""))
        wait_for(lambda: not known(estate), what="the end of the stall")
    assert told(estate, rollout_id)[1:] == ["crm gets on again"]


def test_a_stall_is_over_when_its_rollout_is_and_nobody_waits_for_an_old_one(estate: Estate) -> None:
    rollout_id = stuck(estate)
    with channel(estate) as on:
        send(on, "pd.member.stalled.v1", stalled("another"))
        send(on, "pd.member.stalled.v1", stalled(rollout_id))
        wait_for(lambda: known(estate), what="the stall")
        assert len(told(estate, rollout_id)) == 1
        abort(estate.engine, estate.settings, "prod", by="ann", reason="enough")
        assert ended(estate, rollout_id).state is RolloutState.ABANDONED
        assert not known(estate)


def test_an_answer_ends_a_stall(estate: Estate) -> None:
    rollout_id = stuck(estate)
    with channel(estate) as on:
        send(on, "pd.member.stalled.v1", stalled(rollout_id))
        wait_for(lambda: known(estate), what="the stall")
        common = {"environment": "prod", "system": "crm", "epoch": 1, "rollout_id": rollout_id, "floor": 1, "shows": 0}
        common |= {"shadow": None, "reported_at": stamp()}
        refusal = {**common, "reason": "retryable", "text": "canceling statement due to lock timeout"}
        send(on, "pd.member.refused.v1", refusal)
        wait_for(lambda: (active := estate.state().active) and active.answers["crm"].refusal, what="the refusal")
        assert known(estate), "it comes to the same place again"
        send(on, "pd.member.hello.v1", {**common, "flipped_epoch": None, "mapping": "m"})
        wait_for(lambda: not known(estate), what="the end of the stall")

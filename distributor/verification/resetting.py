"""Resets: what somebody wrote into the stores behind the tables is found, and mended on the way to the wanted release.

Both slots of every system are audited, ever more closely where something differs. (To ask for leaves at once saves a
scan, and costs more than that: 65,536 sums of every table that is right.) What differs becomes a repair list, and the
rollout of the request carries it: a slot that is wrong is mended by the load that would be made anyway, and audited
whole within it; the other one when it follows. So nothing is looked at again afterwards. Mending follows the drift.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from datetime import timedelta

from sqlalchemy import Connection, Engine

from distributor.coordination.desk import Pause
from distributor.errors import DistributorError, RefusedError
from distributor.ledger import audit, environments, refresh_requests, releases
from distributor.ledger.engine import transaction
from distributor.ledger.refresh_requests import RefreshRequest, RequestState
from distributor.model.manifest import ZERO
from distributor.requests import refreshing, verifications
from distributor.requests.rollouts import configured
from distributor.requests.taking import prepare
from distributor.requests.verifications import Asked
from distributor.rollout.state import Cause, Environment, Requirement
from distributor.settings import Settings
from distributor.store.base import Store
from distributor.telemetry.clock import now
from distributor.telemetry.faults import Point, point
from distributor.telemetry.logs import logger
from distributor.verification.drilling import verify
from distributor.verification.findings import SHADOW, Findings, Outcome
from distributor.verification.gathering import Hear
from distributor.verification.mending import Plan, plan, write_lists
from distributor.verification.record import write_down

PATIENCE = timedelta(minutes=10)
_UNSEEN = (Outcome.SILENT, Outcome.FAILED, Outcome.MOVED)
_log = logger("coordinator")


def reset(engine: Engine, settings: Settings, store: Store, request: RefreshRequest, pause: Pause) -> None:
    """Looks at what the systems of a request store, and asks for the rollout that mends it and brings the release.

    May be begun anew for a request that somebody left half-way: then everything is looked at again. What cannot be
    done ends the request. Raises UnreachableError, and what `pause` raises.
    """
    asked = _begin(engine, settings, store, request)
    if asked is None:
        return
    try:
        findings = verify(
            engine, settings, store, asked, shadow=True, patience=PATIENCE, hear=_hear(request), pause=pause
        )
        write_down(engine, findings)
        _go_on(engine, settings, store, request, findings)
    except DistributorError as error:
        if error.retryable:
            raise
        _give_up(engine, request, asked, str(error))


def _begin(engine: Engine, settings: Settings, store: Store, request: RefreshRequest) -> Asked | None:
    with transaction(engine) as conn:
        state = configured(conn, settings, request.environment)
        found = refresh_requests.request(conn, request.id)
        if found is None or found.state not in (RequestState.WAITING, RequestState.RESETTING):
            return None
        if not refreshing.is_free(state, found):
            refreshing.end(conn, found, RequestState.WAITING, found.outcome)
            return None
        if state.shown == ZERO:
            # Nothing was ever released here: the first load brings everything.
            refreshing.note_begun(conn, refreshing.begin(conn, settings, store, found))
            return None
        asked = verifications.begin(
            conn,
            settings,
            found.environment,
            systems=found.systems,
            shadow=True,
            by=found.by,
            reason=found.reason,
        )
        begun = replace(
            found,
            state=RequestState.RESETTING,
            verification=asked.verification.id,
            started_at=found.started_at or now(),
            outcome="",
        )
        refresh_requests.change(conn, found, begun)
        detail = {"request": found.id, "verification": asked.verification.id, "systems": list(asked.systems)}
        entry = audit.AuditRecord(
            now(), refreshing.COORDINATOR, "reset begins", found.reason, found.environment, detail
        )
        audit.record(conn, entry)
        point(Point.RESET_BEFORE_COMMIT)
    point(Point.RESET_AFTER_COMMIT)
    return asked


def _go_on(engine: Engine, settings: Settings, store: Store, request: RefreshRequest, findings: Findings) -> None:
    with transaction(engine) as conn:
        target = _target(conn, request)
    prepare(engine, settings, store, request.environment, target)
    wanted = plan(findings)
    lists = _lists(engine, settings, store, findings, wanted, target)
    with transaction(engine) as conn:
        state = configured(conn, settings, request.environment)
        found = _still(conn, request, findings.asked)
        if found is None:
            return
        if state.shown != findings.asked.verification.release or not refreshing.is_free(state, found):
            refreshing.end(conn, found, RequestState.WAITING, "it waits again: the environment moved on meanwhile")
            return
        if unseen := _unseen(findings, state):
            refreshing.end(conn, found, RequestState.FAILED, unseen)
            return
        if target == state.shown and _is_right(findings, state):
            outcome = f"nothing was written behind the tables; release {state.shown} is online"
            refreshing.end(conn, found, RequestState.DONE, outcome)
            return
        cause = Cause.REPAIR if target == state.shown and wanted.systems else Cause.REFRESH
        begun = refreshing.begin(conn, settings, store, replace(found, release=target), cause=cause, repairs=lists)
        refreshing.note_begun(conn, begun)
        point(Point.RESET_BEFORE_COMMIT)
    point(Point.RESET_AFTER_COMMIT)


def _target(conn: Connection, request: RefreshRequest) -> int:
    if request.release is not None:
        return request.release
    newest = releases.head(conn)
    if newest is None:
        raise RefusedError("there is no release yet", where="ledger", mend="Run `distributor publish` first.")
    return newest.number


def _lists(
    engine: Engine, settings: Settings, store: Store, findings: Findings, wanted: Plan, target: int
) -> dict[str, str]:
    """System → its repair list. One of the release that is shown mends before the load, whatever is wanted; a shadow
    that keeps another release takes only one of the wanted release, after the load."""
    shown = findings.asked.verification.release
    environment = findings.asked.verification.environment
    astray = {
        member.system
        for member in findings.differing
        if any(table.slot == SHADOW and table.release != shown for table in member.differing)
    }
    here, behind = (_only(wanted, part) for part in (wanted.lists.keys() - astray, wanted.lists.keys() & astray))
    found = write_lists(engine, settings, store, environment, shown, here)
    return found | write_lists(engine, settings, store, environment, target, behind)


def _only(wanted: Plan, systems: Collection[str]) -> Plan:
    return Plan({system: keys for system, keys in wanted.lists.items() if system in systems}, {}, {})


def _unseen(findings: Findings, state: Environment) -> str:
    """Which required systems nobody could look at: whether they are right is not known, and a reset promises it."""
    return "; ".join(
        f"{member.system} could not be looked at: {member.why}"
        for member in findings.members
        if member.outcome in _UNSEEN and state.members[member.system].requirement is Requirement.REQUIRED
    )


def _is_right(findings: Findings, state: Environment) -> bool:
    return all(
        member.outcome is Outcome.VERIFIED and member.release == state.shown and not member.differing
        for member in findings.members
    )


def _still(conn: Connection, request: RefreshRequest, asked: Asked) -> RefreshRequest | None:
    """The request under its environment's lock; None when it was withdrawn, or somebody else has begun it anew."""
    found = refresh_requests.request(conn, request.id)
    if found is None or found.state is not RequestState.RESETTING or found.verification != asked.verification.id:
        return None
    return found


def _give_up(engine: Engine, request: RefreshRequest, asked: Asked, why: str) -> None:
    with transaction(engine) as conn:
        environments.lock(conn, request.environment)
        if found := _still(conn, request, asked):
            refreshing.end(conn, found, RequestState.FAILED, why)


def _hear(request: RefreshRequest) -> Hear:
    def hear(system: str, word: str) -> None:
        _log.info("reset", environment=request.environment, request=request.id, system=system, at=word)

    return hear

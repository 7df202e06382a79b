"""Refresh requests: one after the other in each environment, in the order in which test teams asked.

A request waits here until the environment is free of other refreshes; then the rule-book has it as a rollout. What
follows from a rollout is written in a transaction that holds the environment's lock, so any number of coordinators may
drive the same requests, and each may die at any point.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace
from datetime import datetime

from sqlalchemy import Connection, Engine

from distributor.coordination.step import step
from distributor.errors import DistributorError, RefusedError, UsageError
from distributor.ledger import audit, environments, refresh_requests, releases, rollouts
from distributor.ledger.engine import transaction
from distributor.ledger.refresh_requests import RefreshRequest, RequestState
from distributor.requests.rollouts import ask, configured, known_systems, refuse_split
from distributor.requests.taking import prepare
from distributor.rollout.events import Aborted
from distributor.rollout.state import Cause, Environment, Rollout, RolloutState
from distributor.settings import Settings
from distributor.store.base import Store
from distributor.telemetry.clock import new_id, now
from distributor.upkeep.collected import refuse_collected

COORDINATOR = "coordinator"
_EXPIRED = "expired:"
_REFRESHES = (Cause.REFRESH, Cause.REPAIR)
_DECIDED = (RolloutState.FLIPPING, RolloutState.REVERTING)


def request(
    engine: Engine,
    settings: Settings,
    store: Store,
    environment: str,
    *,
    release: int | None = None,
    as_of: datetime | None = None,
    systems: Collection[str] = (),
    reset: bool = False,
    by: str,
    reason: str,
) -> str:
    """A test team's request for a release (None: the newest when it begins); returns the request's id.

    `as_of`: the newest release made at or before that time. `systems`: only these, brought level with what the
    environment shows. `reset`: what was written into the systems' stores is taken back with it. When nothing is before
    it, its rollout is asked for at once. Raises UsageError for an unknown environment, RefusedError when there is no
    such release, when it would split the environment, or as `request_rollout`.
    """
    if release is not None and as_of is not None:
        raise UsageError("a release and a time exclude each other", where="refresh", mend="Name one of them.")
    known_systems(settings, environment, systems)
    with transaction(engine) as conn:
        wanted = _wanted(conn, store, release, as_of)
    prepare(engine, settings, store, environment, wanted)
    with transaction(engine) as conn:
        state = configured(conn, settings, environment)
        number = _wanted(conn, store, release, as_of)
        if systems:
            refuse_split(settings, environment, systems, number, state.shown)
            number = state.shown
        ahead = refresh_requests.waiting_line(conn, environment)
        asked = RefreshRequest(
            new_id(), environment, by, reason, now(), number, as_of, tuple(dict.fromkeys(systems)), reset
        )
        refresh_requests.add(conn, asked)
        begun = asked
        if not ahead and not reset and is_free(state, asked):
            begun = begin(conn, settings, store, asked)
        _note(conn, by, "refresh", begun, reason)
    return asked.id


def withdraw(engine: Engine, settings: Settings, request_id: str, *, by: str, reason: str = "") -> RefreshRequest:
    """Takes a request back; a rollout that began because of it is called off. Raises RefusedError when it has ended, or
    when its flip was decided already."""
    with transaction(engine) as conn:
        found = refresh_requests.request(conn, request_id)
        if found is None:
            raise RefusedError(f"there is no request {request_id}", where="ledger", mend="See `distributor requests`.")
        settings.environment(found.environment)
        state = environments.lock(conn, found.environment)
        found = refresh_requests.request(conn, request_id)
        assert found is not None
        if not found.state.open:
            raise RefusedError(f"request {found.id[:8]} is over: it is {found.state.value}", where=found.environment)
        at = now()
        if rollout := rollouts.known(state).get(found.rollout_id or ""):
            if rollout.state in _DECIDED or rollout.state is RolloutState.ONLINE:
                raise RefusedError(
                    f"it is too late: rollout {rollout.id[:8]} of request {found.id[:8]} is {rollout.state.value}",
                    where=found.environment,
                )
            if not rollout.state.ended:
                step(conn, found.environment, Aborted(at, by, f"withdrawn: {reason}", new_id(), rollout.id))
        gone = replace(
            found,
            state=RequestState.WITHDRAWN,
            ended_at=at,
            outcome=f"withdrawn by {by}{f': {reason}' if reason else ''}",
        )
        refresh_requests.change(conn, found, gone)
        _note(conn, by, "withdraw", gone, reason)
        return gone


def advance(
    conn: Connection, settings: Settings, store: Store, environment: str, *, resets: bool = False
) -> RefreshRequest | None:
    """Does what is to be done for an environment's requests, inside the caller's transaction.

    Returns the request that is to be reset now, if it is one's turn (`resets`: by a caller who can); its work takes
    long and is done outside of the transaction.
    """
    if not refresh_requests.waiting_line(conn, environment):
        return None
    state = configured(conn, settings, environment)
    for front in refresh_requests.waiting_line(conn, environment):
        if front.state is RequestState.ROLLING_OUT:
            front = followed(conn, state, front)
        if front.state is RequestState.WAITING and not front.reset and is_free(state, front):
            front = _begun(conn, settings, store, front)
        if front.state.open:
            return front if resets and _to_reset(state, front) else None
        state = environments.lock(conn, environment)
    return None


def is_free(state: Environment, request: RefreshRequest) -> bool:
    """Whether the environment can take a request. The rule-book puts it behind a deploy that goes on; a reset looks at
    what is stored, which must stay as it is meanwhile."""
    under_way = (*state.queue, state.active) if state.active else state.queue
    if request.reset:
        return not under_way and not state.blocked
    return all(rollout.cause not in _REFRESHES for rollout in under_way)


def begin(
    conn: Connection,
    settings: Settings,
    store: Store,
    request: RefreshRequest,
    *,
    cause: Cause = Cause.REFRESH,
    repairs: Mapping[str, str] | None = None,
) -> RefreshRequest:
    """Asks for the rollout of a request, inside the caller's transaction. Raises as `request_rollout`."""
    rollout_id = ask(
        conn,
        settings,
        store,
        request.environment,
        release=request.release,
        cause=cause,
        by=request.by,
        reason=request.reason,
        systems=request.systems,
        repairs=repairs,
        asked="refresh",
        audited=False,
    )
    begun = replace(
        request,
        state=RequestState.ROLLING_OUT,
        rollout_id=rollout_id,
        started_at=request.started_at or now(),
        outcome="",
    )
    refresh_requests.change(conn, request, begun)
    return begun


def release_at(conn: Connection, as_of: datetime) -> int:
    """The newest release made at or before a time. Raises UsageError for one to come, RefusedError when there was
    none yet."""
    if as_of > now():
        raise UsageError("that time is still to come", where="refresh", mend="Name a time that is past.")
    found = releases.made_by(conn, as_of)
    if found is None:
        raise RefusedError(f"there was no release yet at {as_of:%Y-%m-%d %H:%M:%S} UTC", where="ledger")
    return found.number


def end(conn: Connection, request: RefreshRequest, state: RequestState, outcome: str) -> RefreshRequest:
    """Ends a request, or has it wait again. It must be as it was read under the environment's lock."""
    over = replace(request, state=state, outcome=outcome, ended_at=None if state.open else now())
    if state is RequestState.WAITING:
        over = replace(over, rollout_id=None)
    refresh_requests.change(conn, request, over)
    return over


def followed(conn: Connection, state: Environment, request: RefreshRequest) -> RefreshRequest:
    """A request whose rollout may have ended."""
    assert request.rollout_id is not None
    record = rollouts.rollout(conn, request.rollout_id)
    rollout = rollouts.known(state).get(request.rollout_id) or (record.rollout if record else None)
    if rollout is None:
        return end(conn, request, RequestState.FAILED, "the ledger no longer knows its rollout")
    if not rollout.state.ended:
        return request
    if rollout.state is RolloutState.ONLINE:
        return end(conn, request, RequestState.DONE, f"release {rollout.release} is online")
    if rollout.state is RolloutState.REFUSED and rollout.outcome.startswith(_EXPIRED):
        return end(conn, request, RequestState.WAITING, f"it waits again: {rollout.outcome}")
    if instead := rollouts.asked_instead(conn, request.environment, rollout.id):
        on_its_way = replace(request, rollout_id=instead)
        refresh_requests.change(conn, request, on_its_way)
        return on_its_way
    return end(conn, request, RequestState.FAILED, _sentence(rollout))


def note_begun(conn: Connection, request: RefreshRequest) -> None:
    """The audit of a request that began after it had waited."""
    _note(conn, COORDINATOR, "refresh begins", request, request.reason)


def _begun(conn: Connection, settings: Settings, store: Store, request: RefreshRequest) -> RefreshRequest:
    """What cannot be asked for fails; what cannot be asked for now waits on."""
    try:
        # What is raised in here as ours cannot be the ledger's: its failures get their names at the transaction.
        with conn.begin_nested():
            begun = begin(conn, settings, store, request)
    except DistributorError as error:
        if error.retryable:
            return request
        return end(conn, request, RequestState.FAILED, str(error))
    note_begun(conn, begun)
    return begun


def _to_reset(state: Environment, request: RefreshRequest) -> bool:
    # What is being reset already was left by somebody who died, or is somebody's who is at it: a lock tells.
    resetting = request.state is RequestState.RESETTING
    return resetting or (request.state is RequestState.WAITING and request.reset and is_free(state, request))


def _wanted(conn: Connection, store: Store, release: int | None, as_of: datetime | None) -> int | None:
    if as_of is not None:
        release = release_at(conn, as_of)
    if release:
        releases.release(conn, release)
        refuse_collected(conn, store, release)
    return release


def _sentence(rollout: Rollout) -> str:
    return f"its rollout was {rollout.state.value}" + (f": {rollout.outcome}" if rollout.outcome else "")


def _note(conn: Connection, who: str, what: str, request: RefreshRequest, why: str) -> None:
    detail: dict[str, object] = {"request": request.id, "release": request.release}
    if request.as_of:
        detail["as of"] = request.as_of.isoformat()
    if request.systems:
        detail["systems"] = list(request.systems)
    if request.reset:
        detail["reset"] = True
    if request.rollout_id:
        detail["rollout"] = request.rollout_id
    if who not in (request.by, COORDINATOR):
        detail["of"] = request.by
    audit.record(conn, audit.AuditRecord(now(), who, what, why, request.environment, detail))

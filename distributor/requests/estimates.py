"""When a refresh request will begin, and when it will be online: from how long this environment's rollouts took.

Only what the ledger's history tells is said; without a history, or behind something that has no end, nothing is.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cache
from math import log
from statistics import median

from sqlalchemy import Connection, func, select

from distributor.ledger import releases, rollouts
from distributor.ledger.refresh_requests import RefreshRequest, RequestState
from distributor.ledger.tables import releases as releases_table
from distributor.rollout.gates import approvals_missing
from distributor.rollout.state import Cause, Environment, Rollout, RolloutState
from distributor.triggers.calendar import opens_at

_HISTORY = 20
_NEAREST = 5


@dataclass(frozen=True, slots=True)
class Sample:
    """A rollout that went online: rows between its two releases, time of staging, time from the decision to the end."""

    rows: int
    staging: timedelta
    flipping: timedelta


@dataclass(frozen=True, slots=True)
class Forecast:
    """When a request begins and is online. `unknown` says why either is not known; empty when both are."""

    begins_at: datetime | None = None
    online_at: datetime | None = None
    unknown: str = ""


@dataclass(frozen=True, slots=True)
class History:
    """What is known of an environment: its rollouts, how long its resets took, and rows between two releases."""

    samples: Sequence[Sample]
    resets: Sequence[float]
    rows_between: Callable[[int, int], int]
    newest: int


class _Unknown(Exception):
    """Something has no end that is known; the text says what."""


def history(conn: Connection, environment: str, resets: Sequence[float]) -> History:
    """The newest rollouts of an environment that went online."""

    @cache
    def rows_between(one: int, other: int) -> int:
        low, high = sorted((one, other))
        table = releases_table.c
        total = select(func.coalesce(func.sum(table.rows), 0)).where(table.number > low, table.number <= high)
        return int(conn.execute(total).scalar_one())

    found = []
    for record in rollouts.rollouts(conn, environment, _HISTORY):
        rollout = record.rollout
        if rollout.state is not RolloutState.ONLINE or rollout.from_release == rollout.release:
            continue
        if rollout.started_at and rollout.converged_at and rollout.decided_at and rollout.ended_at:
            found.append(
                Sample(
                    rows_between(rollout.from_release, rollout.release),
                    rollout.converged_at - rollout.started_at,
                    rollout.ended_at - rollout.decided_at,
                )
            )
    head = releases.head(conn)
    return History(found, resets, rows_between, head.number if head else 0)


def staging(samples: Sequence[Sample], rows: int) -> timedelta:
    """How long so many rows would take to stage: as the rollouts of about as many did. Pure; there must be one."""
    nearest = sorted(samples, key=lambda sample: abs(log((rows + 1) / (sample.rows + 1))))[:_NEAREST]
    usual = timedelta(seconds=median(sample.staging.total_seconds() for sample in nearest))
    most = max(sample.rows for sample in nearest)
    return usual * (rows / most) if most and rows > 2 * most else usual


def forecasts(
    state: Environment, line: Sequence[RefreshRequest], known: History, now: datetime, *, approvals: int = 0
) -> dict[str, Forecast]:
    """Request → when it begins and is online. `line`: the requests that are open, oldest first; `approvals`: how many
    each will need. Pure."""
    found: dict[str, Forecast] = {}
    by_rollout = {request.rollout_id: request.id for request in line if request.rollout_id}
    free_at: datetime | None = now
    shown, why = state.shown, ""
    under_way = (*((state.active,) if state.active else ()), *state.queue)
    for rollout in under_way:
        begins = rollout.started_at or free_at
        online = None
        if begins and not why:
            try:
                online = _online(state, known, begins, shown, rollout.release, now, rollout)
            except _Unknown as error:
                why = str(error)
        if rollout.id in by_rollout:
            found[by_rollout[rollout.id]] = Forecast(begins, online, why)
        free_at, shown = online, rollout.release
    for request in line:
        if request.id in found or request.state is RequestState.ROLLING_OUT:
            continue
        begins, online = free_at, None
        target = known.newest if request.release is None else request.release
        if approvals and not why:
            why = _needed(approvals)
        if begins and not why:
            try:
                online = _online(state, known, begins + _resetting(request, known), shown, target, now)
            except _Unknown as error:
                why = str(error)
        found[request.id] = Forecast(request.started_at or begins, online, why)
        free_at, shown = online, target
    return found


def _needed(approvals: int) -> str:
    return f"{approvals} more {'approval is' if approvals == 1 else 'approvals are'} needed"


def _resetting(request: RefreshRequest, known: History) -> timedelta:
    if not request.reset:
        return timedelta()
    if not known.resets:
        raise _Unknown("no reset has come to its end here yet")
    return timedelta(seconds=median(known.resets))


def _online(
    state: Environment,
    known: History,
    begins: datetime,
    shown: int,
    target: int,
    now: datetime,
    rollout: Rollout | None = None,
) -> datetime:
    if not known.samples:
        raise _Unknown("no rollout has gone online here yet")
    converged = rollout is not None and rollout.state is not RolloutState.QUEUED and rollout.converged_at is not None
    staged = now if converged else max(begins + staging(known.samples, known.rows_between(shown, target)), now)
    if rollout is None or rollout.decided_at is None:
        staged = _opens(state, rollout, staged)
    flipping = median(sample.flipping.total_seconds() for sample in known.samples)
    return staged + timedelta(seconds=flipping)


def _opens(state: Environment, rollout: Rollout | None, at: datetime) -> datetime:
    """When it may flip, from then on."""
    for hold in state.holds:
        if hold.until is None:
            raise _Unknown(f"the hold of {hold.owner} has no end")
        at = max(at, hold.until)
    if rollout is not None and (missing := approvals_missing(rollout)):
        raise _Unknown(_needed(missing))
    if rollout is not None and rollout.cause is Cause.ROLLBACK:
        return at
    opens = opens_at(state.closures, at)
    if opens is None:
        raise _Unknown("no window opens as far as is known")
    return opens

"""A rollout that somebody asks for: what it would come to, and how it stands once it was asked for."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from distributor.errors import RefusedError
from distributor.model.manifest import ZERO
from distributor.rollout.state import Cause, Environment, Rollout, RolloutState
from distributor.views.base import View
from distributor.views.blocking import BlockerPart
from distributor.views.environments import EnvironmentStatus
from distributor.views.rollout import MemberPart, told
from distributor.views.rollouts import RolloutLine
from distributor.views.status import states
from distributor.views.wording import SHORT, count

if TYPE_CHECKING:
    from sqlalchemy import Connection, Engine

    from distributor.ledger.rollouts import RolloutRecord
    from distributor.settings import Settings
    from distributor.store.base import Store

_DECIDED = (RolloutState.FLIPPING, RolloutState.REVERTING)


class AskedRollout(View):
    """A rollout that was asked for, and how it stands."""

    environment: str
    """The environment."""
    release: int
    """The release that was asked for."""
    dry_run: bool
    """Whether nothing was asked for because of `--dry-run`; then `rollout` is null."""
    waited: bool
    """Whether the verb waited for the end."""
    timed_out: bool
    """Whether `--timeout` was over first; the rollout goes on."""
    waiting_for: str
    """What it waits for, in a sentence; empty when it has ended."""
    blockers: tuple[BlockerPart, ...]
    """What stands behind that: each with its reason and what would help; empty with `--dry-run`."""
    remarks: tuple[str, ...]
    """With `--dry-run`: what else it would do, such as call off the rollout that goes on. At its end: rows that the
    environment lacks."""
    held: bool
    """Whether somebody holds the environment."""
    rollout: RolloutLine | None
    """The rollout; null with `--dry-run`."""
    members: tuple[MemberPart, ...]
    """What each member did; required ones first."""


def asked(
    conn: Connection, record: RolloutRecord, standing: EnvironmentStatus, *, waited: bool = False
) -> AskedRollout:
    """A rollout that was asked for; `standing` is its environment's, `waited` whether somebody waited for its end."""
    known = told(conn, record)
    ended = record.rollout.state.ended
    return AskedRollout(
        environment=record.environment,
        release=record.rollout.release,
        dry_run=False,
        waited=waited,
        timed_out=waited and not ended,
        waiting_for="" if ended else standing.waited_for_by(record.rollout.id),
        blockers=() if ended else standing.blockers,
        remarks=left_behind(standing) if ended else (),
        held=bool(standing.holds),
        rollout=known.rollout,
        members=known.members,
    )


def left_behind(standing: EnvironmentStatus) -> tuple[str, ...]:
    """The rows that an environment lacks, in a sentence; none when it has all."""
    if not standing.held_back:
        return ()
    rows = f"{count(standing.held_back, 'row')} of release {standing.release} held back: a system cannot take them"
    return (f"{rows}; see `distributor quarantine list --environment {standing.environment}`",)


def would_ask(
    conn: Connection,
    settings: Settings,
    store: Store,
    environment: str,
    release: int | None,
    cause: Cause,
    *,
    as_shown: bool = False,
) -> AskedRollout:
    """What a request would come to, asking for nothing. `as_shown`: it asks for the release that is shown already.

    Raises RefusedError when it would be refused at once.
    """
    from distributor.ledger import releases
    from distributor.requests.rollouts import refuse_forward, release_before
    from distributor.upkeep.collected import refuse_collected

    state = states(conn, settings, [environment])[environment]
    newest = releases.head(conn)
    release = state.shown if as_shown else release
    if state.active and cause is Cause.ROLLBACK and release is None:
        return _would_call_off(state, state.active)
    if cause is Cause.ROLLBACK and release is None:
        release = release_before(conn, state)
    if newest is None and release is None:
        raise RefusedError("there is no release yet", where="ledger", mend="Run `distributor publish` first.")
    number = newest.number if newest and release is None else release or ZERO
    if number != ZERO:
        releases.release(conn, number)
        refuse_collected(conn, store, number)
    if cause is Cause.ROLLBACK:
        refuse_forward(state, number)
    return _would_be(state, number, remarks_of(state, number, cause), "; ".join(in_the_way(state, cause)))


def _would_call_off(state: Environment, active: Rollout) -> AskedRollout:
    called_off = (
        f"rollout {active.id[:SHORT]} to release {active.release}, which is {active.state}, would be called off"
    )
    flips = active.state in _DECIDED
    return _would_be(state, active.from_release, (f"{called_off}{'; all flip back' if flips else ''}",), "")


def remarks_of(state: Environment, release: int, cause: Cause) -> tuple[str, ...]:
    """What else asking for a release would do."""
    remarks = []
    if cause is not Cause.REFRESH:
        gone = (
            [*state.queue] if state.active is None or state.active.state in _DECIDED else [state.active, *state.queue]
        )
        remarks += [
            f"rollout {r.id[:SHORT]} to release {r.release}, which is {r.state}, would be called off" for r in gone
        ]
    if release == ZERO and state.shown != ZERO:
        remarks.append("release 0 is empty: readers of every system would find no rows")
    elif release < state.shown:
        remarks.append(f"that is back: release {state.shown} is shown")
    elif release == state.shown:
        remarks.append(f"release {release} is shown already: what every system stores would be verified again")
    return tuple(remarks)


def in_the_way(state: Environment, cause: Cause) -> Iterator[str]:
    """What a rollout would wait for before it begins, or before it flips."""
    if state.active and (cause is Cause.REFRESH or state.active.state in _DECIDED):
        yield f"rollout {state.active.id[:SHORT]}, which is {state.active.state}"
    if state.queue and cause is Cause.REFRESH:
        yield f"{count(len(state.queue), 'queued rollout')}"
    for hold in state.holds:
        yield f"the hold of {hold.owner}: {hold.reason}"


def _would_be(state: Environment, release: int, remarks: tuple[str, ...], waiting_for: str) -> AskedRollout:
    return AskedRollout(
        environment=state.name,
        release=release,
        dry_run=True,
        waited=False,
        timed_out=False,
        waiting_for=waiting_for,
        blockers=(),
        remarks=remarks,
        held=bool(state.holds),
        rollout=None,
        members=(),
    )


def with_rows(engine: Engine, settings: Settings, store: Store, dry: AskedRollout) -> AskedRollout:
    """Also what would become of single rows in a deploy; raises RefusedError where they would have it refused."""
    from distributor.requests.plans import foreseen

    held = foreseen(engine, settings, store, dry.environment, dry.release)
    if not held:
        return dry
    remark = f"{count(len(held), 'row')} would be held back: {held[0].system} cannot take {held[0].dataset}"
    return dry.model_copy(update={"remarks": (*dry.remarks, f"{remark} {' '.join(held[0].key)}")})

"""What `deploy`, `refresh` and `rollback` share: ask for a rollout, wait for it, and say how it ended."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from rich.console import Console

from distributor.cli.blocking import BlockerPart, lines
from distributor.cli.desk import Desk
from distributor.cli.following import Picture, follow, look_once
from distributor.cli.layout import count, grid, span
from distributor.cli.options import duration
from distributor.cli.outcome import Interrupted, Outcome
from distributor.cli.rollout import MemberPart, told
from distributor.cli.rollouts import SHORT, RolloutLine
from distributor.cli.status import states
from distributor.errors import HeldError, NotConvergedError, RefusedError, UsageError
from distributor.rollout.state import Cause, Environment, Rollout, RolloutState

if TYPE_CHECKING:
    from sqlalchemy import Engine

DONE, FAILED = 0, 1
EMPTY = 0
_DECIDED = (RolloutState.FLIPPING, RolloutState.REVERTING)
ENDED = {
    RolloutState.ONLINE: DONE,
    RolloutState.REFUSED: RefusedError.exit_code,
    RolloutState.ABANDONED: NotConvergedError.exit_code,
    RolloutState.SUPERSEDED: HeldError.exit_code,
    RolloutState.REVERTED: 14,
}
TIMED_OUT = {
    RolloutState.QUEUED: HeldError.exit_code,
    RolloutState.STAGING: NotConvergedError.exit_code,
    RolloutState.CONVERGED: NotConvergedError.exit_code,
    RolloutState.FLIPPING: FAILED,
    RolloutState.REVERTING: FAILED,
}


class AskedRollout(Outcome):
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
    """With `--dry-run`: what else it would do, such as call off the rollout that goes on."""
    held: bool
    """Whether somebody holds the environment."""
    rollout: RolloutLine | None
    """The rollout; null with `--dry-run`."""
    members: tuple[MemberPart, ...]
    """What each member did; required ones first."""

    @property
    def exit_code(self) -> int:
        """How it ended (see exit codes); 0 when nobody waited."""
        if self.rollout is None or not self.waited:
            return DONE
        if not self.timed_out:
            return ENDED[self.rollout.state]
        if self.held and self.rollout.state is RolloutState.CONVERGED:
            return HeldError.exit_code
        return TIMED_OUT[self.rollout.state]

    def show(self, console: Console) -> None:
        """One line of what became of it, and a line for each member."""
        if self.rollout is None:
            console.print(f"{self.environment} would be taken to release {self.release}; nothing was asked for")
            for remark in self.remarks:
                console.print(remark)
            if self.waiting_for:
                console.print(f"it would wait for {self.waiting_for}")
            return
        line = self.rollout
        console.print(f"{self.environment}: release {line.way}, {line.state} (rollout {line.id[:SHORT]})")
        if line.outcome:
            console.print(line.outcome)
        if self.waited and self.members:
            table = grid("system", "state", ">rows", ">load")
            for member in self.members:
                seconds = f"{sum(member.phases.values()):.2f} s" if member.phases else "-"
                table.add_row(member.system, member.state, "-" if member.rows is None else f"{member.rows:,}", seconds)
            console.print(table)
        if line.state is RolloutState.ONLINE and line.ended_at:
            console.print(f"took {span(line.ended_at - line.requested_at)}, skew {line.skew}")
        if self.timed_out:
            console.print(f"stopped waiting; the rollout goes on and waits for {self.waiting_for or 'its members'}")
            for text in lines(self.blockers):
                console.print(text, soft_wrap=True)
        elif not self.waited:
            console.print(f"`distributor rollout {line.id[:SHORT]}` tells how it goes")


def would_ask(
    desk: Desk, environment: str, release: int | None, cause: Cause, *, as_shown: bool = False
) -> AskedRollout:
    """What a request would come to, asking for nothing. `as_shown`: it asks for the release that is shown already.

    Raises RefusedError when it would be refused at once.
    """
    from distributor.ledger import releases
    from distributor.requests.rollouts import release_before
    from distributor.upkeep.collected import refuse_collected

    desk.known_environment(environment)
    with desk.reading() as conn:
        state = states(conn, desk.settings, [environment])[environment]
        newest = releases.head(conn)
        release = state.shown if as_shown else release
        if state.active and cause is Cause.ROLLBACK and release is None:
            return _would_call_off(state, state.active)
        if cause is Cause.ROLLBACK and release is None:
            release = release_before(conn, state)
        if newest is None and release is None:
            raise RefusedError("there is no release yet", where="ledger", mend="Run `distributor publish` first.")
        number = newest.number if newest and release is None else release or EMPTY
        if number != EMPTY:
            releases.release(conn, number)
            refuse_collected(conn, desk.store, number)
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
    if release == EMPTY and state.shown != EMPTY:
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


def ask_and_wait(
    desk: Desk, environment: str, ask: Callable[[Engine], str], *, no_wait: bool, timeout: str | None
) -> AskedRollout:
    """Asks (`ask` returns the rollout's id) and waits for the end unless told not to."""
    desk.known_environment(environment)
    if no_wait and timeout:
        raise UsageError("--no-wait and --timeout exclude each other", where="usage")
    patience = duration(timeout, "--timeout") if timeout else None
    with desk.ledger() as engine:
        rollout_id = ask(engine)
        try:
            picture = look_once(desk, engine, rollout_id) if no_wait else follow(desk, engine, rollout_id, patience)
        except KeyboardInterrupt as interrupt:
            raise Interrupted(
                f"interrupted; rollout {rollout_id[:SHORT]} goes on",
                mend=f"`distributor abort {environment} --reason R` would call it off.",
            ) from interrupt
        return _outcome(engine, picture, waited=not no_wait)


def _outcome(engine: Engine, picture: Picture, *, waited: bool) -> AskedRollout:
    from distributor.ledger.engine import transaction

    with transaction(engine) as conn:
        known = told(conn, picture.record)
    ended = picture.state.ended
    return AskedRollout(
        environment=picture.record.environment,
        release=picture.record.rollout.release,
        dry_run=False,
        waited=waited,
        timed_out=waited and not ended,
        waiting_for="" if ended else picture.waiting_for,
        blockers=() if ended else picture.environment.blockers,
        remarks=(),
        held=bool(picture.environment.holds),
        rollout=known.rollout,
        members=known.members,
    )

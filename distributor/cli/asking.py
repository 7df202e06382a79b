"""What `deploy`, `refresh` and `rollback` share: ask for a rollout, wait for it, and say how it ended."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from rich.console import Console

from distributor.cli.desk import Desk
from distributor.cli.following import Picture, follow, look_once
from distributor.cli.layout import grid, span
from distributor.cli.options import duration
from distributor.cli.outcome import Interrupted, Outcome
from distributor.cli.rollout import MemberPart, told
from distributor.cli.rollouts import SHORT, RolloutLine
from distributor.cli.status import look
from distributor.errors import HeldError, NotConvergedError, RefusedError, UsageError
from distributor.rollout.state import RolloutState

if TYPE_CHECKING:
    from sqlalchemy import Engine

DONE, FAILED = 0, 1
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
            if self.waiting_for:
                console.print(f"it would wait for {self.waiting_for}")
            return
        line = self.rollout
        way = f"release {line.from_release} → {line.release}"
        console.print(f"{self.environment}: {way}, {line.state} (rollout {line.id[:SHORT]})")
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
        elif not self.waited:
            console.print(f"`distributor rollout {line.id[:SHORT]}` tells how it goes")


def would_ask(desk: Desk, environment: str, release: int | None) -> AskedRollout:
    """What a request would meet, asking for nothing. Raises RefusedError when there is no such release."""
    from distributor.ledger import releases

    desk.known_environment(environment)
    with desk.reading() as conn:
        if release is not None and release != 0:
            releases.release(conn, release)
        status = look(conn, desk.settings, [environment])
    if release is None and not status.newest_release:
        raise RefusedError("there is no release yet", where="ledger", mend="Run `distributor publish` first.")
    standing = status.environments[0]
    waiting = [f"rollout {standing.rollout[:SHORT]}, which is {standing.state}"] if standing.rollout else []
    waiting += [f"the hold of {hold.owner}: {hold.reason}" for hold in standing.holds]
    return AskedRollout(
        environment=environment,
        release=status.newest_release if release is None else release,
        dry_run=True,
        waited=False,
        timed_out=False,
        waiting_for="; ".join(waiting),
        held=bool(standing.holds),
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
        held=bool(picture.environment.holds),
        rollout=known.rollout,
        members=known.members,
    )

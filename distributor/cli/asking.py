"""What `deploy`, `refresh` and `rollback` share: ask for a rollout, wait for it, and say how it ended."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from rich.console import Console

from distributor.cli.desk import Desk
from distributor.cli.following import follow, look_once
from distributor.cli.layout import grid
from distributor.cli.options import duration
from distributor.cli.outcome import Interrupted, Outcome
from distributor.errors import HeldError, NotConvergedError, RefusedError, UsageError
from distributor.rollout.state import Cause, RolloutState
from distributor.views import asked
from distributor.views.asked import AskedRollout
from distributor.views.blocking import lines
from distributor.views.wording import SHORT, span

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


class ShownRequest(AskedRollout, Outcome):
    """A rollout that was asked for, and how it stands."""

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
        for remark in self.remarks:
            console.print(remark, soft_wrap=True)
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
) -> ShownRequest:
    """What a request would come to, asking for nothing. Raises RefusedError when it would be refused at once."""
    desk.known_environment(environment)
    with desk.reading() as conn:
        return ShownRequest.of(
            asked.would_ask(conn, desk.settings, desk.store, environment, release, cause, as_shown=as_shown)
        )


def would_ask_for_rows(
    desk: Desk, environment: str, release: int | None, cause: Cause, *, as_shown: bool = False
) -> ShownRequest:
    """The same, and what would become of single rows."""
    dry = would_ask(desk, environment, release, cause, as_shown=as_shown)
    with desk.ledger() as engine:
        return ShownRequest.of(asked.with_rows(engine, desk.settings, desk.store, dry))


def ask_and_wait(
    desk: Desk, environment: str, ask: Callable[[Engine], str], *, no_wait: bool, timeout: str | None
) -> ShownRequest:
    """Asks (`ask` returns the rollout's id) and waits for the end unless told not to."""
    from distributor.ledger.engine import transaction

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
        with transaction(engine) as conn:
            return ShownRequest.of(asked.asked(conn, picture.record, picture.environment, waited=not no_wait))

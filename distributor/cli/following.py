"""Waits for a rollout with live progress: a table on a terminal, a line for every change elsewhere."""

from __future__ import annotations

import re
import time
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

from rich.console import Group
from rich.live import Live
from rich.text import Text

from distributor.cli.desk import Desk
from distributor.cli.layout import grid
from distributor.errors import DistributorError, UnreachableError
from distributor.rollout.state import RolloutState
from distributor.views.blocking import lines
from distributor.views.environments import EnvironmentStatus
from distributor.views.rollouts import RolloutLine
from distributor.views.status import look
from distributor.views.wording import SHORT, count

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy import Engine

    from distributor.ledger.rollouts import RolloutRecord

POLL_SECONDS = 0.1
RETRY_SECONDS = 1.0
_DIGITS = re.compile(r"\d[\d.,:]*")


@dataclass(frozen=True, slots=True)
class Picture:
    """A rollout at one moment. `place` is its place in the queue, 0 when it is not queued."""

    record: RolloutRecord
    environment: EnvironmentStatus
    place: int

    @property
    def state(self) -> RolloutState:
        """The rollout's state."""
        return self.record.rollout.state

    @property
    def waiting_for(self) -> str:
        """What it waits for, in a sentence; empty when nothing in particular."""
        return self.environment.waited_for_by(self.record.rollout.id)


def follow(desk: Desk, engine: Engine, rollout_id: str, timeout: timedelta | None) -> Picture:
    """Waits until the rollout has ended, or `timeout` is over; the last picture tells which."""
    deadline = None if timeout is None else time.monotonic() + timeout.total_seconds()
    if desk.notes.is_terminal and not desk.as_json:
        return _live(desk, _pictures(desk, engine, rollout_id, deadline))
    return _lines(desk, _pictures(desk, engine, rollout_id, deadline))


def _pictures(desk: Desk, engine: Engine, rollout_id: str, deadline: float | None) -> Iterator[Picture]:
    """A picture every POLL_SECONDS, the last of them ended or past the deadline. Bears a ledger that goes away."""
    silent = False
    while True:
        picture = None
        try:
            picture = look_once(desk, engine, rollout_id)
            silent = False
        except UnreachableError as error:
            if not silent:
                desk.say(f"{error} Still waiting.")
            silent = True
            if deadline is not None and time.monotonic() > deadline:
                raise
        if picture is not None:
            yield picture
            if picture.state is RolloutState.ABANDONED and (next_id := _instead(engine, picture)):
                desk.say(f"{picture.record.environment}: {picture.record.rollout.outcome}")
                rollout_id = next_id
                continue
            if picture.state.ended or (deadline is not None and time.monotonic() > deadline):
                return
        time.sleep(RETRY_SECONDS if silent else POLL_SECONDS)


def _instead(engine: Engine, picture: Picture) -> str | None:
    """The rollout that was asked for in the place of one that some rows did not let through."""
    from distributor.ledger.engine import transaction
    from distributor.ledger.rollouts import asked_instead

    with transaction(engine) as conn:
        return asked_instead(conn, picture.record.environment, picture.record.rollout.id)


def look_once(desk: Desk, engine: Engine, rollout_id: str) -> Picture:
    """The rollout as it stands. Raises UnreachableError."""
    from distributor.ledger.engine import transaction
    from distributor.ledger.rollouts import rollout as by_id

    with transaction(engine) as conn:
        record = by_id(conn, rollout_id)
        if record is None:
            raise DistributorError(f"the ledger no longer knows rollout {rollout_id}", where="ledger")
        status = look(conn, desk.settings, [record.environment])
    environment = status.environments[0]
    return Picture(
        record=record,
        environment=environment,
        place=environment.queued.index(rollout_id) + 1 if rollout_id in environment.queued else 0,
    )


def _live(desk: Desk, pictures: Iterator[Picture]) -> Picture:
    last: Picture | None = None
    with Live(console=desk.notes, refresh_per_second=10, transient=True) as live:
        for last in pictures:
            live.update(_drawn(last))
    assert last is not None
    return last


def _drawn(picture: Picture) -> Group:
    way = RolloutLine.of(picture.record).way
    title = f"{picture.record.environment}: release {way}, {picture.state}"
    table = grid("system", "state", ">rows", ">rate")
    for member in picture.environment.members if not picture.place else ():
        load = member.load
        table.add_row(
            member.system,
            f"{member.state}: {load.phase}" if load else member.state,
            f"{load.rows_done:,} / {load.rows_total:,}" if load else "",
            f"{load.rate:,.0f}/s" if load else "",
        )
    waiting = f"waiting for: {picture.waiting_for}" if picture.waiting_for else ""
    texts = (title, waiting, *lines(picture.environment.blockers))
    # The console of notes never wraps; a line that is drawn again and again has to.
    told = [Text(text, no_wrap=False, overflow="fold") for text in texts]
    return Group(told[0], table, *told[1:])


def _lines(desk: Desk, pictures: Iterator[Picture]) -> Picture:
    said: dict[str, str] = {}
    last: Picture | None = None
    for last in pictures:
        for about, text in _told(last):
            # A count or an age that goes on is no news: only words are compared.
            if said.get(about) != (words := _DIGITS.sub("#", text)):
                said[about] = words
                if text:
                    desk.say(f"{last.record.environment}: {text}")
    assert last is not None
    return last


def _told(picture: Picture) -> Iterator[tuple[str, str]]:
    rollout = picture.record.rollout
    yield "state", f"rollout {rollout.id[:SHORT]} to release {rollout.release} is {picture.state}"
    if picture.state.ended:
        return
    yield "waiting", f"waiting for {picture.waiting_for}" if picture.waiting_for else ""
    for blocker in picture.environment.blockers:
        yield f"{blocker.reason} {blocker.who}", "\n".join(lines([blocker]))
    if not picture.place:
        for member in picture.environment.members:
            load = member.load
            done = f" ({load.phase}, {count(load.rows_total, 'row')})" if load else ""
            yield member.system, f"{member.system} {member.state}{done}"

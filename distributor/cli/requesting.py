"""Waits for a refresh request: for its turn, with its place and when it will come, then for its rollout."""

from __future__ import annotations

import re
import time
from datetime import timedelta
from typing import TYPE_CHECKING

from rich.console import Console

from distributor.cli.asking import FAILED, ShownRequest
from distributor.cli.desk import Desk
from distributor.cli.following import Picture, follow, look_once
from distributor.cli.outcome import Interrupted
from distributor.errors import HeldError, NotConvergedError, RefusedError, UnreachableError
from distributor.ledger.refresh_requests import RequestState
from distributor.views import asked as asked_view
from distributor.views.asked import AskedRollout
from distributor.views.requests import RequestLine
from distributor.views.requests import request as request_line
from distributor.views.status import look
from distributor.views.wording import SHORT

if TYPE_CHECKING:
    from sqlalchemy import Engine

POLL_SECONDS = 0.5
RETRY_SECONDS = 1.0
CLOSING_SECONDS = 3.0
CLOSING_POLL_SECONDS = 0.1
_DIGITS = re.compile(r"\d\d[\d.,:]*")
_ENDED = {
    RequestState.DONE: 0,
    RequestState.FAILED: RefusedError.exit_code,
    RequestState.WITHDRAWN: NotConvergedError.exit_code,
}


class ShownRefresh(ShownRequest):
    """A refresh that was asked for, and how it stands. `rollout` is null until its turn has come."""

    request: RequestLine | None
    """The request; null with `--dry-run`."""

    @property
    def exit_code(self) -> int:
        """As its rollout ended; without one, as the request did."""
        if self.request is None or self.rollout is not None or not self.waited:
            return super().exit_code
        return HeldError.exit_code if self.timed_out else _ENDED.get(self.request.state, FAILED)

    def show(self, console: Console) -> None:
        """As any request; its place, as long as it has no rollout."""
        if self.request is not None and self.rollout is None:
            line = self.request
            console.print(f"{line.environment}: request {line.id[:SHORT]} for release {line.wanted} is {line.state}")
            for text in told(line):
                console.print(text)
            return
        super().show(console)
        if self.request is not None and self.request.place:
            console.print(f"`distributor withdraw {self.request.id[:SHORT]}` takes the request back")


def told(line: RequestLine) -> list[str]:
    """Where a request stands, in sentences."""
    place = f"place {line.place}" if line.place else ""
    waiting = f"waiting for {line.waiting_for}" if line.waiting_for else ""
    return [text for text in (", ".join(filter(None, (place, waiting))), line.estimate, line.outcome) if text]


def follow_request(
    desk: Desk, engine: Engine, request_id: str, patience: timedelta | None, *, wait: bool
) -> ShownRefresh:
    """Waits for the end of a request, or until the patience is over."""
    deadline = None if patience is None else time.monotonic() + patience.total_seconds()
    try:
        picture = _follow(desk, engine, request_id, deadline) if wait else _rollout(desk, engine, request_id)
    except KeyboardInterrupt as interrupt:
        raise Interrupted(
            f"interrupted; request {request_id[:SHORT]} stands",
            mend=f"`distributor withdraw {request_id[:SHORT]}` would take it back.",
        ) from interrupt
    return _shown(desk, engine, request_id, picture, wait=wait)


def shown(found: AskedRollout, line: RequestLine | None) -> ShownRefresh:
    """A rollout that was asked for, with its request."""
    parts = {name: getattr(found, name) for name in AskedRollout.model_fields}
    return ShownRefresh.model_construct(**parts, request=line)


def _follow(desk: Desk, engine: Engine, request_id: str, deadline: float | None) -> Picture | None:
    """The last picture of its rollout; None when it has none."""
    said, picture = "", None
    while True:
        line = _line(desk, engine, request_id, deadline)
        if line is not None:
            if line.rollout and line.state is not RequestState.RESETTING:
                left = None if deadline is None else timedelta(seconds=max(deadline - time.monotonic(), 0.0))
                picture = follow(desk, engine, line.rollout, left)
                if not picture.state.ended or not _goes_on(desk, engine, request_id, picture):
                    return picture
            elif not line.state.open:
                return None
            else:
                words = "; ".join(told(line))
                if said != (plain := _DIGITS.sub("#", words)):
                    said = plain
                    desk.say(f"{line.environment}: request {line.id[:SHORT]} is {line.state}: {words}")
        if deadline is not None and time.monotonic() > deadline:
            return None
        time.sleep(POLL_SECONDS if line is not None else RETRY_SECONDS)


def _goes_on(desk: Desk, engine: Engine, request_id: str, picture: Picture) -> bool:
    """Whether a request is not over though its rollout is. A coordinator says so a moment later, if there is one."""
    closing = time.monotonic() + CLOSING_SECONDS
    while time.monotonic() < closing:
        line = _line(desk, engine, request_id, None)
        if line is not None and (not line.state.open or line.rollout != picture.record.rollout.id):
            return line.state.open
        time.sleep(CLOSING_POLL_SECONDS)
    return False


def _line(desk: Desk, engine: Engine, request_id: str, deadline: float | None) -> RequestLine | None:
    """The request as it stands; None while the ledger is away."""
    from distributor.ledger.engine import transaction

    try:
        with transaction(engine) as conn:
            return request_line(conn, desk.settings, request_id)
    except UnreachableError as error:
        if deadline is not None and time.monotonic() > deadline:
            raise
        desk.say(f"{error} Still waiting.")
        return None


def _rollout(desk: Desk, engine: Engine, request_id: str) -> Picture | None:
    from distributor.ledger.engine import transaction

    with transaction(engine) as conn:
        found = request_line(conn, desk.settings, request_id)
    return look_once(desk, engine, found.rollout) if found.rollout else None


def _shown(desk: Desk, engine: Engine, request_id: str, picture: Picture | None, *, wait: bool) -> ShownRefresh:
    from distributor.ledger.engine import transaction
    from distributor.ledger.releases import head

    with transaction(engine) as conn:
        line = request_line(conn, desk.settings, request_id)
        if picture is not None:
            found = asked_view.asked(conn, picture.record, picture.environment, waited=wait)
            return shown(found, line)
        newest = head(conn)
        standing = look(conn, desk.settings, [line.environment]).environments[0]
    return ShownRefresh(
        environment=line.environment,
        release=line.release if line.release is not None else (newest.number if newest else 0),
        dry_run=False,
        waited=wait,
        timed_out=wait and line.state.open,
        waiting_for=line.waiting_for,
        blockers=standing.blockers if line.state.open else (),
        remarks=(),
        held=bool(standing.holds),
        rollout=None,
        members=(),
        request=line,
    )

"""Refresh requests: who asked for what, whose turn it is, and when it will be there."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from itertools import pairwise
from typing import TYPE_CHECKING

from distributor.errors import UsageError
from distributor.ledger.refresh_requests import Position, RefreshRequest, RequestState
from distributor.rollout.state import Environment
from distributor.telemetry import clock
from distributor.views.base import View
from distributor.views.environments import EnvironmentStatus
from distributor.views.status import look, states
from distributor.views.wording import SHORT, count, stamp

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from distributor.requests.estimates import Forecast
    from distributor.settings import Settings


class RequestLine(View):
    """One refresh request."""

    id: str
    """Its id; verbs that ask for one take any unambiguous beginning of it."""
    environment: str
    """The environment."""
    by: str
    """Who asked."""
    reason: str
    """Why."""
    requested_at: datetime
    """When, in UTC."""
    release: int | None
    """The release that was asked for; null: the newest when it begins."""
    as_of: datetime | None
    """The time by which that release was chosen; null when it was not."""
    systems: tuple[str, ...]
    """The systems that it is about; empty: all."""
    reset: bool
    """Whether what was written into the stores behind the tables is taken back."""
    state: RequestState
    """`waiting`, `resetting` (its systems are looked at), `rolling-out`; ended: `done`, `failed`, `withdrawn`."""
    place: int
    """Its place in the environment's line: 1 is next, or under way; 0 when it is over."""
    waiting_for: str
    """What it waits for, in a sentence; empty when it has ended."""
    begins_at: datetime | None
    """When it began, or will as far as is known, in UTC."""
    online_at: datetime | None
    """When it will be online as far as is known, from how long this environment's rollouts took; null when it is over,
    or when that is not known."""
    estimate: str
    """The same in a sentence; it says why it is unknown. Empty when it is over."""
    rollout: str | None
    """The id of the rollout that it began; null when none did yet."""
    verification: str | None
    """The id of the look at what its systems store, of a reset."""
    started_at: datetime | None
    """When it began, in UTC."""
    ended_at: datetime | None
    """When it ended, in UTC."""
    outcome: str
    """How it ended, or why it waits again, in a sentence."""

    @property
    def wanted(self) -> str:
        """What was asked for, in a few words."""
        release = "the newest" if self.release is None else str(self.release)
        at = f" (as of {stamp(self.as_of)})" if self.as_of else ""
        only = f" in {', '.join(self.systems)}" if self.systems else ""
        return f"{release}{at}{only}{', reset' if self.reset else ''}"


class Requests(View):
    """Refresh requests."""

    requests: tuple[RequestLine, ...]
    """The open ones first, in the order in which they get their turn; then those that are over, newest first."""


def requests(
    conn: Connection,
    settings: Settings,
    environment: str | None = None,
    *,
    only_open: bool = False,
    limit: int = 50,
    before: Position | None = None,
    among: Collection[str] | None = None,
) -> Requests:
    """The requests of an environment, or of all; as many as `limit`, of which open ones come first. `before`: those
    that come after that one, newest first; `among`: those of these environments only."""
    from distributor.ledger.refresh_requests import known

    names = [environment] if environment else list(settings.environments if among is None else among)
    found = known(conn, names, only_open=only_open, limit=limit, before=before)
    lines = _lines(conn, settings, found)
    begun = [line for line in lines if line.place]
    over = [line for line in lines if not line.place]
    return Requests(requests=(*sorted(begun, key=lambda line: (line.environment, line.place)), *over))


def request(conn: Connection, settings: Settings, id_: str) -> RequestLine:
    """One request, by its id or an unambiguous beginning of it. Raises UsageError."""
    return _lines(conn, settings, [find(conn, id_)])[0]


def line_ahead(conn: Connection, environment: str) -> str:
    """What one more request would wait behind, in words; empty when no request is open."""
    from distributor.ledger.refresh_requests import waiting_line

    line = waiting_line(conn, environment)
    return f"{count(len(line), 'refresh request')}" if line else ""


def find(conn: Connection, beginning: str) -> RefreshRequest:
    """The request whose id begins so, as the ledger has it. Raises UsageError when none does, or more than one."""
    from distributor.ledger import refresh_requests

    match refresh_requests.beginning(conn, beginning):
        case [only]:
            return only
        case []:
            raise UsageError(f"there is no request {beginning!r}", where="ledger", mend="See `distributor requests`.")
        case _:
            raise UsageError(
                f"more than one request begins with {beginning!r}", where="ledger", mend="Give more of its digits."
            )


def _lines(conn: Connection, settings: Settings, found: Sequence[RefreshRequest]) -> list[RequestLine]:
    from distributor.ledger import refresh_requests
    from distributor.requests import estimates

    # The ledger remembers environments that the config has no more.
    open_in = sorted({r.environment for r in found if r.state.open and r.environment in settings.environments})
    standing = {one.environment: one for one in look(conn, settings, open_in).environments} if open_in else {}
    places: dict[str, int] = {}
    ahead: dict[str, RefreshRequest] = {}
    forecast: dict[str, Forecast] = {}
    state = states(conn, settings, open_in)
    for name in open_in:
        line = refresh_requests.waiting_line(conn, name)
        places.update({request.id: place for place, request in enumerate(line, 1)})
        ahead.update({request.id: before for before, request in pairwise(line)})
        known = estimates.history(conn, name, refresh_requests.reset_seconds(conn, name))
        needed = _approvals(settings, name)
        forecast.update(estimates.forecasts(state[name], line, known, clock.now(), approvals=needed))
    return [
        _line(
            request,
            places.get(request.id, 0),
            _waiting_for(request, ahead, state, standing),
            forecast.get(request.id),
        )
        for request in found
    ]


def _line(request: RefreshRequest, place: int, waiting_for: str, forecast: Forecast | None) -> RequestLine:
    copied = RefreshRequest.__dataclass_fields__.keys() - {"rollout_id"}
    return RequestLine(
        **{name: getattr(request, name) for name in copied},
        rollout=request.rollout_id,
        place=place,
        waiting_for=waiting_for,
        begins_at=request.started_at or (forecast.begins_at if forecast else None),
        online_at=forecast.online_at if forecast else None,
        estimate=_estimate(request, forecast) if forecast else "",
    )


def _estimate(request: RefreshRequest, forecast: Forecast) -> str:
    if request.started_at:
        begins = ""
    elif forecast.begins_at:
        begins = f"it begins about {stamp(forecast.begins_at)}, and "
    else:
        begins = "when it begins is unknown, and "
    if forecast.online_at:
        return f"{begins}{'it' if not begins else ''} is online about {stamp(forecast.online_at)} UTC".replace(
            "  ", " "
        )
    return f"{begins}when it is online is unknown: {forecast.unknown}"


def _waiting_for(
    request: RefreshRequest,
    ahead: Mapping[str, RefreshRequest],
    state: Mapping[str, Environment],
    standing: Mapping[str, EnvironmentStatus],
) -> str:
    environment = standing.get(request.environment)
    if environment is None or not request.state.open:
        return ""
    if request.state is RequestState.RESETTING:
        return "its systems, which tell what they store"
    if request.rollout_id:
        return environment.waited_for_by(request.rollout_id)
    if before := ahead.get(request.id):
        return f"its turn, after the request of {before.by} ({before.id[:SHORT]})"
    if environment.rollout:
        return f"rollout {environment.rollout[:SHORT]} to release {environment.target}, which is {environment.state}"
    if state[request.environment].blocked:
        return state[request.environment].blocked
    return "a coordinator"


def _approvals(settings: Settings, environment: str) -> int:
    approvals = settings.environment(environment).approvals
    return approvals.needed if approvals and "refresh" in approvals.of else 0

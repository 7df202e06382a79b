"""Verbs that do something, through a server: each takes what its verb takes, and ends with the same document.

Who acts is the key's name, so `--by` has no place here; and every act has a reason.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from datetime import datetime
from typing import Any
from urllib.parse import urlencode

from distributor.cli.asking import ShownRequest
from distributor.cli.deadletter import ShownHandledLetter
from distributor.cli.desk import Desk
from distributor.cli.freezing import ShownFrozen
from distributor.cli.intervention import ShownIntervention
from distributor.cli.options import duration, moment, names, past_moment
from distributor.cli.quarantine import ShownHandled
from distributor.cli.remote.server import Server, part
from distributor.cli.remote.waiting import wait
from distributor.cli.requesting import ShownRefresh, shown, told
from distributor.cli.triggers import TAKEN_WITHIN, ShownCall
from distributor.cli.withdraw import ShownWithdrawn
from distributor.errors import RefusedError, UsageError
from distributor.telemetry import clock
from distributor.views.asked import AskedRollout
from distributor.views.deadletters import HandledLetter
from distributor.views.environments import EnvironmentStatus
from distributor.views.freezes import FreezePart
from distributor.views.intervention import Intervention
from distributor.views.quarantine import Handled
from distributor.views.requests import RequestLine
from distributor.views.rollout import RolloutStory
from distributor.views.triggers import TriggerCall
from distributor.views.wording import SHORT

NO_REASON = "no reason was given"
_POLL_SECONDS = 0.5


def checked(given: Mapping[str, Any]) -> dict[str, Any]:
    """A verb's options as a server takes them. Raises UsageError for those that it cannot take."""
    own_hold = given.get("owner") is not None and "until" in given
    if given.get("by") is not None or own_hold:
        raise UsageError("the server knows who asks by the key", where="--by", mend="Leave it out.")
    if given.get("dry_run"):
        raise UsageError("a server does not try things out", where="--dry-run", mend="`plan` tells what would change.")
    found = {name: value for name, value in given.items() if name not in ("by", "dry_run")}
    if found.get("reason") == "":
        # The verb does not ask for one; the audit says so.
        found["reason"] = NO_REASON
    return found


def deploy(
    server: Server, desk: Desk, *, environment: str, release: int | None, reason: str, plan: str | None,
    no_wait: bool, timeout: str | None,
) -> ShownRequest:  # fmt: skip
    """To a release."""
    path = f"{_of(environment)}/rollouts"
    asked = server.done(AskedRollout, path, release=release, plan=plan, reason=reason)
    return wait(server, desk, asked, no_wait=no_wait, timeout=timeout)


def rollback(
    server: Server, desk: Desk, *, environment: str, reason: str, to: int | None, no_wait: bool, timeout: str | None
) -> ShownRequest:
    """Back."""
    asked = server.done(AskedRollout, f"{_of(environment)}/rollback", to=to, reason=reason)
    return wait(server, desk, asked, no_wait=no_wait, timeout=timeout)


def promote(
    server: Server, desk: Desk, *, source: str, target: str, reason: str, no_wait: bool, timeout: str | None
) -> ShownRequest:
    """To what another environment shows."""
    asked = server.done(AskedRollout, f"{_of(target)}/promote", **{"from": source}, reason=reason)
    return wait(server, desk, asked, no_wait=no_wait, timeout=timeout)


def refresh(
    server: Server, desk: Desk, *, environment: str, release: int | None, at: str | None, systems: str | None,
    reset: bool, reason: str, no_wait: bool, timeout: str | None,
) -> ShownRefresh:  # fmt: skip
    """A test team's request: waits for its turn, then for its rollout."""
    if release is not None and at is not None:
        raise UsageError("--release and --at exclude each other", where="usage")
    line = server.done(
        RequestLine,
        f"{_of(environment)}/refresh-requests",
        release=release,
        as_of=_written(past_moment(at, "--at", clock.now())) if at else None,
        systems=names(systems, "--systems"),
        reset=reset,
        reason=reason,
    )
    patience = duration(timeout, "--timeout") if timeout else None
    deadline = None if patience is None else time.monotonic() + patience.total_seconds()
    said = ""
    while not no_wait and line.state.open and line.rollout is None:
        if deadline is not None and time.monotonic() > deadline:
            break
        if (words := "; ".join(told(line))) != said:
            said = words
            desk.say(f"{environment}: request {line.id[:SHORT]} is {line.state}: {words}")
        time.sleep(_POLL_SECONDS)
        line = server.read(RequestLine, f"/v1/refresh-requests/{line.id}")
    if line.rollout is None:
        return shown(_without_a_rollout(line, waited=not no_wait), line)
    return shown(followed(server, desk, line.rollout, no_wait=no_wait, timeout=timeout), line)


def _without_a_rollout(line: RequestLine, *, waited: bool) -> AskedRollout:
    return AskedRollout(
        environment=line.environment,
        release=line.release or 0,
        dry_run=False,
        waited=waited,
        timed_out=waited and line.state.open,
        waiting_for=line.waiting_for,
        blockers=(),
        remarks=(),
        held=False,
        rollout=None,
        members=(),
    )


def hold(
    server: Server, desk: Desk, *, environment: str, reason: str, until: str | None, owner: None
) -> ShownIntervention:
    """Reserved, in the key's name."""
    end = _written(moment(until, "--until", clock.now())) if until else None
    return _intervention(server, f"{_of(environment)}/holds", reason=reason, until=end)


def release_hold(server: Server, desk: Desk, *, environment: str, owner: str | None, reason: str) -> ShownIntervention:
    """One's own hold, or with `--owner` another's."""
    whose = owner or _holder(server, environment)
    path = f"{_of(environment)}/holds/{part(whose)}?{urlencode({'reason': reason})}"
    return ShownIntervention.of(server.done(Intervention, path, "DELETE"))


def _holder(server: Server, environment: str) -> str:
    """Whose hold is meant when none is named: the only one, else one's own. Raises RefusedError."""
    owners = [hold.owner for hold in server.read(EnvironmentStatus, _of(environment)).holds]
    if len(owners) == 1:
        return owners[0]
    own = str(server.json("/v1/me")["name"])
    if own not in owners:
        held = f"; it is held by {', '.join(owners)}" if owners else ""
        mend = f"Name one: --owner {owners[0]}." if owners else ""
        raise RefusedError(f"there is no hold of {own}{held}", where=environment, mend=mend)
    return own


def abort(server: Server, desk: Desk, *, environment: str, reason: str, rollout: str | None) -> ShownIntervention:
    """Called off: the one that is named, else the one that goes on."""
    chosen = rollout or server.read(EnvironmentStatus, _of(environment)).rollout
    if chosen is None:
        raise RefusedError("no rollout is under way", where=environment)
    return _intervention(server, f"/v1/rollouts/{part(chosen)}/abort", reason=reason)


def detach(server: Server, desk: Desk, *, environment: str, system: str, reason: str) -> ShownIntervention:
    """Let go."""
    return _intervention(server, f"{_of(environment)}/systems/{part(system)}/detach", reason=reason)


def pin(server: Server, desk: Desk, *, environment: str, reason: str) -> ShownIntervention:
    """Kept at what it shows."""
    return _intervention(server, f"{_of(environment)}/pin", reason=reason)


def follow(server: Server, desk: Desk, *, environment: str, reason: str) -> ShownIntervention:
    """New releases come again."""
    return _intervention(server, f"{_of(environment)}/follow", reason=reason)


def approve(server: Server, desk: Desk, *, rollout: str, reason: str) -> ShownIntervention:
    """Agreed."""
    return _intervention(server, f"/v1/rollouts/{part(rollout)}/approvals", reason=reason)


def reject(server: Server, desk: Desk, *, rollout: str, reason: str) -> ShownIntervention:
    """Not agreed."""
    return _intervention(server, f"/v1/rollouts/{part(rollout)}/rejection", reason=reason)


def freeze(
    server: Server, desk: Desk, *, until: str, reason: str, environment: str | None, every: bool, since: str | None
) -> ShownFrozen:
    """Closed for a while."""
    if every == (environment is not None):
        raise UsageError("name an environment, or give --all", where="usage")
    at = clock.now()
    begin = _written(moment(since, "--from", at)) if since else None
    end = _written(moment(until, "--until", at))
    placed = server.done(FreezePart, "/v1/freezes", environment=environment, since=begin, until=end, reason=reason)
    return ShownFrozen(dry_run=False, freeze=placed, done=f"{environment or 'every environment'} is frozen")


def unfreeze(server: Server, desk: Desk, *, freeze: str, reason: str) -> ShownFrozen:
    """Open again."""
    ended = server.done(FreezePart, f"/v1/freezes/{part(freeze)}?{urlencode({'reason': reason})}", "DELETE")
    done = f"the freeze of {ended.by} ends: {ended.environment or 'every environment'} may change over again"
    return ShownFrozen(dry_run=False, freeze=ended, done=done)


def withdraw(server: Server, desk: Desk, *, request: str, reason: str) -> ShownWithdrawn:
    """Taken back."""
    path = f"/v1/refresh-requests/{part(request)}?{urlencode({'reason': reason})}"
    return ShownWithdrawn(dry_run=False, request=server.done(RequestLine, path, "DELETE"))


def call_trigger(server: Server, desk: Desk, *, environment: str, name: str, reason: str) -> ShownCall:
    """Called; what became of it, as soon as a coordinator has taken it."""
    called = server.done(TriggerCall, f"{_of(environment)}/triggers/{part(name)}/calls", reason=reason)
    latest = time.monotonic() + TAKEN_WITHIN
    while called.taken_at is None and time.monotonic() < latest:
        time.sleep(_POLL_SECONDS)
        called = server.read(TriggerCall, f"/v1/trigger-calls/{called.id}")
    return ShownCall.of(called)


def retry_letter(server: Server, desk: Desk, *, number: int, reason: str) -> ShownHandledLetter:
    """Sent again."""
    return ShownHandledLetter.of(server.done(HandledLetter, f"/v1/dead-letters/{number}/retry", reason=reason))


def discard_letter(server: Server, desk: Desk, *, number: int, reason: str) -> ShownHandledLetter:
    """Given up."""
    return ShownHandledLetter.of(server.done(HandledLetter, f"/v1/dead-letters/{number}/discard", reason=reason))


def retry_held(
    server: Server, desk: Desk, *, environment: str | None, every: bool, dataset: str | None,
    key: list[str] | None, reason: str,
) -> ShownHandled:  # fmt: skip
    """Judged again."""
    path = f"{_of(environment)}/quarantine/retry" if environment else "/v1/quarantine/retry"
    return _handled(server, path, every=every, dataset=dataset, key=key, reason=reason)


def release_held(
    server: Server, desk: Desk, *, reason: str, dataset: str | None, key: list[str] | None, every: bool
) -> ShownHandled:
    """Shipped as they are."""
    return _handled(server, "/v1/quarantine/release", every=every, dataset=dataset, key=key, reason=reason)


def followed(server: Server, desk: Desk, rollout_id: str, *, no_wait: bool, timeout: str | None) -> ShownRequest:
    """Waits for a rollout that was asked for already."""
    story = server.read(RolloutStory, f"/v1/rollouts/{rollout_id}")
    asked = AskedRollout(
        environment=story.rollout.environment,
        release=story.rollout.release,
        dry_run=False,
        waited=False,
        timed_out=False,
        waiting_for=story.waiting_for,
        blockers=story.blockers,
        remarks=(),
        held=False,
        rollout=story.rollout,
        members=story.members,
    )
    return wait(server, desk, asked, no_wait=no_wait, timeout=timeout)


def _of(environment: str) -> str:
    return f"/v1/environments/{part(environment)}"


def _intervention(server: Server, path: str, **body: object) -> ShownIntervention:
    return ShownIntervention.of(server.done(Intervention, path, "POST", **body))


def _handled(
    server: Server, path: str, *, every: bool, dataset: str | None, key: list[str] | None, reason: str
) -> ShownHandled:
    if not every and dataset is None and not key:
        raise UsageError("no row is named", where="usage", mend="Name one, or give --all.")
    return ShownHandled.of(server.done(Handled, path, dataset=dataset, key=key or None, reason=reason))


def _written(at: datetime) -> str:
    return at.isoformat()

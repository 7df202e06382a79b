"""Waits for a rollout through a server: its timeline is told line by line, as it grows."""

from __future__ import annotations

import time

from distributor.cli.asking import ShownRequest
from distributor.cli.desk import Desk
from distributor.cli.options import duration
from distributor.cli.outcome import Interrupted
from distributor.cli.remote.server import Server, part
from distributor.errors import UnreachableError, UsageError
from distributor.views.asked import AskedRollout, left_behind
from distributor.views.environments import EnvironmentStatus
from distributor.views.rollout import RolloutStory
from distributor.views.wording import SHORT

_POLL_SECONDS = 0.3
_RETRY_SECONDS = 2.0


def wait(server: Server, desk: Desk, asked: AskedRollout, *, no_wait: bool, timeout: str | None) -> ShownRequest:
    """The rollout when it has ended, or the patience is over; at once when nobody waits."""
    if no_wait and timeout:
        raise UsageError("--no-wait and --timeout exclude each other", where="usage")
    patience = duration(timeout, "--timeout") if timeout else None
    if asked.rollout is None or no_wait:
        return ShownRequest.of(asked)
    deadline = None if patience is None else time.monotonic() + patience.total_seconds()
    try:
        return _told(server, desk, asked.rollout.id, deadline)
    except KeyboardInterrupt as interrupt:
        raise Interrupted(
            f"interrupted; rollout {asked.rollout.id[:SHORT]} goes on",
            mend=f"`distributor abort {asked.environment} --reason R` would call it off.",
        ) from interrupt


def _told(server: Server, desk: Desk, rollout_id: str, deadline: float | None) -> ShownRequest:
    said, waiting, silent = 0, "", False
    while True:
        try:
            story = server.read(RolloutStory, f"/v1/rollouts/{rollout_id}")
            silent = False
        except UnreachableError as error:
            if deadline is not None and time.monotonic() > deadline:
                raise
            if not silent:
                desk.say(f"{error} Still waiting.")
            silent = True
            time.sleep(_RETRY_SECONDS)
            continue
        line = story.rollout
        for entry in story.timeline[said:]:
            desk.say(f"{line.environment}: {entry.text}")
        said = len(story.timeline)
        if story.waiting_for != waiting and not line.state.ended:
            waiting = story.waiting_for
            if waiting:
                desk.say(f"{line.environment}: waiting for {waiting}")
        late = deadline is not None and time.monotonic() > deadline
        if line.state.ended or late:
            return _ended(server, story)
        time.sleep(_POLL_SECONDS)


def _ended(server: Server, story: RolloutStory) -> ShownRequest:
    line = story.rollout
    standing = server.read(EnvironmentStatus, f"/v1/environments/{part(line.environment)}")
    return ShownRequest(
        environment=line.environment,
        release=line.release,
        dry_run=False,
        waited=True,
        timed_out=not line.state.ended,
        waiting_for=story.waiting_for,
        blockers=story.blockers,
        remarks=left_behind(standing) if line.state.ended else (),
        held=bool(standing.holds),
        rollout=line,
        members=story.members,
    )

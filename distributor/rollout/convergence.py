"""Set tests over a rollout's answers: never counters, so that a repeated report cannot count twice."""

from __future__ import annotations

from datetime import datetime

from distributor.rollout.events import Refused, Report, Staged
from distributor.rollout.state import Environment, Rollout
from distributor.rollout.step import answer_of


def all_staged(rollout: Rollout) -> bool:
    """Every required member has staged this release under this epoch; nobody required is never 'all'."""
    return bool(rollout.required) and all(answer_of(rollout, m).staged for m in rollout.required)


def all_flipped(rollout: Rollout) -> bool:
    """Every required member shows the release."""
    return bool(rollout.required) and all(answer_of(rollout, m).flipped_at for m in rollout.required)


def all_reverted(rollout: Rollout) -> bool:
    """Every required member answered that it is back. With nobody left to wait for, the revert is over."""
    return all(answer_of(rollout, m).reverted for m in rollout.required)


def misfit(rollout: Rollout, report: Staged) -> str:
    """Why what a member staged does not count; empty when it does.

    A required member must stand on the release that the rollout starts from, else a revert would restore a mixture;
    a rollout of the very release that is online repairs, and may start from anything.
    """
    expected = rollout.expected.get(report.member)
    if expected is None:
        return f"nothing is expected of {report.member}"
    if report.mapping != expected.mapping:
        return f"{report.member} staged under another mapping than the expected one"
    if report.certificate != expected.certificate:
        return f"{report.member} stores other rows than release {rollout.release} has: the certificates differ"
    may_go_back = report.member in rollout.required and not rollout.state.ended
    repairs = rollout.release == rollout.from_release
    if may_go_back and report.shows != rollout.from_release and not repairs:
        return f"{report.member} shows release {report.shows}, not {rollout.from_release}"
    return ""


def trouble(rollout: Rollout, event: Staged | Refused) -> str:
    """Why a member cannot take the release, in a sentence."""
    match event:
        case Staged():
            return misfit(rollout, event)
        case Refused():
            return f"{event.member} refused: {event.text}"


def not_heard(state: Environment, rollout: Rollout, at: datetime) -> list[str]:
    """Required members from whom nothing came lately: nothing is decided without them."""
    since = at - rollout.timing.heard_within
    return [
        name
        for name in sorted(rollout.required)
        if (member := state.members.get(name)) and (member.heard_at is None or member.heard_at < since)
    ]


def silent(state: Environment, rollout: Rollout, member: str, at: datetime) -> bool:
    """Whether its command is due again. A member that reports progress is at work and needs no reminder."""
    sent = answer_of(rollout, member).sent_at
    known = state.members.get(member)
    if sent is None:
        return True
    moment = max(sent, known.worked_at) if known and known.worked_at else sent
    return at - moment >= rollout.timing.resend_after


def is_of(rollout: Rollout | None, report: Report) -> bool:
    """Whether a report answers a command of this rollout (not of its revert)."""
    return rollout is not None and (rollout.id, rollout.epoch) == (report.rollout_id, report.epoch)


def is_of_revert(rollout: Rollout | None, report: Report) -> bool:
    """Whether a report answers the revert of this rollout."""
    return rollout is not None and (rollout.revert_id, rollout.revert_epoch) == (report.rollout_id, report.epoch)

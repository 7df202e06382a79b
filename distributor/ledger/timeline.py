"""What happened, in sentences: one entry per transition between two states of an environment."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, func, insert, select

from distributor.ledger.rollouts import known
from distributor.ledger.tables import timeline as table
from distributor.rollout.state import Answer, Environment, Requirement, Rollout, RolloutState


@dataclass(frozen=True, slots=True)
class Entry:
    """One transition. `kind` is a rollout's new state, or what a member or an operator did."""

    kind: str
    text: str
    rollout_id: str | None = None
    member: str | None = None


@dataclass(frozen=True, slots=True)
class MemberNote:
    """What a member reported beyond the rule-book's needs; it is kept with the member's entries."""

    member: str
    detail: Mapping[str, object]


@dataclass(frozen=True, slots=True)
class TimelineRecord:
    """An entry of the ledger."""

    environment: str
    at: datetime
    kind: str
    text: str
    rollout_id: str | None
    member: str | None
    detail: Mapping[str, object] | None
    traceparent: str | None


def transitions(before: Environment, after: Environment) -> list[Entry]:
    """What changed between two states, in the order of cause: environment, rollouts that ended, the others."""
    entries = list(_of_environment(before, after))
    old = known(before)
    for rollout in sorted(known(after).values(), key=lambda r: not r.state.ended):
        entries.extend(_of_rollout(old.get(rollout.id), rollout))
    return entries


def write(
    conn: Connection,
    environment: str,
    at: datetime,
    entries: Sequence[Entry],
    traceparent: str | None = None,
    note: MemberNote | None = None,
) -> None:
    """Appends entries."""
    if entries:
        conn.execute(
            insert(table),
            [
                {
                    "environment": environment,
                    "at": at,
                    "kind": entry.kind,
                    "text": entry.text,
                    "rollout_id": entry.rollout_id,
                    "member": entry.member,
                    "detail": dict(note.detail) if note and note.member == entry.member else None,
                    "traceparent": traceparent,
                }
                for entry in entries
            ],
        )


def entries(
    conn: Connection, *, rollout_id: str | None = None, environment: str | None = None, limit: int = 500
) -> list[TimelineRecord]:
    """The newest entries, oldest of them first; of a rollout, of an environment, or all."""
    query = select(*(table.c[name] for name in TimelineRecord.__dataclass_fields__))
    if rollout_id is not None:
        query = query.where(table.c.rollout_id == rollout_id)
    if environment is not None:
        query = query.where(table.c.environment == environment)
    rows = conn.execute(query.order_by(table.c.id.desc()).limit(limit)).all()
    return [TimelineRecord(*row) for row in reversed(rows)]


def newest(conn: Connection, environments: Collection[str], kind: str) -> dict[str, TimelineRecord]:
    """Environment → its newest entry of a kind; those that have none are left out."""
    ids = select(func.max(table.c.id)).where(table.c.environment.in_(list(environments)), table.c.kind == kind)
    query = select(table.c.environment, *(table.c[name] for name in TimelineRecord.__dataclass_fields__))
    rows = conn.execute(query.where(table.c.id.in_(ids.group_by(table.c.environment))))
    return {environment: TimelineRecord(*row) for environment, *row in rows}


def _of_environment(before: Environment, after: Environment) -> Iterator[Entry]:
    for hold in after.holds:
        if hold not in before.holds:
            until = f" until {hold.until.isoformat()}" if hold.until else ""
            yield Entry("hold", f"held by {hold.owner}{until}: {hold.reason}")
    for hold in before.holds:
        if hold not in after.holds:
            yield Entry("hold-released", f"the hold of {hold.owner} ended")
    if after.closures != before.closures and (closed := _closed(after, before)):
        yield Entry("closures", closed)
    for name, member in after.members.items():
        old = before.members.get(name)
        if old is None or old.requirement != member.requirement:
            kind = "detached" if member.requirement is Requirement.DETACHED else "member"
            yield Entry(kind, f"{name} is {member.requirement.value} now", member=name)
    for name in before.members.keys() - after.members.keys():
        yield Entry("member", f"{name} is no longer a member", member=name)
    if after.blocked != before.blocked:
        yield Entry("blocked", after.blocked or "the environment is no longer blocked")
    if after.pinned != before.pinned:
        yield Entry("pinned", after.pinned or "the environment is pinned no longer")
    if after.barred - before.barred:
        numbers = ", ".join(map(str, sorted(after.barred - before.barred)))
        yield Entry("barred", f"automation will not promote release {numbers} again")
    if after.settlement and (not before.settlement or before.settlement.id != after.settlement.id):
        yield Entry("settling", f"old slots follow to release {after.settlement.release}")
    told = before.settlement.refusals if before.settlement else {}
    for name, text in after.settlement.refusals.items() if after.settlement else ():
        if text != told.get(name):
            yield Entry("settle-refused", f"{name}: its old slot does not follow: {text}", member=name)


def _closed(after: Environment, before: Environment) -> str:
    """What is said of closures: those that were not known before. The horizon moves on in silence."""
    known = {closure.why for closure in before.closures}
    news = dict.fromkeys(closure.why for closure in after.closures if closure.why not in known)
    gone = known - {closure.why for closure in after.closures}
    return "; ".join([*news, *(f"no longer: {why}" for why in sorted(gone))])


def _of_rollout(old: Rollout | None, new: Rollout) -> Iterator[Entry]:
    if old is None:
        why = f": {new.reason}" if new.reason else ""
        yield Entry("requested", f"release {new.release} asked for by {new.by} ({new.cause.value}){why}", new.id)
    for approval in new.approvals[len(old.approvals) if old else 0 :]:
        yield Entry("approved", f"approved by {approval.by}{f': {approval.reason}' if approval.reason else ''}", new.id)
    for member, answer in new.answers.items():
        for kind, text in _of_answer(old.answers.get(member, Answer()) if old else Answer(), answer, new):
            # A refusal names its member already, or is the member's own sentence.
            plain = text.removeprefix(f"{member} ")
            said = f"refused: {text}" if kind == "member-refused" and plain == text else plain
            yield Entry(kind, f"{member} {said}", new.id, member)
    if new.state is not (old.state if old else RolloutState.QUEUED):
        yield Entry(new.state.value, _sentence(new), new.id)


def _of_answer(old: Answer, new: Answer, rollout: Rollout) -> Iterator[tuple[str, str]]:
    if new.staged and not old.staged:
        yield "member-staged", f"has staged release {rollout.release}"
    if new.flipped_at and not old.flipped_at:
        yield "member-flipped", f"shows release {rollout.release} since {new.flipped_at.isoformat()}"
    if new.reverted and not old.reverted:
        yield "member-reverted", f"shows release {rollout.from_release} again"
    if new.refusal and new.refusal != old.refusal:
        yield "member-refused", new.refusal
    if new.lagging and not old.lagging:
        yield "member-lagging", f"stays behind release {rollout.release}"


def _sentence(rollout: Rollout) -> str:
    match rollout.state:
        case RolloutState.STAGING:
            return f"staging release {rollout.release} over {rollout.from_release}, epoch {rollout.epoch}"
        case RolloutState.CONVERGED:
            return f"every required member has staged release {rollout.release} as expected"
        case RolloutState.FLIPPING:
            at = rollout.flip_at.isoformat() if rollout.flip_at else "once"
            return f"decided: all flip at {at}"
        case RolloutState.REVERTING:
            why = f": {rollout.outcome}" if rollout.outcome else ""
            return f"flipping back to release {rollout.from_release}, epoch {rollout.revert_epoch}{why}"
        case RolloutState.ONLINE:
            skew = "" if rollout.skew_ms is None else f", skew {rollout.skew_ms:.1f} ms"
            return f"release {rollout.release} is online{skew}"
        case _:
            return rollout.outcome or rollout.state.value

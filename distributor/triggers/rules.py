"""The rules of triggers: when to ask for the newest release without anybody asking, and what to say of it. Pure.

Rules are judged one after the other, each against the state that the one before it left behind. What a schedule or a
call has asked for and what then came to nothing is asked for again, after the pauses of `patience.py`, until the
release is shown or may not be asked for any more.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from distributor.rollout.state import Cause
from distributor.settings.desk import Trigger
from distributor.settings.environments import EnvironmentSettings
from distributor.triggers.cron import came, next_time
from distributor.triggers.facts import Facts, Memory
from distributor.triggers.follow import hindrance, lags
from distributor.triggers.wording import arrived, clock, schedule, span, times

FOLLOW = "follow"
"""The rule that `follow = "auto"` is as long as there is none on = "change"."""
_AT_ONCE = Trigger(name=FOLLOW, on="change")


@dataclass(frozen=True, slots=True)
class Ask:
    """A rollout that is to be asked for. `came` is what brought it about: asking again begins with it."""

    release: int
    cause: Cause
    by: str
    because: str
    came: str = ""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What one rule decides, and what is to be remembered of it (`memory`, as it is when nothing is new).

    `said`: it ends in "not", for the first time. `call` is the one that this answers. `next_at`: when to look again,
    if nothing happens before.
    """

    rule: str
    memory: Memory
    ask: Ask | None = None
    said: str = ""
    by: str = ""
    call: str | None = None
    next_at: datetime | None = None

    @property
    def outcome(self) -> str:
        """What became of it, in a sentence."""
        return self.ask.because if self.ask else self.said or self.memory.waits


@dataclass(frozen=True, slots=True)
class _Way:
    """Whether the newest release may be asked for: it may, from `from_` on, or it ends here because of `why`."""

    why: str = ""
    from_: datetime | None = None

    @property
    def clear(self) -> bool:
        return not self.why

    @property
    def ends(self) -> bool:
        return bool(self.why) and self.from_ is None


def rules_of(environment: EnvironmentSettings) -> tuple[Trigger, ...]:
    """The rules in force, in the order in which they are judged."""
    given = environment.triggers
    if environment.follow == "auto" and not any(rule.on == "change" for rule in given):
        return (_AT_ONCE, *given)
    return given


def gathers(rule: Trigger) -> bool:
    """Whether it looks at what the releases have that are not shown yet: it waits for quiet, a delay or rows."""
    return rule.on == "change" and any(
        condition is not None for condition in (rule.quiet_period, rule.max_delay, rule.max_rows)
    )


def decide(rules: Iterable[Trigger], facts: Facts, now: datetime) -> tuple[Verdict, ...]:
    """Every rule's verdict on the same facts: what asks, what waits, and what has nothing to do."""
    return tuple(judge(rule, facts, now) for rule in rules)


def judge(rule: Trigger, facts: Facts, now: datetime) -> Verdict:
    """One rule's verdict."""
    match rule.on:
        case "change":
            return _on_change(rule, facts, now)
        case "schedule":
            return _on_schedule(rule, facts, now)
        case _:
            return _on_call(rule, facts, now)


def could_not(verdict: Verdict, before: Memory, why: str, again_at: datetime) -> Memory:
    """What to remember when the request could not even be made, because of `why`: it is made later.

    `before` is what was remembered when the rule was judged.
    """
    return replace(verdict.memory, fired_at=before.fired_at, decision=why, waits=why, until=again_at)


def _on_change(rule: Trigger, facts: Facts, now: datetime) -> Verdict:
    memory, newest = facts.memories.get(rule.name, Memory()), facts.newest
    if newest is None or not facts.state.follow or not lags(facts.state, newest.number):
        return Verdict(rule.name, replace(memory, refused=False, waits="", until=None))
    if shut := facts.state.blocked or facts.state.pinned:
        # Said once, and not again for every release that comes meanwhile.
        return _refuse(rule, memory, f"new releases are not asked for: {shut}", now)
    way = _way(facts, now)
    if way.ends:
        return _refuse(rule, memory, way.why, now)
    due, why = _due(rule, facts, now)
    if due is not None and due <= now and not way.clear:
        due, why = way.from_, way.why
    if due is None or due > now:
        return _wait(rule, memory, why, due)
    if facts.tries.count:
        why = f"release {newest.number} was tried {times(facts.tries.count)} in vain, asked for it again"
    return _ask(rule, memory, Ask(newest.number, Cause.AUTO, _who(rule), why), now)


def _due(rule: Trigger, facts: Facts, now: datetime) -> tuple[datetime | None, str]:
    """When a change rule asks (None: not for a time's sake), and the sentence: of asking if that is now, else of
    waiting."""
    newest, found = facts.newest, facts.unshown
    assert newest is not None
    asked = f"asked for release {newest.number}"
    if not gathers(rule):
        return now, f"release {newest.number} is new, asked for it at once"
    assert found is not None
    if rule.max_rows is not None and found.rows >= rule.max_rows:
        return now, f"{found.rows:,} rows have changed (max_rows = {rule.max_rows:,}), {asked}"
    quiet = found.last_at + rule.quiet_period if rule.quiet_period is not None else None
    latest = found.first_at + rule.max_delay if rule.max_delay is not None else None
    if quiet is not None and (latest is None or quiet <= latest):
        if quiet <= now:
            return quiet, f"waited {span(now - found.last_at)} for quiet, then {asked}"
        return quiet, f"waits for quiet until {clock(quiet, now)}"
    if latest is not None:
        if latest <= now:
            waited = f"{span(now - found.first_at)} after the first release that is not shown"
            return latest, f"{waited} (max_delay = {span(rule.max_delay or timedelta())}), {asked}"
        return latest, f"waits until {clock(latest, now)} at the latest (max_delay)"
    return None, f"waits for {rule.max_rows:,} rows: {found.rows:,} have changed so far"


def _on_schedule(rule: Trigger, facts: Facts, now: datetime) -> Verdict:
    assert rule.cron is not None
    memory = facts.memories.get(rule.name, Memory())
    next_at = next_time(rule.cron, rule.timezone, now)
    if memory.seen is None or memory.schedule != schedule(rule):
        # What came before this rule was there is nobody's.
        known = Memory(seen=now, schedule=schedule(rule), decision=f"looked after since {clock(now, now)}")
        return Verdict(rule.name, replace(known, decided_at=now), next_at=next_at)
    arrival = came(rule.cron, rule.timezone, memory.seen, now)
    if arrival is None:
        return _soonest(_still(rule, memory, facts, now), next_at)
    memory = replace(memory, seen=now)
    return _soonest(_begin(rule, memory, facts, arrived(rule, arrival, now), _who(rule), now), next_at)


def _on_call(rule: Trigger, facts: Facts, now: datetime) -> Verdict:
    memory = facts.memories.get(rule.name, Memory())
    waiting = facts.calls.get(rule.name, ())
    if not waiting:
        return _still(rule, memory, facts, now)
    call = waiting[0]
    began = f"{call.by} called {rule.name}{f': {call.reason}' if call.reason else ''}"
    return replace(_begin(rule, memory, facts, began, call.by, now), call=call.id)


def _begin(rule: Trigger, memory: Memory, facts: Facts, what: str, by: str, now: datetime) -> Verdict:
    """It came: it asks, or says why not, or asks as soon as the pause after a try in vain is over."""
    way = _way(facts, now)
    newest = facts.newest
    if newest is None or way.ends:
        return _refuse(rule, replace(memory, wants="", by=""), f"{what}; {way.why}", now, by=by)
    wanting = replace(memory, wants=what, by=by, release=newest.number)
    if not way.clear:
        return _wait(rule, wanting, f"{what}; {way.why}", way.from_)
    because = f"{what}, asked for release {newest.number}"
    return _ask(rule, wanting, Ask(newest.number, Cause.TRIGGER, by, because, what), now)


def _still(rule: Trigger, memory: Memory, facts: Facts, now: datetime) -> Verdict:
    """Nothing new came. What came before may still want its release."""
    newest = facts.newest
    if not memory.wants or newest is None:
        return Verdict(rule.name, memory)
    if facts.state.shown >= (memory.release or 0):
        return Verdict(rule.name, replace(memory, wants="", by="", waits="", until=None))
    if not lags(facts.state, newest.number):
        return Verdict(rule.name, replace(memory, waits="", until=None))
    way = _way(facts, now)
    if way.ends:
        return _refuse(rule, replace(memory, wants="", by=""), f"{memory.wants}; {way.why}", now, by=memory.by)
    if not way.clear:
        return _wait(rule, memory, way.why, way.from_)
    if facts.tries.count:
        tried = f"release {newest.number} was tried {times(facts.tries.count)} in vain, asked for it again"
    else:
        tried = f"asked for release {newest.number} by now"
    ask = Ask(newest.number, Cause.TRIGGER, memory.by, f"{memory.wants}; {tried}", memory.wants)
    return _ask(rule, replace(memory, release=newest.number), ask, now)


def _way(facts: Facts, now: datetime) -> _Way:
    state, newest, tries = facts.state, facts.newest, facts.tries
    if newest is None:
        return _Way("there is no release yet: nothing to do")
    if not lags(state, newest.number):
        where = "shown" if state.shown >= newest.number else "on its way"
        return _Way(f"release {newest.number} is {where} already: nothing to do")
    if why := hindrance(state, newest.number, newest.made_at):
        return _Way(f"release {newest.number} is not asked for: {why}")
    if tries.called_off:
        return _Way(f"release {newest.number} is not asked for: an operator called its rollout off")
    if tries.again_at and tries.again_at > now:
        tried = tries.why or f"release {newest.number} was tried {times(tries.count)} in vain"
        return _Way(f"{tried}; it is asked for again from {clock(tries.again_at, now)} on", tries.again_at)
    return _Way()


def _ask(rule: Trigger, memory: Memory, ask: Ask, now: datetime) -> Verdict:
    known = replace(memory, decision=ask.because, decided_at=now, fired_at=now, refused=False, waits="", until=None)
    return Verdict(rule.name, known, ask=ask, by=ask.by)


def _refuse(rule: Trigger, memory: Memory, why: str, now: datetime, *, by: str = "") -> Verdict:
    if memory.refused and memory.decision == why and rule.on == "change":
        return Verdict(rule.name, replace(memory, waits="", until=None))
    known = replace(memory, decision=why, decided_at=now, refused=True, waits="", until=None)
    return Verdict(rule.name, known, said=why, by=by or _who(rule))


def _wait(rule: Trigger, memory: Memory, why: str, until: datetime | None) -> Verdict:
    return Verdict(rule.name, replace(memory, refused=False, waits=why, until=until), next_at=until)


def _who(rule: Trigger) -> str:
    """Who it is that asks, in the audit."""
    return FOLLOW if rule is _AT_ONCE else f"trigger {rule.name}"


def _soonest(verdict: Verdict, next_at: datetime | None) -> Verdict:
    known = [at for at in (verdict.next_at, next_at) if at is not None]
    return replace(verdict, next_at=min(known, default=None))

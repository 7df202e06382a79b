"""What starts rollouts by itself: what each trigger says, decided last and waits for, and what became of a call."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Literal

from distributor.errors import NotThereError
from distributor.telemetry import clock
from distributor.views.base import View

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from distributor.settings import Settings
    from distributor.settings.desk import Trigger
    from distributor.triggers.facts import Memory


class TriggerLine(View):
    """One trigger of an environment."""

    environment: str
    """The environment."""
    name: str
    """Its name; `follow` is what `follow = "auto"` does as long as there is no trigger on change."""
    on: Literal["change", "schedule", "message"]
    """What sets it off: a new release, a time, or a call by a message or by the API."""
    when: str
    """When it asks for the newest release, in words."""
    decision: str
    """What it did last, or did not do, and why; empty when there was nothing to decide yet."""
    decided_at: datetime | None
    """When that was, in UTC."""
    fired_at: datetime | None
    """When it last asked for a release, in UTC; null when it never did."""
    waits: str
    """What it waits for at present; empty when nothing is to be done."""
    until: datetime | None
    """Until when it waits at most, in UTC; null when it waits for no time."""
    next_at: datetime | None
    """When its schedule comes next, in UTC; null for triggers without one."""
    calls_waiting: int
    """Calls that no coordinator has taken yet."""


class Triggers(View):
    """The triggers of one environment or several."""

    triggers: tuple[TriggerLine, ...]
    """The triggers, by environment, in the order in which they are judged."""


class TriggerCall(View):
    """A call of a trigger, and what became of it."""

    id: str
    """Its id."""
    environment: str
    """The environment."""
    name: str
    """The trigger."""
    by: str
    """Who called it."""
    reason: str
    """Why."""
    at: datetime
    """When, in UTC."""
    taken_at: datetime | None
    """When a coordinator took it, in UTC; null when none has yet."""
    outcome: str
    """What became of it, in a sentence; empty until it was taken."""


def triggers(conn: Connection, settings: Settings, *environments: str) -> Triggers:
    """The triggers of these environments. Raises UsageError for an unknown one."""
    from distributor.ledger import triggers as ledger
    from distributor.triggers.facts import Memory
    from distributor.triggers.rules import rules_of

    found: list[TriggerLine] = []
    for name in environments:
        rules = rules_of(settings.environment(name))
        rows = ledger.rows(conn, name).values()
        known = {row.name: Memory.of(row.decision, row.decided_at, row.fired_at, row.detail) for row in rows}
        calls = [call.name for call in ledger.waiting(conn, name)]
        found += [_line(name, rule, known.get(rule.name, Memory()), calls.count(rule.name)) for rule in rules]
    return Triggers(triggers=tuple(found))


def call(conn: Connection, call_id: str) -> TriggerCall:
    """One call by its id. Raises NotThereError when it is not known, or was made long ago."""
    from distributor.ledger.triggers import called

    found = called(conn, call_id)
    if found is None:
        raise NotThereError(f"there is no call {call_id!r}", where="ledger")
    return TriggerCall(**{name: getattr(found, name) for name in TriggerCall.model_fields})


def _line(environment: str, rule: Trigger, memory: Memory, calls: int) -> TriggerLine:
    from distributor.triggers.cron import next_time
    from distributor.triggers.wording import in_words

    return TriggerLine(
        environment=environment,
        name=rule.name,
        on=rule.on,
        when=in_words(rule),
        decision=memory.decision,
        decided_at=memory.decided_at,
        fired_at=memory.fired_at,
        waits=memory.waits,
        until=memory.until,
        next_at=next_time(rule.cron, rule.timezone, clock.now()) if rule.cron else None,
        calls_waiting=calls,
    )

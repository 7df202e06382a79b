"""One step of an environment: lock its row, decide, save, and put the commands into the outbox. One transaction."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace

from sqlalchemy import Connection, Engine

from distributor.coordination.outgoing import messages
from distributor.coordination.stalls import forget_ended
from distributor.ledger import audit, environments, outbox, timeline
from distributor.ledger.engine import transaction
from distributor.ledger.timeline import Entry, MemberNote
from distributor.rollout.commands import Alarm, Output
from distributor.rollout.events import Event, Tick
from distributor.rollout.protocol import decide
from distributor.rollout.state import Environment
from distributor.telemetry import attributes as name
from distributor.telemetry.clock import new_id
from distributor.telemetry.logs import logger
from distributor.telemetry.tracing import current_traceparent, span

EventFactory = Callable[[Environment], Event | None]
_log = logger("coordination")


@dataclass(frozen=True, slots=True)
class Step:
    """What a step did: both states, how many commands it sent, and its alarms."""

    before: Environment
    after: Environment
    commands: int = 0
    alarms: tuple[str, ...] = field(default=())

    @property
    def changed(self) -> bool:
        """Whether anything was written."""
        return self.after != self.before or bool(self.commands or self.alarms)


def apply(
    engine: Engine,
    environment: str,
    event: Event | EventFactory,
    *,
    traceparent: str | None = None,
    note: MemberNote | None = None,
) -> Step:
    """A step in a transaction of its own. Raises UnreachableError and NotInitialisedError; then nothing happened."""
    with transaction(engine) as conn:
        return step(conn, environment, event, traceparent=traceparent, note=note)


def peek(conn: Connection, environment: str, event: Event) -> Step:
    """What a step would change, without taking the lock: a hint, since another step may come between."""
    before = environments.read(conn, environment) or Environment(environment)
    after, outputs = decide(before, event)
    return Step(before, after, len(outputs))


def step(
    conn: Connection,
    environment: str,
    event: Event | EventFactory,
    *,
    traceparent: str | None = None,
    note: MemberNote | None = None,
) -> Step:
    """A step inside the caller's transaction. A factory sees the locked state, and may return None: nothing to do."""
    before = environments.lock(conn, environment)
    found = event(before) if callable(event) else event
    if found is None:
        return Step(before, before)
    passed, outputs = _decide(before, found)
    after = passed[-1]
    if after == before and not outputs:
        return Step(before, after)
    kind = type(found).__name__
    with span("step", {name.ENVIRONMENT: environment, name.EVENT: kind}, traceparent=traceparent) as current:
        trace = current_traceparent() or traceparent
        environments.save(conn, before, after, at=found.at, between=passed[:-1], traceparent=trace, note=note)
        forget_ended(conn, after)
        commands = [output for output in outputs if not isinstance(output, Alarm)]
        outbox.enqueue(conn, messages(conn, after, commands, found.at, trace))
        current.set_attribute(name.COMMANDS, len(commands))
        alarms = tuple(output.text for output in outputs if isinstance(output, Alarm))
        _raise_alarms(conn, after, found, alarms, trace)
    return Step(before, after, len(commands), alarms)


def _decide(before: Environment, event: Event) -> tuple[list[Environment], list[Output]]:
    """Decides, and goes on with time alone for as long as that ends a phase: one commit instead of a tick's wait."""
    state, found = decide(before, event)
    passed, outputs = [state], [*found]
    known = before
    while _phase(state) != _phase(known):
        known = state
        state, found = decide(known, Tick(event.at, new_id()))
        if state != replace(known, ended=()) or found:
            # Each decision reports only what it ended itself; the step ended all of them.
            state = replace(state, ended=(*known.ended, *state.ended))
            passed.append(state)
            outputs.extend(found)
    return passed, outputs


def _phase(state: Environment) -> tuple[object, ...]:
    """What a tick right now could act upon: the active rollout's state, what keeps it, what waits to start."""
    active = state.active
    if active:
        return active.id, active.state, state.holds, state.closures, active.approvals
    return tuple(waiting.id for waiting in state.queue)


def _raise_alarms(
    conn: Connection, environment: Environment, event: Event, alarms: tuple[str, ...], traceparent: str | None
) -> None:
    rollout_id = environment.active.id if environment.active else None
    for text in alarms:
        _log.error("alarm", environment=environment.name, text=text)
        timeline.write(conn, environment.name, event.at, [Entry("alarm", text, rollout_id)], traceparent)
        entry = audit.AuditRecord(event.at, "coordinator", "alarm", text, environment.name, {"rollout": rollout_id})
        audit.record(conn, entry)

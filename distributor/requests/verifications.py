"""Asking for audits of what members store, and for rollouts that mend what an audit found."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

from sqlalchemy import Connection, Engine

from distributor.coordination.outgoing import addressed
from distributor.errors import RefusedError
from distributor.ledger import audit, outbox, verifications
from distributor.ledger.engine import transaction
from distributor.ledger.verifications import ROUND, Verification
from distributor.requests.rollouts import ask, configured, known_systems
from distributor.rollout.state import Cause, Environment, Requirement
from distributor.settings import Settings
from distributor.store.base import Store
from distributor.telemetry.clock import new_id, now
from distributor.telemetry.tracing import current_traceparent
from distributor.wire.messages import AuditCommand, AuditDepth

FIRST = 1
Tables = Mapping[str, Collection[int]]
"""Table → the buckets (or leaves) of which an audit is to tell."""


@dataclass(frozen=True, slots=True)
class Question:
    """What one member is asked: about which tables (none: all), and of the online slot alone or of both."""

    tables: Tables = field(default_factory=dict)
    shadow: bool = False


@dataclass(frozen=True, slots=True)
class Asked:
    """A verification that was begun: whom it asks, and how the environment stood then.

    `left_out` are members that nobody asks because they are detached; none where systems were named.
    """

    verification: Verification
    systems: tuple[str, ...]
    environment: Environment
    left_out: tuple[str, ...] = ()


def begin_verification(
    engine: Engine,
    settings: Settings,
    environment: str,
    *,
    systems: Collection[str] = (),
    shadow: bool = False,
    by: str,
    reason: str,
) -> Asked:
    """Asks members (none named: every one that is not detached) for an audit of everything that they store.

    `shadow`: of both slots, not of the online one alone. Raises UsageError for an unknown environment or system,
    RefusedError when nobody is left to ask.
    """
    known_systems(settings, environment, systems)
    with transaction(engine) as conn:
        asked = begin(conn, settings, environment, systems=systems, shadow=shadow, by=by, reason=reason)
        verification = asked.verification
        detail = {"verification": verification.id, "systems": list(asked.systems), "release": verification.release}
        audit.record(conn, audit.AuditRecord(verification.requested_at, by, "verify", reason, environment, detail))
    return asked


def begin(
    conn: Connection,
    settings: Settings,
    environment: str,
    *,
    systems: Collection[str] = (),
    shadow: bool = False,
    by: str,
    reason: str,
) -> Asked:
    """`begin_verification` inside the caller's transaction, which writes the audit's row too."""
    state = configured(conn, settings, environment)
    members = [name for name in settings.environment(environment).systems if name in state.members]
    detached = [name for name in members if state.members[name].requirement is Requirement.DETACHED]
    chosen = tuple(dict.fromkeys(systems)) or tuple(name for name in members if name not in detached)
    if not chosen:
        raise RefusedError("every member is detached: nobody can be asked", where=environment)
    verification = Verification(new_id(), environment, now(), by, reason, state.shown)
    verifications.begin(conn, verification)
    everything = {system: Question(shadow=shadow) for system in chosen}
    ask_audit(conn, verification, FIRST, AuditDepth.BUCKETS, everything)
    return Asked(verification, chosen, state, () if systems else tuple(detached))


def ask_audit(
    conn: Connection,
    verification: Verification,
    round_: int,
    depth: AuditDepth,
    questions: Mapping[str, Question],
) -> None:
    """Puts a question to each of these members, for the first time or again: its id is the same then."""
    at = now()
    messages = []
    for system, question in questions.items():
        command = AuditCommand(
            environment=verification.environment,
            system=system,
            audit_id=audit_id(verification, round_),
            depth=depth,
            shadow=question.shadow,
            tables={name: tuple(sorted(numbers)) for name, numbers in question.tables.items()},
        )
        messages.append(addressed(command, at, current_traceparent()))
    outbox.enqueue(conn, messages)


def audit_id(verification: Verification, round_: int) -> str:
    """The id of an audit as members know it: a member that moved on is asked anew, in another round."""
    return f"{verification.id}{ROUND}{round_}"


def repair(
    engine: Engine,
    settings: Settings,
    store: Store,
    verification: Verification,
    *,
    systems: Collection[str],
    repairs: Mapping[str, str],
) -> str:
    """Asks for a rollout to the release that is shown, in which these systems mend what was found altered.

    `repairs`: system → sha256 of its repair list; a system without one loads everything anew. Returns the rollout's
    id. Raises RefusedError when the environment shows another release by now.
    """
    with transaction(engine) as conn:
        shown = configured(conn, settings, verification.environment).shown
        if shown != verification.release:
            raise RefusedError(
                f"release {verification.release} was verified, and {shown} is online by now: nothing was mended",
                where=verification.environment,
                mend="Verify again.",
            )
        return ask(
            conn,
            settings,
            store,
            verification.environment,
            release=shown,
            cause=Cause.REPAIR,
            by=verification.by,
            reason=verification.why or f"verification {verification.id[:8]}",
            systems=systems,
            repairs=repairs,
        )

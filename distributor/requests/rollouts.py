"""Asking for rollouts: what a person, or automation, wants an environment to show."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import datetime

from sqlalchemy import Connection, Engine

from distributor.coordination.step import step
from distributor.errors import RefusedError, UsageError
from distributor.ledger import audit, environments, releases, rollouts
from distributor.ledger.engine import transaction
from distributor.requests.contents import wanted_content
from distributor.requests.taking import prepare
from distributor.rollout.events import Aborted, MembersConfigured, Requested
from distributor.rollout.state import Cause, Environment, Requirement, Rollout, RolloutState
from distributor.settings import Settings
from distributor.settings.desk import Asked
from distributor.store.base import Store
from distributor.telemetry.clock import new_id, now
from distributor.upkeep.collected import hold_on_to

ASKED_WITH = {
    Cause.AUTO: "follow",
    Cause.OPERATOR: "deploy",
    Cause.REFRESH: "refresh",
    Cause.ROLLBACK: "rollback",
    Cause.REPAIR: "verify --repair",
    Cause.TRIGGER: "trigger",
}
"""Cause → what the audit calls the request: the verb, or that the environment follows new releases."""
_AS_CONFIGURED: Mapping[Cause, Asked] = {
    Cause.AUTO: "auto",
    Cause.OPERATOR: "deploy",
    Cause.REFRESH: "refresh",
    Cause.ROLLBACK: "rollback",
    Cause.REPAIR: "repair",
    Cause.TRIGGER: "trigger",
}
"""Cause → what `approvals.of` of the config calls it."""


def request_rollout(
    engine: Engine,
    settings: Settings,
    store: Store,
    environment: str,
    *,
    release: int | None = None,
    cause: Cause,
    by: str,
    reason: str,
) -> str:
    """Asks for a release (None: the newest) in the whole environment; returns the rollout's id.

    What became of the request is in the rollout's state: it may be queued, or refused at once. Raises UsageError for
    an unknown environment, RefusedError when there is no such release, StoreError when its manifest is not there.
    """
    prepare(engine, settings, store, environment, release)
    with transaction(engine) as conn:
        return ask(conn, settings, store, environment, release=release, cause=cause, by=by, reason=reason)


def rollback(
    engine: Engine,
    settings: Settings,
    store: Store,
    environment: str,
    *,
    to: int | None = None,
    by: str,
    reason: str,
) -> str:
    """Takes the whole environment back; returns the id of the rollout to watch.

    While a rollout is under way and no release is named, that one is called off: nothing has flipped, or everything
    flips back. Else `to` (None: `release_before`) is rolled out, and the environment is pinned. Raises RefusedError
    when nothing earlier is known, and for a release that is newer than the one that is shown.
    """
    with transaction(engine) as conn:
        state = configured(conn, settings, environment)
        if state.active and to is None:
            called_off = state.active.id
            step(conn, environment, Aborted(now(), by, reason, new_id(), called_off))
            _note(conn, by, "rollback", reason, environment, {"rollout": called_off})
            return called_off
        target = release_before(conn, state) if to is None else to
        hold_on_to(conn, store, target)
        refuse_forward(state, target)
        return ask(conn, settings, store, environment, release=target, cause=Cause.ROLLBACK, by=by, reason=reason)


def ask(
    conn: Connection,
    settings: Settings,
    store: Store,
    environment: str,
    *,
    release: int | None,
    cause: Cause,
    by: str,
    reason: str,
    systems: Collection[str] = (),
    repairs: Mapping[str, str] | None = None,
    asked: Asked | None = None,
    audited: bool = True,
    source: str | None = None,
    approvals: int | None = None,
) -> str:
    """`request_rollout` inside the caller's transaction. `systems` narrows down who takes part.

    `repairs`: system → sha256 of its repair list. `asked`: what it is called in the audit and in the config's list of
    what needs approval, where the cause does not say it. `audited`: false where the caller writes the audit's row.
    `source` is the environment from which it is promoted, for the audit. `approvals`: how many it needs, where it
    takes the place of another one; None: as the config says.
    """
    state = configured(conn, settings, environment)
    number = release if release is not None else _newest(conn)
    hold_on_to(conn, store, number)
    every = frozenset(n for n, m in state.members.items() if m.requirement is Requirement.REQUIRED)
    chosen = frozenset(systems) or frozenset(state.members)
    # Optional systems alone cannot carry a rollout: the required ones, which show the release already, do.
    required = every & chosen or every
    optional = chosen - every
    given_up = {name for name in optional if state.members[name].requirement is Requirement.DETACHED}
    deciding = sorted((required | optional) - given_up)
    wanted = wanted_content(conn, settings, store, state, number, deciding, besides=sorted(given_up), cause=cause)
    needed = _approvals_needed(settings, environment, asked or _AS_CONFIGURED[cause])
    rollout = Rollout(
        id=new_id(),
        release=number,
        cause=cause,
        by=by,
        reason=reason,
        requested_at=now(),
        required=required,
        optional=optional,
        expected=wanted.expected,
        timing=settings.environment(environment).timing,
        repairs=dict(repairs or {}),
        approvals_needed=needed if approvals is None else approvals,
        state=RolloutState.QUEUED,
    )
    step(conn, environment, Requested(rollout.requested_at, rollout))
    if audited:
        detail: dict[str, object] = {"release": number, "rollout": rollout.id}
        if source is not None:
            detail["from"] = source
        _note(conn, by, asked or ASKED_WITH[cause], reason, environment, detail)
    return rollout.id


def _approvals_needed(settings: Settings, environment: str, asked: Asked) -> int:
    approvals = settings.environment(environment).approvals
    return approvals.needed if approvals and asked in approvals.of else 0


def refuse_forward(state: Environment, target: int) -> None:
    """Raises RefusedError for a rollback to a newer release than the one that is shown.

    It waits for no closure, and by default for no approval: neither may be gone round by it.
    """
    # Where nobody knows what is shown, the release that is picked may be the newer one of those that are.
    if target > state.shown and not state.blocked:
        raise RefusedError(
            f"release {target} is newer than release {state.shown}, which is shown: that is no rollback",
            where=state.name,
            mend=f"`distributor deploy {state.name} --release {target}` goes there.",
        )


def release_before(conn: Connection, state: Environment) -> int:
    """The release that an environment showed before the present one. Raises RefusedError when it is not known."""
    before = rollouts.shown_before(conn, state.name, state.shown)
    if before is None:
        raise RefusedError(
            f"what was shown before release {state.shown} is not known",
            where=state.name,
            mend="Name a release with --to.",
        )
    return before


def configure(conn: Connection, settings: Settings, environment: str, at: datetime) -> Environment:
    """Tells the rule-book which members the config has; returns the state after it."""
    config = settings.environment(environment)
    event = MembersConfigured(at, config.requirements, config.follow == "auto")
    return step(conn, environment, event).after


def configured(conn: Connection, settings: Settings, environment: str) -> Environment:
    """The environment under its lock, with the members of the config. Raises UsageError for an unknown one."""
    # A request may be the first thing that ever happens to an environment, before any coordinator has started.
    settings.environment(environment)
    state = environments.lock(conn, environment)
    return state if state.members else configure(conn, settings, environment, now())


def _newest(conn: Connection) -> int:
    newest = releases.head(conn)
    if newest is None:
        raise RefusedError("there is no release yet", where="ledger", mend="Run `distributor publish` first.")
    return newest.number


def known_systems(settings: Settings, environment: str, systems: Collection[str]) -> None:
    """Raises UsageError for an unknown environment, and for a system that it has not."""
    members = settings.environment(environment).systems
    for system in systems:
        if system not in members:
            raise UsageError(
                f"there is no system {system!r} in {environment}", where="config", mend=f"Known: {', '.join(members)}."
            )


def refuse_split(
    settings: Settings, environment: str, systems: Collection[str], release: int | None, shown: int
) -> None:
    """Raises RefusedError when a part of the required systems would be taken to another release than the others.

    Raises UsageError for a system that the environment has not.
    """
    known_systems(settings, environment, systems)
    if release is not None and release != shown:
        raise RefusedError(
            f"release {release} in {', '.join(sorted(systems))} alone would split {environment}, which shows {shown}",
            where=environment,
            mend="Refresh the whole environment, or leave --release away to repair these systems.",
        )


def _note(conn: Connection, by: str, what: str, why: str, environment: str, detail: Mapping[str, object]) -> None:
    audit.record(conn, audit.AuditRecord(now(), by, what, why, environment, detail))

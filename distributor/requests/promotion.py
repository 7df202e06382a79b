"""Promotion: what one environment shows, and was found right there, goes to another one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy import Connection, Engine

from distributor.errors import RefusedError, UsageError
from distributor.ledger import audit, doubts, environments, variants, verifications
from distributor.ledger.engine import transaction
from distributor.model.manifest import ZERO
from distributor.requests.rollouts import ask
from distributor.requests.taking import prepare
from distributor.rollout.state import Cause, Environment, RolloutState
from distributor.settings import Settings
from distributor.store.base import Store

_LATELY = 100
_CHANGING = (RolloutState.FLIPPING, RolloutState.REVERTING)


def promote(engine: Engine, settings: Settings, store: Store, source: str, target: str, *, by: str, reason: str) -> str:
    """Asks for exactly what `source` shows in the whole of `target`; returns the rollout's id.

    What is online was certified by every required system when it flipped. Raises RefusedError when the newest look at
    it found differences, when a slot is in doubt, when `source` is changing over, and when `target` would take the
    release otherwise, because rows are held back in one of them; else as `request_rollout`.
    """
    settings.environment(source)
    settings.environment(target)
    if source == target:
        raise UsageError(f"{source} cannot be promoted to itself", where="promote", mend="Name two environments.")
    with transaction(engine) as conn:
        release = proven(conn, source)
    prepare(engine, settings, store, target, release)
    with transaction(engine) as conn:
        release = proven(conn, source)
        wanted = ask(
            conn, settings, store, target,
            release=release, cause=Cause.OPERATOR, by=by, reason=reason, asked="promote", source=source,
        )  # fmt: skip
        _refuse_other_content(conn, settings, source, target, release)
    return wanted


def promoted_from(conn: Connection, environment: str, rollout_id: str) -> str | None:
    """The environment of which this rollout takes exactly what it shows; None when it is no promotion."""
    for entry in audit.records(conn, environment, _LATELY, what="promote"):
        if entry.detail and entry.detail.get("rollout") == rollout_id:
            return str(entry.detail.get("from"))
    return None


def proven(conn: Connection, source: str) -> int:
    """The release that an environment shows, if nothing speaks against it. Raises RefusedError."""
    state = environments.read(conn, source)
    if state is None or state.shown == ZERO:
        raise RefusedError("it shows no release yet", where=source, mend=f"`distributor deploy {source}` first.")
    if state.blocked:
        raise RefusedError(f"what it shows is not known: {state.blocked}", where=source)
    if state.active and state.active.state in _CHANGING:
        raise RefusedError(f"it is changing over: rollout {state.active.id[:8]} is {state.active.state}", where=source)
    if altered := doubts.doubts(conn, source):
        told = "; ".join(f"{doubt.system}, {doubt.slot} slot: {doubt.text}" for doubt in altered)
        raise RefusedError(f"a slot was altered there: {told}", where=source, mend=_mend(source))
    if wrong := _found_wrong(conn, state):
        raise RefusedError(
            f"the newest verification of release {state.shown} found differences: {wrong}",
            where=source,
            mend=_mend(source),
        )
    return state.shown


def _found_wrong(conn: Connection, state: Environment) -> str:
    """What the newest look at each system found wrong in the release that is shown; empty when nothing."""
    # What was found before the last change over is over: a slot in doubt flips only when it has been mended.
    last = state.last.ended_at if state.last and state.last.state is RolloutState.ONLINE else None
    seen: set[str] = set()
    told = []
    for verification, ended in verifications.known(conn, state.name):
        if ended is None or verification.release != state.shown or (last and verification.requested_at < last):
            continue
        for system, found in ended.detail.items():
            if system in seen or not isinstance(found, Mapping):
                continue
            if found.get("outcome") == "verified" or found.get("differing"):
                seen.add(system)
                told += _differing(system, found)
    return "; ".join(told)


def _differing(system: str, found: Mapping[str, Any]) -> list[str]:
    return [f"{system}, {part['slot']} {part['table']}" for part in found.get("differing") or ()]


def _refuse_other_content(conn: Connection, settings: Settings, source: str, target: str, release: int) -> None:
    """The same release may be another content where rows are held back. Under another masking policy it is the same
    release all the same, as long as neither holds rows back."""
    there, here = (variants.own(conn, name, release) for name in (source, target))
    masked_alike = settings.environment(source).masking == settings.environment(target).masking
    if masked_alike and variants.manifest(conn, source, release) == variants.manifest(conn, target, release):
        return
    held = [own[1] if own else 0 for own in (there, here)]
    if not masked_alike and held == [0, 0]:
        return
    raise RefusedError(
        f"{target} would not take what {source} shows: of release {release}, {held[0]:,} rows are held back in"
        f" {source}, and {held[1]:,} would be in {target}"
        + (", and they are not the same" if held[0] == held[1] else ""),
        where=target,
        mend="`distributor quarantine list` names the rows: mend them, and publish.",
    )


def _mend(source: str) -> str:
    return f"`distributor verify {source} --repair` mends it."

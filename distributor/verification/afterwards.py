"""What a repair left: old slots follow to the release after the flip, and both slots are audited once more then."""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import timedelta

from sqlalchemy import Engine

from distributor.errors import UnreachableError
from distributor.ledger import environments
from distributor.ledger.engine import transaction
from distributor.rollout.state import Environment, Settlement
from distributor.verification.findings import MemberFinding, Outcome
from distributor.verification.gathering import POLL_SECONDS, Hear
from distributor.verification.record import in_words

_LATER = (Outcome.SILENT, Outcome.MOVED)


@dataclass(frozen=True, slots=True)
class Left:
    """Why a system is not mended. `late`: nothing failed, but it was not in time."""

    why: str
    late: bool = False


def wait_for_old_slots(
    engine: Engine,
    environment: str,
    rollout_id: str,
    systems: Collection[str],
    *,
    patience: timedelta,
    hear: Hear,
) -> dict[str, Left]:
    """Waits until each of these systems has answered whether its old slot followed; returns those that did not.

    When another rollout begins, that one takes over the old slots, and nobody is waited for any more. Raises
    UnreachableError when the ledger is away for longer than the patience.
    """
    deadline = time.monotonic() + patience.total_seconds()
    told: set[str] = set()
    while True:
        in_time = time.monotonic() < deadline
        try:
            with transaction(engine) as conn:
                state = environments.read(conn, environment)
        except UnreachableError:
            if not in_time:
                raise
            time.sleep(POLL_SECONDS)
            continue
        if state is None or _is_over(state, rollout_id):
            return {}
        settlement = state.settlement
        for system in sorted(_answered(settlement, systems) - told):
            hear(system, "old slot refused" if settlement and system in settlement.refusals else "old slot settled")
            told.add(system)
        if told >= set(systems) or not in_time:
            return _left(settlement, systems, patience)
        time.sleep(POLL_SECONDS)


def judged(found: Mapping[str, MemberFinding], old_slots: Mapping[str, Left]) -> dict[str, Left]:
    """Why systems are not mended, by the audit that followed; who is not named is right in both slots. Pure."""
    left = {}
    for system, member in found.items():
        before = old_slots.get(system)
        if before and (member.differing or not before.late):
            left[system] = before
        elif member.differing:
            left[system] = Left("; ".join(map(in_words, member.differing)) + ", after the repair")
        elif member.outcome is not Outcome.VERIFIED:
            left[system] = Left(f"it could not be audited again: {member.why}", member.outcome in _LATER)
    return left


def _is_over(state: Environment, rollout_id: str) -> bool:
    return state.active is not None or state.last is None or state.last.id != rollout_id


def _answered(settlement: Settlement | None, systems: Collection[str]) -> set[str]:
    return set(systems) & settlement.settled if settlement else set()


def _left(settlement: Settlement | None, systems: Collection[str], patience: timedelta) -> dict[str, Left]:
    refusals = settlement.refusals if settlement else {}
    left = {}
    for system in systems:
        why = refusals.get(system, "")
        if system not in _answered(settlement, systems):
            last = f": {why}" if why else ""
            left[system] = Left(f"its old slot did not follow within {patience.total_seconds():g} s{last}", late=True)
        elif why:
            left[system] = Left(f"its old slot does not follow: {why}")
    return left

"""Verbs that look, through a server: each takes what its verb takes, and ends with the same document."""

from __future__ import annotations

from distributor.cli.audit import ShownActs
from distributor.cli.changes import ShownChanges
from distributor.cli.deadletter import ShownLetter, ShownLetters
from distributor.cli.freezing import ShownFreezes
from distributor.cli.plan import ShownPlan
from distributor.cli.product import ShownProduct
from distributor.cli.quarantine import ShownHeldRows
from distributor.cli.releases import ShownReleases
from distributor.cli.remote.server import Server, part
from distributor.cli.requests import ShownRequests
from distributor.cli.rollout import ShownRollout
from distributor.cli.rollouts import ShownRollouts
from distributor.cli.status import ShownStatus
from distributor.cli.triggers import ShownTriggers
from distributor.errors import UsageError
from distributor.views.audit import Acts
from distributor.views.changes import Changes
from distributor.views.deadletters import DeadLetters, OpenedLetter
from distributor.views.freezes import Freezes
from distributor.views.plan import Planned
from distributor.views.product import Product
from distributor.views.quarantine import HeldRows
from distributor.views.releases import Releases
from distributor.views.requests import Requests
from distributor.views.rollout import RolloutStory
from distributor.views.rollouts import Rollouts
from distributor.views.status import Status
from distributor.views.triggers import Triggers


def status(server: Server, *, environment: str | None) -> ShownStatus:
    """How the environments stand."""
    found = server.read(Status, "/v1/status")
    if environment is not None:
        chosen = tuple(one for one in found.environments if one.environment == environment)
        if not chosen:
            known = ", ".join(one.environment for one in found.environments) or "none"
            raise UsageError(f"there is no environment {environment!r}", where=server.url, mend=f"Known: {known}.")
        found = found.model_copy(update={"environments": chosen})
    return ShownStatus.of(found)


def rollouts(server: Server, *, environment: str | None, limit: int) -> ShownRollouts:
    """The history."""
    return ShownRollouts.of(server.read(Rollouts, "/v1/rollouts", environment=environment, limit=limit))


def rollout(server: Server, *, rollout_id: str) -> ShownRollout:
    """One rollout."""
    return ShownRollout.of(server.read(RolloutStory, f"/v1/rollouts/{part(rollout_id)}"))


def releases(server: Server, *, limit: int) -> ShownReleases:
    """What was published."""
    return ShownReleases.of(server.read(Releases, "/v1/releases", limit=limit))


def changes(server: Server, *, release: int, dataset: str | None, key: list[str] | None, limit: int) -> ShownChanges:
    """What a release changed."""
    path = f"/v1/releases/{release}/changes"
    return ShownChanges.of(server.read(Changes, path, dataset=dataset, key=key or None, limit=limit))


def plan(server: Server, *, environment: str, release: int | None, limit: int, exit_code: bool) -> ShownPlan:
    """What a deploy would change."""
    path = f"/v1/environments/{part(environment)}/plan"
    found = ShownPlan.of(server.read(Planned, path, release=release, limit=limit))
    found._tells = exit_code
    return found


def product(server: Server, *, key: list[str], dataset: str | None, limit: int) -> ShownProduct:
    """One product."""
    first, *more = key
    path = f"/v1/products/{part(first)}"
    return ShownProduct.of(server.read(Product, path, more=more or None, dataset=dataset, limit=limit))


def audit(server: Server, *, environment: str | None, limit: int, verify: bool, expect: str | None) -> ShownActs:
    """Who did what. The seals are verified where the ledger is: a server that checked itself would prove nothing."""
    if verify or expect is not None:
        raise UsageError("--verify reads the ledger itself", where="--server", mend="Run it where the config lies.")
    return ShownActs.of(server.read(Acts, "/v1/audit", environment=environment, limit=limit))


def requests(server: Server, *, environment: str | None, only_open: bool, limit: int) -> ShownRequests:
    """Refresh requests."""
    query = {"environment": environment, "open": only_open, "limit": limit}
    return ShownRequests.of(server.read(Requests, "/v1/refresh-requests", **query))


def freezes(server: Server, *, environment: str | None, every: bool, limit: int) -> ShownFreezes:
    """Freezes and windows."""
    query = {"environment": environment, "all": every, "limit": limit}
    return ShownFreezes.of(server.read(Freezes, "/v1/freezes", **query))


def list_triggers(server: Server, *, environment: str | None) -> ShownTriggers:
    """What starts rollouts by itself."""
    known = [one.environment for one in server.read(Status, "/v1/status").environments]
    found = [server.read(Triggers, f"/v1/environments/{part(name)}/triggers") for name in _these(environment, known)]
    return ShownTriggers.of(Triggers(triggers=tuple(line for one in found for line in one.triggers)))


def list_letters(server: Server, *, every: bool, limit: int) -> ShownLetters:
    """Dead letters."""
    return ShownLetters.of(server.read(DeadLetters, "/v1/dead-letters", all=every, limit=limit))


def show_letter(server: Server, *, number: int) -> ShownLetter:
    """One dead letter."""
    return ShownLetter.of(server.read(OpenedLetter, f"/v1/dead-letters/{number}"))


def list_held(server: Server, *, environment: str | None, dataset: str | None, key: list[str] | None) -> ShownHeldRows:
    """Rows that are held back."""
    query = {"environment": environment, "dataset": dataset, "key": key or None}
    return ShownHeldRows.of(server.read(HeldRows, "/v1/quarantine", **query))


def _these(environment: str | None, known: list[str]) -> list[str]:
    return sorted(known) if environment is None else [environment]

"""Who asks, as the service sees it."""

from __future__ import annotations

from datetime import datetime

from fastapi import APIRouter

from distributor.access.roles import ACTS, Act, Role
from distributor.views.base import View
from distributor.web.security import Caller, needs

router = APIRouter(tags=["keys"])


class Me(View):
    """Who asks."""

    name: str
    """The key's name: as the audit knows whoever uses it."""
    role: Role
    """What it is for."""
    environments: tuple[str, ...]
    """The environments that it is for."""
    every: bool
    """Whether it is for all environments, and for what concerns none."""
    may: tuple[Act, ...]
    """What it may do."""
    expires_at: datetime | None
    """When it opens nothing any more, in UTC; null: never."""


@router.get("/me", operation_id="me", summary="Say who you are")
def me(who: Caller = needs(Act.READ)) -> Me:
    """What the key, or the login, is good for."""
    return Me(
        name=who.name,
        role=who.key.role,
        environments=who.environments,
        every=not who.principal.environments,
        may=tuple(act for act in Act if act in ACTS[who.key.role]),
        expires_at=who.key.expires_at,
    )

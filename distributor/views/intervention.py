"""What an operator did to an environment by a hold, its release, an abort or a detachment, and how it stands now."""

from __future__ import annotations

from typing import TYPE_CHECKING

from distributor.views.base import View
from distributor.views.environments import EnvironmentStatus
from distributor.views.status import look

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy import Connection

    from distributor.settings import Settings


class Intervention(View):
    """What an operator did to an environment."""

    done: str
    """What was done, in a sentence; with `--dry-run` what would be done."""
    dry_run: bool
    """Whether nothing was changed because of `--dry-run`."""
    alarms: tuple[str, ...]
    """What an operator has to know about it, such as that it came too late for a flip."""
    environment: EnvironmentStatus
    """How the environment stands now."""


def intervention(
    conn: Connection,
    settings: Settings,
    environment: str,
    done: str,
    alarms: Sequence[str] = (),
    *,
    dry_run: bool = False,
) -> Intervention:
    """Once it is done, or instead of it: how the environment stands."""
    standing = look(conn, settings, [environment]).environments[0]
    return Intervention(done=done, dry_run=dry_run, alarms=tuple(alarms), environment=standing)

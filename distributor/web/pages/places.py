"""To which environment a path leads that names something else."""

from __future__ import annotations

from sqlalchemy import Connection

from distributor.ledger import rollouts
from distributor.web.security.needs import Of


def environment_of(conn: Connection, rollout: str) -> str:
    """The environment of a rollout. Raises LookupError."""
    record = rollouts.rollout(conn, rollout)
    if record is None:
        raise LookupError(rollout)
    return record.environment


OF_ROLLOUT = Of("rollout", environment_of)

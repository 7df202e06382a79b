"""What the desk keeps: a sealed audit, a feed of events, keys and sessions, freezes, requests, triggers, editions.

A pre beat: programs of the version before go on working beside these tables.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def _time(name: str, *, nullable: bool = True) -> sa.Column[object]:
    return sa.Column(name, sa.DateTime(timezone=True), nullable=nullable)


def _text(name: str, *, nullable: bool = False) -> sa.Column[str]:
    return sa.Column(name, sa.Text(), nullable=nullable)


def upgrade() -> None:
    op.create_table(
        "audit_chain",
        sa.Column("seq", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("audit_id", sa.BigInteger(), nullable=False),
        _text("seal"),
        sa.PrimaryKeyConstraint("seq"),
        sa.UniqueConstraint("audit_id"),
        schema="ledger",
    )
    op.create_table(
        "events",
        sa.Column("seq", sa.BigInteger(), autoincrement=False, nullable=False),
        _time("at", nullable=False),
        _text("kind"),
        _text("environment", nullable=True),
        _text("rollout_id", nullable=True),
        _text("member", nullable=True),
        _text("text"),
        sa.Column("detail", sa.dialects.postgresql.JSONB()),
        sa.PrimaryKeyConstraint("seq"),
        schema="ledger",
    )
    op.create_index("events_by_time", "events", ["at"], schema="ledger")
    op.create_table(
        "api_keys",
        _text("id"),
        _text("name"),
        _text("sha256"),
        _text("role"),
        sa.Column("environments", sa.ARRAY(sa.Text()), nullable=False),
        _time("created_at", nullable=False),
        _text("created_by"),
        _time("expires_at"),
        _time("revoked_at"),
        _time("last_used_at"),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("sha256"),
        schema="ledger",
    )
    op.create_index(
        "one_living_key_per_name",
        "api_keys",
        ["name"],
        unique=True,
        schema="ledger",
        postgresql_where=sa.text("revoked_at IS NULL"),
    )
    op.create_table(
        "web_sessions",
        _text("sha256"),
        _text("key_id"),
        _text("csrf"),
        _time("created_at", nullable=False),
        _time("expires_at", nullable=False),
        sa.PrimaryKeyConstraint("sha256"),
        schema="ledger",
    )
    op.create_table(
        "idempotency_keys",
        _text("principal"),
        _text("key"),
        _text("fingerprint"),
        _time("at", nullable=False),
        sa.Column("status", sa.Integer()),
        sa.Column("headers", sa.dialects.postgresql.JSONB()),
        sa.Column("body", sa.LargeBinary()),
        sa.PrimaryKeyConstraint("principal", "key"),
        schema="ledger",
    )
    op.create_index("idempotency_keys_by_time", "idempotency_keys", ["at"], schema="ledger")
    op.create_table(
        "freezes",
        _text("id"),
        _text("environment", nullable=True),
        _time("since", nullable=False),
        _time("until", nullable=False),
        _text("reason"),
        _text("by"),
        _time("placed_at", nullable=False),
        _time("ended_at"),
        _text("ended_by", nullable=True),
        sa.PrimaryKeyConstraint("id"),
        schema="ledger",
    )
    op.create_table(
        "refresh_requests",
        _text("id"),
        _text("environment"),
        _text("by"),
        _text("reason"),
        _time("requested_at", nullable=False),
        sa.Column("release", sa.Integer()),
        _time("as_of"),
        sa.Column("systems", sa.ARRAY(sa.Text()), nullable=False),
        sa.Column("reset", sa.Boolean(), nullable=False),
        _text("state"),
        _text("rollout_id", nullable=True),
        _text("verification", nullable=True),
        _text("outcome"),
        _time("started_at"),
        _time("ended_at"),
        sa.PrimaryKeyConstraint("id"),
        schema="ledger",
    )
    op.create_index(
        "refresh_requests_by_environment", "refresh_requests", ["environment", "requested_at"], schema="ledger"
    )
    op.create_table(
        "trigger_rules",
        _text("environment"),
        _text("name"),
        _time("fired_at"),
        _time("decided_at"),
        _text("decision"),
        sa.Column("detail", sa.dialects.postgresql.JSONB()),
        sa.PrimaryKeyConstraint("environment", "name"),
        schema="ledger",
    )
    op.create_table(
        "trigger_calls",
        _text("id"),
        _text("environment"),
        _text("name"),
        _text("by"),
        _text("reason"),
        _time("at", nullable=False),
        _time("taken_at"),
        _text("outcome"),
        sa.PrimaryKeyConstraint("id"),
        schema="ledger",
    )
    op.create_table(
        "editions",
        _text("policy"),
        sa.Column("release", sa.Integer(), nullable=False),
        _text("manifest"),
        _time("made_at", nullable=False),
        sa.PrimaryKeyConstraint("policy", "release"),
        schema="ledger",
    )


def downgrade() -> None:
    for table in (
        "editions", "trigger_calls", "trigger_rules", "refresh_requests", "freezes",
        "idempotency_keys", "web_sessions", "api_keys", "events", "audit_chain",
    ):  # fmt: skip
        op.drop_table(table, schema="ledger")

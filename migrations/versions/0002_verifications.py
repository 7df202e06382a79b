"""Verifications, what members answer to audits, and the slots in doubt.

A pre beat: programs of the version before go on working beside these tables.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "verifications",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("environment", sa.Text(), nullable=False),
        sa.Column("requested_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("by", sa.Text(), nullable=False),
        sa.Column("why", sa.Text(), nullable=False),
        sa.Column("release", sa.Integer(), nullable=False),
        sa.Column("ended_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("outcome", sa.Text(), server_default=sa.text("''"), nullable=False),
        sa.Column("detail", postgresql.JSONB(astext_type=sa.Text()), nullable=True),
        sa.PrimaryKeyConstraint("id"),
        schema="ledger",
    )
    op.create_index(
        "verifications_by_environment", "verifications", ["environment", "requested_at"], unique=False, schema="ledger"
    )
    op.create_table(
        "audit_answers",
        sa.Column("audit_id", sa.Text(), nullable=False),
        sa.Column("system", sa.Text(), nullable=False),
        sa.Column("depth", sa.Text(), nullable=False),
        sa.Column("parts", sa.Integer(), nullable=False),
        sa.Column("part", sa.Integer(), nullable=False),
        sa.Column("verification", sa.Text(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("audit_id", "system", "depth", "parts", "part"),
        schema="ledger",
    )
    op.create_index("audit_answers_by_time", "audit_answers", ["at"], unique=False, schema="ledger")
    op.create_table(
        "member_doubts",
        sa.Column("environment", sa.Text(), nullable=False),
        sa.Column("system", sa.Text(), nullable=False),
        sa.Column("slot", sa.Text(), nullable=False),
        sa.Column("table", sa.Text(), nullable=False),
        sa.Column("release", sa.Integer(), nullable=True),
        sa.Column("text", sa.Text(), nullable=False),
        sa.Column("since", sa.DateTime(timezone=True), nullable=False),
        sa.Column("seen_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("environment", "system", "slot", "table"),
        schema="ledger",
    )


def downgrade() -> None:
    op.drop_table("member_doubts", schema="ledger")
    op.drop_index("audit_answers_by_time", table_name="audit_answers", schema="ledger")
    op.drop_table("audit_answers", schema="ledger")
    op.drop_index("verifications_by_environment", table_name="verifications", schema="ledger")
    op.drop_table("verifications", schema="ledger")

"""Rows that are held back and may go out once although their rule fails: who said so gave a reason.

A pre beat: programs of the version before go on working beside this column.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("quarantine", sa.Column("let_pass", sa.Text()), schema="ledger")


def downgrade() -> None:
    op.drop_column("quarantine", "let_pass", schema="ledger")

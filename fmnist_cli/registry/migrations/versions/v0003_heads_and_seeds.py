"""Heads of CNNs; seeds for the initial weights and for the epochs alone; per-image answers."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    # SQLite adds such columns in place; to rebuild the table would copy every run
    head = sa.Column("head", sa.String(length=16), server_default="flatten", nullable=False)
    op.add_column("run", head)
    op.add_column("run", sa.Column("init_seed", sa.BigInteger()))
    op.add_column("run", sa.Column("order_seed", sa.BigInteger()))
    op.add_column("evaluation", sa.Column("answers", sa.Text()))

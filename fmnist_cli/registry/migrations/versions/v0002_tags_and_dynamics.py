"""Tags and notes, heartbeats and resumed runs, augmented training images, per-layer figures."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    # SQLite adds such columns in place; to rebuild the table would copy every run
    augment = sa.Column("augment", sa.String(length=16), server_default="none", nullable=False)
    op.add_column("run", augment)
    op.add_column("run", sa.Column("note", sa.Text()))
    op.add_column("run", sa.Column("heartbeat_at", sa.String(length=27)))
    op.add_column("run", sa.Column("resumed_at", sa.String(length=27)))
    resumes = sa.Column("resumes", sa.Integer(), server_default="0", nullable=False)
    op.add_column("run", resumes)
    op.create_table(
        "dynamics",
        sa.Column("run_id", sa.Integer(), nullable=False),
        sa.Column("epoch", sa.Integer(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("value", sa.Float()),
        sa.Column("nonfinite", sa.Text()),
        sa.ForeignKeyConstraint(
            ["run_id"], ["run.id"], name=op.f("fk_dynamics_run_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("run_id", "epoch", "name", name=op.f("pk_dynamics")),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "tag",
        sa.Column("run_id", sa.Integer(), nullable=False),
        sa.Column("tag", sa.String(length=64), nullable=False),
        sa.ForeignKeyConstraint(
            ["run_id"], ["run.id"], name=op.f("fk_tag_run_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("run_id", "tag", name=op.f("pk_tag")),
        sqlite_with_rowid=False,
    )
    op.create_index(op.f("ix_tag_tag"), "tag", ["tag"])

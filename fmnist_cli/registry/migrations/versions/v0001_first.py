"""The first schema: studies, runs, and what belongs to a run."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    op.create_table(
        "study",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("uuid", sa.String(length=32), nullable=False),
        sa.Column("kind", sa.String(length=64), nullable=False),
        sa.Column("name", sa.Text()),
        sa.Column("arms", sa.Text(), nullable=False),
        sa.Column("config", sa.Text(), nullable=False),
        sa.Column("created_at", sa.String(length=27), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_study")),
        sa.UniqueConstraint("uuid", name=op.f("uq_study_uuid")),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "run",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("uuid", sa.String(length=32), nullable=False),
        sa.Column("study_id", sa.Integer()),
        sa.Column("arm", sa.Text()),
        sa.Column("name", sa.Text()),
        sa.Column("command", sa.String(length=64), nullable=False),
        sa.Column("argv", sa.Text(), nullable=False),
        sa.Column("model", sa.String(length=64), nullable=False),
        sa.Column("engine", sa.String(length=64), nullable=False),
        sa.Column("batch", sa.Integer(), nullable=False),
        sa.Column("lr", sa.Float(), nullable=False),
        sa.Column("momentum", sa.Float(), nullable=False),
        sa.Column("max_epochs", sa.Integer(), nullable=False),
        sa.Column("patience", sa.Integer()),
        sa.Column("monitor", sa.String(length=64), nullable=False),
        sa.Column("seed", sa.BigInteger(), nullable=False),
        sa.Column("hidden", sa.Integer()),
        sa.Column("train_size", sa.Integer(), nullable=False),
        sa.Column("val_size", sa.Integer(), nullable=False),
        sa.Column("data_fingerprint", sa.Text(), nullable=False),
        sa.Column("data_source", sa.Text(), nullable=False),
        sa.Column("fmnist_version", sa.String(length=64), nullable=False),
        sa.Column("environment", sa.Text(), nullable=False),
        sa.Column("host", sa.Text(), nullable=False),
        sa.Column("boot_id", sa.String(length=64)),
        sa.Column("pid", sa.Integer(), nullable=False),
        sa.Column("process_started", sa.String(length=27)),
        sa.Column("status", sa.String(length=16), nullable=False),
        sa.Column("stop_reason", sa.String(length=16)),
        sa.Column("message", sa.Text()),
        sa.Column("started_at", sa.String(length=27), nullable=False),
        sa.Column("ended_at", sa.String(length=27)),
        sa.Column("epochs_run", sa.Integer()),
        sa.Column("best_epoch", sa.Integer()),
        sa.Column("updates_to_best", sa.BigInteger()),
        sa.Column("best_val_accuracy", sa.Float()),
        sa.Column("best_val_loss", sa.Float()),
        sa.Column("test_accuracy", sa.Float()),
        sa.Column("test_loss", sa.Float()),
        sa.Column("still_improving", sa.Boolean()),
        sa.Column("train_seconds", sa.Float()),
        sa.Column("total_seconds", sa.Float()),
        sa.Column("nonfinite", sa.Text()),
        sa.Column("digest", sa.String(length=64)),
        sa.CheckConstraint("(status = 'running') = (ended_at IS NULL)", name="ck_run_ended_at"),
        sa.CheckConstraint(
            "status IN ('running', 'finished', 'failed', 'interrupted', 'diverged')",
            name="ck_run_status",
        ),
        sa.CheckConstraint(
            "stop_reason IN ('patience', 'max_epochs', 'diverged', 'interrupted')",
            name="ck_run_stop_reason",
        ),
        sa.CheckConstraint("batch >= 1", name="ck_run_batch"),
        sa.CheckConstraint("best_epoch BETWEEN 1 AND epochs_run", name="ck_run_best_epoch"),
        sa.CheckConstraint("best_val_accuracy BETWEEN 0 AND 1", name="ck_run_best_val_accuracy"),
        sa.CheckConstraint("epochs_run >= 0", name="ck_run_epochs_run"),
        sa.CheckConstraint("test_accuracy BETWEEN 0 AND 1", name="ck_run_test_accuracy"),
        sa.ForeignKeyConstraint(
            ["study_id"], ["study.id"], name=op.f("fk_run_study_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_run")),
        sa.UniqueConstraint("uuid", name=op.f("uq_run_uuid")),
        sqlite_autoincrement=True,
    )
    op.create_index(op.f("ix_run_status"), "run", ["status"])
    op.create_index(op.f("ix_run_study_id"), "run", ["study_id"])
    op.create_table(
        "artefact",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("run_id", sa.Integer(), nullable=False),
        sa.Column("kind", sa.String(length=64), nullable=False),
        sa.Column("path", sa.Text(), nullable=False),
        sa.Column("sha256", sa.String(length=64), nullable=False),
        sa.Column("bytes", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(
            ["run_id"], ["run.id"], name=op.f("fk_artefact_run_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_artefact")),
        sa.UniqueConstraint("run_id", "path", name=op.f("uq_artefact_run_id_path")),
    )
    op.create_table(
        "epoch",
        sa.Column("run_id", sa.Integer(), nullable=False),
        sa.Column("epoch", sa.Integer(), nullable=False),
        sa.Column("updates", sa.BigInteger(), nullable=False),
        sa.Column("train_seconds", sa.Float(), nullable=False),
        sa.Column("eval_seconds", sa.Float(), nullable=False),
        sa.Column("running_loss", sa.Float()),
        sa.Column("train_loss", sa.Float()),
        sa.Column("train_accuracy", sa.Float()),
        sa.Column("val_loss", sa.Float()),
        sa.Column("val_accuracy", sa.Float()),
        sa.Column("test_loss", sa.Float()),
        sa.Column("test_accuracy", sa.Float()),
        sa.Column("dead_units", sa.Integer()),
        sa.Column("nonfinite", sa.Text()),
        sa.CheckConstraint("epoch >= 1", name="ck_epoch_epoch"),
        sa.CheckConstraint("test_accuracy BETWEEN 0 AND 1", name="ck_epoch_test_accuracy"),
        sa.CheckConstraint("train_accuracy BETWEEN 0 AND 1", name="ck_epoch_train_accuracy"),
        sa.CheckConstraint("val_accuracy BETWEEN 0 AND 1", name="ck_epoch_val_accuracy"),
        sa.ForeignKeyConstraint(
            ["run_id"], ["run.id"], name=op.f("fk_epoch_run_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("run_id", "epoch", name=op.f("pk_epoch")),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "evaluation",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("run_id", sa.Integer(), nullable=False),
        sa.Column("test_set", sa.Text(), nullable=False),
        sa.Column("n", sa.Integer(), nullable=False),
        sa.Column("loss", sa.Float()),
        sa.Column("accuracy", sa.Float()),
        sa.Column("confusion", sa.Text(), nullable=False),
        sa.Column("nonfinite", sa.Text()),
        sa.CheckConstraint("accuracy BETWEEN 0 AND 1", name="ck_evaluation_accuracy"),
        sa.ForeignKeyConstraint(
            ["run_id"], ["run.id"], name=op.f("fk_evaluation_run_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_evaluation")),
        sa.UniqueConstraint("run_id", "test_set", name=op.f("uq_evaluation_run_id_test_set")),
    )
    op.create_table(
        "run_check",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("run_id", sa.Integer(), nullable=False),
        sa.Column("kind", sa.String(length=64), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("figures", sa.Text(), nullable=False),
        sa.Column("held", sa.Boolean(), nullable=False),
        sa.Column("nonfinite", sa.Text()),
        sa.ForeignKeyConstraint(
            ["run_id"], ["run.id"], name=op.f("fk_run_check_run_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_run_check")),
        sa.UniqueConstraint("run_id", "kind", "name", name=op.f("uq_run_check_run_id_kind_name")),
    )

"""The tables and views of the registry, as they are at revision ``HEAD``.

Times are UTC, as ISO 8601 text; JSON is text; accuracies are fractions, losses nats per example,
durations seconds. ``nonfinite`` is JSON such as ``{"val_loss": "nan"}`` and says what was not
finite among the row's numbers, which are NULL there.

The SQL is portable, but for what the modules of the databases do. A change here needs a migration
(tests hold the two together) and a new ``HEAD``.
"""

from __future__ import annotations

import sqlalchemy as sa

from fmnist_cli.registry.migrations import HEAD as HEAD

STATUSES = ("running", "finished", "failed", "interrupted", "diverged")
STOP_REASONS = ("patience", "max_epochs", "diverged", "interrupted")

metadata = sa.MetaData(
    naming_convention={
        "pk": "pk_%(table_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    }
)


def _one_of(table: str, column: str, values: tuple[str, ...]) -> sa.CheckConstraint:
    listed = ", ".join(f"'{value}'" for value in values)
    return sa.CheckConstraint(f"{column} IN ({listed})", name=f"ck_{table}_{column}")


def _fraction(table: str, column: str) -> sa.CheckConstraint:
    return sa.CheckConstraint(f"{column} BETWEEN 0 AND 1", name=f"ck_{table}_{column}")


def _run_id(*, primary_key: bool = False) -> sa.Column[int]:
    return sa.Column(
        "run_id",
        sa.Integer,
        sa.ForeignKey("run.id", ondelete="CASCADE"),
        primary_key=primary_key,
        nullable=False,
    )


study = sa.Table(
    "study",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("uuid", sa.String(32), nullable=False, unique=True),
    sa.Column("kind", sa.String(64), nullable=False),
    sa.Column("name", sa.Text),
    # JSON list: the labels, in the order they are shown
    sa.Column("arms", sa.Text, nullable=False),
    sa.Column("config", sa.Text, nullable=False),  # JSON object
    sa.Column("created_at", sa.String(27), nullable=False),
    sqlite_autoincrement=True,  # an id is never given twice, even after a deletion
)

run = sa.Table(
    "run",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("uuid", sa.String(32), nullable=False, unique=True),
    sa.Column("study_id", sa.Integer, sa.ForeignKey("study.id", ondelete="CASCADE")),
    sa.Column("arm", sa.Text),
    sa.Column("name", sa.Text),
    # what was asked
    sa.Column("command", sa.String(64), nullable=False),
    sa.Column("argv", sa.Text, nullable=False),  # JSON list
    sa.Column("model", sa.String(64), nullable=False),
    sa.Column("engine", sa.String(64), nullable=False),
    sa.Column("batch", sa.Integer, nullable=False),
    sa.Column("lr", sa.Float, nullable=False),
    sa.Column("momentum", sa.Float, nullable=False),
    sa.Column("max_epochs", sa.Integer, nullable=False),
    sa.Column("patience", sa.Integer),  # NULL: no early stopping
    sa.Column("monitor", sa.String(64), nullable=False),
    sa.Column("seed", sa.BigInteger, nullable=False),
    sa.Column("hidden", sa.Integer),  # NULL for a CNN
    sa.Column("train_size", sa.Integer, nullable=False),
    sa.Column("val_size", sa.Integer, nullable=False),
    # what it ran on
    sa.Column("data_fingerprint", sa.Text, nullable=False),
    sa.Column("data_source", sa.Text, nullable=False),
    sa.Column("fmnist_version", sa.String(64), nullable=False),
    sa.Column("environment", sa.Text, nullable=False),  # JSON object
    sa.Column("host", sa.Text, nullable=False),
    sa.Column("boot_id", sa.String(64)),
    sa.Column("pid", sa.Integer, nullable=False),
    sa.Column("process_started", sa.String(27)),
    # how it went
    sa.Column("status", sa.String(16), nullable=False),
    sa.Column("stop_reason", sa.String(16)),
    sa.Column("message", sa.Text),  # the error of a failed run, the reason of a diverged one
    sa.Column("started_at", sa.String(27), nullable=False),
    sa.Column("ended_at", sa.String(27)),
    sa.Column("epochs_run", sa.Integer),
    sa.Column("best_epoch", sa.Integer),
    sa.Column("updates_to_best", sa.BigInteger),
    sa.Column("best_val_accuracy", sa.Float),
    sa.Column("best_val_loss", sa.Float),
    sa.Column("test_accuracy", sa.Float),
    sa.Column("test_loss", sa.Float),
    sa.Column("still_improving", sa.Boolean),
    sa.Column("train_seconds", sa.Float),
    sa.Column("total_seconds", sa.Float),
    sa.Column("nonfinite", sa.Text),
    sa.Column("digest", sa.String(64)),  # SHA-256 of the ended run's values, see rows.py
    # since revision 0002
    sa.Column("augment", sa.String(16), nullable=False, server_default="none"),
    sa.Column("note", sa.Text),
    sa.Column("heartbeat_at", sa.String(27)),
    sa.Column("resumed_at", sa.String(27)),
    sa.Column("resumes", sa.Integer, nullable=False, server_default="0"),
    # since revision 0003
    sa.Column("head", sa.String(16), nullable=False, server_default="flatten"),
    sa.Column("init_seed", sa.BigInteger),  # NULL: seed
    sa.Column("order_seed", sa.BigInteger),  # NULL: seed
    _one_of("run", "status", STATUSES),
    _one_of("run", "stop_reason", STOP_REASONS),
    sa.CheckConstraint("(status = 'running') = (ended_at IS NULL)", name="ck_run_ended_at"),
    sa.CheckConstraint("batch >= 1", name="ck_run_batch"),
    sa.CheckConstraint("epochs_run >= 0", name="ck_run_epochs_run"),
    sa.CheckConstraint("best_epoch BETWEEN 1 AND epochs_run", name="ck_run_best_epoch"),
    _fraction("run", "best_val_accuracy"),
    _fraction("run", "test_accuracy"),
    sa.Index(None, "study_id"),
    sa.Index(None, "status"),
    sqlite_autoincrement=True,
)

epoch = sa.Table(
    "epoch",
    metadata,
    _run_id(primary_key=True),
    sa.Column("epoch", sa.Integer, primary_key=True),
    sa.Column("updates", sa.BigInteger, nullable=False),  # gradient updates since the run began
    sa.Column("train_seconds", sa.Float, nullable=False),
    sa.Column("eval_seconds", sa.Float, nullable=False),
    sa.Column("running_loss", sa.Float),
    sa.Column("train_loss", sa.Float),
    sa.Column("train_accuracy", sa.Float),
    sa.Column("val_loss", sa.Float),
    sa.Column("val_accuracy", sa.Float),
    sa.Column("test_loss", sa.Float),
    sa.Column("test_accuracy", sa.Float),
    sa.Column("dead_units", sa.Integer),
    sa.Column("nonfinite", sa.Text),
    sa.CheckConstraint("epoch >= 1", name="ck_epoch_epoch"),
    _fraction("epoch", "train_accuracy"),
    _fraction("epoch", "val_accuracy"),
    _fraction("epoch", "test_accuracy"),
    sqlite_with_rowid=False,
)

run_check = sa.Table(  # CHECK is a word of SQL
    "run_check",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    _run_id(),
    sa.Column("kind", sa.String(64), nullable=False),
    sa.Column("name", sa.Text, nullable=False),
    sa.Column("figures", sa.Text, nullable=False),  # JSON object
    sa.Column("held", sa.Boolean, nullable=False),
    sa.Column("nonfinite", sa.Text),
    sa.UniqueConstraint("run_id", "kind", "name"),
)

evaluation = sa.Table(
    "evaluation",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    _run_id(),
    sa.Column("test_set", sa.Text, nullable=False),
    sa.Column("n", sa.Integer, nullable=False),
    sa.Column("loss", sa.Float),
    sa.Column("accuracy", sa.Float),
    sa.Column("confusion", sa.Text, nullable=False),  # JSON, 10 rows (true class) of 10 (predicted)
    sa.Column("nonfinite", sa.Text),
    sa.Column("answers", sa.Text),  # since revision 0003: one bit per image, right or not, as hex
    _fraction("evaluation", "accuracy"),
    sa.UniqueConstraint("run_id", "test_set"),
)

artefact = sa.Table(
    "artefact",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    _run_id(),
    sa.Column("kind", sa.String(64), nullable=False),
    sa.Column("path", sa.Text, nullable=False),  # POSIX, relative to the registry's folder
    sa.Column("sha256", sa.String(64), nullable=False),
    sa.Column("bytes", sa.BigInteger, nullable=False),
    sa.UniqueConstraint("run_id", "path"),
)

dynamics = sa.Table(
    "dynamics",
    metadata,
    _run_id(primary_key=True),
    sa.Column("epoch", sa.Integer, primary_key=True),
    sa.Column("name", sa.Text, primary_key=True),  # such as gradient_norm/W1
    sa.Column("value", sa.Float),
    sa.Column("nonfinite", sa.Text),
    sqlite_with_rowid=False,
)

tag = sa.Table(
    "tag",
    metadata,
    _run_id(primary_key=True),
    sa.Column("tag", sa.String(64), primary_key=True),
    sa.Index(None, "tag"),
    sqlite_with_rowid=False,
)

# what belongs to a run, in the digest's order
PARTS = (epoch, run_check, evaluation, artefact, dynamics)

# The views are made anew whenever the schema is upgraded, so migrations need not carry them.
# Tags hold no comma.
_VIEWS = {
    "run_summary": """\
CREATE VIEW run_summary AS
SELECT run.id AS run_id, run.uuid, run.name, run.command, run.study_id, study.kind AS study_kind,
       study.name AS study_name, run.arm, run.model, run.engine, run.batch, run.lr, run.momentum,
       run.max_epochs, run.patience, run.monitor, run.seed, run.hidden, run.train_size,
       run.val_size, run.status, run.stop_reason, run.still_improving, run.message,
       run.started_at, run.ended_at,
       COALESCE(run.epochs_run,
                (SELECT MAX(epoch.epoch) FROM epoch WHERE epoch.run_id = run.id), 0) AS epochs_run,
       run.best_epoch, run.updates_to_best, run.best_val_accuracy, run.best_val_loss,
       run.test_accuracy, run.test_loss, run.train_seconds, run.total_seconds,
       run.train_seconds / NULLIF(run.epochs_run, 0) AS train_seconds_per_epoch,
       run.host, run.fmnist_version, run.data_source, run.data_fingerprint,
       run.augment, run.head, run.init_seed, run.order_seed, run.note, run.resumes,
       (SELECT {join}(tag.tag, ',') FROM tag WHERE tag.run_id = run.id) AS tags
  FROM run LEFT JOIN study ON study.id = run.study_id
""",
    "epoch_curve": """\
CREATE VIEW epoch_curve AS
SELECT epoch.run_id, run.name, run.study_id, run.arm, run.model, run.engine, run.batch, run.lr,
       run.momentum, run.seed, epoch.epoch, epoch.updates, epoch.train_seconds,
       epoch.eval_seconds, epoch.running_loss, epoch.train_loss, epoch.train_accuracy,
       epoch.val_loss, epoch.val_accuracy, epoch.test_loss, epoch.test_accuracy, epoch.dead_units
  FROM epoch JOIN run ON run.id = epoch.run_id
""",
}


def views_for(dialect: str) -> dict[str, str]:
    """The statements that make the views, by name: the join of texts has several names."""
    join = {"sqlite": "group_concat", "postgresql": "string_agg"}[dialect]
    return {name: sql.format(join=join) for name, sql in _VIEWS.items()}

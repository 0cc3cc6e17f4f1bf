"""The tables and views of the registry, as they are at revision ``HEAD``.

Times are UTC, as ISO 8601 text; JSON is text; accuracies are fractions, losses nats per example,
durations seconds. ``nonfinite`` is JSON such as ``{"val_loss": "nan"}`` and says what was not
finite among the row's numbers, which are NULL there.

The SQL is portable, but for what the modules of the databases do. A change here needs a migration
(tests hold the two together) and a new ``HEAD``.
"""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Float,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
)

from fmnist_cli.registry.migrations import HEAD as HEAD

STATUSES = ("running", "finished", "failed", "interrupted", "diverged")
STOP_REASONS = ("patience", "max_epochs", "diverged", "interrupted")

metadata = MetaData(
    naming_convention={
        "pk": "pk_%(table_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    }
)


def _one_of(table: str, column: str, values: tuple[str, ...]) -> CheckConstraint:
    listed = ", ".join(f"'{value}'" for value in values)
    return CheckConstraint(f"{column} IN ({listed})", name=f"ck_{table}_{column}")


def _fraction(table: str, column: str) -> CheckConstraint:
    return CheckConstraint(f"{column} BETWEEN 0 AND 1", name=f"ck_{table}_{column}")


def _run_id(*, primary_key: bool = False) -> Column[int]:
    return Column(
        "run_id",
        Integer,
        ForeignKey("run.id", ondelete="CASCADE"),
        primary_key=primary_key,
        nullable=False,
    )


study = Table(
    "study",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("uuid", String(32), nullable=False, unique=True),
    Column("kind", String(64), nullable=False),
    Column("name", Text),
    Column("arms", Text, nullable=False),  # JSON list: the labels, in the order they are shown
    Column("config", Text, nullable=False),  # JSON object
    Column("created_at", String(27), nullable=False),
    sqlite_autoincrement=True,  # an id is never given twice, even after a deletion
)

run = Table(
    "run",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("uuid", String(32), nullable=False, unique=True),
    Column("study_id", Integer, ForeignKey("study.id", ondelete="CASCADE")),
    Column("arm", Text),
    Column("name", Text),
    # what was asked
    Column("command", String(64), nullable=False),
    Column("argv", Text, nullable=False),  # JSON list
    Column("model", String(64), nullable=False),
    Column("engine", String(64), nullable=False),
    Column("batch", Integer, nullable=False),
    Column("lr", Float, nullable=False),
    Column("momentum", Float, nullable=False),
    Column("max_epochs", Integer, nullable=False),
    Column("patience", Integer),  # NULL: no early stopping
    Column("monitor", String(64), nullable=False),
    Column("seed", BigInteger, nullable=False),
    Column("hidden", Integer),  # NULL for a CNN
    Column("train_size", Integer, nullable=False),
    Column("val_size", Integer, nullable=False),
    # what it ran on
    Column("data_fingerprint", Text, nullable=False),
    Column("data_source", Text, nullable=False),
    Column("fmnist_version", String(64), nullable=False),
    Column("environment", Text, nullable=False),  # JSON object
    Column("host", Text, nullable=False),
    Column("boot_id", String(64)),
    Column("pid", Integer, nullable=False),
    Column("process_started", String(27)),
    # how it went
    Column("status", String(16), nullable=False),
    Column("stop_reason", String(16)),
    Column("message", Text),  # the error of a failed run, the reason of a diverged one
    Column("started_at", String(27), nullable=False),
    Column("ended_at", String(27)),
    Column("epochs_run", Integer),
    Column("best_epoch", Integer),
    Column("updates_to_best", BigInteger),
    Column("best_val_accuracy", Float),
    Column("best_val_loss", Float),
    Column("test_accuracy", Float),
    Column("test_loss", Float),
    Column("still_improving", Boolean),
    Column("train_seconds", Float),
    Column("total_seconds", Float),
    Column("nonfinite", Text),
    Column("digest", String(64)),  # SHA-256 of the ended run's values, see digest.py
    # since revision 0002
    Column("augment", String(16), nullable=False, server_default="none"),
    Column("note", Text),
    Column("heartbeat_at", String(27)),
    Column("resumed_at", String(27)),
    Column("resumes", Integer, nullable=False, server_default="0"),
    # since revision 0003
    Column("head", String(16), nullable=False, server_default="flatten"),
    Column("init_seed", BigInteger),  # NULL: seed
    Column("order_seed", BigInteger),  # NULL: seed
    _one_of("run", "status", STATUSES),
    _one_of("run", "stop_reason", STOP_REASONS),
    CheckConstraint("(status = 'running') = (ended_at IS NULL)", name="ck_run_ended_at"),
    CheckConstraint("batch >= 1", name="ck_run_batch"),
    CheckConstraint("epochs_run >= 0", name="ck_run_epochs_run"),
    CheckConstraint("best_epoch BETWEEN 1 AND epochs_run", name="ck_run_best_epoch"),
    _fraction("run", "best_val_accuracy"),
    _fraction("run", "test_accuracy"),
    Index(None, "study_id"),
    Index(None, "status"),
    sqlite_autoincrement=True,
)

epoch = Table(
    "epoch",
    metadata,
    _run_id(primary_key=True),
    Column("epoch", Integer, primary_key=True),
    Column("updates", BigInteger, nullable=False),  # gradient updates since the run began
    Column("train_seconds", Float, nullable=False),
    Column("eval_seconds", Float, nullable=False),
    Column("running_loss", Float),
    Column("train_loss", Float),
    Column("train_accuracy", Float),
    Column("val_loss", Float),
    Column("val_accuracy", Float),
    Column("test_loss", Float),
    Column("test_accuracy", Float),
    Column("dead_units", Integer),
    Column("nonfinite", Text),
    CheckConstraint("epoch >= 1", name="ck_epoch_epoch"),
    _fraction("epoch", "train_accuracy"),
    _fraction("epoch", "val_accuracy"),
    _fraction("epoch", "test_accuracy"),
    sqlite_with_rowid=False,
)

run_check = Table(  # CHECK is a word of SQL
    "run_check",
    metadata,
    Column("id", Integer, primary_key=True),
    _run_id(),
    Column("kind", String(64), nullable=False),
    Column("name", Text, nullable=False),
    Column("figures", Text, nullable=False),  # JSON object
    Column("held", Boolean, nullable=False),
    Column("nonfinite", Text),
    UniqueConstraint("run_id", "kind", "name"),
)

evaluation = Table(
    "evaluation",
    metadata,
    Column("id", Integer, primary_key=True),
    _run_id(),
    Column("test_set", Text, nullable=False),
    Column("n", Integer, nullable=False),
    Column("loss", Float),
    Column("accuracy", Float),
    Column("confusion", Text, nullable=False),  # JSON, 10 rows (true class) of 10 (predicted)
    Column("nonfinite", Text),
    Column("answers", Text),  # since revision 0003: one bit per image, right or not, as hex
    _fraction("evaluation", "accuracy"),
    UniqueConstraint("run_id", "test_set"),
)

artefact = Table(
    "artefact",
    metadata,
    Column("id", Integer, primary_key=True),
    _run_id(),
    Column("kind", String(64), nullable=False),
    Column("path", Text, nullable=False),  # POSIX, relative to the registry's folder
    Column("sha256", String(64), nullable=False),
    Column("bytes", BigInteger, nullable=False),
    UniqueConstraint("run_id", "path"),
)

dynamics = Table(
    "dynamics",
    metadata,
    _run_id(primary_key=True),
    Column("epoch", Integer, primary_key=True),
    Column("name", Text, primary_key=True),  # such as gradient_norm/W1
    Column("value", Float),
    Column("nonfinite", Text),
    sqlite_with_rowid=False,
)

tag = Table(
    "tag",
    metadata,
    _run_id(primary_key=True),
    Column("tag", String(64), primary_key=True),
    Index(None, "tag"),
    sqlite_with_rowid=False,
)

PARTS = (
    epoch,
    run_check,
    evaluation,
    artefact,
    dynamics,
)  # what belongs to a run, in the digest's order

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

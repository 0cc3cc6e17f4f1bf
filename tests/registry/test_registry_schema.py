"""The schema, its migrations and its views agree."""

from __future__ import annotations

import json
import re
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from registry_rig import raw, write_sample
from sqlalchemy import create_engine

from fmnist_cli.registry import Registry, migrate, schema

pytestmark = pytest.mark.sqlite


def test_head_is_alembics_own() -> None:
    config = Config()
    config.set_main_option("script_location", str(migrate.MIGRATIONS))
    scripts = ScriptDirectory.from_config(config)
    assert scripts.get_heads() == [schema.HEAD]
    revisions = [script.revision for script in scripts.walk_revisions()][::-1]
    assert revisions == [f"{number:04}" for number in range(1, len(revisions) + 1)]


def test_the_migrations_make_the_tables_of_the_schema(db: Path, registry: Registry) -> None:
    engine = create_engine(f"sqlite:///{db}")
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_server_default": True})
        assert compare_metadata(context, schema.metadata) == []


def test_the_migrations_make_the_constraints_of_the_schema(
    tmp_path: Path, db: Path, registry: Registry
) -> None:
    """Alembic does not compare CHECK constraints, nor SQLite's own options."""
    engine = create_engine(f"sqlite:///{tmp_path / 'plain.db'}")
    schema.metadata.create_all(engine)
    engine.dispose()

    def parts(path: Path) -> dict[str, list[str]]:
        rows = raw(path, "SELECT name, sql FROM sqlite_master WHERE type IN ('table', 'index')")
        return {
            # at commas that are in no brackets, which is where a column was added, and at lines
            name: sorted(filter(None, map(str.strip, re.split(r",(?![^()]*\))|\n", sql))))
            for name, sql in rows
            if sql and name not in ("alembic_version", "sqlite_sequence")
        }

    assert parts(db) == parts(tmp_path / "plain.db")


def test_the_views_read_without_fmnist(db: Path) -> None:
    write_sample(db)
    connection = sqlite3.connect(f"file:{db}?mode=ro", uri=True)
    connection.row_factory = sqlite3.Row
    (summary,) = connection.execute(
        "SELECT * FROM run_summary WHERE batch = 5 AND test_accuracy > 0.8"
    )
    assert (summary["run_id"], summary["study_kind"], summary["arm"]) == (
        1,
        "sweep-batch",
        "batch 5",
    )
    assert (summary["epochs_run"], summary["train_seconds_per_epoch"]) == (2, 0.75)
    assert summary["started_at"].endswith("Z")
    raw(db, "UPDATE run SET best_epoch = 1 WHERE id = 1")  # the time is that of all epochs
    (found,) = connection.execute("SELECT train_seconds_per_epoch FROM run_summary WHERE run_id=1")
    assert found[0] == 0.75
    curve = connection.execute(
        "SELECT epoch, updates, train_loss, lr FROM epoch_curve ORDER BY epoch"
    ).fetchall()
    assert list(map(tuple, curve)) == [(1, 2000, 0.9, 0.01), (2, 4000, None, 0.01)]
    # what is not finite satisfies no comparison
    nothing = (
        "SELECT count(*) FROM epoch_curve WHERE epoch = 2 AND (train_loss < 1 OR train_loss >= 1)"
    )
    assert connection.execute(nothing).fetchone()[0] == 0
    connection.close()


def test_every_value_of_a_run_is_in_a_view_or_named_here(db: Path, registry: Registry) -> None:
    views = schema.views_for("sqlite")
    seen = {row[1] for view in views for row in raw(db, f"PRAGMA table_info({view})")}
    own = {"id", "argv", "environment", "boot_id", "pid", "process_started", "nonfinite", "digest"}
    own |= {"heartbeat_at", "resumed_at"}
    assert {column.name for column in schema.run.c} - seen == own
    assert {column.name for column in schema.epoch.c} - seen == {"nonfinite"}


def test_reading_imports_neither_alembic_nor_numpy_nor_the_orm(db: Path) -> None:
    write_sample(db)
    code = """
import json, sys
from fmnist_cli.registry import Registry
with Registry.open(sys.argv[1], readonly=True) as registry:
    registry.list_runs()
print(json.dumps([name for name in sys.modules if name in
    ("alembic", "numpy", "sqlalchemy.orm", "threadpoolctl", "typer", "rich", "tensorflow")]))
"""
    out = subprocess.run([sys.executable, "-c", code, db], capture_output=True, check=True).stdout
    assert json.loads(out) == []

"""The reader of SQL: what it opens, and what it takes for lost."""

from __future__ import annotations

import json
import shutil
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
from registry_rig import OUTCOME_AT_ONCE, Target, raw, spec, write_sample

from fmnist_cli.errors import RegistryError, SchemaTooNew
from fmnist_cli.registry import Registry, Selection, open_reader
from fmnist_cli.registry.schema import HEAD

DATA = Path(__file__).parent / "data"
STATUSES = "SELECT status FROM run_summary ORDER BY run_id"


def test_a_running_run_is_running_and_one_without_a_process_is_lost(
    db: Target, registry: Registry
) -> None:
    for _ in range(2):
        with registry.run(spec()) as run:
            run.finish(OUTCOME_AT_ONCE)
    raw(db, "UPDATE run SET status = 'running', ended_at = NULL, heartbeat_at = NULL WHERE id = 1")
    raw(
        db,
        "UPDATE run SET status = 'running', ended_at = NULL, host = 'x', boot_id = 'y', "
        "heartbeat_at = NULL "
        "WHERE id = 2",
    )  # of another machine nothing is known
    with registry.run(spec()) as run:
        with open_reader(db) as reader:
            rows = reader.query(STATUSES).rows
            lost = list(reader.summaries(Selection(status="lost")))
        run.finish(OUTCOME_AT_ONCE)
    assert rows == [("lost",), ("running",), ("running",)]
    assert [row["run_id"] for row in lost] == [1]
    assert [run.status for run in registry.list_runs()] == ["finished", "running", "lost"]
    assert raw(db, "SELECT status FROM run WHERE id = 1") == [("running",)]


@pytest.mark.sqlite
def test_a_file_that_is_behind_is_upgraded_and_read(db: Target) -> None:
    shutil.copy(DATA / "schema_0001.db", db)
    with open_reader(f"sqlite:///{db}") as reader:
        assert reader.query("SELECT augment, tags FROM run_summary").rows == [("none", None)]
    assert raw(db, "SELECT version_num FROM alembic_version") == [(HEAD,)]
    assert len(list(db.parent.glob("runs.db.backup-0001-*"))) == 1


@pytest.mark.sqlite
def test_what_cannot_be_opened_is_named_as_ever(db: Target) -> None:
    with pytest.raises(RegistryError, match="does not exist"):
        open_reader(db)
    assert not db.exists()
    db.write_bytes(b"notes" * 1000)
    with pytest.raises(RegistryError, match="is not an SQLite file"):
        open_reader(db)
    db.unlink()
    write_sample(db)
    raw(db, "UPDATE alembic_version SET version_num = '9999'")
    with pytest.raises(SchemaTooNew):
        open_reader(db)


@pytest.mark.sqlite
def test_what_a_killed_writer_left_is_rolled_back_first(db: Target, tmp_path: Path) -> None:
    write_sample(db)
    code = """
import os, sqlite3, sys
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
connection.execute("PRAGMA cache_size = 1")
connection.execute("BEGIN IMMEDIATE")
connection.execute("UPDATE run SET seed = 7, message = hex(randomblob(100000))")
connection.execute("UPDATE epoch SET train_seconds = 9")
os.kill(os.getpid(), 9)
"""
    subprocess.run([sys.executable, "-c", code, db], check=False)
    assert db.with_name("runs.db-journal").exists()
    with open_reader(db) as reader:
        assert reader.query("SELECT seed FROM run_summary").rows == [(42,)]


@pytest.mark.sqlite
@pytest.mark.parametrize("name", ["a b.db", "50%25?mode=rw#x.db", "é猫[bold].db"])
def test_any_file_name(tmp_path: Path, made: Path, name: str) -> None:
    shutil.copy(made, tmp_path / name)
    with open_reader(tmp_path / name) as reader:
        assert reader.query("SELECT count(*) FROM run").rows == [(0,)]
    assert [path.name for path in tmp_path.iterdir()] == [name]


@pytest.mark.sqlite
def test_it_needs_the_standard_library_alone(db: Target, made: Path) -> None:
    shutil.copy(made, db)
    code = """
import json, sys
from fmnist_cli.registry import Selection, open_reader
with open_reader(sys.argv[1]) as reader:
    reader.summaries(Selection())
print(json.dumps([name for name in sys.modules if name in ("sqlalchemy", "numpy", "alembic")]))
"""
    out = subprocess.run([sys.executable, "-c", code, db], capture_output=True, check=True).stdout
    assert json.loads(out) == []


@pytest.mark.sqlite
def test_a_writer_is_waited_for_and_not_disturbed(db: Target, registry: Registry) -> None:
    other = sqlite3.connect(db, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")  # readers may read beside it
    with open_reader(db) as reader:
        assert reader.query("SELECT count(*) FROM run").rows == [(0,)]
    other.execute("INSERT INTO study VALUES (1, 'u', 'k', NULL, '[]', '{}', '')")
    other.execute("COMMIT")
    other.close()
    assert raw(db, "SELECT count(*) FROM study") == [(1,)]

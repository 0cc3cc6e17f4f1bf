"""Opening: what is refused, what is made, what is upgraded."""

from __future__ import annotations

import re
import shutil
import sqlite3
import tempfile
import threading
from pathlib import Path

import pytest
from registry_rig import OUTCOME_AT_ONCE, UNPRIVILEGED, ended, epoch, raw, spec, start, write_sample

from fmnist_cli import __version__
from fmnist_cli.errors import RegistryError, SchemaTooNew
from fmnist_cli.registry import Registry, migrate
from fmnist_cli.registry.schema import HEAD, views_for

pytestmark = pytest.mark.sqlite

SCHEMAS = sorted((Path(__file__).parent / "data").glob("schema_*.db"))


def test_path_and_url_name_the_same_file(db: Path) -> None:
    with Registry.open(f"sqlite:///{db}") as registry:
        assert registry.target == str(db)
    with Registry.open(str(db), readonly=True) as registry:
        assert registry.list_runs() == []


@pytest.mark.parametrize(
    "target",
    [
        "mysql://me:secret@host/db",
        "postgresql+psycopg://me:secret@host",
        "sqlite://",
        "/",
        "sqlite:////",
        "postgresql://:port",
        "postgresql+psycopg://user@host:port/database",
        "sqlite:///:memory:",
        "",
        "x://",
    ],
)
def test_what_names_no_file_is_refused(target: str) -> None:
    with pytest.raises(RegistryError, match="a registry must be a path, or a URL") as raised:
        Registry.open(target)
    assert "secret" not in str(raised.value)


@pytest.mark.parametrize("name", ["a b.db", "50%25?mode=ro#x.db", "é猫[bold].db", "noending"])
def test_any_file_name(tmp_path: Path, name: str) -> None:
    with Registry.open(tmp_path / name) as registry, registry.run(spec(name=name)) as run:
        run.finish(OUTCOME_AT_ONCE)
    with Registry.open(tmp_path / name, readonly=True) as registry:
        assert registry.get_run("latest").name == name
    assert (tmp_path / name).exists()


def test_a_reader_makes_no_file(db: Path) -> None:
    with pytest.raises(RegistryError) as raised:
        Registry.open(db, readonly=True)
    assert str(raised.value) == f"{db} does not exist."
    assert not db.exists()


def test_an_empty_file_is_named_to_a_reader_and_filled_by_a_writer(db: Path) -> None:
    db.touch()
    with pytest.raises(RegistryError, match=r"runs\.db is empty \(0 bytes\)"):
        Registry.open(db, readonly=True)
    assert db.stat().st_size == 0
    with Registry.open(db) as registry:
        assert registry.list_runs() == []
    assert not list(db.parent.glob("*backup*"))


@pytest.mark.parametrize("readonly", [True, False])
def test_a_folder_an_absent_folder_and_a_device(tmp_path: Path, readonly: bool) -> None:
    with pytest.raises(RegistryError, match=f"^{re.escape(str(tmp_path))} is a folder"):
        Registry.open(tmp_path, readonly=readonly)
    with pytest.raises(
        RegistryError, match=r"does not exist; make it first: mkdir -p .*/absent\.$"
    ):
        Registry.open(tmp_path / "absent" / "runs.db", readonly=readonly)
    with pytest.raises(RegistryError, match=r"^/dev/null is not a regular file"):
        Registry.open("/dev/null", readonly=readonly)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("readonly", [True, False])
@pytest.mark.parametrize("content", [b"x", b"these are notes, not a registry\n" * 400])
def test_a_text_file_is_refused_and_untouched(db: Path, readonly: bool, content: bytes) -> None:
    db.write_bytes(content)
    with pytest.raises(RegistryError, match=r"runs\.db is not an SQLite file\.$"):
        Registry.open(db, readonly=readonly)
    assert db.read_bytes() == content


@pytest.mark.parametrize("readonly", [True, False])
@pytest.mark.parametrize(
    "sql",
    [
        ["CREATE TABLE songs (id INTEGER)"],
        ["CREATE TABLE alembic_version (version_num TEXT)", "CREATE TABLE run (id INTEGER)"],
        [
            "CREATE TABLE alembic_version (version_num TEXT)",
            "INSERT INTO alembic_version VALUES ('6953534de441')",
            "CREATE TABLE run (id INTEGER)",
            "CREATE TABLE study (id INTEGER)",
        ],
    ],
)
def test_another_programs_database_is_refused_and_untouched(
    db: Path, readonly: bool, sql: list[str]
) -> None:
    for statement in sql:
        raw(db, statement)
    before = db.read_bytes()
    with pytest.raises(RegistryError, match="is not a registry of fmnist"):
        Registry.open(db, readonly=readonly)
    assert db.read_bytes() == before
    assert list(db.parent.iterdir()) == [db]


@pytest.mark.parametrize("readonly", [True, False])
def test_a_newer_schema_is_refused_by_both_names_and_untouched(db: Path, readonly: bool) -> None:
    write_sample(db)
    raw(db, "UPDATE alembic_version SET version_num = '9999'")
    before = db.read_bytes()
    with pytest.raises(SchemaTooNew) as raised:
        Registry.open(db, readonly=readonly)
    assert str(raised.value) == (
        f"{db} has schema 9999, and fmnist {__version__} knows schemas up to {HEAD}."
    )
    assert raised.value.remedy == "upgrade_fmnist"
    assert db.read_bytes() == before
    assert not list(db.parent.glob("*backup*"))


def test_a_link_to_itself_and_a_name_too_long(tmp_path: Path) -> None:
    loop = tmp_path / "runs.db"
    loop.symlink_to(loop)
    with pytest.raises(RegistryError, match="cannot be reached: Too many levels of symbolic links"):
        Registry.open(loop)
    with pytest.raises(RegistryError, match="cannot be reached: File name too long"):
        Registry.open(tmp_path / ("x" * 300))


def test_a_damaged_file(db: Path, registry: Registry) -> None:
    content = bytearray(db.read_bytes())
    content[100:4096] = b"\xff" * 3996  # the b-tree of the first page
    db.write_bytes(content)
    with pytest.raises(RegistryError, match=r"runs\.db is damaged; restore a copy"):
        Registry.open(db)


def test_a_lock_that_is_let_go_is_waited_for(db: Path, registry: Registry) -> None:
    other = sqlite3.connect(db, isolation_level=None, check_same_thread=False)
    other.execute("BEGIN EXCLUSIVE")
    freed = threading.Timer(0.3, lambda: other.execute("COMMIT"))
    freed.start()
    assert registry.study("sweep-batch", {}).id == 1
    freed.join()
    other.close()


def test_a_lock_that_is_kept_is_named(
    db: Path, registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fmnist_cli.registry.database.sqlite.BUSY_SECONDS", 0.05)
    other = sqlite3.connect(db, isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")
    with pytest.raises(RegistryError, match=r"runs\.db has been locked by another process for"):
        registry.study("sweep-batch", {})
    with pytest.raises(RegistryError, match="has been locked"):
        registry.list_runs()
    other.close()
    assert registry.list_studies() == []


def test_a_file_in_wal_mode_comes_back_to_the_rollback_journal(db: Path) -> None:
    write_sample(db)
    raw(db, "PRAGMA journal_mode = WAL")
    with Registry.open(db) as registry:
        assert len(registry.list_runs()) == 1
    assert raw(db, "PRAGMA journal_mode") == [("delete",)]


def test_permissions() -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)  # pytest's own folders are closed to other users
        db, hidden, absent = (folder / f"{name}.db" for name in ("runs", "hidden", "absent"))
        write_sample(db)
        shutil.copy(db, hidden)
        folder.chmod(0o755)
        locked_in = folder / "locked_in.db"
        shutil.copy(db, locked_in)
        locked_in.chmod(0o666)
        db.chmod(0o444)
        hidden.chmod(0o000)
        closed = folder / "closed" / "runs.db"
        closed.parent.mkdir(mode=0o000)
        cases = [db, "r", db, "w", absent, "w", locked_in, "w", hidden, "r", closed, "r"]
        code, out, err = ended(start(UNPRIVILEGED, *cases))
        assert (code, err) == (0, "")
        assert out.splitlines() == [
            "1",
            f"RegistryError: {db} cannot be written.",
            f"RegistryError: the folder of {absent} cannot be written.",
            f"RegistryError: the folder of {locked_in} cannot be written.",
            f"RegistryError: {hidden} cannot be read; ask its owner for permission.",
            f"RegistryError: {closed} cannot be reached: Permission denied.",
        ]


@pytest.mark.parametrize("released", SCHEMAS, ids=lambda path: path.stem)
def test_every_released_schema_opens(db: Path, released: Path) -> None:
    shutil.copy(released, db)
    behind = released.stem.removeprefix("schema_") != HEAD
    with Registry.open(db) as registry:
        run = registry.get_run("latest")
        assert (run.status, run.seed, run.arm, run.test_accuracy) == (
            "finished",
            42,
            "batch 5",
            0.84,
        )
        assert run.digest == registry.computed_digest(run.id)
        assert [e.document()["nonfinite"] for e in registry.epochs(run.id)] == [
            {},
            {"train_loss": "nan"},
        ]
        assert [c.name for c in registry.checks(run.id)] == ["W1"]
        assert [e.test_set for e in registry.evaluations(run.id)] == ["test"]
        assert [a.kind for a in registry.artefacts(run.id)] == ["weights"]
        assert [s.id for s in registry.list_studies()] == [run.study_id]
        assert (run.augment, run.resumes, run.note, run.tags) == ("none", 0, None, ())
        figures = {"gradient_norm/W1": [(1, 0.5)], "update_ratio/W1": [(1, None)]}
        assert registry.dynamics(run.id) == ({} if released.stem == "schema_0001" else figures)
        with registry.run(spec(name="new")) as new:
            new.record_epoch(epoch(1))
            new.finish(OUTCOME_AT_ONCE)
    assert raw(db, "SELECT version_num FROM alembic_version") == [(HEAD,)]
    assert len(list(db.parent.glob("runs.db.backup-*"))) == (1 if behind else 0)


def test_the_present_schema_is_among_the_released() -> None:
    assert f"schema_{HEAD}" in [path.stem for path in SCHEMAS]


# A schema that is one ahead of the released ones, to upgrade to.
NEXT = """
import sqlalchemy as sa
from alembic import op
revision = "9000"
down_revision = "{head}"
def upgrade() -> None:
    with op.batch_alter_table("run", recreate="always") as table:
        table.add_column(sa.Column("colour", sa.Text()))
    {then}
"""


@pytest.fixture
def ahead(tmp_path: Path) -> Path:
    """A copy of the migrations with one more, which rebuilds the table of runs."""
    scripts = tmp_path / "next %s" / "migrations"
    shutil.copytree(migrate.MIGRATIONS, scripts, ignore=shutil.ignore_patterns("__pycache__"))
    (scripts / "versions" / "v9000.py").write_text(NEXT.format(head=HEAD, then="pass"))
    return scripts


def _go_ahead(monkeypatch: pytest.MonkeyPatch, scripts: Path) -> None:
    monkeypatch.setattr(migrate, "MIGRATIONS", scripts)
    monkeypatch.setattr(migrate, "HEAD", "9000")


@pytest.mark.parametrize("readonly", [True, False])
def test_an_old_file_is_backed_up_and_upgraded(
    db: Path, ahead: Path, monkeypatch: pytest.MonkeyPatch, readonly: bool
) -> None:
    write_sample(db)
    _go_ahead(monkeypatch, ahead)
    with Registry.open(db, readonly=readonly) as registry:
        run = registry.get_run("latest")
        assert run.digest == registry.computed_digest(run.id)
        assert len(registry.epochs(run.id)) == 2  # the rebuilt table took no epochs with it
    assert raw(db, "SELECT colour FROM run") == [(None,)]
    assert raw(db, "SELECT count(*) FROM run_summary") == [(1,)]
    (backup,) = db.parent.glob("runs.db.*")
    assert re.fullmatch(rf"runs\.db\.backup-{HEAD}-\d{{8}}T\d{{6}}Z", backup.name)
    assert raw(backup, "SELECT version_num FROM alembic_version") == [(HEAD,)]
    assert raw(backup, "SELECT count(*) FROM epoch") == [(2,)]


def test_a_migration_that_fails_changes_nothing(
    db: Path, ahead: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_sample(db)
    (ahead / "versions" / "v9000.py").write_text(NEXT.format(head=HEAD, then="1 / 0"))
    _go_ahead(monkeypatch, ahead)
    with pytest.raises(ZeroDivisionError):
        Registry.open(db)
    assert raw(db, "SELECT version_num FROM alembic_version") == [(HEAD,)]
    assert "colour" not in {row[1] for row in raw(db, "PRAGMA table_info(run)")}
    assert {row[0] for row in raw(db, "SELECT name FROM sqlite_master WHERE type = 'view'")} == set(
        views_for("sqlite")
    )
    assert raw(db, "PRAGMA integrity_check") == [("ok",)]


OPENS = """
from fmnist_cli.registry import migrate
if len(argv) > 1:
    migrate.MIGRATIONS, migrate.HEAD = Path(argv[1]), "9000"
run_alembic = migrate._run_alembic
def counted(connection):
    sys.stdout.write("migrated\\n")
    run_alembic(connection)
migrate._run_alembic = counted
def opens(_):
    with Registry.open(argv[0]) as registry:
        sys.stdout.write(f"{len(registry.list_runs())}\\n")
forked(8, opens)
"""


@pytest.mark.parametrize("state", ["absent", "behind"])
def test_many_processes_open_at_once(db: Path, ahead: Path, state: str) -> None:
    arguments: list[object] = [db]
    if state == "behind":
        write_sample(db)
        arguments.append(ahead)
    code, out, err = ended(start(OPENS, *arguments))
    assert (code, err) == (0, "")
    runs = "0" if state == "absent" else "1"
    assert sorted(out.split()) == [runs] * 8 + ["migrated"]
    assert len(list(db.parent.glob("*.backup-*"))) == (0 if state == "absent" else 1)


def test_opening_does_not_drop_the_locks_of_a_transaction_in_this_process(
    db: Path, registry: Registry
) -> None:
    """Closing any descriptor of a file drops the process's POSIX locks on it."""
    with registry.database.write() as connection:
        connection.exec_driver_sql("INSERT INTO study VALUES (1, 'u', 'k', NULL, '[]', '{}', '')")
        with Registry.open(db, readonly=True) as second:
            assert second.list_studies() == []
        code = """
import sqlite3
try:
    sqlite3.connect(argv[0], timeout=0, isolation_level=None).execute("BEGIN IMMEDIATE")
except sqlite3.OperationalError as error:
    print(error)
"""
        assert ended(start(code, db))[1] == "database is locked\n"

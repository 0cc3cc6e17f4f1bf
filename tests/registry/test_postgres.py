"""What is PostgreSQL's own: opening, migrating, several machines, SQL that only reads."""

from __future__ import annotations

import os
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import quote

import psycopg
import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from registry_rig import OUTCOME_AT_ONCE, Ticking, ended, epoch, raw, spec, start, write_sample

from fmnist_cli.errors import (
    RegistryError,
    RegistryUnavailable,
    RunTakenOver,
    SchemaTooNew,
    UsageError,
)
from fmnist_cli.formatting import without_password
from fmnist_cli.registry import Registry, Selection, migrate, open_reader, schema
from fmnist_cli.registry.database import open_database
from fmnist_cli.registry.liveness import GRACE_SECONDS
from fmnist_cli.registry.values import utc_text


@pytest.fixture
def url(new_database: Callable[[Path], str], tmp_path: Path) -> str:
    """A database without tables."""
    return new_database(tmp_path / "runs.files")


def test_a_reader_makes_no_tables(url: str) -> None:
    with pytest.raises(RegistryError, match="is an empty database"):
        Registry.open(url, readonly=True)
    with pytest.raises(RegistryError, match="is an empty database"):
        open_reader(url)
    assert raw(url, "SELECT count(*) FROM pg_tables WHERE schemaname = 'public'") == [(0,)]


def test_the_migrations_make_the_tables_of_the_schema(url: str) -> None:
    Registry.open(url).close()
    database = open_database(url)
    with database.read() as connection:
        context = MigrationContext.configure(connection, opts={"compare_server_default": True})
        assert compare_metadata(context, schema.metadata) == []
    database.dispose()
    checks = "SELECT conname FROM pg_constraint WHERE contype = 'c' ORDER BY conname"
    named = {
        str(constraint.name)
        for table in schema.metadata.sorted_tables
        for constraint in table.constraints
        if str(constraint.name).startswith("ck_")
    }
    assert {name for (name,) in raw(url, checks)} >= named


def test_an_older_schema_is_backed_up_and_upgraded(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    upgrade = command.upgrade
    with monkeypatch.context() as patch:  # a registry as the first release left it
        patch.setattr(command, "upgrade", lambda config, _: upgrade(config, "0001"))
        patch.setattr(migrate, "views_for", lambda _: {})
        Registry.open(url).close()
    uuid = "5" * 32
    values = f"1, '{uuid}', 'k', NULL, '[]', '{{}}', '2026-11-24T10:00:00.000000Z'"
    raw(url, f"INSERT INTO study VALUES ({values})")
    with Registry.open(url) as registry:
        assert [study.uuid for study in registry.list_studies()] == [uuid]
    assert raw(url, "SELECT version_num FROM alembic_version") == [(schema.HEAD,)]
    ((backup,),) = raw(url, "SELECT nspname FROM pg_namespace WHERE nspname LIKE 'backup%'")
    assert backup.startswith("backup_0001_")
    assert raw(url, f"SELECT uuid FROM {backup}.study") == [(uuid,)]


def test_a_newer_schema_and_another_programs_are_refused(url: str) -> None:
    raw(url, "CREATE TABLE songs (id INTEGER)")
    with pytest.raises(RegistryError, match="is not a registry of fmnist"):
        Registry.open(url)
    raw(url, "DROP TABLE songs")
    Registry.open(url).close()
    raw(url, "UPDATE alembic_version SET version_num = '9999'")
    for open_it in (Registry.open, open_reader):
        with pytest.raises(SchemaTooNew, match="has schema 9999"):
            open_it(url)


def test_many_processes_open_an_absent_registry_at_once(url: str) -> None:
    code = """
def work(i):
    with Registry.open(argv[0]) as registry:
        print(len(registry.list_runs()))
forked(8, work)
"""
    status, out, err = ended(start(code, url))
    assert (status, err) == (0, "")
    assert out.count("0") == 8
    assert raw(url, "SELECT version_num FROM alembic_version") == [(schema.HEAD,)]


def test_a_server_that_is_not_there_is_named_without_the_password(tmp_path: Path) -> None:
    url = f"postgresql://me:secret@/runs?host={quote(str(tmp_path))}"
    for open_it in (Registry.open, open_reader):
        with pytest.raises(RegistryUnavailable, match="cannot be used just now") as raised:
            open_it(url)
        assert "secret" not in str(raised.value)
        assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("postgresql://me:s%40cret@host/db", "postgresql://me:***@host/db"),
        ("--db=postgresql+psycopg://me:s@h/d", "--db=postgresql+psycopg://me:***@h/d"),
        ("postgresql://me@host/db", "postgresql://me@host/db"),
        ("postgresql:///db?host=/tmp/a:b@c", "postgresql:///db?host=/tmp/a:b@c"),
        ("a:b@c/runs.db", "a:b@c/runs.db"),
    ],
)
def test_passwords_are_not_shown(text: str, shown: str) -> None:
    assert without_password(text) == shown


def test_a_password_is_not_recorded(url: str) -> None:
    with Registry.open(url.replace("postgres@", "postgres:secret@")) as registry:
        argv = ("fmnist", "train", "--db", "postgresql://me:secret@host/db")
        with registry.run(spec(argv=argv)) as run:
            run.finish(OUTCOME_AT_ONCE)
        assert registry.get_run(run.id).argv[-1] == "postgresql://me:***@host/db"
        assert "secret" not in registry.display_name


def test_a_login_that_may_only_read(url: str) -> None:
    write_sample(url)
    role = url.split("/")[3].split("?")[0] + "_reader"
    raw(url, f"CREATE ROLE {role} LOGIN; GRANT SELECT ON ALL TABLES IN SCHEMA public TO {role}")
    theirs = url.replace("postgres@", f"{role}@")
    with Registry.open(theirs, readonly=True) as registry:
        assert len(registry.list_runs()) == 1
        with pytest.raises(RegistryError, match="does not let this login do that"):
            registry.tag(1, ["x"])
    with open_reader(theirs) as reader:
        assert reader.query("SELECT run_id FROM run_summary").rows == [(1,)]


def _elsewhere(url: str, silence: float) -> None:
    """Make run 1 one of another machine, not heard of for so many seconds."""
    heard = utc_text(datetime.now(UTC) - timedelta(seconds=silence))
    raw(url, f"UPDATE run SET host = 'elsewhere', boot_id = 'b', heartbeat_at = '{heard}'")


def test_another_machines_run_is_lost_when_nothing_is_heard_of_it(url: str) -> None:
    with Registry.open(url) as registry, registry.run(spec()) as run:
        for silence, status in ((0, "running"), (GRACE_SECONDS + 9, "lost")):
            _elsewhere(url, silence)
            assert registry.get_run(run.id).status == status
            with open_reader(url) as reader:
                assert reader.query("SELECT status FROM run_summary").rows == [(status,)]
                assert len(reader.summaries(Selection(status=status)).rows) == 1
        run.flush()
        run.record_check("gradient", "W1", {}, True)  # which is a sign of life
        assert registry.get_run(run.id).status == "running"
        run.finish(OUTCOME_AT_ONCE)


def test_a_run_says_that_it_lives_while_it_has_nothing_to_record(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fmnist_cli.registry.liveness.BEAT_SECONDS", 0.01)
    with Registry.open(url) as registry, registry.run(spec()) as run:
        first = registry.get_run(run.id).heartbeat_at
        assert first is not None
        _elsewhere(url, 1000)
        while registry.get_run(run.id).status != "running":
            pass
        run.finish(OUTCOME_AT_ONCE)


def test_a_run_that_was_taken_over_learns_of_it_and_stops(url: str) -> None:
    with Registry.open(url) as registry:
        with (  # noqa: PT012
            pytest.raises(RunTakenOver, match="run 1 was taken over by another process"),
            registry.run(spec(), clock=Ticking(1)) as first,
        ):
            first.record_epoch(epoch(1))
            first._lock.release()  # as if it were on another machine
            with pytest.raises(UsageError, match="it runs, as process"):
                registry.resumable(first.id)
            second = registry.resume(registry.resumable(first.id, take_over=True))
            with second:
                second.rewind_to([epoch(1)])
                second.record_epoch(epoch(2, train_loss=0.25))
                second.finish(OUTCOME_AT_ONCE)
            first.record_epoch(epoch(2, train_loss=9.0))
        run = registry.get_run(first.id)
        assert (run.status, run.resumes) == ("finished", 1)
        assert [e.train_loss for e in registry.epochs(run.id)] == [0.9, 0.25]
        assert run.digest == registry.computed_digest(run.id)


def test_of_two_that_resume_a_run_one_does(url: str) -> None:
    with Registry.open(url) as registry:
        with pytest.raises(KeyboardInterrupt), registry.run(spec()):
            raise KeyboardInterrupt
        record = registry.resumable(1)
        with registry.resume(record) as one:
            one.rewind_to([])
            one._lock.release()
            with (
                pytest.raises(UsageError, match="must not be resumed twice at once"),
                registry.resume(record),
            ):
                pass
            one.finish(OUTCOME_AT_ONCE)


def test_the_journal_of_a_run_that_was_resumed_elsewhere_is_refused(url: str) -> None:
    with Registry.open(url) as registry:
        with pytest.raises(KeyboardInterrupt), registry.run(spec(), clock=Ticking(1)) as run:
            raise KeyboardInterrupt
        journal = run._journal
        journal.sync()
        assert journal.path is not None
        with registry.resume(registry.resumable(1)) as resumed:
            resumed.rewind_to([])
            resumed.finish(OUTCOME_AT_ONCE)
        with pytest.raises(RegistryError, match="from before it was resumed"):
            registry.recover(journal.path)
        assert registry.get_run(1).status == "finished"


def test_a_server_that_goes_away_does_not_stop_a_training(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Registry.open(url) as registry:
        with registry.run(spec(), clock=Ticking(1)) as run:
            run.record_epoch(epoch(1))
            database = url.split("/")[3].split("?")[0]
            raw(
                url.replace(f"/{database}?", "/postgres?"),
                f"ALTER DATABASE {database} ALLOW_CONNECTIONS false; "
                f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                f"WHERE datname = '{database}'",
            )
            run.record_epoch(epoch(2))
            assert isinstance(run.write_error, RegistryUnavailable)
            raw(
                url.replace(f"/{database}?", "/postgres?"),
                f"ALTER DATABASE {database} ALLOW_CONNECTIONS true",
            )
            run.record_epoch(epoch(3))
            run.finish(OUTCOME_AT_ONCE)
        assert run.write_error is None
        assert [e.epoch for e in registry.epochs(run.id)] == [1, 2, 3]
        assert registry.get_run(run.id).digest == registry.computed_digest(run.id)


@pytest.mark.parametrize(
    "sql",
    [
        "DELETE FROM run",
        "SELECT 1; DELETE FROM run",
        "SELECT 1; COMMIT; DROP TABLE run",
        "WITH gone AS (DELETE FROM run RETURNING id) SELECT * FROM gone",
        "DROP TABLE run CASCADE",
        "UPDATE run SET name = 'x'",
        "INSERT INTO tag VALUES (1, 'x')",
        "CREATE TABLE x (y INTEGER)",
        "SELECT * INTO x FROM run",
        "COPY run TO '/tmp/stolen'",
        "SET default_transaction_read_only = off",
        "SELECT set_config('transaction_read_only', 'off', false)",
        "SELECT nextval('run_id_seq')",
        "VACUUM",
        "TRUNCATE run CASCADE",
        "",
        "SELECT FROM WHERE",
        "SELECT 1/0",
    ],
)
def test_sql_that_does_more_than_read_is_refused(url: str, sql: str) -> None:
    write_sample(url)
    before = raw(url, "SELECT * FROM run, epoch ORDER BY epoch")
    with open_reader(url) as reader:
        with pytest.raises(UsageError, match="query must be one SELECT, which only reads"):
            reader.query(sql)
        with pytest.raises(UsageError):
            reader.summaries(Selection(where=sql or ")"))
        assert reader.query("SELECT count(*) FROM run").rows == [(1,)]
    assert raw(url, "SELECT * FROM run, epoch ORDER BY epoch") == before
    assert not Path("/tmp/stolen").exists()


def test_where_takes_an_expression_and_names_what_does_not_exist(url: str) -> None:
    write_sample(url)
    with open_reader(url) as reader:

        def ids(where: str, **more: object) -> list[int]:
            chosen = Selection(where=where, model="mlp", **more)  # type: ignore[arg-type]
            return [row["run_id"] for row in reader.summaries(chosen, limit=5)]

        assert ids("batch = 5 and test_accuracy > 0.8") == [1]
        assert ids("arm LIKE 'batch%' -- a remark") == [1]
        assert ids("seed % 2 = 0;") == [1]
        assert ids("batch > 5") == []
        assert list(reader.curves(Selection(where="batch = 5")))[1]["train_loss"] is None
        with pytest.raises(UsageError, match="Received: bach; did you mean batch"):
            ids("bach = 5")
        with pytest.raises(UsageError, match="Received: epok; did you mean epoch"):
            reader.query("SELECT * FROM epok")
        with pytest.raises(UsageError, match="where must be one SQL expression"):
            ids("1 = 1) OR (1 = 1")
        with pytest.raises(UsageError, match="sort must name a column"):
            reader.summaries(Selection(), sort="bach")


def test_answers_are_plain_values(url: str) -> None:
    write_sample(url)
    with open_reader(url) as reader:
        answer = reader.query(
            "SELECT avg(epoch), sum(updates), '\\x00ff'::bytea, now()::date::text, 'NaN'::float8,"
            " NULL, true FROM epoch"
        )
    average, total, data, day, nan, nothing, true = answer.rows[0]
    assert (average, total, data, nothing, true) == (1.5, 6000, "00ff", None, True)
    assert (type(average), type(total), type(day)) == (float, int, str)
    assert nan != nan


def test_a_query_that_takes_too_long_is_ended(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    write_sample(url)
    monkeypatch.setattr("fmnist_cli.registry.sql.reader.QUERY_SECONDS", 0.1)
    with open_reader(url) as reader, pytest.raises(UsageError, match="query must end within"):
        reader.query("SELECT pg_sleep(60)")


def test_a_shared_registry_is_brought_home_and_back(url: str, tmp_path: Path) -> None:
    write_sample(url)
    home = tmp_path / "home.db"
    with Registry.open(home) as registry:
        merged = registry.merge(url)
        assert (merged.runs, merged.files_missing, merged.damaged) == ((1,), (), ())
        run = registry.get_run(1)
        assert run.digest == registry.computed_digest(1)
        (weights,) = registry.artefacts(1)
        assert registry.artefact_path(weights).read_bytes() == b"weights"
        assert registry.merge(url).known == 1
    with Registry.open(url) as registry:
        assert registry.merge(home).known == 1
        assert registry.get_run(1).uuid == run.uuid


def test_files_of_other_machines_are_not_missed(url: str) -> None:
    write_sample(url)
    with Registry.open(url) as registry:
        weights = registry.artefact_path(registry.artefacts(1)[0])
        weights.unlink()
        found = registry.verify()
        assert (found.artefacts, found.elsewhere) == (1, 0)
        assert any("weights" in finding.what for finding in found.findings)
        raw(url, "UPDATE run SET host = 'elsewhere'")
        found = registry.verify()
        assert (found.artefacts, found.elsewhere) == (0, 1)
        assert not any("weights" in finding.what for finding in found.findings)
        weights.write_bytes(b"other")
        assert registry.verify().elsewhere == 0


def test_psycopg_is_asked_for_by_name(url: str) -> None:
    code = """
import sys
sys.modules["psycopg"] = None
from fmnist_cli.errors import RegistryError
from fmnist_cli.registry import open_reader
for open_it in (Registry.open, open_reader):
    try:
        open_it(argv[0])
    except RegistryError as error:
        print(error)
"""
    status, out, err = ended(start(code, url))
    assert (status, err) == (0, "")
    assert out.count("needs psycopg, which is not installed: pip install 'fmnist[postgres]'") == 2


def test_the_files_are_this_users_where_none_are_named(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = open_database(url.split("&files")[0]).files
    assert files.is_relative_to(Path(os.environ["HOME"]))
    other = open_database("postgresql://elsewhere/runs").files
    assert files != other
    assert open_database("postgresql+psycopg://me:x@elsewhere/runs").files == other


def test_the_driver_can_be_left_out(url: str) -> None:
    Registry.open(url.replace("+psycopg", "")).close()
    with psycopg.connect(url.split("&files")[0].replace("+psycopg", "")) as connection:
        assert connection.execute("SELECT count(*) FROM run").fetchone() == (0,)

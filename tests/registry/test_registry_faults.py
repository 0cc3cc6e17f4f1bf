"""Registries that are not whole, that are replaced while a run trains, journals that were changed,
and which run is meant."""

from __future__ import annotations

import os
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from registry_rig import OUTCOME, OUTCOME_AT_ONCE, Target, Ticking, epoch, raw, spec, write_sample

from fmnist_cli.errors import RegistryError, RegistryUnavailable, RunNotFound, UsageError
from fmnist_cli.registry import Registry, open_reader

BROKEN = [
    *(f"DROP TABLE {name}" for name in ("artefact", "dynamics", "epoch", "run", "study", "tag")),
    "DROP VIEW run_summary",
    "INSERT INTO alembic_version VALUES ('0001')",
    "DELETE FROM alembic_version",
    *(
        f"UPDATE alembic_version SET version_num = '{odd}'"
        for odd in ("2", "00002", "\uff10\uff10\uff10\uff12", "0000", "")
    ),
]


@pytest.mark.parametrize("sql", BROKEN)
def test_a_registry_that_is_not_whole_is_refused_and_untouched(tmp_path: Path, sql: str) -> None:
    db = tmp_path / "runs.db"
    write_sample(db)
    with closing(sqlite3.connect(db)) as connection, connection:
        connection.execute(sql)
    before = db.read_bytes()
    for opens in (
        lambda: Registry.open(db),
        lambda: Registry.open(db, readonly=True),
        lambda: open_reader(db),
    ):
        with pytest.raises(RegistryError) as raised:
            opens()
        assert "\n" not in str(raised.value)
    assert db.read_bytes() == before
    assert [path.name for path in tmp_path.iterdir() if path.is_file()] == ["runs.db"]


def test_an_empty_file_of_another_program_is_refused_and_untouched(tmp_path: Path) -> None:
    db = tmp_path / "songs.db"
    with closing(sqlite3.connect(db)) as connection, connection:
        connection.execute("PRAGMA application_id = 252006674")
    before = db.read_bytes()
    with pytest.raises(RegistryError, match="is not a registry of fmnist"):
        Registry.open(db)
    assert db.read_bytes() == before


# Replaced while a run trains


def _emptied(db: Path) -> None:
    raw(db, "DELETE FROM epoch"), raw(db, "DELETE FROM run")


def _another_run_has_its_id(db: Path) -> None:
    raw(db, f"UPDATE run SET uuid = '{'0' * 32}'")


def _an_older_copy(db: Path) -> None:
    shutil.copy(db.with_name("older"), db)


def _a_table_dropped(db: Path) -> None:
    raw(db, "ALTER TABLE epoch RENAME TO gone")


@pytest.mark.parametrize(
    "replace", [_emptied, _another_run_has_its_id, _an_older_copy, _a_table_dropped]
)
def test_a_registry_that_is_replaced_leaves_the_run_in_its_journal(
    tmp_path: Path, replace: Callable[[Path], None]
) -> None:
    db = tmp_path / "runs.db"
    Registry.open(db).close()
    shutil.copy(db, tmp_path / "older")
    with Registry.open(db) as registry:
        with registry.run(spec(), clock=Ticking(1)) as run:
            run.record_epoch(epoch(1))
            replace(db)
            run.record_epoch(epoch(2))
            assert isinstance(run.write_error, RegistryUnavailable)
            run.finish(OUTCOME)
        assert run.write_error is not None
        if replace is _a_table_dropped:
            raw(db, "ALTER TABLE gone RENAME TO epoch")
        (journal,) = registry.journals()
        recovered = registry.get_run(registry.recover(journal).run_id)
        assert (recovered.uuid, recovered.status) == (run.uuid, "finished")
        assert [e.epoch for e in registry.epochs(recovered.id)] == [1, 2]
        assert recovered.digest == registry.computed_digest(recovered.id)


# Journals


@pytest.fixture
def journal(tmp_path: Path) -> Path:
    """Of a run that a registry, which is another one by now, did not take."""
    db = tmp_path / "there" / "runs.db"
    db.parent.mkdir()
    with Registry.open(db) as registry, registry.run(spec(), clock=Ticking(1)) as run:
        run.record_epoch(epoch(1))
        _emptied(db)
        run.record_epoch(epoch(2))
        run.record_evaluation("test", 10, 0.5, 0.9, [[1] * 10] * 10)
        run.finish(OUTCOME)
        assert run._journal.path is not None
        return shutil.copy(run._journal.path, tmp_path / "a.journal")


def test_a_journal_is_recovered_once(db: Target, registry: Registry, journal: Path) -> None:
    again = shutil.copy(journal, journal.with_name("b.journal"))
    run_id = registry.recover(journal).run_id
    before = registry.get_run(run_id)
    assert registry.recover(again).run_id == run_id  # as after a kill before it was removed
    assert registry.get_run(run_id) == before


def test_no_changed_bit_of_a_journal_is_taken_in(registry: Registry, journal: Path) -> None:
    content = journal.read_bytes()
    for at in range(0, len(content), 97):
        changed = bytearray(content)
        changed[at] ^= 1
        journal.write_bytes(changed)
        if changed.count(b"\n") != content.count(b"\n") and not changed.endswith(b"\n"):
            continue
        with pytest.raises(RegistryError):
            registry.recover(journal)
    lines = content.splitlines(keepends=True)
    journal.write_bytes(b"".join([*lines[:1], *lines[2:]]))  # an epoch less
    with pytest.raises(RegistryError, match="is damaged: line 2"):
        registry.recover(journal)
    assert registry.list_runs() == []


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('"val_loss":1.1', '"val_loss":NaN'),
        ('"val_loss":1.1', '"val_loss":"low"'),
        ('"updates":2000,', ""),
        ('"updates":2000', '"updates":99999999999999999999'),
        ('"epoch":2', '"epoch":1000000000'),
        ('"batch":', '"batch":' + "[" * 100_000),
        ('"uuid":"', '"uuid":"../../'),
        ('["evaluation"', '["elevation"'),
    ],
)
def test_a_journal_of_the_first_versions_holds_sound_rows(
    registry: Registry, journal: Path, old: str, new: str
) -> None:
    lines = [line.partition("\t")[0] for line in journal.read_text().splitlines()]
    text = "\n".join(lines) + "\n"
    assert old in text
    journal.write_text(text.replace(old, new, 1))
    with pytest.raises(RegistryError) as raised:
        registry.recover(journal)
    assert "\n" not in str(raised.value)
    assert registry.list_runs() == []
    journal.write_text(text)
    assert registry.recover(journal).epochs == 2


def test_a_journal_changes_no_run_that_has_ended(registry: Registry, journal: Path) -> None:
    lines = [line.partition("\t")[0] for line in journal.read_text().splitlines()]
    registry.recover(journal)
    journal.write_text("\n".join(lines).replace('"val_loss":1.1', '"val_loss":0.1') + "\n")
    with pytest.raises(RegistryError, match="must not change a run that has ended"):
        registry.recover(journal)


def test_a_journal_that_is_a_pipe_is_refused(registry: Registry, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.journal")
    with pytest.raises(RegistryError, match="cannot be read: not a regular file"):
        registry.recover(tmp_path / "pipe.journal")


# Which run is meant


def test_digits_are_an_id_and_names_name_one_run(db: Target, registry: Registry) -> None:
    for _ in range(2):
        with registry.run(spec()) as run:
            run.finish(OUTCOME_AT_ONCE)
    raw(db, f"UPDATE run SET uuid = '12345678{'a' * 24}' WHERE id = 2")
    for text in ("1234", "1234567"):
        with pytest.raises(RunNotFound):
            registry.get_run(text)
    assert registry.get_run("12345678").id == registry.get_run("12345678a").id == 2
    with pytest.raises(RunNotFound):
        registry.get_run("12345678a", exact=True)
    assert registry.get_run(f"12345678{'a' * 24}", exact=True).id == 2
    registry.rename(1, "base")
    assert registry.get_run("base", exact=True).id == 1
    registry.rename(1, "base")  # its own
    for taken in ("base", "7", " 42 ", "latest", "a" * 32, "x\u202ey", "x\x9b2J"):
        with pytest.raises(UsageError, match="a name must"):
            registry.rename(2, taken)
    raw(db, "UPDATE run SET name = 'base'")
    with pytest.raises(RunNotFound, match="several have"):
        registry.get_run("base")

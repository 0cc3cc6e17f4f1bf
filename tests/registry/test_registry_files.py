"""Whose the files are: of registries that are copied, renamed, or share a folder."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from registry_rig import OUTCOME_AT_ONCE, Target, raw, spec

from fmnist_cli.errors import ArtefactError
from fmnist_cli.registry import Registry
from fmnist_cli.registry.layout import UNDECIDED, files_folder


def trained(target: Target, *seeds: int, content: bytes = b"weights") -> list[Path]:
    """Finished runs with weights, and where these are."""
    paths = []
    with Registry.open(target) as registry:
        for seed in seeds:
            with registry.run(spec(seed=seed)) as run:
                path = run.folder / "weights.npz"
                path.write_bytes(content)
                run.add_artefact("weights", path)
                run.finish(OUTCOME_AT_ONCE)
            paths.append(path)
    return paths


def problems(target: Target) -> list[str]:
    with Registry.open(target) as registry:
        found = registry.verify()
        return [f.what for f in found.findings if "updates" not in f.what]


def test_no_two_files_of_a_folder_share_one() -> None:
    names = ("runs.db", "runs", "runs.bak", "runs.sqlite", "exp.1", "exp.2", "runs.files", ".db")
    folders = {files_folder(Path(name)) for name in names}
    assert len(folders) == len(names)
    assert files_folder(Path("x/runs.db")) == Path("x/runs.files")


@pytest.mark.parametrize("copy", ["runs.bak", "runs.sqlite", "runs", "other.db"])
def test_a_copy_takes_no_files_of_the_original(tmp_path: Path, copy: str) -> None:
    db = tmp_path / "runs.db"
    trained(db, 1)
    shutil.copy(db, tmp_path / copy)
    (later,) = trained(db, 2)
    with Registry.open(tmp_path / copy) as registry:
        assert registry.collect(keep_days=0) == []
        (first,) = registry.list_runs()
        assert registry.artefact_path(registry.artefacts(1)[0]).read_bytes() == b"weights"
        stays = registry.delete([first])
    assert [path.parent.name for path in stays] == [f"1-{first.uuid[:8]}"]
    assert later.exists()
    assert problems(db) == []


def test_a_copy_takes_nothing_of_a_run_that_runs(tmp_path: Path) -> None:
    db = tmp_path / "runs.db"
    with Registry.open(db) as registry, registry.run(spec()) as run:
        (run.folder / "checkpoint-1.ckpt").write_bytes(b"now")
        shutil.copy(db, tmp_path / "runs.sqlite")
        with Registry.open(tmp_path / "runs.sqlite") as other:
            assert other.collect(keep_days=0) == []
            other.delete(other.list_runs())
        assert (run.folder / "checkpoint-1.ckpt").exists()
        assert registry.get_run(run.id).status == "running"
        run.finish(OUTCOME_AT_ONCE)


def test_a_new_registry_of_an_old_name_takes_nothing(tmp_path: Path) -> None:
    db, old = tmp_path / "runs.db", tmp_path / "old.db"
    trained(db, 1)
    db.rename(old)
    trained(db, 2)
    with Registry.open(db) as registry:
        assert registry.collect(keep_days=0) == []
        registry.delete(registry.list_runs())
        assert registry.collect(keep_days=0) == []
    assert problems(old) == []


def test_a_registry_may_be_renamed_with_its_files(tmp_path: Path) -> None:
    db, new = tmp_path / "runs.db", tmp_path / "anna.db"
    trained(db, 1)
    before = db.read_bytes()
    db.rename(new)
    (tmp_path / "runs.files").rename(tmp_path / "anna.files")
    assert problems(new) == []
    assert new.read_bytes() == before
    with Registry.open(tmp_path / "all.db") as registry:
        assert registry.merge(new).files_missing == ()
    assert problems(tmp_path / "all.db") == []
    with Registry.open(new) as registry:
        assert registry.delete(registry.list_runs()) == []
    assert not list((tmp_path / "anna.files").glob("1-*"))


def test_a_run_is_resumed_from_what_another_name_left(tmp_path: Path) -> None:
    db = tmp_path / "runs.db"
    with Registry.open(db) as registry:
        run = registry.run(spec())
        with pytest.raises(KeyboardInterrupt), run:
            raise KeyboardInterrupt
    (run.folder / "checkpoint-1.ckpt").write_bytes(b"there")
    shutil.copy(db, tmp_path / "runs.bak")
    copy = Registry.open(tmp_path / "runs.bak")
    with copy, copy.resume(copy.resumable(1)) as resumed:
        assert (resumed.folder / "checkpoint-1.ckpt").read_bytes() == b"there"
        (resumed.folder / "checkpoint-1.ckpt").unlink()
        resumed.finish(OUTCOME_AT_ONCE)
    assert (run.folder / "checkpoint-1.ckpt").exists()


def test_two_databases_with_one_folder(tmp_path: Path, new_database: Callable[[Path], str]) -> None:
    one, other = (new_database(tmp_path / "shared.files") for _ in range(2))
    (path,) = trained(one, 1)
    trained(other, 2)
    with Registry.open(other) as registry:
        assert [r for r in registry.collect(keep_days=0) if r.path.suffix != ".lock"] == []
        registry.merge(one)
        assert {run.seed for run in registry.list_runs()} == {1, 2}
        registry.delete(registry.list_runs())
    assert path.exists()
    assert problems(one) == []


def test_the_folder_of_a_run_says_whose_it_is(
    tmp_path: Path, new_database: Callable[[Path], str]
) -> None:
    (path,) = trained(new_database(tmp_path / "shared.files"), 1)
    url = new_database(tmp_path / "shared.files")
    trained(url, 1)
    name = path.parent.name  # as after pg_dump and pg_restore: the same run in both databases
    raw(url, f"UPDATE run SET uuid = '{name[2:]}' || substr(uuid, 9)")
    raw(url, f"UPDATE artefact SET path = 'shared.files/{name}/weights.npz'")
    with Registry.open(url) as registry:
        assert registry.delete(registry.list_runs()) == [path]
    assert path.exists()


def test_an_interrupted_deletion_is_finished_by_gc(tmp_path: Path) -> None:
    db = tmp_path / "runs.db"
    (path,) = trained(db, 1)
    (path.parent / UNDECIDED).write_text(str(db))
    with Registry.open(db) as registry:
        assert registry.collect(keep_days=0) == []  # the rows are still there
        raw(db, "DELETE FROM epoch"), raw(db, "DELETE FROM artefact"), raw(db, "DELETE FROM run")
        assert [one.path for one in registry.collect(keep_days=0)] == [path.parent]
    assert not path.parent.exists()


@pytest.mark.parametrize(
    "stored",
    ["../secret.txt", "{outside}", "runs.files/{run}/../../../secret.txt", "secret.txt", "", "/",
     "runs.files/{run}/link", "{run}"],
)  # fmt: skip
def test_no_path_leaves_the_folder_of_its_run(tmp_path: Path, stored: str) -> None:
    db = tmp_path / "there" / "runs.db"
    db.parent.mkdir()
    secret = tmp_path / "secret.txt"
    secret.write_bytes(b"secret")
    (db.parent / "secret.txt").write_bytes(b"secret")
    (path,) = trained(db, 1)
    (path.parent / "link").symlink_to(secret)
    stored = stored.format(outside=secret, run=path.parent.name)
    digest = hashlib.sha256(b"secret").hexdigest()
    raw(db, f"UPDATE artefact SET path = '{stored}', sha256 = '{digest}', bytes = 6")
    with Registry.open(db) as registry:
        with pytest.raises(ArtefactError):
            registry.artefact_path(registry.artefacts(1)[0])
        raw(db, f"UPDATE run SET digest = '{registry.computed_digest(1)}'")
    with Registry.open(tmp_path / "all.db") as registry:
        assert registry.merge(db).files_missing == (stored,)
    assert not [p for p in (tmp_path / "all.files").rglob("*") if p.is_file()]


def test_weights_that_are_a_pipe_are_refused(tmp_path: Path) -> None:
    db = tmp_path / "runs.db"
    (path,) = trained(db, 1)
    path.unlink()
    os.mkfifo(path)
    assert problems(db) == [
        f"runs.files/{path.parent.name}/weights.npz of run 1 cannot be read: not a regular file."
    ]

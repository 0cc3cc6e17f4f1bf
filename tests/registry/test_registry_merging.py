"""Runs from another registry: once, whole, with their digests."""

from __future__ import annotations

import shutil
import threading
from pathlib import Path

import pytest
from registry_rig import OUTCOME, OUTCOME_AT_ONCE, Target, epoch, raw, spec, write_sample

from fmnist_cli.errors import RegistryError, UsageError
from fmnist_cli.registry import Registry, merging, schema

DATA = Path(__file__).parent / "data"


@pytest.fixture(scope="module")
def other_once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of another registry: the sample's run, tagged, and one more."""
    path = tmp_path_factory.mktemp("other") / "runs.db"
    write_sample(path)
    with Registry.open(path) as registry:
        registry.tag(1, ["good"])
        registry.note(1, "noted")
        with registry.run(spec(seed=7)) as run:
            run.record_epoch(epoch(1))
            run.record_epoch(epoch(2))
            for folder in ("a", "b"):  # two files of one name
                file = path.parent / folder / "result.json"
                file.parent.mkdir()
                file.write_text(folder)
                run.add_artefact("result", file)
            run.finish(OUTCOME)
    return path.parent


@pytest.fixture
def other(tmp_path: Path, other_once: Path) -> Path:
    return shutil.copytree(other_once, tmp_path / "other") / "runs.db"


def rows(path: Path, table: str) -> list[tuple[object, ...]]:
    return raw(path, f"SELECT * FROM {table} ORDER BY 1, 2")


def test_everything_comes_and_the_digests_hold(db: Target, registry: Registry, other: Path) -> None:
    with registry.run(spec(seed=1)) as run:  # so that the ids differ
        run.finish(OUTCOME_AT_ONCE)
    merged = registry.merge(other)
    assert (merged.runs, merged.known, merged.files_missing) == ((2, 3), 0, ())
    for run_id in merged.runs:
        assert registry.get_run(run_id).digest == registry.computed_digest(run_id)
        for artefact in registry.artefacts(run_id):
            assert registry.artefact_path(artefact).parent.name.startswith(f"{run_id}-")
    first, second = map(registry.get_run, merged.runs)
    assert (first.tags, first.note, first.arm, first.seed) == (("good",), "noted", "batch 5", 42)
    assert registry.get_study(first.study_id or 0).arms == ("batch 5", "batch 50")
    contents = [registry.artefact_path(a).read_text() for a in registry.artefacts(second.id)]
    assert contents == ["a", "b"]
    for table in (*schema.PARTS, schema.tag):
        there, here = rows(other, table.name), rows(db, table.name)
        assert len(here) == len(there)
    assert registry.dynamics(2) == {"gradient_norm/W1": [(1, 0.5)], "update_ratio/W1": [(1, None)]}
    assert not list((registry.folder / "runs.files").glob(".import-*"))


def test_twice_is_once(db: Target, registry: Registry, other: Path) -> None:
    registry.merge(other)
    before = {table.name: rows(db, table.name) for table in schema.metadata.sorted_tables}
    files = sorted((registry.folder / "runs.files").rglob("*"))
    merged = registry.merge(other)
    assert (merged.runs, merged.known, merged.differing) == ((), 2, ())
    assert {t.name: rows(db, t.name) for t in schema.metadata.sorted_tables} == before
    assert sorted((registry.folder / "runs.files").rglob("*")) == files


def test_labels_of_a_known_run_are_joined(registry: Registry, other: Path) -> None:
    registry.merge(other)
    registry.note(1, "ours")
    with Registry.open(other) as there:
        there.tag(1, ["late"])
        there.note(1, "theirs")
        there.rename(1, "named")
    registry.merge(other)
    run = registry.get_run(1)
    assert (run.tags, run.note, run.name) == (("good", "late"), "ours", "named")


@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError])
@pytest.mark.parametrize("at", ["copy", "parts", "place"])
def test_an_import_that_breaks_off_leaves_nothing(
    db: Target,
    registry: Registry,
    other: Path,
    monkeypatch: pytest.MonkeyPatch,
    error: type[BaseException],
    at: str,
) -> None:
    if at == "place":
        place = merging._Files.place

        def and_breaks(self: merging._Files, ids: dict[str, int]) -> None:
            place(self, ids)
            raise error

        monkeypatch.setattr(merging._Files, "place", and_breaks)
    else:
        calls = 0
        broken = {"copy": "sha256_of", "parts": "_copy_parts"}[at]
        original = getattr(merging, broken)

        def breaks(*args: object) -> object:
            nonlocal calls
            calls += 1
            if calls == 2 or at == "parts":
                raise error
            return original(*args)

        monkeypatch.setattr(merging, broken, breaks)
    with pytest.raises(error):
        registry.merge(other)
    monkeypatch.undo()
    assert registry.list_runs() == []
    assert registry.list_studies() == []
    assert [p for p in (registry.folder / "runs.files").rglob("*") if p.is_file()] == []
    assert len(registry.merge(other).runs) == 2


def test_a_registry_of_an_older_schema_is_read_and_left_as_it_is(
    tmp_path: Path, registry: Registry
) -> None:
    old = tmp_path / "old.db"
    shutil.copy(DATA / "schema_0001.db", old)
    merged = registry.merge(old)
    assert len(merged.runs) == 1
    assert registry.get_run(1).digest == registry.computed_digest(1)
    assert old.read_bytes() == (DATA / "schema_0001.db").read_bytes()
    assert not list(tmp_path.glob("old.db.*"))
    assert len(merged.files_missing) == 1


def test_what_was_changed_or_has_no_end_is_left_out(registry: Registry, other: Path) -> None:
    raw(other, "UPDATE run SET test_accuracy = 0.99 WHERE id = 1")
    with Registry.open(other) as there, there.run(spec()) as run:
        merged = registry.merge(other)
        run.finish(OUTCOME_AT_ONCE)
    assert (merged.damaged, merged.unfinished, len(merged.runs)) == ((1,), (3,), 1)
    assert registry.merge(other).runs == (2,)
    raw(other, "UPDATE run SET digest = NULL WHERE id = 2")
    assert registry.merge(other).differing == (2,)


def test_a_uuid_that_is_a_path_writes_nowhere(
    tmp_path: Path, registry: Registry, other: Path
) -> None:
    raw(other, "UPDATE run SET uuid = '../../evil' WHERE id = 1")
    assert registry.merge(other).damaged == (1,)
    assert not list(tmp_path.rglob("evil*"))


def test_the_same_file_and_another_kind_of_file(
    db: Target, tmp_path: Path, registry: Registry
) -> None:
    with pytest.raises(UsageError, match="import must take another registry than this one"):
        registry.merge(db)
    if isinstance(db, Path):
        link = tmp_path / "link.db"
        link.symlink_to(db)
        with pytest.raises(UsageError, match="another registry"):
            registry.merge(link)
    raw(tmp_path / "songs.db", "CREATE TABLE songs (id INTEGER)")
    with pytest.raises(RegistryError, match=r"songs\.db is not a registry of fmnist"):
        registry.merge(tmp_path / "songs.db")
    assert registry.list_runs() == []


def test_gc_waits_for_an_import_to_end(
    registry: Registry, other: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Or it would take the folders of runs that nobody sees yet for garbage."""
    place = merging._Files.place
    collected: list[list[object]] = []

    def collects_meanwhile(self: merging._Files, ids: dict[str, int]) -> None:
        place(self, ids)
        collector = threading.Thread(
            target=lambda: collected.append(list(registry.collect(keep_days=0)))
        )
        collector.start()
        collector.join(0.2)
        assert not collected
        waiting.append(collector)

    waiting: list[threading.Thread] = []
    monkeypatch.setattr(merging._Files, "place", collects_meanwhile)
    merged = registry.merge(other)
    waiting[0].join()
    assert collected == [[]]
    for run_id in merged.runs:
        for artefact in registry.artefacts(run_id):
            assert registry.artefact_path(artefact).exists()

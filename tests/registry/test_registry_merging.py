"""Runs from another registry: once, whole, with their digests."""

from __future__ import annotations

import shutil
import threading
from contextlib import AbstractContextManager, suppress
from pathlib import Path

import pytest
from registry_rig import OUTCOME, OUTCOME_AT_ONCE, Target, epoch, raw, spec, write_sample

from fmnist_cli.errors import RegistryError, UsageError
from fmnist_cli.registry import Registry, merging, schema
from fmnist_cli.registry.database.base import Database

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
                file = run.folder / folder / "result.json"
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
        where, broken = {
            "copy": (merging.layout, "sha256_of"), "parts": (merging, "_copy_parts")
        }[at]  # fmt: skip
        original = getattr(where, broken)

        def breaks(*args: object) -> object:
            nonlocal calls
            calls += 1
            if calls == 2 or at == "parts":
                raise error
            return original(*args)

        monkeypatch.setattr(where, broken, breaks)
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
    assert registry.merge(other).damaged == (1, 2)


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


# A run that is in both


def interrupted(target: Target, n: int = 2) -> None:
    """A run that was interrupted after n epochs."""
    registry = Registry.open(target)
    with suppress(KeyboardInterrupt), registry, registry.run(spec()) as run:
        for number in range(1, n + 1):
            run.record_epoch(epoch(number))
        raise KeyboardInterrupt


def finished(target: Target, *, changed: float = 0.0, content: bytes = b"weights") -> None:
    """Continue run 1 to its end at epoch 4."""
    with Registry.open(target) as registry, registry.resume(registry.resumable(1)) as run:
        run.rewind_to([epoch(1, train_seconds=9.0)])  # epoch 2 is trained again
        for number in (2, 3, 4):
            run.record_epoch(epoch(number, val_loss=epoch(number).val_loss + changed))
        run.record_check("gradient", "W1", {"relative_error": 1e-9}, True)
        (run.folder / "weights.npz").write_bytes(content)
        run.add_artefact("weights", run.folder / "weights.npz")
        run.finish(OUTCOME)


@pytest.fixture
def pair(db: Target, registry: Registry, tmp_path: Path) -> Path:
    """An interrupted run over there, which is here as well."""
    (tmp_path / "pair").mkdir()
    there = tmp_path / "pair" / "runs.db"
    interrupted(there)
    assert registry.merge(there).runs == (1,)
    registry.tag(1, ["mine"])
    registry.rename(1, "mine")
    return there


def test_what_got_further_there_is_brought_up_to_date(
    db: Target, registry: Registry, pair: Path
) -> None:
    (registry.run_folder(registry.get_run(1))).mkdir(parents=True)
    (registry.run_folder(registry.get_run(1)) / "checkpoint-1.ckpt").write_bytes(b"old")
    finished(pair)
    with Registry.open(pair) as there:
        there.tag(1, ["theirs"])
        there.rename(1, "theirs")
    merged = registry.merge(pair)
    assert (merged.runs, merged.updated, merged.known, merged.differing) == ((), (1,), 0, ())
    run = registry.get_run(1)
    assert (run.status, run.epochs_run, run.resumes, run.name) == ("finished", 4, 1, "mine")
    assert run.tags == ("mine", "theirs")
    assert run.digest == registry.computed_digest(1)
    assert len(registry.checks(1)) == 1
    (weights,) = registry.artefacts(1)
    assert registry.artefact_path(weights).read_bytes() == b"weights"
    assert not (registry.run_folder(run) / "checkpoint-1.ckpt").exists()
    again = registry.merge(pair)
    assert (again.updated, again.known, again.differing) == ((), 1, ())


def test_what_got_further_here_stays(registry: Registry, pair: Path) -> None:
    with registry.resume(registry.resumable(1)) as run:
        run.rewind_to([epoch(1), epoch(2)])
        run.record_epoch(epoch(3))
        run.finish(OUTCOME)
    merged = registry.merge(pair)
    assert (merged.updated, merged.known, merged.differing) == ((), 1, ())
    assert registry.get_run(1).status == "finished"


def test_what_continued_differently_is_named(registry: Registry, pair: Path) -> None:
    with registry.resume(registry.resumable(1)) as run:
        run.rewind_to([epoch(1), epoch(2)])
        run.record_epoch(epoch(3, val_loss=0.1))
        run.finish(OUTCOME)
    finished(pair)
    merged = registry.merge(pair)
    assert (merged.updated, merged.known, merged.differing) == ((), 0, (1,))
    assert registry.get_run(1).epochs_run == 3


def test_other_numbers_in_the_common_epochs_are_no_continuation(
    registry: Registry, pair: Path
) -> None:
    finished(pair, changed=1e-9)
    assert registry.merge(pair).differing == (1,)
    assert registry.get_run(1).status == "interrupted"


@pytest.mark.parametrize("further", [True, False])
def test_a_run_that_is_deleted_here_meanwhile_stays_deleted(
    registry: Registry, pair: Path, monkeypatch: pytest.MonkeyPatch, further: bool
) -> None:
    if further:
        finished(pair)
    with Registry.open(pair) as there:
        there.note(1, "theirs")
    import_or_gc = merging.layout.import_or_gc

    def after_it_is_deleted(database: Database) -> AbstractContextManager[None]:
        registry.delete([registry.get_run(1)])
        return import_or_gc(database)

    monkeypatch.setattr(merging.layout, "import_or_gc", after_it_is_deleted)
    merged = registry.merge(pair)
    assert (merged.runs, merged.updated, merged.known) == ((), (), 0)
    assert registry.list_runs() == []


def test_a_run_that_is_resumed_here_is_not_overwritten(registry: Registry, pair: Path) -> None:
    finished(pair)
    with registry.resume(registry.resumable(1)) as run:
        with pytest.raises(RegistryError, match="lock"):
            registry.merge(pair)
        run.rewind_to([epoch(1), epoch(2)])
        run.finish(OUTCOME)
    assert registry.get_run(1).epochs_run == 2


@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError])
def test_an_update_that_breaks_off_leaves_what_was(
    registry: Registry, pair: Path, monkeypatch: pytest.MonkeyPatch, error: type[BaseException]
) -> None:
    folder = registry.run_folder(registry.get_run(1))
    folder.mkdir(parents=True)
    (folder / "checkpoint-1.ckpt").write_bytes(b"old")
    finished(pair)
    place = merging._Files.place

    def and_breaks(self: merging._Files, ids: dict[str, int]) -> None:
        place(self, ids)
        raise error

    monkeypatch.setattr(merging._Files, "place", and_breaks)
    with pytest.raises(error):
        registry.merge(pair)
    assert [file.name for file in folder.iterdir()] == ["checkpoint-1.ckpt"]
    assert registry.get_run(1).status == "interrupted"
    assert len(registry.epochs(1)) == 2


# What comes is data

UNSOUND = [
    "UPDATE run SET started_at = '2026-11-26T10:00:00'",  # of no zone
    "UPDATE run SET started_at = 'yesterday'",
    "UPDATE run SET ended_at = '9999-99-99T99:99:99.000000Z'",
    "UPDATE run SET argv = 'fmnist train'",
    "UPDATE run SET argv = '[1, 2]'",
    "UPDATE run SET argv = '" + "[" * 100_000 + "'",
    "UPDATE run SET environment = '[]'",
    "UPDATE run SET environment = 'NaN'",
    "UPDATE run SET environment = '" + '{"a":' * 30 + "1" + "}" * 30 + "'",
    "UPDATE run SET lr = x'0102'",
    "UPDATE run SET lr = 9e999",
    "UPDATE run SET seed = 'one'",
    "UPDATE run SET batch = 4294967296",
    "UPDATE run SET pid = -1e300",
    "UPDATE run SET host = 'h' || char(27) || ']0;owned' || char(7)",
    "UPDATE run SET host = 'h' || char(155) || '2J'",
    "UPDATE run SET arm = 'a' || char(8238) || 'b'",
    "UPDATE run SET arm = char(65534)",
    "UPDATE run SET name = 'n' || char(27) || '[2J'",
    "UPDATE run SET message = CAST(zeroblob(2000000) AS TEXT)",
    "UPDATE run SET message = replace(hex(zeroblob(600000)), '0', 'x')",
    "UPDATE run SET host = CAST(x'ff' AS TEXT)",
    "UPDATE run SET uuid = 'ABCDEF'",
    "UPDATE run SET model = replace(hex(zeroblob(50)), '0', 'm')",
    'UPDATE run SET nonfinite = \'{"lr": "minus"}\'',
    "UPDATE epoch SET val_loss = 'low'",
    "UPDATE epoch SET updates = 99999999999999999999",
    "UPDATE epoch SET nonfinite = '{\"val_loss\": 1}'",
    "UPDATE evaluation SET confusion = '[[1]'",
    "UPDATE evaluation SET confusion = '[[1, 2], [3]]'",
    "UPDATE evaluation SET test_set = char(10)",
    "UPDATE run_check SET figures = '7'",
    "UPDATE dynamics SET name = name || char(0)",
    "UPDATE artefact SET sha256 = 'x'",
    "UPDATE artefact SET bytes = 'many'",
    "UPDATE study SET arms = '{}'",
    "UPDATE study SET arms = 'batch 5'",
    "UPDATE study SET config = 'null'",
    "UPDATE study SET created_at = 'now'",
]


@pytest.mark.parametrize("sql", UNSOUND)
def test_a_run_of_unsound_values_is_left_out(tmp_path: Path, other: Path, sql: str) -> None:
    key = {"run": "id = 1", "study": "id = 1"}.get(sql.split()[1], "run_id = 1")
    raw(other, f"{sql} WHERE {key}")
    with Registry.open(tmp_path / "runs.db") as registry:
        merged = registry.merge(other)
        assert (merged.damaged, len(merged.runs)) == ((1,), 1)
        (run,) = registry.list_runs()
        assert run.seed == 7

"""What the world does to a registry and its files, and what is promised then."""

from __future__ import annotations

import json
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from reliability_rig import EAGER, TRAIN, epoch_numbers, fmnist, outcome, start

from fmnist_cli.engine.checkpoint import SLOTS
from fmnist_cli.registry import Registry, RunRecord
from fmnist_cli.registry.layout import UNDECIDED

# something happens before epoch 4 is trained
BEFORE_EPOCH_4 = (
    EAGER
    + """
import os, pathlib, resource, shutil
from fmnist_cli.engine import training
order = training.epoch_order
def and_then(seed, epoch, n):
    if epoch == 4:
        happens()
    return order(seed, epoch, n)
training.epoch_order = and_then
def happens():
"""
)
VANISHES = BEFORE_EPOCH_4 + "    os.rename('runs.db', 'away.db')\n"
LOCKED_FOR_EVER = (
    BEFORE_EPOCH_4
    + """
    import sqlite3
    from fmnist_cli.registry.database import sqlite
    sqlite.BUSY_SECONDS = 0.1
    global other
    other = sqlite3.connect('runs.db', isolation_level=None)
    other.execute('BEGIN EXCLUSIVE')
"""
)
FULL = (
    BEFORE_EPOCH_4
    + """
    size = os.path.getsize('runs.db')
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))
"""
)
WITH_FULL_CHECKPOINTS = (
    BEFORE_EPOCH_4
    + """
    resource.setrlimit(resource.RLIMIT_FSIZE, (30_000, resource.RLIM_INFINITY))
"""
)


@pytest.fixture
def expected(folder: Path) -> dict[str, Any]:
    """What the run comes to where nothing happens; in a registry of its own."""
    assert fmnist(*TRAIN, "--db", "expected.db", prologue="")[0] == 0
    return outcome(Path("expected.db"))


@pytest.fixture(scope="module")
def trained_once(
    tmp_path_factory: pytest.TempPathFactory, tiny_data: Path, empty_registry: Path
) -> Path:
    """A folder with the registry of one run of 4 epochs, and its files."""
    folder = tmp_path_factory.mktemp("trained")
    shutil.copy(empty_registry, folder / "runs.db")
    environment = {"FMNIST_DATA_DIR": str(tiny_data), "XDG_CACHE_HOME": str(folder / "cache")}
    short = (*TRAIN, "--epochs", 4)
    assert fmnist(*short, folder=folder, prologue="", **environment)[0] == 0
    return folder


@pytest.fixture
def trained(folder: Path, trained_once: Path) -> Path:
    """The current folder, with a copy of it."""
    for name in ("runs.db", "runs.files", "results"):
        source = trained_once / name
        if source.is_dir():
            shutil.copytree(source, folder / name)
        else:
            shutil.copy(source, folder / name)
    return folder


def latest(db: str = "runs.db") -> RunRecord:
    with Registry.open(db, readonly=True) as registry:
        return registry.get_run("latest")


def verified() -> list[str]:
    """The findings of ``runs verify``."""
    code, out, err = fmnist("runs", "verify", "--json", prologue="")
    findings = [finding["what"] for finding in json.loads(out)["findings"]]
    assert (code == 3) == bool(findings), err
    return findings


def test_a_registry_that_vanishes_while_training(folder: Path, expected: dict[str, Any]) -> None:
    code, _, err = fmnist(*(word for word in TRAIN if word != "--quiet"), prologue=VANISHES)
    assert code == 1
    lines = err.strip().splitlines()
    assert sum("Training continues, in a journal." in line for line in lines) == 1
    assert lines[-1].startswith("Error: runs.db cannot be opened")
    assert lines[-1].endswith("Recover it with: fmnist runs recover")
    assert not Path("runs.db").exists()
    assert list(folder.glob("runs.files/1-*/*.journal"))

    Path("away.db").rename("runs.db")
    assert latest().status == "lost"
    assert fmnist("runs", "recover", prologue="")[0] == 0
    assert outcome(Path("runs.db")) == expected
    assert verified() == []
    assert not list(folder.glob("runs.files/1-*/*.journal"))
    assert "nothing is to be recovered" in fmnist("runs", "recover", prologue="")[2]


def test_recovered_into_a_registry_that_never_saw_the_run(
    folder: Path, empty_registry: Path, expected: dict[str, Any]
) -> None:
    assert fmnist(*TRAIN, prologue=VANISHES)[0] == 1
    shutil.copy(empty_registry, "runs.db")
    assert fmnist("runs", "recover", prologue="")[0] == 0
    assert outcome(Path("runs.db")) == expected


def test_a_registry_that_stays_locked(folder: Path, expected: dict[str, Any]) -> None:
    code, _, err = fmnist(*TRAIN, prologue=LOCKED_FOR_EVER)
    assert code == 1
    assert "has been locked by another process" in err
    assert fmnist("runs", "recover", prologue="")[0] == 0
    assert outcome(Path("runs.db")) == expected
    assert verified() == []


def test_a_registry_that_is_back_before_the_end_gets_it_all(
    folder: Path, expected: dict[str, Any]
) -> None:
    back = (
        VANISHES
        + """
fine = training.assess
def and_back(*arguments):
    os.path.exists('away.db') and os.rename('away.db', 'runs.db')
    return fine(*arguments)
training.assess = and_back
"""
    )
    code, _, err = fmnist(*TRAIN, prologue=back)
    assert code == 0, err
    assert outcome(Path("runs.db")) == expected
    assert not list(folder.glob("runs.files/1-*/*.journal"))
    assert verified() == []


def test_a_file_that_cannot_grow(folder: Path) -> None:
    """RLIMIT_FSIZE stands for a full disk: SQLite sees the same failing write."""
    train = (*TRAIN, "--epochs", 40, "--patience", 40, "--dynamics")
    assert fmnist(*train, "--db", "expected.db", prologue="")[0] == 0
    code, _, err = fmnist(*train, prologue=FULL)
    assert code == 1
    assert err.strip().splitlines()[-1].startswith("Error: runs.db cannot ")
    acknowledged = epoch_numbers(Path("runs.db"))
    assert list(acknowledged) == list(range(1, len(acknowledged) + 1))
    assert 3 <= len(acknowledged) < 40
    assert fmnist("runs", "recover", prologue="")[0] == 0
    assert outcome(Path("runs.db")) == outcome(Path("expected.db"))
    assert verified() == []


def test_no_room_for_checkpoints_and_weights(folder: Path, expected: dict[str, Any]) -> None:
    words = [word for word in TRAIN if word != "--quiet"]
    code, _, err = fmnist(*words, prologue=WITH_FULL_CHECKPOINTS)
    assert code == 1
    assert err.count("no checkpoint can be saved: File too large") == 1
    assert err.strip().splitlines()[-1].startswith("Error: ")
    assert latest().status in ("failed", "lost")
    fmnist("runs", "recover", prologue="")
    assert fmnist("runs", "resume", "latest", prologue="")[0] == 0
    assert outcome(Path("runs.db")) == expected


@pytest.mark.slow
def test_a_full_disk(folder: Path) -> None:
    """A file system of 2 MB: the registry, the journal and the checkpoints have no room."""
    disk = folder / "disk"
    disk.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", disk], capture_output=True
    )
    if mounted.returncode:
        pytest.skip("mounting a small file system needs root")
    try:
        shutil.copy("runs.db", disk / "runs.db")
        (disk / "filler").write_bytes(b"\0" * 1_300_000)
        code, _, err = fmnist(*TRAIN, "--hidden", 64, "--db", disk / "runs.db")
        assert code in (0, 1), err
        (disk / "filler").unlink()
        fmnist("runs", "recover", "--db", disk / "runs.db", prologue="")
        with Registry.open(disk / "runs.db", readonly=True) as registry:
            status = registry.get_run("latest").status
        if status != "finished":
            again = ("runs", "resume", "latest", "--db", disk / "runs.db")
            assert fmnist(*again, prologue="")[0] == 0
        assert fmnist(*TRAIN, "--hidden", 64, "--db", "whole.db", prologue="")[0] == 0
        assert outcome(disk / "runs.db") == outcome(Path("whole.db"))
        assert fmnist("runs", "verify", "--db", disk / "runs.db", prologue="")[0] == 0
    finally:
        subprocess.run(["umount", disk], check=True)


@pytest.mark.slow
def test_a_registry_that_is_locked_for_20_seconds(folder: Path) -> None:
    other = sqlite3.connect("runs.db", isolation_level=None, check_same_thread=False)
    other.execute("BEGIN EXCLUSIVE")
    process = start(*TRAIN, prologue="")
    time.sleep(20)
    other.execute("ROLLBACK")
    other.close()
    _, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (0, "")
    assert latest().status == "finished"


def test_a_journal_whose_last_line_was_cut(folder: Path, expected: dict[str, Any]) -> None:
    killed = (
        VANISHES.replace("epoch == 4", "epoch in (4, 9)")
        + """
    if not os.path.exists('runs.db') and os.path.exists('gone'):
        os.kill(os.getpid(), 9)
    pathlib.Path('gone').touch()
"""
    )
    killed = killed.replace(
        "os.rename('runs.db', 'away.db')",
        "os.path.exists('runs.db') and os.rename('runs.db', 'away.db')",
    )
    process = start(*TRAIN, prologue=killed)
    process.communicate()
    assert process.returncode == -signal.SIGKILL
    (journal,) = folder.glob("runs.files/1-*/*.journal")
    journal.write_bytes(journal.read_bytes()[:-5])
    Path("away.db").rename("runs.db")
    assert list(epoch_numbers(Path("runs.db"))) == [1, 2, 3]
    assert fmnist("runs", "recover", prologue="")[0] == 0
    assert list(epoch_numbers(Path("runs.db"))) == [1, 2, 3, 4, 5, 6, 7]  # 8 was cut
    assert latest().status == "lost"
    assert fmnist("runs", "resume", "latest", prologue="")[0] == 0
    assert outcome(Path("runs.db")) == expected


@pytest.mark.parametrize("content", [b"", b"x", b'["run", {}]\n', b'["epoch", 3]\n', b"\xff\n"])
def test_what_is_no_journal_is_refused(folder: Path, content: bytes) -> None:
    Path("a.journal").write_bytes(content)
    code, _, err = fmnist("runs", "recover", "a.journal", prologue="")
    assert code == 1
    assert err.startswith("Error: a.journal ")
    assert err.count("\n") == 1


def test_a_corrupted_page(trained: Path) -> None:
    content = bytearray(Path("runs.db").read_bytes())
    damaged = 0
    for page in range(1, len(content) // 4096, 2):
        broken = bytearray(content)
        broken[page * 4096 : page * 4096 + 4096] = bytes(4096)
        Path("runs.db").write_bytes(broken)
        if content[page * 4096 : page * 4096 + 4096] != bytes(4096):
            code, out, err = fmnist("runs", "verify", prologue="")
            assert code == 3, f"page {page}: {out}"
            assert err.strip().splitlines()[-1].startswith("Error: ")
            damaged += 1
    assert damaged > 5


def test_a_flipped_bit_in_a_number_is_found_by_the_digest(trained: Path) -> None:
    assert verified() == []
    with sqlite3.connect("runs.db") as connection:
        connection.execute("UPDATE epoch SET train_loss = train_loss + 1e-9 WHERE epoch = 2")
    assert verified() == ["its numbers are not those that were recorded (digest)"]


@pytest.mark.parametrize(
    ("sql", "finding"),
    [
        ("DELETE FROM epoch WHERE epoch = 2", "its epochs must be 1, 2, ... without a gap"),
        ("UPDATE epoch SET updates = 7 WHERE epoch = 2", "after epoch 2 it must have made 80"),
        ("UPDATE run SET best_epoch = 1", "its best epoch by val_accuracy must be"),
        ("UPDATE run SET updates_to_best = 1", "the figures of its best epoch are not"),
        ("UPDATE run SET train_seconds = 99", "its training time is not the sum"),
        ("UPDATE evaluation SET n = 99", "its evaluation on test disagrees"),
        ("UPDATE run SET stop_reason = 'patience'", "it stopped for its patience of 6"),
        ("UPDATE artefact SET bytes = 1", "its numbers are not those that were recorded"),
        ("INSERT INTO tag VALUES (9, 'x')", "a row of tag belongs to a run that is not there"),
    ],
)
def test_what_must_hold_among_the_numbers(trained: Path, sql: str, finding: str) -> None:
    with sqlite3.connect("runs.db") as connection:
        connection.execute(sql)
    connection.close()
    assert any(found.startswith(finding) for found in verified())


def test_a_changed_or_absent_file_is_found(trained: Path) -> None:
    (weights,) = trained.glob("runs.files/1-*/weights.npz")
    content = bytearray(weights.read_bytes())
    content[1000] ^= 1
    weights.write_bytes(content)
    assert [f for f in verified() if "weights.npz of run 1 is not the file that was saved" in f]
    weights.unlink()
    assert [f for f in verified() if "weights.npz of run 1 cannot be read" in f]


def test_a_lost_run_is_named_and_is_no_finding(folder: Path) -> None:
    killed = BEFORE_EPOCH_4 + "    os.kill(os.getpid(), 9)\n"
    start(*TRAIN, prologue=killed).communicate()
    code, _, err = fmnist("runs", "verify", prologue="")
    assert code == 0
    assert "Without a result: run 1 (lost)" in err


def test_the_clock_set_back(folder: Path, expected: dict[str, Any]) -> None:
    back = (
        BEFORE_EPOCH_4
        + """
    import datetime as module
    from fmnist_cli.registry import values
    class Earlier(module.datetime):
        @classmethod
        def now(cls, tz=None):
            return super().now(tz) - module.timedelta(days=400)
    values.datetime = Earlier
"""
    )
    assert fmnist(*TRAIN, prologue=back)[0] == 0
    run = latest()
    assert run.ended_at is not None
    assert run.ended_at < run.started_at
    assert run.total_seconds is not None
    assert run.total_seconds > 0  # from a clock that nobody sets
    assert outcome(Path("runs.db")) == expected
    assert verified() == []
    for command in ("list", "show"):
        assert fmnist("runs", command, prologue="")[0] == 0


def test_a_closed_pipe_is_no_error(trained: Path) -> None:
    for command in ("runs list", "runs show --epochs --json"):
        line = f"{sys.executable} -m fmnist_cli {command} | head -c 1"
        done = subprocess.run(line, shell=True, capture_output=True, text=True, check=False)
        assert "Traceback" not in done.stderr, command
        assert "BrokenPipe" not in done.stderr, command


def test_names_with_markup_and_any_unicode(trained: Path) -> None:
    for name in ("[/foo]", "[bold red]x", "\u202etxt", "a\nb", "🐍" * 40, "\\["):
        with sqlite3.connect("runs.db") as connection:
            connection.execute("UPDATE run SET name = ?, arm = ?, note = ?", [name] * 3)
        connection.close()
        for command in ("list", "show"):
            assert fmnist("runs", command, prologue="")[0] == 0
        assert json.loads(fmnist("runs", "show", "--json", prologue="")[1])["name"] == name


def test_delete_removes_the_run_and_its_folder_only(folder: Path) -> None:
    for _ in range(2):
        assert fmnist(*TRAIN, "--epochs", 2, prologue="")[0] == 0
    (gone,) = folder.glob("runs.files/1-*")
    (stays,) = folder.glob("runs.files/2-*")
    elsewhere = folder / "precious.txt"
    elsewhere.write_text("mine")
    (gone / "link").symlink_to(elsewhere)
    (gone / "folder").symlink_to(folder / "results")
    with sqlite3.connect("runs.db") as connection:
        connection.execute(
            "INSERT INTO artefact (run_id, kind, path, sha256, bytes)"
            " VALUES (1, 'plot', 'precious.txt', '" + "0" * 64 + "', 4)"
        )
    connection.close()
    assert fmnist("runs", "delete", 1, "--yes", prologue="")[0] == 0
    assert elsewhere.read_text() == "mine"
    assert list(Path("results").iterdir())
    assert not gone.exists()
    assert stays.exists()
    assert [run.id for run in Registry.open("runs.db").list_runs()] == [2]
    assert verified() == []
    with sqlite3.connect("runs.db") as connection:
        assert connection.execute("SELECT DISTINCT run_id FROM epoch").fetchall() == [(2,)]
    connection.close()


def test_delete_asks(trained: Path) -> None:
    code, _, err = fmnist(
        "runs", "delete", 1, prologue="import sys, io; sys.stdin = io.StringIO('n')"
    )
    assert code == 1
    assert "Aborted" in err
    assert latest().id == 1


def test_gc_shows_and_removes_what_no_run_needs(folder: Path) -> None:
    assert fmnist(*TRAIN, "--epochs", 2, prologue="")[0] == 0
    killed = BEFORE_EPOCH_4 + "    os.kill(os.getpid(), 9)\n"
    start(*TRAIN, prologue=killed).communicate()
    files = folder / "runs.files"
    orphan = files / "99-0123abcd"
    orphan.mkdir()
    (orphan / UNDECIDED).write_text(str(folder.resolve() / "runs.db"))  # a deletion was killed
    (orphan / "weights.npz").write_bytes(b"x" * 1000)
    (orphan / "outside").symlink_to(folder / "results")
    (finished,) = files.glob("1-*")
    (finished / SLOTS[0]).write_bytes(b"x" * 500)
    kept = [files / "mine", files / "98-not-a-run", files / "97-0123abcd", files / "96-0123abcd"]
    for path in kept:
        path.mkdir()
    (kept[2] / UNDECIDED).write_text(str(folder.resolve() / "runs.db"))
    (kept[3] / "weights.npz").write_bytes(b"of a run of another registry, which was renamed")
    (kept[2] / "0123.journal").write_bytes(b"of a run that the registry has lost")

    def gc(*arguments: object) -> dict[str, int]:
        code, out, _ = fmnist("runs", "gc", "--json", *arguments, prologue="")
        assert code == 0
        return {one["path"]: one["size_bytes"] for one in json.loads(out)["removed"]}

    shown = gc("--dry-run")
    assert shown.keys() >= {"runs.files/99-0123abcd", f"runs.files/{finished.name}/{SLOTS[0]}"}
    assert shown["runs.files/99-0123abcd"] >= 1000
    assert shown[f"runs.files/{finished.name}/{SLOTS[0]}"] == 500
    assert len([path for path in shown if path.endswith(".lock")]) == 1
    assert len(shown) == 3
    assert orphan.exists()
    assert gc() == shown
    assert gc() == {}
    assert not orphan.exists()
    assert all(path.exists() for path in kept)
    assert list(Path("results").iterdir())
    # what was cut short can still be resumed, and is not for ever
    assert len(gc("--dry-run", "--keep-days", 0)) == 2
    assert fmnist("runs", "resume", 2, prologue="")[0] == 0
    assert verified() == []


def test_gc_leaves_a_live_run_alone(folder: Path) -> None:
    process = start(*TRAIN, "--epochs", 1_000_000, "--patience", 1_000_000)
    try:
        deadline = time.monotonic() + 60
        while not list(folder.glob("runs.files/1-*/*.ckpt")) and time.monotonic() < deadline:
            time.sleep(0.02)
        out = fmnist("runs", "gc", "--keep-days", 0, "--json", prologue="")[1]
        assert json.loads(out)["removed"] == []
        assert latest().status == "running"
    finally:
        process.kill()
        process.communicate()


def test_reproduce(folder: Path) -> None:
    assert fmnist(*TRAIN, prologue="")[0] == 0
    code, out, _ = fmnist("runs", "reproduce", 1, "--json", prologue="")
    document = json.loads(out)
    assert code == 0
    assert document["verdict"] == "identical"
    assert document["environment_differences"] == []
    assert (document["id"], document["reproduced_by"]) == (1, 2)
    with sqlite3.connect("runs.db") as connection:
        connection.execute("UPDATE epoch SET val_loss = val_loss * 1.0001 WHERE epoch = 3")
        connection.execute(
            "UPDATE run SET environment = json_set(environment, '$.packages.numpy', '1.0')"
        )
    connection.close()
    code, out, _ = fmnist("runs", "reproduce", 1, "--json", prologue="")
    document = json.loads(out)
    assert (code, document["verdict"], document["first_difference_epoch"]) == (0, "close", 3)
    assert [d["name"] for d in document["environment_differences"]] == ["packages.numpy"]
    with sqlite3.connect("runs.db") as connection:
        connection.execute("UPDATE epoch SET val_loss = val_loss * 1.1 WHERE epoch = 2")
    connection.close()
    code, out, err = fmnist("runs", "reproduce", 1, prologue="")
    assert code == 3
    assert "differs from epoch 2 on" in err
    assert "packages.numpy" in out


def test_reproduce_of_a_cnn_says_where_its_weights_came_from(folder: Path) -> None:
    assert fmnist(*TRAIN, "--model", "cnn2", "--epochs", 1, prologue="")[0] == 0
    document = json.loads(fmnist("runs", "reproduce", 1, "--json", prologue="")[1])
    assert (document["verdict"], document["environment_differences"]) == ("identical", [])
    with sqlite3.connect("runs.db") as connection:  # as before both engines drew the same weights
        connection.execute(
            "UPDATE run SET environment = json_remove(environment, '$.initial_weights')"
        )
        connection.execute("UPDATE epoch SET val_loss = 2 * val_loss")
    connection.close()
    code, out, _ = fmnist("runs", "reproduce", 1, "--json", prologue="")
    assert code == 3
    differences = str(json.loads(out)["environment_differences"])
    assert "drawn by Keras" in differences
    assert "drawn by fmnist" in differences


def test_reproduce_of_a_run_that_was_cut_short(folder: Path) -> None:
    killed = BEFORE_EPOCH_4 + "    os.kill(os.getpid(), 9)\n"
    start(*TRAIN, prologue=killed).communicate()
    code, out, _ = fmnist("runs", "reproduce", 1, "--json", prologue="")
    document = json.loads(out)
    assert (code, document["verdict"], document["epochs_compared"]) == (0, "identical", 3)

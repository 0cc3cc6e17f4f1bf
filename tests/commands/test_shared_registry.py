"""The commands on a registry that is on a PostgreSQL server, and on a network mount."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from fmnist_cli import host
from fmnist_cli.registry import Registry

from .conftest import SMALL, Fmnist


@pytest.fixture
def url(
    new_database: Callable[[Path], str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> str:
    """A registry that the commands find by themselves; with a password, which nothing may show."""
    url = new_database(tmp_path / "shared.files").replace("postgres@", "postgres:secret@")
    monkeypatch.setenv("FMNIST_DB", url)
    return url


def test_a_shared_registry_is_a_registry(fmnist: Fmnist, url: str, tmp_path: Path) -> None:
    printed = []

    def say(*args: object, code: int = 0) -> str:
        result = fmnist(*args, code=code)
        printed.append(result.output)
        return result.stdout

    printed.append(fmnist.small("train", "--epochs", "2").output)
    printed.append(fmnist.small("sweep-batch", "--batch", "5", "--batch", "50").output)
    assert "3" in say("runs", "list", "--columns", "run_id,batch", "--where", "batch = 50")
    for args in (
        ("runs", "show", "1"),
        ("runs", "compare", "2", "3"),
        ("runs", "tag", "1", "good"),
        ("runs", "note", "1", "noted"),
        ("runs", "rename", "1", "first"),
        ("runs", "explain", "1"),
        ("runs", "export", "--out", "runs.csv"),
        ("runs", "verify"),
        ("runs", "gc"),
        ("plot", "train", "--run", "1", "--out", "train.png"),
        ("plot", "batch", "--out", "batch.png"),
        ("ood", "--run", "1", "--allow-custom-data"),
        ("runs", "import", url, "--db", str(tmp_path / "home.db")),
        ("doctor", "--allow-custom-data"),
    ):
        say(*args)
    assert Path("batch.png").stat().st_size > 1000
    (row,) = fmnist.document(
        "runs", "query", "SELECT tags, note FROM run_summary WHERE run_id = 1"
    )["rows"]
    assert row == ["good", "noted"]
    assert "bit for bit the same" in say("runs", "reproduce", "1", "--allow-custom-data")
    with Registry.open(tmp_path / "home.db") as home:
        assert len(home.list_runs()) == 4
    say("runs", "delete", "1", "--yes")
    assert [run["id"] for run in fmnist.document("runs", "list")["runs"]] == [5, 4, 3, 2]
    assert "secret" not in "".join(printed)


def test_a_killed_run_is_resumed_from_a_shared_registry(
    fmnist: Fmnist, url: str, tmp_path: Path
) -> None:
    fmnist.small("train", "--epochs", "300", "--no-early-stop")
    command = [sys.executable, "-m", "fmnist_cli", "train", "--epochs", "300", "--no-early-stop"]
    process = subprocess.Popen([*command, *SMALL], stderr=subprocess.DEVNULL, env=os.environ.copy())
    with Registry.open(url) as registry:
        while not (runs := registry.list_runs(status="running")) or not runs[0].epochs_run:
            assert process.poll() is None
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
        process.wait()
        assert registry.get_run("latest").status == "lost"
        fmnist("train", "--resume", "latest", "--allow-custom-data")
        whole, resumed = registry.get_run(1), registry.get_run(2)
        assert (resumed.status, resumed.resumes) == ("finished", 1)
        assert [e.train_loss for e in registry.epochs(2)] == [
            e.train_loss for e in registry.epochs(1)
        ]
        assert resumed.test_loss == whole.test_loss


def test_a_network_mount_is_named(
    fmnist: Fmnist, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    mounted = tmp_path / "net work"
    mounted.mkdir()
    listed = tmp_path / "mountinfo"
    point = str(mounted).replace(" ", "\\040")
    listed.write_text(
        "22 1 8:1 / / rw shared:1 - ext4 /dev/sda1 rw\n"
        f"40 22 0:45 / {point} rw,relatime shared:9 - nfs4 host:/export rw,vers=4.2\n"
        f"41 22 0:46 / {point}/disk rw - ext4 /dev/sdb1 rw\n"
    )
    monkeypatch.setattr(host, "MOUNTS", listed)
    assert host.network_mount(mounted / "runs.db") == "nfs4"
    assert host.network_mount(mounted / "disk" / "runs.db") is None
    assert host.network_mount(tmp_path / "net work too" / "runs.db") is None
    db = mounted / "runs.db"
    said = fmnist.small("sweep-batch", "--batch", "5", "--batch", "50", "--db", db).stderr
    assert said.count("is on a network mount (nfs4), where SQLite's locks cannot be trusted") == 1
    fmnist.small("train", "--epochs", "1", "--db", db)
    with Registry.open(db) as registry:  # and a run says that it lives, for the other machines
        assert registry.get_run("latest").heartbeat_at is not None
    assert "network mount" in fmnist("doctor", "--allow-custom-data", "--db", db, code=3).stdout
    monkeypatch.setattr(host, "MOUNTS", tmp_path / "absent")
    assert host.network_mount(db) is None

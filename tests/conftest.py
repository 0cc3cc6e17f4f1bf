"""Every test has a home, a cache and a current folder of its own; nobody sees the user's."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path

import numpy as np
import pytest

from fmnist_cli.engine.data import apt, official
from fmnist_cli.engine.data.idx import write_idx

N_TINY_TRAIN, N_TINY_TEST = 300, 100


def pytest_configure() -> None:
    """Started in the background, a shell has SIGINT ignored, and so would every process that a
    test starts and interrupts."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True)
def isolated(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder of the test: empty, and not its tmp_path."""
    home = tmp_path_factory.mktemp("home")
    work = tmp_path_factory.mktemp("work")
    for name in [name for name in os.environ if name.startswith("FMNIST_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("XDG_CACHE_HOME", str(home / ".cache"))
    monkeypatch.delenv("KERAS_HOME", raising=False)
    monkeypatch.setattr(official, "MIRRORS", ())
    monkeypatch.setattr(apt, "INSTALLED_FOLDER", home / "no-package")
    monkeypatch.chdir(work)
    return work


def tiny_arrays(n: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """(n, 28, 28) uint8 and (n,) uint8: class c is a bright bar at row 2c + 4, under noise."""
    labels = (np.arange(n) % 10).astype(np.uint8)
    images = rng.integers(0, 90, (n, 28, 28), dtype=np.uint8)
    for image, label in zip(images, labels, strict=True):
        image[2 * label + 4 : 2 * label + 6, 4:24] += 120
    return images, labels


@pytest.fixture(scope="session")
def tiny_data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a small data set, learnable, in the four-file IDX form."""
    folder = tmp_path_factory.mktemp("tiny-data")
    rng = np.random.default_rng(7)
    for part, n in (("train", N_TINY_TRAIN), ("t10k", N_TINY_TEST)):
        images, labels = tiny_arrays(n, rng)
        write_idx(folder / f"{part}-images-idx3-ubyte.gz", images)
        write_idx(folder / f"{part}-labels-idx1-ubyte.gz", labels)
    return folder


@pytest.fixture(scope="session")
def postgres() -> Iterator[str]:
    """The folder of the socket of a PostgreSQL server that is this session's own."""
    found = [shutil.which("pg_ctl"), *sorted(Path("/usr/lib/postgresql").glob("*/bin/pg_ctl"))]
    pg_ctl = next((Path(path) for path in reversed(found) if path), None)
    if pg_ctl is None:
        if "CI" in os.environ:
            pytest.fail("PostgreSQL must be installed where CI runs: see .ci/run")
        pytest.skip("PostgreSQL is not installed: apt-get install postgresql")
    # a server refuses to run as root, whose Debian package brings a user for it
    user = "postgres" if os.getuid() == 0 else None
    folder = Path(tempfile.mkdtemp(prefix="fmnist-postgres-"))
    if user is not None:
        shutil.chown(folder, user)

    def run(program: str, *arguments: str) -> None:
        command = [str(pg_ctl.with_name(program)), *arguments, "-D", f"{folder}/data"]
        subprocess.run(command, check=True, user=user, cwd=folder, stdout=subprocess.DEVNULL)

    settings = f"-c listen_addresses='' -c unix_socket_directories={folder} -c fsync=off"
    try:
        run("initdb", "--username=postgres", "--auth=trust", "--encoding=UTF8", "--no-sync")
        run("pg_ctl", "start", "--wait", f"--log={folder}/log", f"--options={settings}")
        yield str(folder)
        run("pg_ctl", "stop", "--mode=immediate")
    finally:
        shutil.rmtree(folder)


_numbers = count(1)


@pytest.fixture(scope="session")
def new_database(postgres: str) -> Callable[[Path], str]:
    """Makes a database without tables for a registry whose files are in that folder; its URL."""
    import psycopg

    def make(files: Path) -> str:
        name = f"fmnist_{next(_numbers)}"
        with psycopg.connect(host=postgres, user="postgres", autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {name}".encode())
        return f"postgresql+psycopg://postgres@/{name}?host={postgres}&files={files}"

    return make

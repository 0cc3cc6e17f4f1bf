"""Every test has a home, a cache and a current folder of its own; nobody sees the user's."""

from __future__ import annotations

import os
import signal
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

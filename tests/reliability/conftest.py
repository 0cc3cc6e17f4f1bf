"""Fixtures of the fault tests."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from fmnist_cli.registry import Registry


@pytest.fixture(scope="session")
def empty_registry(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty registry, to be copied: to run the migrations for each test takes long."""
    path = tmp_path_factory.mktemp("empty") / "runs.db"
    Registry.open(path).close()
    return path


@pytest.fixture
def folder(
    isolated: Path, empty_registry: Path, tiny_data: Path, monkeypatch: pytest.MonkeyPatch
) -> Path:
    """The current folder, with an empty registry, and the small data set as Fashion-MNIST."""
    shutil.copy(empty_registry, isolated / "runs.db")
    monkeypatch.setenv("FMNIST_DATA_DIR", str(tiny_data))
    temporary = isolated.with_name(isolated.name + "-tmp")  # where a journal goes at last
    temporary.mkdir()
    monkeypatch.setenv("TMPDIR", str(temporary))
    return isolated

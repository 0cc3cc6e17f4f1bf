"""Fixtures of the registry's tests."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from fmnist_cli.registry import Registry


@pytest.fixture
def db(tmp_path: Path) -> Path:
    """Where the test's registry is, or is to be made."""
    return tmp_path / "runs.db"


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty registry, to be copied: to run the migrations for each test takes long."""
    path = tmp_path_factory.mktemp("made") / "runs.db"
    Registry.open(path).close()
    return path


@pytest.fixture
def registry(db: Path, made: Path) -> Iterator[Registry]:
    """An empty registry."""
    shutil.copy(made, db)
    with Registry.open(db) as registry:
        yield registry

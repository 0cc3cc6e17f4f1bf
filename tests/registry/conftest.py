"""Fixtures of the registry's tests: each runs on SQLite and on PostgreSQL.

Those that are marked ``sqlite`` are about the file, or about how SQLite does a thing.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from registry_rig import Target

from fmnist_cli.registry import Registry


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "backend" in metafunc.fixturenames:
        only = metafunc.definition.get_closest_marker("sqlite")
        metafunc.parametrize("backend", ["sqlite"] if only else ["sqlite", "postgresql"])


@pytest.fixture
def db(tmp_path: Path, backend: str, request: pytest.FixtureRequest) -> Target:
    """Where the test's registry is, or is to be made."""
    if backend == "sqlite":
        return tmp_path / "runs.db"
    return str(request.getfixturevalue("new_database")(tmp_path / "runs.files"))


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty registry, to be copied: to run the migrations for each test takes long."""
    path = tmp_path_factory.mktemp("made") / "runs.db"
    Registry.open(path).close()
    return path


@pytest.fixture
def empty(db: Target, made: Path) -> Target:
    """An empty registry."""
    if isinstance(db, Path):
        shutil.copy(made, db)
    return db


@pytest.fixture
def registry(empty: Target) -> Iterator[Registry]:
    """An empty registry, open."""
    with Registry.open(empty) as registry:
        yield registry

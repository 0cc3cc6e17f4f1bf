"""A whole report on the small data set, made once; and a browser to look at it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from typer.testing import CliRunner

from fmnist_cli.cli import app

from ..commands.conftest import SMALL, fmnist
from .chromium import Chromium, find

__all__ = ["fmnist"]

QUICK = ("report", "--quick", *SMALL)


@dataclass(frozen=True)
class Made:
    """A report that was written, and the registry it is about."""

    folder: Path
    db: Path

    @property
    def html(self) -> str:
        return (self.folder / "index.html").read_text(encoding="utf-8")

    @property
    def markdown(self) -> str:
        return (self.folder / "report.md").read_text(encoding="utf-8")


@pytest.fixture
def only_mlp(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave TensorFlow out: the study of shifted images trains the MLP alone."""
    monkeypatch.setattr("fmnist_cli.report.parts.MODELS", ("mlp",))


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory, tiny_data: Path) -> Made:
    """The quick report of the MLP."""
    home = tmp_path_factory.mktemp("report-home")
    made = Made(home / "report", home / "runs.db")
    args = [*QUICK, "--out", made.folder, "--db", made.db, "--data-dir", tiny_data]
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(home)
        patch.setenv("XDG_CACHE_HOME", str(home / ".cache"))
        patch.setattr("fmnist_cli.report.parts.MODELS", ("mlp",))
        result = CliRunner().invoke(app, [str(arg) for arg in args], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return made


@pytest.fixture(scope="session")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chromium]:
    """A browser; where there is none the tests are skipped, but not in CI."""
    executable = find()
    if executable is None:
        reason = "needs Chromium: apt-get install chromium"
        pytest.fail(reason) if os.environ.get("CI") == "true" else pytest.skip(reason)
    browser = Chromium(executable, tmp_path_factory.mktemp("chromium"))
    yield browser
    browser.close()

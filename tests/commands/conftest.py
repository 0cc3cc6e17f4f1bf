"""The command line as a user meets it, on the small data set."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from fmnist_cli.cli import app

from .recorded import write_registry

SMALL = ("--train-size", "200", "--val-size", "50", "--hidden", "16", "--allow-custom-data")


class Fmnist:
    """Runs ``fmnist ARGS`` in this process, through the error boundary."""

    def __call__(self, *args: object, code: int = 0) -> Result:
        result = CliRunner().invoke(app, [str(arg) for arg in args], catch_exceptions=False)
        assert result.exit_code == code, result.output
        return result

    def small(self, command: str, *args: object, code: int = 0) -> Result:
        """A command that trains, on the small data set."""
        return self(command, *SMALL, *args, code=code)

    def document(self, *args: object, code: int = 0) -> dict[str, Any]:
        """What ``--json`` prints: strict JSON and nothing else on stdout."""
        result = self(*args, "--json", code=code)
        document: dict[str, Any] = json.loads(result.stdout, parse_constant=_refuse)
        return document

    def small_document(self, command: str, *args: object, code: int = 0) -> dict[str, Any]:
        return self.document(command, *SMALL, *args, code=code)

    def error(self, *args: object, code: int) -> str:
        """The one line on stderr of a command that fails."""
        result = self(*args, code=code)
        lines = result.stderr.strip().splitlines()
        errors = [line for line in lines if line.startswith("Error: ")]
        assert len(errors) == 1, result.stderr
        assert lines[-1] == errors[0]
        return errors[0].removeprefix("Error: ")


def _refuse(constant: str) -> Any:
    raise AssertionError(f"not strict JSON: {constant}")


@pytest.fixture
def fmnist(isolated: Path, tiny_data: Path, monkeypatch: pytest.MonkeyPatch) -> Fmnist:
    """The command line, with the small data set in place of Fashion-MNIST."""
    monkeypatch.setenv("FMNIST_DATA_DIR", str(tiny_data))
    return Fmnist()


@pytest.fixture(scope="session")
def recorded_once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder with ``recorded.write_registry``'s registry, to be copied."""
    folder = tmp_path_factory.mktemp("recorded")
    write_registry(folder / "runs.db")
    return folder


@pytest.fixture
def recorded(isolated: Path, recorded_once: Path) -> Path:
    """A registry with a run of every kind, in the current folder."""
    shutil.copytree(recorded_once, isolated, dirs_exist_ok=True)
    return isolated / "runs.db"

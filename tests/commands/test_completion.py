"""What the shell is offered."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from .conftest import Fmnist


def offered(words: str) -> list[str]:
    """The completions that bash gets for the line, the last word being incomplete."""
    environment = os.environ | {
        "_FMNIST_COMPLETE": "complete_bash",
        "COMP_WORDS": words,
        "COMP_CWORD": str(len(words.split(" ")) - 1),
    }
    code = "from fmnist_cli.cli import app; app(prog_name='fmnist')"
    result = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True
    )
    assert result.stderr == ""
    return result.stdout.split()


def test_commands() -> None:
    assert offered("fmnist early") == ["early-stop"]


def test_run_ids(fmnist: Fmnist) -> None:
    assert offered("fmnist runs show ") == []  # no registry here
    for _ in range(3):
        fmnist.small("train", "--epochs", 1)
    assert offered("fmnist runs show ") == ["3", "2", "1", "latest"]
    assert offered("fmnist runs show 2") == ["2"]
    assert offered("fmnist plot train --run ") == ["3", "2", "1", "latest"]


def test_studies(fmnist: Fmnist) -> None:
    fmnist.small("momentum", "--epochs", 1, "--alpha", 0.5)
    assert offered("fmnist plot momentum --study ") == ["1"]


def test_a_file_that_is_no_registry_offers_nothing() -> None:
    Path("runs.db").write_text("not a registry, but long enough to be looked at" * 50)
    assert offered("fmnist runs show ") == []


def test_columns(fmnist: Fmnist) -> None:
    fmnist.small("train", "--epochs", 1)
    assert sorted(offered("fmnist runs list --columns run_id,test_")) == [
        "run_id,test_accuracy",
        "run_id,test_loss",
    ]
    assert offered("fmnist runs list --sort best_val_a") == ["best_val_accuracy"]


def test_metrics() -> None:
    assert offered("fmnist plot compare --metric running") == ["running_loss"]
    assert offered("fmnist plot momentum --metric val_l") == ["val_loss"]

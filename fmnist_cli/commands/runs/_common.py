"""What the `runs` commands share."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import asdict
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fmnist_cli.commands._completion import complete_run
from fmnist_cli.runner.run import without_new

if TYPE_CHECKING:
    from fmnist_cli.registry import RunRecord

OneRun = Annotated[
    str,
    typer.Argument(
        metavar="ID",
        help="A run's id, a uuid's beginning, or latest.",
        autocompletion=complete_run,
    ),
]

STATUS_STYLE = {
    "running": "cyan",
    "finished": "green",
    "failed": "red",
    "interrupted": "yellow",
    "diverged": "red",
    "lost": "red",
}


def resume_hint(run: RunRecord) -> str | None:
    """What to type after ``fmnist`` to go on with a run that was cut short, or None."""
    if run.status not in ("interrupted", "lost", "failed"):
        return None
    if run.study_id is not None:
        return shlex.join(without_new(run.argv)[1:]) or None
    return resume_words(run.id, run.argv) if run.command == "train" else None


def resume_words(run_id: int, argv: Sequence[str]) -> str:
    """``train --resume ID``, with the data that the run was given."""
    return shlex.join(["train", "--resume", str(run_id), *_data_words(argv)])


def run_document(run: RunRecord) -> dict[str, Any]:
    """The run as plain values, times in ISO 8601."""
    document = asdict(run)
    for name, value in document.items():
        if isinstance(value, datetime):
            document[name] = value.isoformat()
    return document


def repeat_command(run: RunRecord) -> str:
    """What to type to train the run again.

    Of a trained run it is ``fmnist train`` with what was recorded, which neither the environment
    nor a study decides; of any other, what was typed.
    """
    from fmnist_cli.engine.config import TrainConfig

    typed = run.argv[1:]
    if run.command != "train" and run.arm is None:
        return shlex.join(["fmnist", *typed])
    words = ["fmnist", "train"]
    if run.model != TrainConfig.model:
        words += ["--model", run.model]
    usual = TrainConfig(model=run.model)  # type: ignore[arg-type]
    for name, value in run.config.items():
        if value == getattr(usual, name):
            continue
        if name == "patience" and value is None:
            words.append("--no-early-stop")
        elif name != "model":
            words += [f"--{name.replace('_', '-')}", str(value)]
    kept = ("--check-gradient", "--check-magnitude", "--allow-custom-data")
    words += [word for word in typed if word in kept]
    return shlex.join([*words, *_data_words(typed)])


def _data_words(argv: Sequence[str]) -> list[str]:
    """The folder of the data, as it was typed; none where it was not."""
    for i, word in enumerate(argv):
        if word == "--data-dir":
            return list(argv[i : i + 2])
        if word.startswith("--data-dir="):
            return [word]
    return []

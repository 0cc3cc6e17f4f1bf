"""What the `runs` commands share."""

from __future__ import annotations

import shlex
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fmnist_cli.commands._completion import complete_run
from fmnist_cli.errors import UsageError

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


def counted(n: int, noun: str) -> str:
    """``1 epoch``, ``2,000 epochs``."""
    return f"{n:,} {noun}{'' if n == 1 else 's'}"


def resume_hint(run: RunRecord) -> str | None:
    """What to type after ``fmnist`` to go on with a run that was cut short, or None."""
    if run.status not in ("interrupted", "lost", "failed"):
        return None
    if run.study_id is not None:
        return shlex.join(word for word in run.argv[1:] if word != "--new")
    return f"train --resume {run.id}" if run.command == "train" else None


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
    for i, word in enumerate(typed):
        if word in ("--check-gradient", "--check-magnitude", "--allow-custom-data"):
            words.append(word)
        elif word == "--data-dir":
            words += typed[i : i + 2]
        elif word.startswith("--data-dir="):
            words.append(word)
    return shlex.join(words)


def write_file(path: Path, content: str | bytes) -> None:
    """Write the file; it appears whole or not at all."""
    temporary = path.with_name(f".{path.name}.tmp")
    try:
        temporary.write_bytes(content if isinstance(content, bytes) else content.encode())
        temporary.replace(path)
    except OSError as error:
        raise UsageError(
            f"the file must be one that can be written. Received: {path} ({error.strerror})."
        ) from error
    finally:
        temporary.unlink(missing_ok=True)

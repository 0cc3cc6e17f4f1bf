"""How a recorded run or study is typed again: pure functions of what was recorded."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fmnist_cli.registry import RunRecord

_TAKEN_ALONG = ("--check-gradient", "--check-magnitude", "--allow-custom-data")


def was_typed(argv: Sequence[str]) -> bool:
    """Whether it is a command line; a call from Python is recorded as one word."""
    return len(argv) > 1


def continue_command(argv: Sequence[str]) -> str:
    """What continues the study that was started so; a call from Python as it is."""
    return shlex.join(_without_new(argv)) if was_typed(argv) else "".join(argv)


def resume_words(run_id: int, argv: Sequence[str]) -> str:
    """What resumes a run, after ``fmnist``, with the data that it was given."""
    return shlex.join(["train", "--resume", str(run_id), *option_words("--data-dir", argv)])


def resume_hint(run: RunRecord) -> str | None:
    """What to type after ``fmnist`` to continue a run that was interrupted, or None."""
    if run.status not in ("interrupted", "lost", "failed"):
        return None
    if run.study_id is not None:
        return shlex.join(_without_new(run.argv)[1:]) or None
    return resume_words(run.id, run.argv) if run.command == "train" else None


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
    words += [word for word in typed if word in _TAKEN_ALONG]
    return shlex.join([*words, *option_words("--data-dir", typed)])


def _without_new(argv: Sequence[str]) -> list[str]:
    return [word for word in argv if word != "--new"]


def option_words(flag: str, argv: Sequence[str]) -> list[str]:
    """An option that takes a value, as it was typed; no words where it was not."""
    for i, word in enumerate(argv):
        if word == flag:
            return list(argv[i : i + 2])
        if word.startswith(f"{flag}="):
            return [word]
    return []

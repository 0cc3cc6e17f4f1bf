"""The file that course scripts read: accuracies per epoch, test accuracy, seconds.

Its name says what was trained, such as ``MLP_lr0.01_b5.json``: model, learning rate and batch of
a training at the defaults on Fashion-MNIST, and whatever differs from those.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

from fmnist_cli.engine.backend import Backend
from fmnist_cli.engine.config import TrainConfig
from fmnist_cli.engine.data import OFFICIAL_FINGERPRINT, Dataset
from fmnist_cli.engine.training import TrainResult
from fmnist_cli.epoch import Epoch
from fmnist_cli.files import open_regular, write_artefact
from fmnist_cli.formatting import to_json
from fmnist_cli.registry import Registry, Run, RunRecord
from fmnist_cli.runner.listener import Listener

ARTEFACT_NAME = "result.json"  # in a run's own folder
MAX_BYTES = 10_000_000  # of a file whose place is taken; what is larger is no result file

_NAMED = ("model", "lr", "batch")  # they always stand in the name
_SHORT = {"train_size": "train", "val_size": "val", "monitor": "", "augment": "", "engine": ""}


def result_file_name(config: TrainConfig, data_fingerprint: str, *, diverged: bool) -> str:
    """``MLP_lr0.01_b5.json``; with ``_seed7`` and the like where it is not the usual training."""
    usual = TrainConfig(model=config.model)
    words = [config.model.upper(), f"lr{config.lr:.12g}", f"b{config.batch}"]
    for field in fields(config):
        name, value = field.name, getattr(config, field.name)
        if name in _NAMED or value == getattr(usual, name):
            continue
        if name == "patience" and value is None:
            words.append("no-early-stop")
        else:
            shown = f"{value:.12g}" if isinstance(value, float) else str(value)
            words.append(f"{_SHORT.get(name, name)}{shown}")
    if data_fingerprint != OFFICIAL_FINGERPRINT:
        words.append(f"data{data_fingerprint[:8]}")
    if diverged:
        words.append("diverged")
    return f"{'_'.join(words)}.json"


def _content(
    run: Run | RunRecord,
    epochs: Sequence[Epoch],
    test_accuracy: float | None,
    train_seconds: float | None,
) -> str:
    """The file: a training's accuracies and time, and the run that recorded it."""
    content = {
        "train": [epoch.train_accuracy for epoch in epochs],
        "val": [epoch.val_accuracy for epoch in epochs],
        "test": test_accuracy,
        "time": train_seconds,
        "run": {"id": run.id, "uuid": run.uuid},
    }
    return to_json(content) + "\n"


def recorded_content(registry: Registry, run: RunRecord) -> str:
    """The file of a recorded run."""
    return _content(run, registry.epochs(run.id), run.test_accuracy, run.train_seconds)


def keep_result_file(run: Run, backend: Backend, result: TrainResult, data: Dataset) -> str:
    """Put the file into the run's own folder, as an artefact (an ``After``); its content."""
    test = None if result.test is None else result.test.accuracy
    path = run.folder / ARTEFACT_NAME
    content = _content(run, result.epochs, test, result.train_seconds)
    write_artefact(path, content)
    run.add_artefact("result", path)
    return content


def hand_in(folder: Path, name: str, content: str, listener: Listener) -> Path:
    """Write the file into a folder where others may lie; say so where it takes one's place."""
    path = folder / name
    before = _run_of(path)
    write_artefact(path, content)
    now = json.loads(content)["run"]
    if before is not None and before != now:
        which = f"run {before['id']} ({before['uuid'][:8]})" if before else "a run it did not name"
        listener.message(f"{path} now holds run {now['id']}; it held {which}.")
    return path


def hand_in_recorded(
    registry: Registry, runs: Sequence[RunRecord], folder: Path, listener: Listener
) -> list[Path]:
    """Write the file of each of these runs, as far as they have recorded an epoch."""
    paths = []
    for run in (run for run in runs if run.epochs_run):
        config, diverged = TrainConfig(**run.config), run.status == "diverged"
        name = result_file_name(config, run.data_fingerprint, diverged=diverged)
        paths.append(hand_in(folder, name, recorded_content(registry, run), listener))
    return paths


def _run_of(path: Path) -> Mapping[str, Any] | None:
    """The run that a file names, nothing if it names none; None where there is no file."""
    try:
        with open_regular(path) as file:
            content = json.loads(file.read(MAX_BYTES))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, RecursionError):
        return {}
    run = content.get("run") if isinstance(content, dict) else None
    if not isinstance(run, dict) or not isinstance(run.get("id"), int):
        return {}
    return run if re.fullmatch("[0-9a-f]{32}", str(run.get("uuid"))) else {}

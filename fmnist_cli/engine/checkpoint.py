"""A training run between two epochs, as a file: all that it needs to continue as if never stopped.

The order of every epoch comes from (seed, epoch), so there is no random state to keep.

A file is a line that names the format, a line with the SHA-256 of all that follows, a line of
JSON, and the arrays as ``.npz``. Two files take turns: the newest is never overwritten, and each
appears under its name only when it is whole and on the disk.
"""

from __future__ import annotations

import hashlib
import io
import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fmnist_cli.engine.backend import Arrays
from fmnist_cli.engine.weights import array_bytes, read_arrays
from fmnist_cli.epoch import Epoch
from fmnist_cli.errors import ArtefactError
from fmnist_cli.files import TEMPORARY, open_regular, replace_file

FORMAT = b"fmnist checkpoint 1\n"
SLOTS = ("checkpoint-a.ckpt", "checkpoint-b.ckpt")

LEAST_SECONDS = 1.0
"""Checkpoints are at least so far apart,"""
GREATEST_SHARE = 0.02
"""and so far that writing them takes at most this share of the time."""


@dataclass(frozen=True)
class Checkpoint:
    """A run after an epoch.

    Attributes
    ----------
    config : mapping
        The ``TrainConfig``, as plain values.
    epochs : tuple of Epoch
        One per epoch trained.
    stopping : mapping
        ``EarlyStopping.state()``.
    weights, velocity : arrays by name
        ``velocity`` is empty where the momentum is 0.
    best_weights : arrays by name
        Those of the best epoch; empty if no epoch has improved.
    """

    config: Mapping[str, Any]
    epochs: tuple[Epoch, ...]
    stopping: Mapping[str, Any]
    weights: Arrays
    velocity: Arrays
    best_weights: Arrays

    def to_bytes(self) -> bytes:
        """The content of its file."""
        # right after an improvement the best weights are the weights
        same = self.best_weights is self.weights
        best = {} if same else self.best_weights
        groups = {"weights": self.weights, "velocity": self.velocity, "best_weights": best}
        state = {
            "config": dict(self.config),
            "epochs": [vars(epoch) for epoch in self.epochs],
            "stopping": dict(self.stopping),
            "best_is_last": same,
        }
        body = json.dumps(state, separators=(",", ":")).encode() + b"\n"
        body += array_bytes(
            {f"{group}/{name}": a for group, arrays in groups.items() for name, a in arrays.items()}
        )
        return FORMAT + hashlib.sha256(body).hexdigest().encode() + b"\n" + body

    @classmethod
    def from_bytes(cls, content: bytes, shown: str) -> Checkpoint:
        """The inverse of ``to_bytes``; ArtefactError, with ``shown`` in it, for a damaged file."""
        digest, _, body = content.removeprefix(FORMAT).partition(b"\n")
        if not content.startswith(FORMAT) or hashlib.sha256(body).hexdigest().encode() != digest:
            raise ArtefactError(f"{shown} is damaged: its checksum does not hold.")
        line, _, archive = body.partition(b"\n")
        groups: dict[str, dict[str, Any]] = {"weights": {}, "velocity": {}, "best_weights": {}}
        for name, array in read_arrays(io.BytesIO(archive), shown).items():
            group, _, own = name.partition("/")
            groups.setdefault(group, {})[own] = array
        try:
            state = json.loads(line)
            if state.pop("best_is_last"):
                groups["best_weights"] = groups["weights"]
            epochs = tuple(Epoch(**numbers) for numbers in state["epochs"])
            return cls(**state | groups | {"epochs": epochs})
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise ArtefactError(f"{shown} is no checkpoint of this version: {error}.") from error


class Checkpoints:
    """The checkpoints of one run, in its folder; written by the one process that trains it.

    As a context manager, it saves the last epoch's on the way out of an exception, an interrupt
    included.

    Parameters
    ----------
    folder : Path
        Made when the first one is saved.
    before : callable
        Called before one is saved: what must be on the disk at least as early.
    on_failure : callable
        Told of every one that could not be saved; training continues.
    """

    def __init__(
        self,
        folder: Path,
        *,
        before: Callable[[], object] = lambda: None,
        on_failure: Callable[[OSError], object] = lambda error: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._slots = [folder / name for name in SLOTS]
        self._before, self._on_failure = before, on_failure
        self._clock = clock
        self._unsaved: Checkpoint | None = None
        self._due = clock() + LEAST_SECONDS

    def __enter__(self) -> Checkpoints:
        return self

    def __exit__(self, kind: object, error: BaseException | None, traceback: object) -> None:
        if error is not None:
            self.flush()

    def offer(self, checkpoint: Checkpoint) -> None:
        """Save it if one is due; else keep it until the next one is offered."""
        self._unsaved = checkpoint
        if self._clock() >= self._due:
            self.flush()

    def flush(self) -> None:
        """Save the one offered last, if that has not been done."""
        if self._unsaved is None:
            return
        self._before()
        started = self._clock()
        try:
            self._write(self._unsaved.to_bytes())
            self._unsaved = None
        except OSError as error:
            self._on_failure(error)
        ended = self._clock()
        self._due = ended + max(LEAST_SECONDS, (ended - started) / GREATEST_SHARE)

    def load(self, config: Mapping[str, Any]) -> tuple[Checkpoint | None, list[str]]:
        """The newest whole checkpoint of this configuration, and what is wrong with the others."""
        newest: Checkpoint | None = None
        problems = []
        config = json.loads(json.dumps(dict(config)))  # as it comes out of a file
        for path in list(self._slots):
            try:
                with open_regular(path) as file:
                    found = Checkpoint.from_bytes(file.read(), path.name)
                if found.config != config:
                    raise ArtefactError(f"{path.name} is of another configuration.")
            except FileNotFoundError:
                continue
            except (OSError, ArtefactError) as error:
                problems.append(str(error))
                continue
            if newest is None or len(found.epochs) > len(newest.epochs):
                newest = found
                self._slots.sort(key=path.__eq__)  # the next one goes to the other slot
        return newest, problems

    def remove(self) -> None:
        """Remove the files, and what a process that was killed left: the run has ended."""
        self._unsaved = None
        for path in (*self._slots, *self._slots[0].parent.glob(TEMPORARY)):
            path.unlink(missing_ok=True)

    def _write(self, content: bytes) -> None:
        path = self._slots[0]
        path.parent.mkdir(parents=True, exist_ok=True)
        replace_file(path, content, durable=True)
        self._slots.reverse()

"""A run that goes on from a checkpoint ends with the same bits; a damaged file is never used."""

from __future__ import annotations

import errno
import hashlib
import io
import os
import pickle
import zipfile
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fmnist_cli.engine.backend import Split
from fmnist_cli.engine.checkpoint import FORMAT, SLOTS, Checkpoint, Checkpoints
from fmnist_cli.engine.config import TrainConfig
from fmnist_cli.engine.data import Dataset
from fmnist_cli.engine.training import TrainResult, make_backend, train
from fmnist_cli.engine.weights import load_weights, save_weights
from fmnist_cli.epoch import Epoch
from fmnist_cli.errors import ArtefactError


def split(n: int, seed: int) -> Split:
    """Class c is a bright bar at its own place, under noise."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 10, n)
    images = rng.random((n, 784), dtype=np.float32) * np.float32(0.8)
    for image, label in zip(images, labels, strict=True):
        image[70 * label : 70 * label + 20] += np.float32(0.2)
    return Split(images, labels)


@pytest.fixture(scope="module")
def data() -> Dataset:
    parts = {"train": split(90, 1), "val": split(30, 2), "test": split(20, 3)}
    return Dataset(**parts, fingerprint="f", source="here", folder=Path(), is_official=False)


def config(**changes: Any) -> TrainConfig:
    small = {"train_size": 90, "val_size": 30, "hidden": 8, "batch": 7, "epochs": 9, "lr": 0.05}
    return TrainConfig(**small | changes)


def timeless(result: TrainResult) -> dict[str, Any]:
    """The result without its times, and with its arrays as bytes."""
    assert result.weights is not None
    assert result.test is not None
    values = asdict(replace(result, weights=None, test=None))
    values["epochs"] = [replace(e, train_seconds=0, eval_seconds=0) for e in result.epochs]
    values["best"] = result.best and replace(result.best, train_seconds=0, eval_seconds=0)
    values["weights"] = {name: array.tobytes() for name, array in result.weights.items()}
    values["test"] = (result.test.loss, result.test.predicted.tobytes())
    return values


def trained(data: Dataset, wanted: TrainConfig, **keywords: Any) -> TrainResult:
    return train(make_backend(wanted, data.train), data, wanted, **keywords)


CONFIGS = [
    {"patience": None},
    {"patience": 2, "momentum": 0.9, "epochs": 40, "lr": 0.01},
    {"batch": 80, "momentum": 0.5, "patience": 2},  # the kernels of large batches
    {"monitor": "val_loss", "augment": "shift"},
]


@pytest.mark.parametrize("changes", CONFIGS)
def test_resumed_after_any_epoch_it_ends_with_the_same_bits(
    data: Dataset, changes: dict[str, Any]
) -> None:
    wanted = config(**changes)
    kept: list[bytes] = []
    whole = trained(data, wanted, on_checkpoint=lambda c: kept.append(c.to_bytes()))
    assert len(kept) == len(whole.epochs) >= 2
    for n, content in enumerate(kept, start=1):
        heard: list[int] = []
        resumed = trained(
            data,
            wanted,
            resume_from=Checkpoint.from_bytes(content, "it"),
            on_epoch=lambda epoch, heard=heard: heard.append(epoch.epoch),
        )
        assert timeless(resumed) == timeless(whole)
        assert heard == list(range(n + 1, len(whole.epochs) + 1))
        assert resumed.epochs[:n] == whole.epochs[:n]  # the times of before as well


@pytest.mark.keras
@pytest.mark.parametrize("changes", [{"momentum": 0.9, "lr": 0.01}, {"model": "cnn3"}])
def test_on_keras_as_well(data: Dataset, changes: dict[str, Any]) -> None:
    wanted = config(**{"engine": "keras", "epochs": 5, "patience": None} | changes)
    kept: list[bytes] = []
    whole = trained(data, wanted, on_checkpoint=lambda c: kept.append(c.to_bytes()))
    resumed = trained(data, wanted, resume_from=Checkpoint.from_bytes(kept[1], "it"))
    assert timeless(resumed) == timeless(whole)


def test_an_epoch_that_diverged_makes_no_checkpoint(data: Dataset) -> None:
    kept: list[Checkpoint] = []
    result = trained(data, config(lr=1e30), on_checkpoint=kept.append)
    assert result.stop_reason == "diverged"
    assert len(kept) == len(result.epochs) - 1


def epoch(number: int) -> Epoch:
    return Epoch(
        epoch=number,
        updates=4 * number,
        train_seconds=0.1 + number,
        eval_seconds=0.01,
        running_loss=0.5,
        train_loss=0.4,
        train_accuracy=0.8,
        val_loss=0.6,
        val_accuracy=0.7,
    )


def checkpoint(n: int, **changes: Any) -> Checkpoint:
    """After epoch n, with weights that say so."""
    values: dict[str, Any] = {
        "config": {"seed": 1},
        "epochs": tuple(epoch(i + 1) for i in range(n)),
        "stopping": {"best_epoch": 1},
        "weights": {"W": np.full(3, n, np.float32)},
        "velocity": {},
        "best_weights": {"W": np.ones(3, np.float32)},
    }
    return Checkpoint(**values | changes)


def saved(folder: Path, *numbers: int) -> Checkpoints:
    checkpoints = Checkpoints(folder)
    for n in numbers:
        checkpoints.offer(checkpoint(n))
        checkpoints.flush()
    return checkpoints


def loaded(folder: Path) -> int:
    """The epoch that is gone on from; 0: none."""
    found, _ = Checkpoints(folder).load({"seed": 1})
    if found is None:
        return 0
    assert found.weights["W"].tolist() == [len(found.epochs)] * 3
    return len(found.epochs)


def test_the_two_newest_are_kept_and_the_newest_is_loaded(tmp_path: Path) -> None:
    checkpoints = saved(tmp_path, 1, 2, 3)
    assert sorted(p.name for p in tmp_path.iterdir()) == list(SLOTS)
    assert loaded(tmp_path) == 3
    (tmp_path / SLOTS[0]).unlink()
    assert loaded(tmp_path) == 2
    checkpoints.remove()
    assert list(tmp_path.iterdir()) == []
    assert loaded(tmp_path) == 0


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_damaged_anywhere_the_one_before_is_loaded(
    tmp_path_factory: pytest.TempPathFactory, draw: st.DataObject
) -> None:
    folder = tmp_path_factory.mktemp("damaged")
    saved(folder, 1, 2)
    newest = folder / SLOTS[1]
    content = bytearray(newest.read_bytes())
    if draw.draw(st.booleans(), "cut"):
        content = content[: draw.draw(st.integers(0, len(content) - 1), "at")]
    else:
        bit = draw.draw(st.integers(0, 8 * len(content) - 1), "bit")
        content[bit // 8] ^= 1 << bit % 8
    newest.write_bytes(content)
    found, problems = Checkpoints(folder).load({"seed": 1})
    assert found is not None
    assert len(found.epochs) == 1
    assert len(problems) == 1
    assert problems[0].startswith(SLOTS[1])


def test_what_is_no_checkpoint_is_not_waited_for_and_harms_nothing(tmp_path: Path) -> None:
    saved(tmp_path, 1, 2)
    (tmp_path / SLOTS[1]).unlink()
    os.mkfifo(tmp_path / SLOTS[1])
    assert loaded(tmp_path) == 1
    body = b"[" * 100_000 + b"\n" + (tmp_path / SLOTS[0]).read_bytes().split(b"\n", 3)[3]
    digest = hashlib.sha256(body).hexdigest().encode()
    with pytest.raises(ArtefactError, match="it is no checkpoint of this version"):
        Checkpoint.from_bytes(FORMAT + digest + b"\n" + body, "it")


def test_the_next_one_takes_the_place_of_the_damaged_one(tmp_path: Path) -> None:
    saved(tmp_path, 1, 2)
    (tmp_path / SLOTS[1]).write_bytes(b"x")
    checkpoints = Checkpoints(tmp_path)
    checkpoints.load({"seed": 1})
    checkpoints.offer(checkpoint(2))
    checkpoints.flush()
    (tmp_path / SLOTS[1]).write_bytes(b"x")
    assert loaded(tmp_path) == 1


def test_one_of_another_configuration_is_not_used(tmp_path: Path) -> None:
    saved(tmp_path, 1)
    found, problems = Checkpoints(tmp_path).load({"seed": 2})
    assert found is None
    assert problems == [f"{SLOTS[0]} is of another configuration."]


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_they_are_a_second_apart(tmp_path: Path) -> None:
    clock, seen = Clock(), []
    checkpoints = Checkpoints(tmp_path, clock=clock)
    for n in range(1, 8):
        clock.now += 0.5
        checkpoints.offer(checkpoint(n))
        seen.append(loaded(tmp_path))
    assert seen == [0, 2, 2, 4, 4, 6, 6]


def test_where_writing_is_slow_they_are_further_apart(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Clock()
    checkpoints = Checkpoints(tmp_path, clock=clock)
    write = checkpoints._write

    def slowly(content: bytes) -> None:
        clock.now += 1.0
        write(content)

    monkeypatch.setattr(checkpoints, "_write", slowly)
    for n in range(1, 201):
        clock.now += 1.0
        checkpoints.offer(checkpoint(n))
    assert clock.now == 200 + 4  # of 200 s of training: after 1, 51, 101 and 151


def test_a_full_disk_is_told_and_harms_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    saved(tmp_path, 1, 2)
    told: list[OSError] = []
    checkpoints = Checkpoints(tmp_path, on_failure=told.append)
    checkpoints.load({"seed": 1})
    checkpoints.offer(checkpoint(3))

    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr("os.fsync", full)
        checkpoints.flush()
    assert [error.errno for error in told] == [errno.ENOSPC]
    assert loaded(tmp_path) == 2
    checkpoints.flush()  # once there is room
    assert loaded(tmp_path) == 3


def test_an_interrupt_saves_the_last_epoch(tmp_path: Path) -> None:
    order: list[int] = []
    kept = Checkpoints(tmp_path, clock=Clock(), before=lambda: order.append(loaded(tmp_path)))
    kept.offer(checkpoint(1))
    kept.offer(checkpoint(2))
    with pytest.raises(KeyboardInterrupt), kept:
        raise KeyboardInterrupt
    assert loaded(tmp_path) == 2
    assert order == [0]  # what must be on the disk before, was asked for before


def test_a_clean_end_saves_nothing(tmp_path: Path) -> None:
    with Checkpoints(tmp_path) as kept:
        kept.offer(checkpoint(1))
    assert list(tmp_path.iterdir()) == []


class Exploit:
    def __reduce__(self) -> Any:
        return (print, ("code in a weights file was run",))


def _zip(path: Path, members: dict[str, bytes], compression: int = zipfile.ZIP_STORED) -> None:
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, content in members.items():
            archive.writestr(name, content)


def _npy(header: str, content: bytes = b"") -> bytes:
    text = header.encode() + b" " * (117 - len(header)) + b"\n"
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text + content


def _hostile(path: Path, kind: str) -> None:
    npy = io.BytesIO()
    np.save(npy, np.zeros(4, np.float32))
    match kind:
        case "pickle":
            path.write_bytes(pickle.dumps(Exploit()))
        case "array of objects":
            np.savez(path, W1=np.array([Exploit()], dtype=object))
        case "pickle as a member":
            _zip(path, {"W1.npy": pickle.dumps(Exploit())})
        case "bomb":
            _zip(path, {"W1.npy": npy.getvalue() + b"\0" * 50_000_000}, zipfile.ZIP_DEFLATED)
        case "claims to be huge":
            shape = f"({2**50},)"
            _zip(
                path,
                {"W1.npy": _npy(f"{{'descr': '<f4', 'fortran_order': False, 'shape': {shape}}}")},
            )
        case "claims to be longer than the file":
            _zip(path, {"W1.npy": npy.getvalue()})
            content = path.read_bytes()
            size = len(npy.getvalue()).to_bytes(4, "little")
            path.write_bytes(content.replace(size, (2**31).to_bytes(4, "little")))
        case "integers":
            np.savez(path, W1=np.zeros(4, np.int64))
        case "no zip":
            path.write_bytes(npy.getvalue())
        case "not an array":
            _zip(path, {"W1.txt": b"hello"})
        case "empty":
            path.write_bytes(b"")


@pytest.mark.parametrize(
    "kind",
    [
        "pickle",
        "array of objects",
        "pickle as a member",
        "bomb",
        "claims to be huge",
        "claims to be longer than the file",
        "integers",
        "no zip",
        "not an array",
        "empty",
    ],
)
def test_a_hostile_weights_file_is_refused_and_runs_no_code(
    tmp_path: Path, kind: str, capfd: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "weights.npz"
    _hostile(path, kind)
    with pytest.raises(ArtefactError, match=r"weights\.npz must "):
        load_weights(path)
    assert capfd.readouterr().out == ""


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_a_damaged_weights_file_is_refused_or_whole(
    tmp_path_factory: pytest.TempPathFactory, draw: st.DataObject
) -> None:
    path = tmp_path_factory.mktemp("weights") / "weights.npz"
    weights = {"W1": np.arange(6, dtype=np.float32).reshape(2, 3), "b1": np.ones(3, np.float32)}
    save_weights(path, weights)
    content = bytearray(path.read_bytes())
    if draw.draw(st.booleans(), "cut"):
        content = content[: draw.draw(st.integers(0, len(content) - 1), "at")]
    else:
        for _ in range(draw.draw(st.integers(1, 3), "bytes")):
            content[draw.draw(st.integers(0, len(content) - 1))] = draw.draw(st.integers(0, 255))
    path.write_bytes(content)
    try:
        found = load_weights(path)
    except ArtefactError:
        return
    # the archive's own CRC lets no changed number through
    assert {array.tobytes() for array in found.values()} <= {a.tobytes() for a in weights.values()}

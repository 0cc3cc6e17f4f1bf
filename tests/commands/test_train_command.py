"""`fmnist train` from the command line to the registry, the files and the exit code."""

from __future__ import annotations

import gzip
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fmnist_cli.engine.config import TrainConfig
from fmnist_cli.engine.data import OFFICIAL_FINGERPRINT
from fmnist_cli.registry import Registry
from fmnist_cli.runner.result_file import result_file_name

from .conftest import SMALL, Fmnist


def latest(db: str = "runs.db") -> Any:
    with Registry.open(db, readonly=True) as registry:
        return registry.get_run("latest")


def test_a_run_is_recorded_with_all_it_printed(fmnist: Fmnist) -> None:
    document = fmnist.small_document("train", "--epochs", 6, "--lr", "0.05", "--no-early-stop")
    assert document["schema"] == "fmnist.train/1"
    with Registry.open("runs.db", readonly=True) as registry:
        run = registry.get_run(document["id"])
        epochs = registry.epochs(run.id)
        evaluations = registry.evaluations(run.id)
        artefacts = {a.kind: registry.artefact_path(a) for a in registry.artefacts(run.id)}
    assert (run.status, run.stop_reason, run.epochs_run) == ("finished", "max_epochs", 6)
    assert [e.val_accuracy for e in epochs] == [e["val_accuracy"] for e in document["epochs"]]
    assert [e.updates for e in epochs] == [40, 80, 120, 160, 200, 240]
    assert run.best_epoch == document["best_epoch"]
    assert run.test_accuracy == document["test_accuracy"] > 0.3  # learnable: well above chance
    best = max(epochs, key=lambda e: (e.val_accuracy, -e.epoch))
    assert run.best_epoch == best.epoch  # the first of the highest
    (test,) = evaluations
    assert test.test_set == "test"
    assert sum(map(sum, test.confusion)) == test.n == 100
    assert sum(test.confusion[k][k] for k in range(10)) / 100 == run.test_accuracy
    with np.load(artefacts["weights"], allow_pickle=False) as saved:
        assert {name: saved[name].shape for name in saved.files} == {
            "W1": (784, 16),
            "b1": (16,),
            "W2": (16, 10),
            "b2": (10,),
        }


def test_a_hint_names_the_registry_that_was_given(fmnist: Fmnist) -> None:
    assert (
        "fmnist runs list --db other.db"
        in fmnist.small("train", "--epochs", 1, "--db", "other.db").stderr
    )
    assert "--db" not in fmnist.small("train", "--epochs", 1).stderr


def test_markup_in_a_path_is_shown_as_it_is(fmnist: Fmnist) -> None:
    result = fmnist.small("train", "--epochs", 1, "--results", "a[/bold]b")
    assert "a[/bold]b" in result.stdout


def test_the_result_file_that_course_scripts_read(fmnist: Fmnist) -> None:
    document = fmnist.small_document("train", "--epochs", 3, "--batch", 7)
    name = "MLP_lr0.01_b7_epochs3_hidden16_train200_val50_data5a40e510.json"
    assert document["result_file"] == f"results/{name}"
    content = json.loads(Path("results", name).read_text())
    assert sorted(content) == ["run", "test", "time", "train", "val"]
    assert content["run"] == {"id": document["id"], "uuid": document["uuid"]}
    assert content["train"] == [e["train_accuracy"] for e in document["epochs"]]
    assert content["val"] == [e["val_accuracy"] for e in document["epochs"]]
    assert content["test"] == document["test_accuracy"]
    assert content["time"] == document["train_seconds"]
    assert [path.name for path in Path("results").iterdir()] == [name]


def test_only_the_usual_training_has_the_plain_name() -> None:
    usual = TrainConfig()

    def name(config: TrainConfig, data: str = OFFICIAL_FINGERPRINT, diverged: bool = False) -> str:
        return result_file_name(config, data, diverged=diverged)

    assert name(usual) == "MLP_lr0.01_b5.json"
    assert name(TrainConfig(model="cnn3", lr=0.05, batch=20)) == "CNN3_lr0.05_b20.json"
    others = [
        usual.but(seed=7),
        usual.but(hidden=64),
        usual.but(epochs=1),
        usual.but(patience=None),
        usual.but(patience=5),
        usual.but(momentum=0.9),
        usual.but(train_size=500),
        usual.but(val_size=500),
        usual.but(monitor="val_loss"),
        usual.but(augment="shift"),
        usual.but(engine="keras"),
        usual.but(lr=0.0100000001),
    ]
    names = [*map(name, others), name(usual, "5a40e510779f"), name(usual, diverged=True)]
    assert names[0] == "MLP_lr0.01_b5_seed7.json"
    assert names[1] == "MLP_lr0.01_b5_hidden64.json"
    assert names[3] == "MLP_lr0.01_b5_no-early-stop.json"
    assert names[-2:] == ["MLP_lr0.01_b5_data5a40e510.json", "MLP_lr0.01_b5_diverged.json"]
    assert len({*names, name(usual)}) == len(names) + 1


def test_a_result_file_that_is_replaced_is_named(fmnist: Fmnist) -> None:
    first = fmnist.small_document("train", "--epochs", 2)
    path = Path(first["result_file"])
    said = f"{path} now holds run 2; it held run 1 ({first['uuid'][:8]})."
    again = fmnist.small("train", "--epochs", 2)
    assert said in again.stderr.splitlines()
    assert json.loads(path.read_text())["run"]["id"] == 2
    own = {"id": 1, "uuid": "0" * 32}
    for content in (
        "{}",
        "[" * 100_000,
        json.dumps({"run": own | {"uuid": "\x1b[2J"}}),
        json.dumps({"run": own | {"id": ["\x1b[2J"]}}),
    ):
        path.write_text(content)
        assert "a run it did not name" in fmnist.small("train", "--epochs", 2).stderr
    path.unlink()
    os.mkfifo(path)  # whose writer would be waited for, with the training done
    assert "a run it did not name" in fmnist.small("train", "--epochs", 2).stderr
    other = fmnist.small("train", "--epochs", 2, "--seed", 7)
    assert "now holds" not in other.stderr
    assert json.loads(path.read_text())["run"]["id"] == 7
    assert len(list(Path("results").iterdir())) == 2


def test_a_diverged_run_replaces_no_result(fmnist: Fmnist) -> None:
    path = Path(fmnist.small_document("train", "--epochs", 2, "--lr", 100, code=4)["result_file"])
    assert path.stem.endswith("_diverged")
    fmnist.small("train", "--epochs", 2, "--lr", 100, "--seeds", 2, code=4)


def test_the_same_command_gives_the_same_bits(fmnist: Fmnist) -> None:
    def numbers(seed: int) -> tuple[Any, bytes]:
        document = fmnist.small_document("train", "--epochs", 3, "--seed", seed)
        with Registry.open("runs.db", readonly=True) as registry:
            (weights,) = registry.artefacts(document["id"], kind="weights")
            data = registry.artefact_path(weights).read_bytes()
        timeless = [
            {k: v for k, v in e.items() if not k.endswith("seconds")} for e in document["epochs"]
        ]
        return timeless, data

    once, again, other = numbers(1), numbers(1), numbers(2)
    assert once[0] == again[0]
    with np.load(_file(once[1])) as a, np.load(_file(again[1])) as b, np.load(_file(other[1])) as c:
        for name in a.files:
            assert a[name].tobytes() == b[name].tobytes()
            assert a[name].tobytes() != c[name].tobytes()


def _file(data: bytes) -> Any:
    import io

    return io.BytesIO(data)


def test_the_checks_come_first_and_are_recorded(
    fmnist: Fmnist, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fmnist_cli.runner.checks.MAGNITUDE_IMAGES", (10, 200))
    monkeypatch.setattr("fmnist_cli.commands.train.MAGNITUDE_IMAGES", (10, 200))
    document = fmnist.small_document(
        "train", "--epochs", 1, "--check-gradient", "--check-magnitude"
    )
    gradient, magnitude = document["checks"]["gradient"], document["checks"]["magnitude"]
    assert gradient["holds"]
    assert magnitude["holds"]
    assert gradient["max_relative_error"] < 1e-4
    assert {entry["parameter"] for entry in gradient["entries"]} == {"W1", "b1", "W2", "b2"}
    with Registry.open("runs.db", readonly=True) as registry:
        checks = registry.checks(document["id"])
    assert {check.kind for check in checks} == {"gradient", "magnitude"}
    assert all(check.held for check in checks)


def test_a_wrong_gradient_exits_3_and_trains_nothing(
    fmnist: Fmnist, monkeypatch: pytest.MonkeyPatch
) -> None:
    from fmnist_cli.engine.numpy_mlp.layers import SoftmaxCrossEntropy

    right = SoftmaxCrossEntropy.backward
    monkeypatch.setattr(SoftmaxCrossEntropy, "backward", lambda self: -right(self))
    message = fmnist.error("train", *SMALL, "--check-gradient", code=3)
    assert message.startswith("the gradient check must hold before training")
    run = latest()
    assert (run.status, run.epochs_run) == ("failed", 0)


def test_divergence_exits_4_and_keeps_what_was_recorded(fmnist: Fmnist) -> None:
    message = fmnist.error("train", *SMALL, "--lr", 1000, code=4)
    assert "training diverged in epoch 1 at learning rate 1000" in message
    run = latest()
    assert (run.status, run.stop_reason, run.epochs_run) == ("diverged", "diverged", 1)


def test_diverged_json_is_strict(fmnist: Fmnist) -> None:
    document = fmnist.small_document("train", "--lr", "1e30", code=4)
    assert document["status"] == "diverged"
    assert document["epochs"][0]["train_loss"] is None
    assert document["best_epoch"] is None


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (("--lr", "1e-320"), "--lr must be at least 1e-30. Received: 1e-320."),
        (
            ("--check-magnitude", "--train-size", 2000),
            "--check-magnitude needs a --train-size of at least 5000. Received: 2000.",
        ),
        (("--batch", 0), "--batch must be between 1 and 10000. Received: 0."),
        (("--batch", 20000), "--batch must be between 1 and 10000. Received: 20000."),
        (("--lr", -1), "--lr must be a finite number above 0. Received: -1.0."),
        (("--lr", "nan"), "--lr must be a finite number above 0. Received: nan."),
        (
            ("--patience", 0),
            "--patience must be at least 1. Received: 0. "
            "Use --no-early-stop to train to the last epoch.",
        ),
        (("--epochs", 0), "--epochs must be at least 1. Received: 0."),
        (
            ("--batch", "x"),
            "Invalid value for '--batch': must be a whole number. Received: x. "
            "Try: fmnist train --help",
        ),
        (("--hidden", 0), "--hidden must be between 1 and 65536. Received: 0."),
        (("--seed", -1), "--seed must be between 0 and 2^63 - 1. Received: -1."),
        (("--train-size", 70000), "--train-size must be between 1 and 59999. Received: 70000."),
        (
            ("--model", "resnet"),
            "Invalid value for '--model': 'resnet' is not one of 'mlp', 'cnn2', 'cnn3'. "
            "Try: fmnist train --help",
        ),
        (
            ("--patience", 2, "--no-early-stop"),
            "--no-early-stop and --patience exclude each other. "
            "Received: --no-early-stop --patience 2.",
        ),
    ],
)
def test_wrong_values_are_one_line_and_exit_2(
    fmnist: Fmnist, args: tuple[object, ...], message: str
) -> None:
    assert fmnist.error("train", *args, code=2) == message
    assert not Path("runs.db").exists()
    assert not Path("results").exists()


def test_an_unwritable_results_folder_is_refused_before_training(fmnist: Fmnist) -> None:
    Path("taken").write_text("a file")
    message = fmnist.error("train", *SMALL, "--results", "taken", code=2)
    assert (
        message == "--results must be a folder that can be written. Received: taken (File exists)."
    )
    assert not Path("runs.db").exists()


def test_a_registry_in_a_folder_that_is_absent(fmnist: Fmnist) -> None:
    message = fmnist.error("train", *SMALL, "--db", "nowhere/runs.db", code=1)
    assert "nowhere" in message
    assert "mkdir" in message


def test_a_registry_that_is_a_text_file(fmnist: Fmnist) -> None:
    Path("notes.txt").write_text("not a database, " * 100)
    message = fmnist.error("train", *SMALL, "--db", "notes.txt", code=1)
    assert "notes.txt is not an SQLite file" in message
    assert Path("notes.txt").read_text() == "not a database, " * 100


def _copy(tiny_data: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = Path("data").absolute()
    shutil.copytree(tiny_data, folder)
    monkeypatch.setenv("FMNIST_DATA_DIR", str(folder))
    return folder


def test_bad_data_is_named_and_nothing_is_recorded_as_finished(
    fmnist: Fmnist, tiny_data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = _copy(tiny_data, monkeypatch)
    labels = folder / "train-labels-idx1-ubyte.gz"
    whole = labels.read_bytes()

    labels.write_bytes(whole[:-20])
    assert labels.name in fmnist.error("train", *SMALL, code=1)
    labels.write_bytes(gzip.compress(b"\0\0\x08\x03" + gzip.decompress(whole)[4:]))
    assert labels.name in fmnist.error("train", *SMALL, code=1)
    labels.unlink()
    assert labels.name.removesuffix(".gz") in fmnist.error("train", *SMALL, code=1)
    labels.write_bytes(whole)
    message = fmnist.error("train", "--train-size", 200, "--val-size", 50, code=3)
    assert "--allow-custom-data" in message
    if Path("runs.db").exists():
        with Registry.open("runs.db", readonly=True) as registry:
            assert registry.list_runs(status="finished") == []


@pytest.mark.parametrize(("signum", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_ends_the_run_as_interrupted(
    fmnist: Fmnist, signum: signal.Signals, code: int
) -> None:
    command = [sys.executable, "-m", "fmnist_cli", "train", *SMALL, "--no-early-stop"]
    process = subprocess.Popen([*command, "--epochs", "1000000"], stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        if Path("runs.db").exists() and latest_epochs() > 3:
            break
        time.sleep(0.1)
    process.send_signal(signum)
    _, stderr = process.communicate(timeout=60)
    assert process.returncode == code
    run = latest()
    word = {130: "Interrupted", 143: "Terminated"}[code]
    assert stderr.strip().splitlines()[-1] == (
        f"Error: {word}: run {run.id} keeps its {run.epochs_run} epochs; "
        f"continue with: fmnist train --resume {run.id}"
    )
    assert "Traceback" not in stderr
    assert run.status == "interrupted"
    with Registry.open("runs.db", readonly=True) as registry:
        assert [e.epoch for e in registry.epochs(run.id)] == list(range(1, run.epochs_run + 1))


def latest_epochs() -> int:
    try:
        return int(latest().epochs_run)
    except Exception:
        return 0


def test_a_line_per_epoch_where_a_log_is_asked_for(fmnist: Fmnist) -> None:
    out = fmnist.small("train", "--epochs", 3, "--log").stdout
    lines = [line for line in out.splitlines() if line.startswith("epoch ")]
    epochs = fmnist.document("runs", "show", "latest")["epochs"]
    assert len(lines) == len(epochs) == 3
    for line, epoch in zip(lines, epochs, strict=True):
        assert line.startswith(
            f"epoch {epoch['epoch']:>3}; training loss {epoch['train_loss']:.4f}, "
            f"accuracy {100 * epoch['train_accuracy']:.2f} %; "
            f"validation loss {epoch['val_loss']:.4f}, "
            f"accuracy {100 * epoch['val_accuracy']:.2f} %; "
        )
    assert "epoch   1;" not in fmnist.small("train", "--epochs", 1).stdout
    fmnist.small_document("train", "--epochs", 1, "--log")  # JSON alone


def test_the_outcome_is_that_of_the_best_epoch(fmnist: Fmnist) -> None:
    fmnist.small("train", "--epochs", 30, "--no-early-stop")
    shown = fmnist.document("runs", "show", 1, "--epochs")
    epochs, number = shown["epochs"], shown["best_epoch"]
    accuracies = [epoch["val_accuracy"] for epoch in epochs]
    assert number == 1 + accuracies.index(max(accuracies)) < len(epochs)
    best = epochs[number - 1]
    assert shown["updates_to_best"] == best["updates"] == 40 * number
    assert shown["best_val_accuracy"] == best["val_accuracy"]
    assert shown["best_val_loss"] == best["val_loss"]
    (test,) = shown["evaluations"]
    assert (test["test_set"], test["n"]) == ("test", 100)
    assert (test["accuracy"], test["loss"]) == (shown["test_accuracy"], shown["test_loss"])
    confusion = np.array(test["confusion"])
    assert confusion.sum(axis=1).tolist() == [10] * 10  # rows: what they are
    assert confusion.trace() == round(100 * test["accuracy"])

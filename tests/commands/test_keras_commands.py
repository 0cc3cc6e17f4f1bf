"""The commands that run Keras, on the small data set."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from fmnist_cli.registry import Registry

from .conftest import SMALL, Fmnist

pytestmark = pytest.mark.keras

FEW = ("--epochs", "2", "--batch", "20", "--engine", "keras")


def without_times(document: dict[str, Any]) -> list[dict[str, Any]]:
    return [
        {key: value for key, value in epoch.items() if not key.endswith("seconds")}
        for epoch in document["epochs"]
    ]


def test_a_cnn_is_trained_recorded_and_its_weights_come_back(fmnist: Fmnist) -> None:
    document = fmnist.small_document("train", "--model", "cnn2", "--lr", 0.05, *FEW)
    assert document["config"]["engine"] == "keras"
    assert document["status"] == "finished"
    assert document["result_file"].startswith("results/CNN2_lr0.05_b20_keras_epochs")
    with Registry.open("runs.db", readonly=True) as registry:
        run = registry.get_run(document["id"])
        assert run.hidden is None
        (test,) = registry.evaluations(run.id)
    again = fmnist.document("ood", "--run", document["id"], "--allow-custom-data")
    restored = {one["test_set"]: one for one in again["evaluations"]}["test"]
    assert restored["accuracy"] == test.accuracy == document["test_accuracy"]
    assert [list(row) for row in test.confusion] == restored["confusion"]


def test_the_same_command_gives_the_same_metrics_in_another_process(
    fmnist: Fmnist, tmp_path: Path
) -> None:
    import json

    command = [sys.executable, "-m", "fmnist_cli", "train", "--model", "cnn3", *SMALL, *FEW]
    documents = [
        json.loads(
            subprocess.run(
                [*command, "--json", "--db", str(tmp_path / f"{i}.db")],
                capture_output=True, check=True, text=True,
            ).stdout
        )
        for i in range(2)
    ]  # fmt: skip
    assert without_times(documents[0]) == without_times(documents[1])


def test_the_log_noise_of_tensorflow_does_not_reach_the_user(fmnist: Fmnist) -> None:
    command = [sys.executable, "-m", "fmnist_cli", "train", "--model", "cnn2", *SMALL, *FEW]
    result = subprocess.run(
        [*command, "--quiet"], capture_output=True, text=True, check=True,
        env=os.environ | {"KERAS_BACKEND": "jax"},
    )  # fmt: skip
    assert result.stderr == ""
    assert result.stdout.startswith("Run 1: cnn2 (keras)")


@pytest.mark.parametrize("model", ["mlp", "cnn2", "cnn3"])
def test_both_engines_follow_the_same_curve(fmnist: Fmnist, model: str) -> None:
    args = ("train", "--model", model, "--epochs", 4, "--batch", 7, "--momentum", 0.5)
    args += ("--no-early-stop",)
    numpy, keras = (fmnist.small_document(*args, "--engine", name) for name in ("numpy", "keras"))
    for ours, theirs in zip(numpy["epochs"], keras["epochs"], strict=True):
        # float32 rounds to 6e-8, until rounding moves a pre-activation over a kink of the ReLU or
        # the pool: from then on the two differ by up to some 1e-3
        for loss in ("running_loss", "train_loss", "val_loss"):
            assert ours[loss] == pytest.approx(theirs[loss], rel=5e-3)
        # at most one of 50 images may fall on the other side
        assert abs(ours["val_accuracy"] - theirs["val_accuracy"]) <= 1 / 50 + 1e-9


def test_ood_of_every_model(fmnist: Fmnist) -> None:
    document = fmnist.small_document(
        "ood", "--model", "all", "--epochs", 1, "--batch", 20, "--engine", "keras"
    )
    assert [run["model"] for run in document["runs"]] == ["mlp", "cnn2", "cnn3"]
    assert len(document["evaluations"]) == 15
    shown = fmnist.document("plot", "ood", "--samples", "--allow-custom-data", "--out", "s.png")
    assert Path(shown["file"]).exists()


@pytest.mark.parametrize("model", ["cnn2", "cnn3"])
def test_gradcheck_of_a_cnn(fmnist: Fmnist, model: str) -> None:
    document = fmnist.small_document(
        "gradcheck", "--model", model, "--batch", 2, "--samples", 2,
        "--seed", 3, "--engine", "keras",
    )  # fmt: skip
    assert document["holds"]
    assert document["max_relative_error"] < 1e-4
    assert document["training_step_norm_relative_error"] < 1e-9


def test_counts_are_those_of_the_built_models(
    fmnist: Fmnist, monkeypatch: pytest.MonkeyPatch
) -> None:
    document = fmnist.document("count-params", "--verify")
    totals = {m["model"]: (m["total"], m["built_total"]) for m in document["models"]}
    assert totals == {
        "mlp": (101_770, 101_770),
        "cnn2": (80_650, 80_650),
        "cnn3": (68_106, 68_106),
    }
    monkeypatch.setattr("fmnist_cli.engine.parameters.built_total", lambda *args: 1)
    assert "the counts must be those of the built models" in fmnist.error(
        "count-params", "--verify", code=3
    )


def test_tensorflow_that_the_process_has_used_already(tiny_data: Path) -> None:
    """A notebook that has used TensorFlow: its pool stays, and so do the bits."""
    code = f"""
from pathlib import Path
from fmnist_cli import TrainConfig, load_data, make_backend, train
config = TrainConfig(model="cnn2", engine="keras", epochs=1, train_size=200, val_size=50)
data = load_data(200, 50, data_dir=Path({str(tiny_data)!r}), allow_custom=True)
print(train(make_backend(config, data.train), data, config).epochs[0].train_loss)
"""
    used = "import tensorflow as tf; tf.zeros(1)"
    losses = []
    for first in ("", used):
        program = [sys.executable, "-c", first + code]
        ended = subprocess.run(program, capture_output=True, text=True, check=False)
        assert ended.returncode == 0, ended.stderr
        losses.append(ended.stdout)
    assert losses[0] == losses[1]

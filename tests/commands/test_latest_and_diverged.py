"""``latest`` is the latest run that fits; a diverged run is in no mean, and no study of its own."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from .conftest import SMALL, Fmnist


def test_latest_is_the_latest_that_fits(fmnist: Fmnist) -> None:
    fmnist.small("train", "--epochs", 2)
    fmnist.small("gradcheck")
    fmnist("plot", "train", "--out", "train.png")
    assert fmnist.document("plot", "train", "--out", "again.png")["run"] == 1
    first = fmnist("ood", "--run", "latest", "--allow-custom-data")
    again = fmnist("ood", "--run", "latest", "--allow-custom-data")
    for number, said in ((3, first.stderr), (4, again.stderr)):
        assert f"The weights of run 1; recorded as run {number}." in said
    fmnist("runs", "reproduce", "latest", "--allow-custom-data")
    assert fmnist.error("train", "--resume", "latest", code=1).startswith(
        "the latest run must be interrupted. Received: no run that has."
    )
    assert fmnist.error("plot", "dynamics", code=1).startswith(
        "the latest run must have recorded its dynamics."
    )
    fmnist.small("train", "--epochs", 1, "--dynamics")
    fmnist.small("train", "--epochs", 1)
    assert fmnist.document("plot", "dynamics", "--out", "dynamics.png")["run"] == 6


def test_resume_latest_passes_over_what_has_ended(
    fmnist: Fmnist, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stopped(*args: object, **keywords: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr("fmnist_cli.engine.training.train", stopped)
        fmnist.small("train", "--epochs", 2, code=130)
        fmnist.small("momentum", "--alpha", 0, code=130)  # belongs to its study
    fmnist.small("train", "--epochs", 1)
    document = fmnist.document("train", "--resume", "latest")
    assert (document["id"], document["epochs_run"]) == (1, 2)


def test_diverged_seeds_are_in_no_mean(fmnist: Fmnist) -> None:
    args = ("train", "--epochs", 30, "--no-early-stop", "--seeds", 6, "--lr", 0.25, "--batch", 2)
    document = fmnist.small_document(*args, code=4)
    ended = {run["seed"]: run for run in document["runs"]}
    sound = [run for run in ended.values() if run["status"] == "finished"]
    with_number = [run for run in ended.values() if run["test_accuracy"] is not None]
    assert 0 < len(sound) < len(with_number)  # or the test would show nothing
    (arm,) = document["arms"]
    for name in ("test_accuracy", "best_epoch", "train_seconds"):
        assert arm[name]["n"] == len(sound)
    mean = sum(run["test_accuracy"] for run in sound) / len(sound)
    assert arm["test_accuracy"]["mean"] == pytest.approx(mean)
    shown = fmnist.small(*args, code=4)
    assert re.search(rf"diverged with {6 - len(sound)} of 6 seeds", shown.stderr)


@pytest.mark.parametrize(
    "study", [("sweep-batch", "--batch", 5), ("momentum", "--alpha", 0), ("ood",)]
)
def test_a_study_of_which_every_run_diverged_exits_4(
    fmnist: Fmnist, study: tuple[object, ...]
) -> None:
    message = fmnist.error(*study, *SMALL, "--lr", 100, "--epochs", 3, code=4)
    assert message == "every run of study 1 diverged (1 of 1). Try a smaller --lr."
    assert Path("runs.db").exists()

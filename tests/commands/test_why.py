"""`--why`: the conditions that test the causes are trained, kept apart and read again."""

from __future__ import annotations

from pathlib import Path

import pytest

from fmnist_cli.epoch import AXES
from fmnist_cli.registry import Registry

from .conftest import Fmnist

EPOCHS = ("--epochs", 4)


def kinds() -> list[str]:
    with Registry.open("runs.db", readonly=True) as registry:
        return [study.kind for study in registry.list_studies()][::-1]


def test_a_sweep_says_why_and_keeps_its_tests_apart(fmnist: Fmnist) -> None:
    args = ("sweep-batch", *EPOCHS, "--batch", 5, "--batch", 50, "--seeds", 2)
    plain = fmnist.small_document(*args)
    assert "explanations" not in plain
    why = fmnist.small_document(*args, "--why")
    assert kinds() == ["sweep-batch", "sweep-batch-why"]
    assert why["id"] == plain["id"]
    assert why["answers"] == plain["answers"]  # the study's answers are its own
    assert [run["arm"] for run in why["runs"]] == [run["arm"] for run in plain["runs"]]
    questions = [one["question"] for one in why["explanations"]]
    assert questions == [answer["question"] for answer in why["answers"][:3]]
    causes = why["explanations"][1]["causes"]
    outcomes = {"supported", "within the noise", "tested, not supported"}
    assert {cause["outcome"] for cause in causes} <= outcomes
    assert ("The batch itself", "at batch 50") in {(one["name"], one["at"]) for one in causes}
    measured = " ".join(why["explanations"][1]["measured"])
    assert "the gradient noise scale, " in measured
    assert "The sharpness there, " in measured
    assert why["explanations"][1]["part"] == "Problem 3: the batch size"
    with Registry.open("runs.db", readonly=True) as registry:
        arms = {run.arm: run for run in registry.list_runs() if "," in (run.arm or "")}
    assert arms["batch 50, lr scaled"].lr == pytest.approx(0.1)
    cut = arms["batch 5, cut to the cumulative learning rate of batch 50"]
    assert (cut.batch, cut.patience) == (5, None)
    assert cut.lr <= 0.01
    again = fmnist.small_document(*args, "--why")
    assert again["explanations"] == why["explanations"]
    assert len(kinds()) == 2  # nothing was trained again


def test_momentum_trains_its_twins(fmnist: Fmnist) -> None:
    args = ("momentum", *EPOCHS, "--alpha", 0.5, "--alpha", 0.9, "--db", "here.db")
    shown = " ".join(fmnist.small(*args, "--why").stdout.split())
    assert "Figures: fmnist plot momentum --db here.db" in shown
    assert "Which momentum suits, and why?" in shown
    assert "Why: How should training rely on previous gradients? (Problem 3: momentum)" in shown
    assert "below the limit 2(1 + alpha)/lr = 380" in shown
    with Registry.open("here.db", readonly=True) as registry:
        runs = {run.arm: (run.momentum, run.lr) for run in registry.list_runs()}
    assert runs["without momentum"] == (0, 0.01)
    assert runs["lr / 0.1, momentum 0"] == (0, pytest.approx(0.1))
    assert runs["momentum 0.9, lr x 0.1"] == (0.9, pytest.approx(0.001))


def test_early_stopping_needs_no_training_to_be_explained(fmnist: Fmnist) -> None:
    document = fmnist.small_document("early-stop", "--epochs", 8, "--patience", 2, "--why")
    (explanation,) = document["explanations"]
    assert explanation["question"] == "What does too small a patience risk?"
    assert kinds() == ["early-stop"]


def test_curves_are_drawn_against_every_axis(fmnist: Fmnist) -> None:
    fmnist.small_document("sweep-batch", *EPOCHS, "--batch", 5, "--batch", 50, "--seeds", 2)
    fmnist.small_document("momentum", *EPOCHS, "--alpha", 0.5, "--alpha", 0.9)
    for axis in AXES:
        for words in (("batch",), ("momentum",), ("compare", "study:1", "study:2")):
            fmnist("plot", *words, "--x", axis, "--out", f"{words[0]}-{axis}.svg")
            assert Path(f"{words[0]}-{axis}.svg").stat().st_size > 10_000
    assert "cumulative learning rate" in Path("batch-cumulative-lr.svg").read_text()
    assert "cumulative learning rate" not in Path("batch-epoch.svg").read_text()
    message = fmnist.error("plot", "batch", "--x", "days", code=2)
    assert "'days' is not one of" in message or "days" in message


def test_learning_rates_say_why(fmnist: Fmnist) -> None:
    args = ("sweep-lr", *EPOCHS, "--lr", 0.001, "--lr", 0.01, "--lr", 0.1)
    document = fmnist.small_document(*args, "--why")
    best, updates = document["explanations"]
    assert "2/lr, which is 20 at lr 0.1" in " ".join(best["measured"])
    assert updates["figure"] == "plot lr --x cumulative-lr"
    fmnist("plot", "lr", "--x", "cumulative-lr", "--out", "lr.svg")
    assert "cumulative learning rate" in Path("lr.svg").read_text()


def test_shifted_images_say_why(fmnist: Fmnist) -> None:
    document = fmnist.small_document("ood", *EPOCHS, "--why")
    assert kinds() == ["ood", "ood-why"]
    up4, rotation, half_turn = document["explanations"]
    assert half_turn["question"] == "Why does rot180 cost less accuracy than rot90 and rot270?"
    assert (
        "Classes of which mlp still recognises a quarter or more: on rot180 "
        in half_turn["measured"][0]
    )
    # the network trained on shifted images has not learnt anything yet, which would test nothing
    assert [(cause["name"], cause["at"]) for cause in up4["causes"]] == [
        ("The changed position", "in mlp"),
        ("The rows cut off at the frame", "in mlp"),
    ]
    # the MLP's image turned back is the image, and none was trained on turned ones
    assert rotation["causes"] == []


@pytest.mark.keras
def test_a_cnn_is_tested_without_positions(fmnist: Fmnist) -> None:
    document = fmnist.small_document("ood", "--epochs", 1, "--model", "cnn2", "--why")
    up4, rotation, _ = document["explanations"]
    # after an epoch on so few images the one with a pool has not learnt anything, and tests nothing
    assert [cause["name"] for cause in up4["causes"]] == [
        "The changed position",
        "The rows cut off at the frame",
    ]
    assert "cnn2's last features differ from its moved ones by less than 1 %" in up4["measured"][0]
    assert "features do not turn with the image" in rotation["measured"][0]
    with Registry.open("runs.db", readonly=True) as registry:
        assert {run.arm for run in registry.list_runs()} == {"cnn2", "cnn2, gap"}

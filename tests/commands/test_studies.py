"""The studies from the command line: arms, answers, continuation, figures."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fmnist_cli.engine.config import TrainConfig
from fmnist_cli.engine.training import train as engine_train
from fmnist_cli.epoch import Epoch
from fmnist_cli.registry import Outcome, Registry, RunSpec

from .conftest import SMALL, Fmnist

EPOCHS = ("--epochs", "4")
GRID = ("--batch", 10, "--batch", 50, "--lr", 0.02, "--lr", 0.1)


def runs_of(kind: str) -> list[Any]:
    with Registry.open("runs.db", readonly=True) as registry:
        study = registry.latest_study(kind)
        assert study is not None
        return registry.study_runs(study.id)


def test_sweep_batch(fmnist: Fmnist) -> None:
    document = fmnist.small_document(
        "sweep-batch", *EPOCHS, "--batch", 5, "--batch", 50, "--batch", 200
    )
    assert document["schema"] == "fmnist.sweep-batch/1"
    runs = document["runs"]
    assert [run["batch"] for run in runs] == [5, 50, 200]
    for run, updates in zip(runs, (40, 4, 1), strict=True):
        assert run["updates_to_best"] == updates * run["epochs_to_best"]
    assert [answer["question"] for answer in document["answers"]] == [
        "Does a smaller batch guarantee faster training?",
        "Does a larger batch give a higher test accuracy?",
        "Does a larger batch need fewer gradient updates to converge?",
        "Does a larger batch need fewer gradient updates to the same validation accuracy?",
    ]
    assert {run.study_id for run in runs_of("sweep-batch")} == {document["id"]}


def test_a_table_is_the_same_on_the_terminal_and_in_the_document(
    fmnist: Fmnist, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "40")  # row by row, a line per column
    args = ("sweep-batch", *EPOCHS, "--batch", 5, "--batch", 50)
    rows = fmnist.small_document(*args)["table"]
    shown = [line.split("  ", 1) for line in fmnist.small(*args).stdout.splitlines()[1:9]]
    keys = ["batch", "epochs_to_best", "updates_to_best", "seconds_to_best", "seconds_per_epoch"]
    assert list(rows[0]) == [*keys, "best_val_accuracy", "test_accuracy", "ended"]
    assert [heading.strip() for heading, _ in shown] == [
        *("batch", "best epoch", "updates to best", "seconds to best", "seconds per epoch"),
        *("validation accuracy", "test accuracy", "ended"),
    ]
    assert shown[0][1].strip() == str(rows[0]["batch"])
    assert shown[6][1].strip() == f"{100 * rows[0]['test_accuracy']:.2f} %"


def test_a_sweep_writes_the_files_of_the_course(fmnist: Fmnist) -> None:
    document = fmnist.small_document("sweep-batch", *EPOCHS, "--batch", 5, "--batch", 50)
    assert [Path(name).name.split("_")[2] for name in document["result_files"]] == ["b5", "b50"]
    for name, run in zip(document["result_files"], document["runs"], strict=True):
        content = json.loads(Path(name).read_text())
        assert content["test"] == run["test_accuracy"]
        assert content["run"]["id"] == run["id"]


@pytest.mark.parametrize(
    "study",
    [
        ("sweep-batch", "--batch", "5", "--batch", "50"),
        ("sweep-batch", *map(str, GRID)),
        ("momentum", "--alpha", "0.5"),
        ("early-stop",),
        ("ood", "--curve", "rotation"),
        ("train", "--seeds", "2"),
    ],
)
def test_a_study_is_shown_again(fmnist: Fmnist, study: tuple[str, ...]) -> None:
    first = fmnist.small(study[0], *study[1:], *EPOCHS).stdout
    assert fmnist("runs", "show", "study:1").stdout == first
    again = fmnist.document("runs", "show", "study:1")
    known = fmnist.small_document(study[0], *study[1:], *EPOCHS)
    assert again == {key: known[key] for key in known if not key.startswith("result_file")}
    said = fmnist.error("runs", "show", "study:9", code=1)
    assert "there is no study 9" in said
    assert said.rstrip().endswith("fmnist runs studies")


def test_a_figure_of_a_study_with_runs_missing_says_so(
    fmnist: Fmnist, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*positional: Any, **keywords: Any) -> Any:
        if positional[2].batch == 100:
            raise KeyboardInterrupt
        return engine_train(*positional, **keywords)

    monkeypatch.setattr("fmnist_cli.engine.training.train", interrupted)
    sizes = ("--batch", 5, "--batch", 50, "--batch", 100)
    fmnist.small("sweep-batch", *EPOCHS, *sizes, code=130)
    fmnist("plot", "batch", "--out", "part.svg")
    assert "incomplete: 2 of 3 runs have a result" in Path("part.svg").read_text()
    fmnist.small("sweep-batch", *EPOCHS, "--batch", 5)
    fmnist("plot", "batch", "--out", "whole.svg")
    assert "incomplete" not in Path("whole.svg").read_text()


def test_a_figure_of_a_running_run_says_so(fmnist: Fmnist) -> None:
    config = asdict(TrainConfig(epochs=9))
    spec = RunSpec(command="train", config=config, data_fingerprint="f", data_source="-", argv=())
    with Registry.open("runs.db") as registry, registry.run(spec) as run:
        run.record_epoch(
            Epoch(epoch=1, updates=40, train_seconds=1.0, eval_seconds=0.0, running_loss=1.0,
                  train_loss=1.0, train_accuracy=0.5, val_loss=1.0, val_accuracy=0.5)
        )  # fmt: skip
        run.flush()
        fmnist("plot", "train", "--out", "running.svg")
        run.finish(Outcome(stop_reason="max_epochs", train_seconds=1.0))
    assert "still running: 1 of at most 9 epochs" in Path("running.svg").read_text()


def test_samples_of_a_small_data_set(fmnist: Fmnist) -> None:
    fmnist("plot", "samples", "--allow-custom-data", "--per-class", 3, "--out", "s.png")
    assert Path("s.png").read_bytes().startswith(b"\x89PNG")


def test_default_sizes_that_do_not_fit_are_left_out_and_said(fmnist: Fmnist) -> None:
    result = fmnist.small("sweep-batch", *EPOCHS)
    assert [run.batch for run in runs_of("sweep-batch")] == [1, 5, 50]
    for size in (500, 5000):
        assert f"batch {size} is left out: the training set has 200 images." in result.stderr


def test_a_batch_larger_than_the_training_set_is_refused_before_any_training(
    fmnist: Fmnist,
) -> None:
    message = fmnist.error("sweep-batch", *SMALL, "--batch", 5, "--batch", 500, code=2)
    assert message == "--batch must be between 1 and 200. Received: 500."
    assert not Path("runs.db").exists()


def test_one_setting_has_nothing_to_compare_it_with_and_that_is_said_once(fmnist: Fmnist) -> None:
    printed = fmnist.small("sweep-batch", *EPOCHS, "--batch", 5).stdout
    assert printed.count("Two settings with a result are needed") == 1
    assert printed.count("?\n") == 4  # the questions stand above it


def test_a_study_that_was_stopped_continues(
    fmnist: Fmnist, monkeypatch: pytest.MonkeyPatch
) -> None:
    args = ("sweep-batch", *EPOCHS, "--batch", 5, "--batch", 50, "--batch", 100)
    calls = []

    def interrupted(*positional: Any, **keywords: Any) -> Any:
        calls.append(positional[2].batch)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return engine_train(*positional, **keywords)

    monkeypatch.setattr("fmnist_cli.engine.training.train", interrupted)
    fmnist.small(*args, code=130)
    assert [run.status for run in runs_of("sweep-batch")] == ["finished", "interrupted"]
    first = runs_of("sweep-batch")[0]

    result = fmnist.small(*args)
    assert "1 of 3 runs are done" in result.stderr
    assert calls == [5, 50, 50, 100]  # batch 5 is not trained twice
    runs = runs_of("sweep-batch")
    assert [run.status for run in runs] == ["finished"] * 3  # the interrupted one begins again
    assert [run.resumes for run in runs] == [0, 1, 0]
    assert runs[0] == first

    result = fmnist.small(*args)  # complete: shown as it is
    assert calls[4:] == []
    assert "Study 1 is complete: 3 runs." in result.stderr
    assert "--new" in result.stderr
    fmnist.small(*args, "--new")
    assert calls[4:] == [5, 50, 100]
    with Registry.open("runs.db", readonly=True) as registry:
        assert len(registry.list_studies(kind="sweep-batch")) == 2


def test_another_configuration_is_another_study(fmnist: Fmnist) -> None:
    fmnist.small("momentum", *EPOCHS, "--alpha", 0.5)
    fmnist.small("momentum", *EPOCHS, "--alpha", 0.5, "--lr", 0.02)
    with Registry.open("runs.db", readonly=True) as registry:
        assert len(registry.list_studies(kind="momentum")) == 2


def test_sweep_lr(fmnist: Fmnist) -> None:
    document = fmnist.small_document("sweep-lr", *EPOCHS, "--lr", 0.01, "--lr", 0.1, "--lr", 1000)
    assert document["schema"] == "fmnist.sweep-lr/1"
    assert [row["lr"] for row in document["table"]] == [0.01, 0.1, 1000]
    assert document["table"][-1]["ended"] == "diverged"
    assert document["table"][-1]["epochs_to_best"] is None
    by_question = {one["question"]: one for one in document["answers"]}
    too_large = by_question["Does too large a learning rate cost accuracy?"]
    assert too_large["verdict"] == "yes"
    assert "Lr 1000 diverged" in too_large["statement"]
    assert (
        fmnist.small_document("sweep-lr", *EPOCHS, "--lr", 0.01)["table"][0]["test_accuracy"]
        == (document["table"][0]["test_accuracy"])
    )


def test_batch_sizes_and_learning_rates_together(
    fmnist: Fmnist, monkeypatch: pytest.MonkeyPatch
) -> None:
    document = fmnist.small_document("sweep-batch", *EPOCHS, *GRID, "--seeds", 2)
    assert document["schema"] == "fmnist.sweep-grid/1"
    rows = [(row["batch"], row["lr"]) for row in document["table"]]
    assert rows == [(10, 0.02), (10, 0.1), (50, 0.02), (50, 0.1)]
    assert len(document["runs"]) == 8
    assert len(document["result_files"]) == 8
    assert len(document["answers"]) == 3
    assert 0 < document["target_val_accuracy"] <= 1
    for row in document["table"]:  # the first of each is below the target or counts to its epoch
        for updates in row["updates_to_target"]:
            assert updates is None or 0 < updates <= 4 * 200 / row["batch"]
    # the same study, from the other command, and by two processes; the environment's rates
    with Registry.open("runs.db", readonly=True) as registry:
        assert len(registry.list_studies(kind="sweep-grid")) == 1
    same = fmnist.small("sweep-lr", *EPOCHS, *GRID, "--seeds", 2)
    assert "Study 1 is complete: 8 runs." in same.stderr
    monkeypatch.setenv("FMNIST_LR", "0.02 0.1")
    same = fmnist.small("sweep-batch", *EPOCHS, *GRID[:4], "--seeds", 2)
    assert "Study 1 is complete: 8 runs." in same.stderr
    message = fmnist.error("sweep-batch", *SMALL, "--lr", 0.1, "--lr", 0.1, code=2)
    assert message == "each --lr must be given once. Received: --lr 0.1 --lr 0.1."


def test_a_grid_continues_and_takes_sizes_that_fit(
    fmnist: Fmnist, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[tuple[int, float]] = []

    def interrupted(*positional: Any, **keywords: Any) -> Any:
        calls.append((positional[2].batch, positional[2].lr))
        if len(calls) == 3:
            raise KeyboardInterrupt
        return engine_train(*positional, **keywords)

    monkeypatch.setattr("fmnist_cli.engine.training.train", interrupted)
    fmnist.small("sweep-lr", *EPOCHS, *GRID, code=130)
    fmnist.small("sweep-lr", *EPOCHS, *GRID)
    assert calls == [(10, 0.02), (10, 0.1), (50, 0.02), (50, 0.02), (50, 0.1)]
    result = fmnist.small("sweep-batch", "--epochs", 1, "--lr", 0.02, "--lr", 0.1)
    assert "batch 500 is left out: the training set has 200 images." in result.stderr
    assert {run.batch for run in runs_of("sweep-grid")} == {1, 5, 50}


def test_one_rate_of_a_file_is_no_grid(fmnist: Fmnist) -> None:
    Path("fmnist.toml").write_text("lr = 0.02\nbatch = 50\n")
    document = fmnist.small_document("sweep-batch", *EPOCHS, "--batch", 10)
    assert document["schema"] == "fmnist.sweep-batch/1"
    (run,) = runs_of("sweep-batch")
    assert (run.batch, run.lr) == (10, 0.02)
    fmnist.small("sweep-lr", *EPOCHS, "--lr", 0.1)
    (run,) = runs_of("sweep-lr")
    assert (run.batch, run.lr) == (50, 0.1)


def test_luck(fmnist: Fmnist) -> None:
    document = fmnist.small_document("luck", *EPOCHS, "--seeds", 2, "--seed", 7)
    assert document["schema"] == "fmnist.luck/1"
    seeds = [(one["init_seed"], one["order_seed"]) for one in document["design"]]
    assert seeds == [(7, 7), (7, 8), (8, 7), (8, 8)]
    assert [row["init_seed"] for row in document["table"]] == [7, 8]
    assert len(document["answers"]) == 4
    # its weights with its order are the run of train, to the bit
    alone = fmnist.small_document("train", *EPOCHS, "--seed", 7)
    assert document["runs"][0]["test_accuracy"] == alone["test_accuracy"]
    assert document["table"][0]["test_accuracy"][0] == alone["test_accuracy"]
    shown = fmnist.small("luck", *EPOCHS, "--seeds", 2, "--seed", 7).stdout
    assert "test images" in shown
    message = fmnist.error("luck", *SMALL, "--seeds", 1, code=2)
    assert message == "--seeds must be between 2 and 30 (N x N runs). Received: 1."


def test_early_stop(fmnist: Fmnist) -> None:
    document = fmnist.small_document(
        "early-stop", "--epochs", 12, "--patience", 1, "--patience", 3, "--lr", 0.05
    )
    (curve,) = document["curves"]
    assert len(curve["epochs"]) == 12
    assert all(epoch["test_accuracy"] is not None for epoch in curve["epochs"])
    assert [stop["patience"] for stop in document["stops"]] == [1, 3]
    # the definition of spec section 3, straight from the curve
    for stop in document["stops"]:
        best, best_epoch, since = -1.0, 0, 0
        stopped = None
        for epoch in curve["epochs"]:
            if epoch["val_accuracy"] > best:
                best, best_epoch, since = epoch["val_accuracy"], epoch["epoch"], 0
            else:
                since += 1
            if since == stop["patience"]:
                stopped = epoch["epoch"]
                break
        assert (stop["best_epoch"], stop["stopped_after"]) == (best_epoch, stopped)
        assert stop["test_accuracy"] == curve["epochs"][best_epoch - 1]["test_accuracy"]


def test_tables_say_what_makes_an_epoch_the_best(fmnist: Fmnist) -> None:
    for monitor, best in (
        ("val_accuracy", "highest validation accuracy"), ("val_loss", "lowest validation loss")
    ):  # fmt: skip
        sweep = fmnist.small("sweep-batch", *EPOCHS, "--batch", 5, "--monitor", monitor).stdout
        assert f"Best: the epoch of the {best};" in " ".join(sweep.split())
        stop = fmnist.small("early-stop", *EPOCHS, "--monitor", monitor).stdout
        assert f"A patience keeps the epoch of the {best} until its stop;" in " ".join(stop.split())


def test_momentum(fmnist: Fmnist) -> None:
    document = fmnist.small_document("momentum", *EPOCHS, "--alpha", 0, "--alpha", 0.9)
    assert [curve["momentum"] for curve in document["curves"]] == [0, 0.9]
    assert [len(curve["epochs"]) for curve in document["curves"]] == [4, 4]
    assert len(document["answers"]) == 4
    (run,) = fmnist.small_document("momentum", "--epochs", 4, "--alpha", 0, "--new")["curves"]
    plain = document["curves"][0]["epochs"][-1]
    assert run["epochs"][-1]["train_loss"] == plain["train_loss"]  # the same bits again


def test_ood_and_the_weights_of_a_recorded_run(fmnist: Fmnist) -> None:
    document = fmnist.small_document("ood", "--epochs", 6, "--lr", 0.05)
    trained = {one["test_set"]: one for one in document["evaluations"]}
    assert list(trained) == ["test", "up4", "rot90", "rot180", "rot270"]
    # a bar at a row per class: moved up 4 rows it looks like the class two before
    assert trained["up4"]["accuracy"] < trained["test"]["accuracy"]
    assert np.array(trained["up4"]["confusion"]).sum() == 100
    again = fmnist.document("ood", "--run", document["runs"][0]["id"], "--allow-custom-data")
    for one in again["evaluations"]:
        assert one["accuracy"] == trained[one["test_set"]]["accuracy"]
        assert one["confusion"] == trained[one["test_set"]]["confusion"]


def test_ood_of_a_run_takes_no_other_model_or_seeds(fmnist: Fmnist) -> None:
    for others in (("--model", "cnn2"), ("--seeds", 3), ("--seed-list", "1,2")):
        message = fmnist.error("ood", "--run", 3, *others, code=2)
        assert message == (
            "run evaluates recorded weights, so no option may ask for a training. "
            f"Received: --run 3 {others[0]} {others[1]}."
        )


@pytest.mark.parametrize("curve", [(), ("--curve", "rotation")])
def test_ood_of_a_run_draws(fmnist: Fmnist, curve: tuple[str, ...]) -> None:
    fmnist.small("train", *EPOCHS)
    fmnist("ood", "--run", 1, *curve, "--plot", "run.svg", "--allow-custom-data")
    drawn = Path("run.svg").read_text()
    assert ("degrees" in drawn) == bool(curve)
    assert "run 2" in drawn


def test_ood_of_a_run_was_not_interrupted(fmnist: Fmnist) -> None:
    fmnist.small("train", *EPOCHS)
    printed = fmnist("ood", "--run", 1, "--allow-custom-data").stdout
    assert "Answers" in printed
    assert "interrupted" not in printed


def test_ood_of_a_run_without_weights(fmnist: Fmnist) -> None:
    fmnist.small("gradcheck".replace("gradcheck", "train"), "--lr", 1000, code=4)
    message = fmnist.error("ood", "--run", 1, "--allow-custom-data", code=1)
    assert message.startswith("run 1 must have saved its weights.")
    message = fmnist.error("ood", "--run", "latest", "--allow-custom-data", code=1)
    assert message.startswith("the latest run must have saved its weights.")


def test_seeds_repeat_every_arm(fmnist: Fmnist) -> None:
    document = fmnist.small_document("momentum", *EPOCHS, "--alpha", 0.5, "--alpha", 0.9,
                                     "--seeds", 3)  # fmt: skip
    assert [(run["momentum"], run["seed"]) for run in document["runs"]] == [
        (alpha, seed) for alpha in (0.5, 0.9) for seed in (42, 43, 44)
    ]


@pytest.mark.parametrize(
    ("study", "plot"),
    [
        (("sweep-batch", "--batch", "5", "--batch", "50"), ("batch",)),
        (("sweep-batch", *map(str, GRID)), ("batch",)),
        (("sweep-batch", *map(str, GRID)), ("batch", "--x", "examples")),
        (("sweep-lr", "--lr", "0.01", "--lr", "0.1"), ("lr", "--metric", "val_loss")),
        (("sweep-lr", "--lr", "0.01", "--lr", "0.1"), ("lr", "--x", "cumulative-lr")),
        (("luck", "--seeds", "2"), ("luck",)),
        (("early-stop",), ("early-stop", "--patience", "2")),
        (("momentum", "--alpha", "0.5"), ("momentum",)),
        (("ood",), ("ood",)),
        (("ood",), ("ood", "--samples", "--allow-custom-data")),
        (("ood",), ("ood", "--map", "--allow-custom-data")),
    ],
)
def test_every_study_has_its_figure(
    fmnist: Fmnist, study: tuple[str, ...], plot: tuple[str, ...]
) -> None:
    result = fmnist.small(study[0], *study[1:], *EPOCHS)
    assert f"fmnist plot {plot[0]} --study 1" in result.stderr
    document = fmnist.document("plot", *plot, "--out", "figure.png")
    assert document["study"] == 1
    assert Path("figure.png").read_bytes().startswith(b"\x89PNG")


def test_a_study_draws_at_once(fmnist: Fmnist) -> None:
    fmnist.small("momentum", *EPOCHS, "--alpha", 0.5, "--plot", "m.svg")
    assert "<svg" in Path("m.svg").read_text()
    message = fmnist.error("momentum", *SMALL, "--plot", "m.gif", code=2)
    assert message == "the plot's name must end in .png, .svg or .pdf. Received: m.gif."


def test_plots_of_what_is_not_there(fmnist: Fmnist) -> None:
    assert "runs.db does not exist" in fmnist.error("plot", "train", code=1)
    fmnist.small("train", "--epochs", 1)
    assert fmnist.error("plot", "momentum", code=1).endswith(" yet. Make one: fmnist momentum")
    assert "there is no run 99" in fmnist.error("plot", "train", "--run", 99, code=1)


def test_shifted_images_with_a_global_pool(fmnist: Fmnist) -> None:
    fmnist.small("ood", *EPOCHS, "--model", "all", "--head", "gap")
    heads = {run["model"]: run["head"] for run in fmnist.document("runs", "list")["runs"]}
    assert heads == {"mlp": "flatten", "cnn2": "gap", "cnn3": "gap"}
    said = fmnist.error("ood", "--head", "gap", code=2)
    assert "head is for cnn2 and cnn3" in said


def test_a_seed_that_diverged_is_in_no_row_of_early_stopping(fmnist: Fmnist) -> None:
    lines = fmnist.small("early-stop", *EPOCHS, "--lr", 1000, "--why", code=4)
    assert "No run has a result: all diverged." in lines.stdout
    assert "There is nothing to explain" in lines.stderr

"""`fmnist gradcheck` and `fmnist mini-cnn` from the command line."""

from __future__ import annotations

import inspect
import math
import re
from pathlib import Path

import pytest

from fmnist_cli.registry import Registry

from .conftest import SMALL, Fmnist


def test_every_entry_of_the_mlp(fmnist: Fmnist) -> None:
    document = fmnist.small_document("gradcheck", "--batch", 20, "--all")
    assert document["schema"] == "fmnist.gradcheck/1"
    assert document["entries_checked"] == 784 * 16 + 16 + 16 * 10 + 10
    assert document["norm_relative_error"] < 1e-6
    assert len(document["kink_indices"]) == document["kinks"]
    assert document["training_step_norm_relative_error"] < 1e-9
    with Registry.open("runs.db", readonly=True) as registry:
        run = registry.get_run(document["id"])
        checks = registry.checks(run.id)
    assert (run.command, run.status, run.epochs_run) == ("gradcheck", "finished", 0)
    assert checks[0].name == "summary"
    assert all(check.held for check in checks)


def test_all_entries_are_summed_up_by_parameter(fmnist: Fmnist) -> None:
    document = fmnist.small_document("gradcheck", "--all")
    lines = fmnist.small("gradcheck", "--all").stdout.splitlines()
    totals = {words[0]: words[1:] for line in lines if (words := line.split())}
    sizes = {"W1": 784 * 16, "b1": 16, "W2": 16 * 10, "b2": 10}
    assert {name: int(totals[name][0].replace(",", "")) for name in sizes} == sizes
    assert sum(int(totals[name][1]) for name in sizes) == document["kinks"]
    worst = max(entry["relative_error"] for entry in document["entries"])
    assert max(float(totals[name][2]) for name in sizes) == pytest.approx(worst, rel=0.1)
    assert sum(re.match(r"\s*[Wb][12]\[", line) is not None for line in lines) == 5


def test_a_planted_error_in_the_code_that_trains_exits_3(
    fmnist: Fmnist, monkeypatch: pytest.MonkeyPatch
) -> None:
    from fmnist_cli.engine.numpy_mlp.backend import NumPyMLP

    right = NumPyMLP.weights

    def wrong(self: NumPyMLP) -> dict:
        weights = right(self)
        weights["b2"] = weights["b2"] * 1.01
        return weights

    monkeypatch.setattr(NumPyMLP, "weights", wrong)
    message = fmnist.error("gradcheck", *SMALL, code=3)
    assert message.startswith("backpropagation must agree with the differences")


@pytest.mark.parametrize("model", ["cnn2", "cnn3"])
def test_gradcheck_of_a_cnn_names_its_kinks(fmnist: Fmnist, model: str) -> None:
    args = ("gradcheck", "--model", model, "--batch", 2, "--samples", 5)
    document = fmnist.small_document(*args)
    assert document["holds"]
    assert document["entries_checked"] == 5 * (4 if model == "cnn2" else 6)
    assert 0 < document["kinks"] == len(document["kink_indices"])
    assert document["max_relative_error_complex_step"] < 1e-9
    assert "a ReLU or a max-pool" in fmnist.small(*args).stdout


def test_all_and_samples_exclude_each_other(fmnist: Fmnist) -> None:
    message = fmnist.error("gradcheck", "--all", "--samples", 3, code=2)
    assert message == "--all and --samples exclude each other. Received: --all --samples 3."


def test_samples_and_all_are_refused_where_they_mean_nothing(fmnist: Fmnist) -> None:
    message = fmnist.error("gradcheck", "--samples", 0, code=2)
    assert message == "--samples must be at least 1. Received: 0."
    message = fmnist.error("gradcheck", "--all", "--engine", "keras", code=2)
    assert message == (
        "--all is for the numpy engine; use --samples N. Received: --all --engine keras."
    )


def test_mini_cnn_by_hand(fmnist: Fmnist) -> None:
    # x = (1, 2, -1), w = (1/2, 1/4), v = (1, -1/4), y = 1:
    # a = (1, 3/4), y^ = 1 - 3/16 = 13/16, dl/dy^ = -1 / (1 + e^(13/16))
    document = fmnist.document("mini-cnn")
    d = -1 / (1 + math.exp(13 / 16))
    values = {one["name"]: one["value"] for one in document["derivatives"]}
    assert document["forward"]["y_hat"] == 13 / 16
    assert document["loss"] == pytest.approx(math.log1p(math.exp(-13 / 16)), rel=1e-14)
    assert values["dl/dv1"] == pytest.approx(d * 1, rel=1e-14)
    assert values["dl/dv2"] == pytest.approx(d * 0.75, rel=1e-14)
    assert values["dl/dw1"] == pytest.approx(d * (1 * 1 - 0.25 * 2), rel=1e-14)
    assert values["dl/dw2"] == pytest.approx(d * (1 * 2 + 0.25 * 1), rel=1e-14)


def test_mini_cnn_says_what_it_trains_on(fmnist: Fmnist) -> None:
    rows = ["x1,x2,x3,y", "1,0,0,1", "0,0,1,-1", "2,1,0,1"]
    Path("few.csv").write_text("\n".join(rows))
    made = " ".join(fmnist("mini-cnn", "--train", "--steps", 10, "--seed", 3).stdout.split())
    assert "200 examples (x1, x2, x3) from N(0, 1), made from seed 3 and labelled" in made
    read = fmnist("mini-cnn", "--train", "--steps", 10, "--data", "few.csv").stdout
    assert "3 examples of few.csv; the loss is their mean, in nats." in " ".join(read.split())


def test_mini_cnn_trains_and_is_recorded(fmnist: Fmnist) -> None:
    document = fmnist.document("mini-cnn", "--train", "--seed", 3)
    history = document["training"]["history"]
    assert history[-1]["accuracy"] > 0.95
    assert history[-1]["loss"] < 0.1 < history[0]["loss"]
    with Registry.open("runs.db", readonly=True) as registry:
        epochs = registry.epochs(document["id"])
    assert [e.train_loss for e in epochs] == [state["loss"] for state in history[1:]]


def test_a_mini_cnn_run_is_sound(fmnist: Fmnist) -> None:
    fmnist("mini-cnn", "--train", "--steps", 500)  # two and a half times its 200 examples
    assert fmnist.document("runs", "verify")["findings"] == []


@pytest.mark.parametrize("lr", ["nan", "0", "-1"])
def test_mini_cnn_refuses_a_rate_before_anything_is_recorded(fmnist: Fmnist, lr: str) -> None:
    message = fmnist.error("mini-cnn", "--train", "--lr", lr, code=2)
    assert message.startswith("--lr must be a finite number above 0. Received: ")
    with Registry.open("runs.db") as registry:
        assert registry.list_runs() == []


def test_mini_cnn_never_overflows(fmnist: Fmnist) -> None:
    args = ("--x", "1000", "1000", "1000", "--v", "1000", "1000", "--w", "1000", "1000")
    for y in (1, -1):
        assert math.isfinite(fmnist.document("mini-cnn", *args, "--y", y)["loss"])


def test_mini_cnn_reads_examples_from_a_file(fmnist: Fmnist) -> None:
    Path("four.csv").write_text("x1,x2,x3,y\n1,0,0,1\n0,0,1,-1\n2,0,0,1\n0,0,2,-1\n")
    document = fmnist.document("mini-cnn", "--train", "--data", "four.csv", "--steps", 400)
    assert document["training"]["history"][-1]["accuracy"] == 1.0
    Path("bad.csv").write_text("x1,x2,x3,y\n1,0,zero,1\n")
    message = fmnist.error("mini-cnn", "--train", "--data", "bad.csv", code=1)
    assert "bad.csv, line 2" in message


def test_mini_cnn_gradcheck(fmnist: Fmnist) -> None:
    document = fmnist.document("gradcheck", "--model", "mini-cnn")
    assert document["holds"]
    assert len(document["entries"]) == 4


def test_a_wrong_derivative_exits_3(fmnist: Fmnist, monkeypatch: pytest.MonkeyPatch) -> None:
    from fmnist_cli.engine import mini_cnn

    monkeypatch.setitem(mini_cnn.FACTORS, "dl/dy^", "-y sigma(y y^)")
    assert "the chain rule must agree" in fmnist.error("mini-cnn", code=3)


def test_the_derivation_and_the_loop_are_in_the_document_and_printed(fmnist: Fmnist) -> None:
    from fmnist_cli.engine import mini_cnn

    document = fmnist.document("mini-cnn")
    assert document["loop"] == inspect.getsource(mini_cnn.sgd)
    assert document["algorithm"] == mini_cnn.ALGORITHM
    printed = fmnist("mini-cnn").stdout
    for text in (document["loop"], document["algorithm"]):
        assert text in printed
    for part in document["derivation"].values():
        for equation in part:
            assert all(f" = {form}\n" in printed for form in equation["forms"])
    for factor in ("-y sigma(-y y^)", "o1", "H(a1)", "x1"):
        assert f" = {factor}\n" in printed


@pytest.mark.parametrize("lr", ["1000", "1e200"])
def test_a_mini_cnn_that_diverges_is_recorded_as_that(fmnist: Fmnist, lr: str) -> None:
    message = fmnist.error("mini-cnn", "--train", "--lr", lr, code=4)
    assert re.search(r"^the mini CNN diverged at update \d+ at learning rate", message)
    printed = fmnist("mini-cnn", "--train", "--lr", lr, code=4).stdout
    assert not re.search(r"\d{9}", printed)  # no weight of sixty digits
    with Registry.open("runs.db", readonly=True) as registry:
        run, _ = registry.list_runs()
    assert (run.status, run.stop_reason) == ("diverged", "diverged")
    assert run.message.startswith("the mini CNN diverged at update")
    assert fmnist.document("runs", "verify")["findings"] == []

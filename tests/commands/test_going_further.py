"""What goes further than the course: curves, augmentation, dynamics, explanations."""

from __future__ import annotations

from pathlib import Path

import pytest

from fmnist_cli.analysis.sampling import mcnemar, unpack_answers
from fmnist_cli.engine.ood_curves import curve_points
from fmnist_cli.registry import Registry

from .conftest import SMALL, Fmnist

EPOCHS = ("--epochs", "3", "--lr", "0.05")


@pytest.mark.parametrize("curve", ["shift", "rotation"])
def test_a_curve_is_recorded_shown_and_drawn(fmnist: Fmnist, curve: str) -> None:
    document = fmnist.small_document("ood", *EPOCHS, "--curve", curve)
    points = curve_points(curve)  # type: ignore[arg-type]
    assert [one["test_set"] for one in document["curves"]] == [point.name for point in points]
    recorded = {one["test_set"]: one for one in document["evaluations"]}
    for one in document["curves"]:
        evaluation = recorded[one["test_set"]]
        assert one["accuracy"] == one["accuracy_by_seed"]["42"] == evaluation["accuracy"]
        counts = evaluation["confusion"]
        recalls = [row[klass] / sum(row) for klass, row in enumerate(counts)]
        assert one["worst_class_accuracy"] == min(recalls)
    # the curve meets the four sets of the course
    same = {"shift": ("shift-up-4", "up4"), "rotation": ("rot-90", "rot90")}[curve]
    assert recorded[same[0]]["confusion"] == recorded[same[1]]["confusion"]

    shown = fmnist.small("ood", *EPOCHS, "--curve", curve)
    assert f"mlp: accuracy by {curve} (one seed)" in shown.stdout
    assert f"fmnist plot ood --study 1 --curve {curve}" in shown.stderr
    drawn = fmnist.document("plot", "ood", "--curve", curve)
    assert drawn["file"] == f"results/ood-{curve}-study1.png"
    assert Path(drawn["file"]).read_bytes().startswith(b"\x89PNG")


def test_both_curves_of_a_recorded_run(fmnist: Fmnist) -> None:
    fmnist.small("train", *EPOCHS)
    args = ("ood", "--run", "latest", "--curve", "both", "--allow-custom-data")
    document = fmnist.document(*args)
    assert {one["curve"] for one in document["curves"]} == {"shift", "rotation"}
    assert len(document["evaluations"]) == 1 + 4 + 32 + 23


def test_both_curves_are_drawn(fmnist: Fmnist) -> None:
    result = fmnist.small("ood", *EPOCHS, "--curve", "both")
    assert "fmnist plot ood --study 1 --curve both" in result.stderr
    drawn = fmnist.document("plot", "ood", "--curve", "both", "--out", "both.svg")
    assert drawn["study"] == 1
    fmnist.small("ood", *EPOCHS, "--curve", "both", "--new", "--plot", "at-once.svg")
    for name in ("both.svg", "at-once.svg"):
        for word in ("moved by (pixels)", "turned counter-clockwise by (degrees)"):
            assert word in Path(name).read_text()
    fmnist.small("ood", *EPOCHS, "--curve", "shift")
    message = fmnist.error("plot", "ood", "--curve", "both", code=1)
    assert message.startswith("study 3 must have measured the rotation curve.")


def test_a_study_without_the_curve(fmnist: Fmnist) -> None:
    fmnist.small("ood", *EPOCHS)
    message = fmnist.error("plot", "ood", "--curve", "shift", code=1)
    assert message == (
        "study 1 must have measured the shift curve. It has not: fmnist ood --curve shift"
    )


def test_ood_with_augmentation_trains_with_and_without(fmnist: Fmnist) -> None:
    document = fmnist.small_document("ood", *EPOCHS, "--augment", "shift", "--seeds", 2)
    assert [(run["arm"], run["seed"]) for run in document["runs"]] == [
        ("mlp", 42), ("mlp", 43), ("mlp + shift", 42), ("mlp + shift", 43)
    ]  # fmt: skip
    last = document["answers"][-1]
    assert last["question"] == "Does mlp + shift do better than mlp on every shifted set?"
    mean = {
        (label, name): sum(
            one["accuracy"] for one in document["evaluations"]
            if (one["model"], one["test_set"]) == (label, name)
        ) / 2
        for label in ("mlp", "mlp + shift") for name in ("test", "up4")
    }  # fmt: skip
    (up4,) = [one for one in last["evidence"]["sets"] if one["set"] == "up4"]
    gain = mean["mlp + shift", "up4"] - mean["mlp", "up4"]
    assert up4["gain"]["change"] == pytest.approx(gain)
    cost = mean["mlp + shift", "test"] - mean["mlp", "test"]
    assert last["evidence"]["in_domain_change"]["change"] == pytest.approx(cost)
    assert "times the training time per epoch" in last["statement"]
    with Registry.open("runs.db", readonly=True) as registry:
        assert [run.augment for run in registry.study_runs(document["id"])] == (
            ["none"] * 2 + ["shift"] * 2
        )
    fmnist("plot", "ood", "--out", "o.png")
    fmnist("plot", "ood", "--samples", "--allow-custom-data", "--out", "s.png")


def test_augmentation_changes_the_training_and_repeats(fmnist: Fmnist) -> None:
    def losses(*args: object) -> list[float]:
        document = fmnist.small_document("train", *EPOCHS, *args)
        return [epoch["train_loss"] for epoch in document["epochs"]]

    plain, shifted, turned = losses(), losses("--augment", "shift"), losses("--augment", "rotate")
    assert plain != shifted != turned
    assert shifted == losses("--augment", "shift")
    message = fmnist.error("train", *SMALL, "--augment", "flip", code=2)
    assert "'flip' is not one of 'none', 'shift', 'rotate'" in message


def test_dynamics_are_recorded_on_request_and_drawn(fmnist: Fmnist) -> None:
    plain = fmnist.small_document("train", *EPOCHS)
    watched = fmnist.small_document("train", *EPOCHS, "--dynamics")
    for one, other in zip(plain["epochs"], watched["epochs"], strict=True):
        assert one["train_loss"] == other["train_loss"]
    with Registry.open("runs.db", readonly=True) as registry:
        assert registry.dynamics(plain["id"]) == {}
        figures = registry.dynamics(watched["id"])
    assert set(figures) == {
        *(f"{kind}/{layer}" for kind in ("gradient_norm", "update_ratio")
          for layer in ("linear1", "linear2")),
        "dead_share", "noise_scale", "sharpness",
    }  # fmt: skip
    assert all([epoch for epoch, _ in values] == [1, 2, 3] for values in figures.values())
    fmnist("plot", "dynamics", "--out", "d.svg")
    assert "gradient norm" in Path("d.svg").read_text()
    message = fmnist.error("plot", "dynamics", "--run", plain["id"], code=1)
    assert message == "run 1 must have recorded its dynamics. It has not: fmnist train --dynamics"
    fmnist.small("train", *EPOCHS, "--db", "plain.db")
    assert fmnist.error("plot", "dynamics", "--db", "plain.db", code=1) == (
        "the latest run must have recorded its dynamics. Received: no run that has. "
        "Train one that does: fmnist train --dynamics"
    )


def test_dynamics_of_several_seeds_side_by_side(fmnist: Fmnist) -> None:
    args = ("train", *EPOCHS, "--dynamics", "--seeds", 2, "--jobs", 2)
    document = fmnist.small_document(*args)
    with Registry.open("runs.db", readonly=True) as registry:
        for run in document["runs"]:
            assert len(registry.dynamics(run["id"])["dead_share"]) == 3


def test_explain_a_diverged_run(fmnist: Fmnist) -> None:
    fmnist.small("train", "--lr", 1000, code=4)
    document = fmnist.document("runs", "explain")
    assert document["schema"] == "fmnist.runs.explain/1"
    (finding,) = document["findings"]
    assert finding["rule"] == "diverged"
    assert finding["figures"]["epoch"] == 1
    assert "0.01 is worth a try" in finding["sentence"]
    result = fmnist("runs", "explain", 1)
    assert " ".join(result.stdout.split()).endswith(finding["sentence"])


def test_explain_judges_the_patience_by_a_longer_run(fmnist: Fmnist) -> None:
    base = ("train", "--lr", 0.02)
    short = fmnist.small_document(*base, "--epochs", 40, "--patience", 1)
    fmnist.small(*base, "--epochs", 40, "--no-early-stop", "--seed", 43)  # of another seed
    rules = {one["rule"] for one in fmnist.document("runs", "explain", short["id"])["findings"]}
    longer = fmnist.small_document(*base, "--epochs", 40, "--no-early-stop")
    (finding,) = [
        one for one in fmnist.document("runs", "explain", short["id"])["findings"]
        if one["rule"].startswith("patience")
    ]  # fmt: skip
    better = longer["best_val_accuracy"] > short["best_val_accuracy"]
    assert finding["rule"] == ("patience_too_small" if better else "patience_enough")
    assert finding["figures"]["longer_run"] == f"run {longer['id']}"
    assert finding["figures"]["longer_val_accuracy"] == longer["best_val_accuracy"]
    assert "patience_enough" not in rules


def test_explain_what_is_not_there(fmnist: Fmnist) -> None:
    fmnist.small("train", *EPOCHS)
    assert "there is no run 9" in fmnist.error("runs", "explain", 9, code=1)


def test_the_answers_to_every_test_image_are_recorded(fmnist: Fmnist) -> None:
    runs = [fmnist.small_document("train", *EPOCHS, "--seed", seed) for seed in (1, 1, 2)]
    answers = []
    with Registry.open("runs.db", readonly=True) as registry:
        for run in runs:
            (evaluation,) = registry.evaluations(run["id"])
            assert evaluation.answers is not None
            answers.append(unpack_answers(evaluation.answers, evaluation.n))
            assert answers[-1].mean() == evaluation.accuracy == run["test_accuracy"]
    assert mcnemar(answers[0], answers[1]).p_exact == 1
    found = mcnemar(answers[0], answers[2])
    assert found.difference == pytest.approx(runs[0]["test_accuracy"] - runs[2]["test_accuracy"])


def test_init_and_order_seed_are_recorded_and_stand_for_the_seed(fmnist: Fmnist) -> None:
    plain = fmnist.small_document("train", *EPOCHS, "--seed", 5)
    split = fmnist.small_document(
        "train", *EPOCHS, "--seed", 9, "--init-seed", 5, "--order-seed", 5
    )
    other = fmnist.small_document("train", *EPOCHS, "--seed", 5, "--order-seed", 6)
    losses = [[epoch["train_loss"] for epoch in run["epochs"]] for run in (plain, split, other)]
    assert losses[0] == losses[1] != losses[2]
    with Registry.open("runs.db", readonly=True) as registry:
        run = registry.get_run(split["id"])
    assert (run.seed, run.init_seed, run.order_seed, run.head) == (9, 5, 5, "flatten")
    assert fmnist.document("runs", "verify")["findings"] == []


def test_a_single_run_has_the_interval_of_its_test_images(fmnist: Fmnist) -> None:
    document = fmnist.small_document("train", *EPOCHS)
    p, low, high = (document[f"test_accuracy{end}"] for end in ("", "_low", "_high"))
    assert 0 <= low < p < high <= 1
    for end in (low, high):  # Wilson's definition: p is 1.96 standard errors of the end from it
        assert abs(p - end) / (end * (1 - end) / 100) ** 0.5 == pytest.approx(1.96, abs=1e-3)
    shown = fmnist.document("runs", "show")
    assert (shown["test_accuracy_low"], shown["test_accuracy_high"]) == (low, high)
    words = f"{100 * p:.2f} % ({100 * low:.2f} to {100 * high:.2f}, 95 %"
    for printed in (fmnist("runs", "show").stdout, fmnist.small("train", *EPOCHS).stdout):
        assert words in " ".join(printed.split())


def test_two_runs_are_compared_image_by_image(fmnist: Fmnist) -> None:
    fmnist.small("train", *EPOCHS)
    fmnist.small("train", "--epochs", 1, "--lr", "0.00001")  # hardly trained
    found = fmnist.document("runs", "compare", 1, 2)["by_image"]
    outcome = [fmnist.document("runs", "show", run)["test_accuracy"] for run in (1, 2)]
    assert found["n"] == 100
    gap = (found["only_first"] - found["only_second"]) / 100
    assert gap == pytest.approx(outcome[0] - outcome[1])
    assert found["p_mid"] < 0.05
    shown = " ".join(fmnist("runs", "compare", 1, 2).stdout.split())
    assert "These two models differ on the test images: run 1 alone is right on" in shown
    fmnist.small("train", *EPOCHS)  # the first again
    same = fmnist.document("runs", "compare", 1, 3)["by_image"]
    assert (same["only_first"], same["only_second"], same["p_mid"]) == (0, 0, 1)
    assert "show no clear difference" in " ".join(fmnist("runs", "compare", 1, 3).stdout.split())
    assert fmnist.document("runs", "compare", 1, 2, 3)["by_image"] is None
    fmnist.small("momentum", *EPOCHS, "--alpha", 0.5, "--seeds", 2)
    assert fmnist.document("runs", "compare", 1, "study:1")["by_image"] is None

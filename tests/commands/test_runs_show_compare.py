"""`runs show`, `runs compare`, `plot compare`, and the labels."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path
from statistics import fmean
from xml.etree import ElementTree

import pytest

from fmnist_cli.engine.config import TrainConfig
from fmnist_cli.registry import Registry
from fmnist_cli.runner.command_line import layers_file

from .conftest import SMALL, Fmnist
from .recorded import ACCURACIES, DIVERGED, LOST, TRAIN

pytestmark = pytest.mark.usefixtures("recorded")


def test_labels_come_and_go_and_the_digest_stays(fmnist: Fmnist, recorded: Path) -> None:
    assert fmnist.document("runs", "tag", 1, "good", "b=5", "good")["tags"] == ["b=5", "good"]
    fmnist("runs", "note", 1, "look at [bold]this[/]")
    fmnist("runs", "rename", 1, "first")
    shown = fmnist("runs", "show", 1).stdout
    assert "Run 1 first" in shown
    assert "b=5, good" in shown
    assert "look at [bold]this[/]" in shown
    with Registry.open(recorded, readonly=True) as registry:
        run = registry.get_run(1)
        assert (run.name, run.note, run.tags) == ("first", "look at [bold]this[/]", ("b=5", "good"))
        assert run.digest == registry.computed_digest(1)
    assert fmnist.document("runs", "tag", 1, "good", "absent", "--remove")["tags"] == ["b=5"]
    assert fmnist.document("runs", "note", 1, "")["note"] is None
    assert fmnist.document("runs", "rename", 1, "")["name"] is None


@pytest.mark.parametrize("tag", ["a,b", "a b", "", "x" * 65, "a\n"])
def test_what_is_no_tag_is_refused(fmnist: Fmnist, tag: str) -> None:
    message = fmnist.error("runs", "tag", 1, "fine", tag, code=2)
    assert message.startswith("a tag must be 1 to 64 letters, digits or any of ._:/+@=- in a row")
    assert fmnist.document("runs", "show", 1)["tags"] == []


def test_labels_hold_no_control_characters(fmnist: Fmnist) -> None:
    for what in ("note", "rename"):
        message = fmnist.error("runs", what, 1, "a\x1b[31m", code=2)
        assert message.endswith("must have no control characters. Received: 'a\\x1b[31m'.")
    assert fmnist.document("runs", "note", 1, "two\nlines")["note"] == "two\nlines"


def test_next_is_what_goes_on(fmnist: Fmnist) -> None:
    assert f"fmnist train --resume {LOST} " in fmnist("runs", "show", LOST).stderr
    assert f"fmnist train --resume {LOST} " in fmnist("runs", "explain", LOST).stderr
    said = fmnist("runs", "show", TRAIN, "--epochs").stderr
    assert "--resume" not in said
    assert "--epochs" not in said


def test_a_lost_run_is_drawn_as_lost(fmnist: Fmnist) -> None:
    fmnist("plot", "train", "--run", LOST, "--out", "lost.svg")
    assert "Lost after epoch 2." in Path("lost.svg").read_text()


def test_delete_asks_or_needs_yes(fmnist: Fmnist, monkeypatch: pytest.MonkeyPatch) -> None:
    from fmnist_cli.commands.runs import reliability

    class NoStdin:
        stdin = None

    monkeypatch.setattr(reliability, "sys", NoStdin)
    assert fmnist.error("runs", "delete", TRAIN, code=2) == (
        "delete must have --yes where it cannot ask. Received: no stdin."
    )


def test_labels_of_a_run_that_is_not_there(fmnist: Fmnist) -> None:
    assert "there is no run 99" in fmnist.error("runs", "tag", 99, "x", code=1)


def test_show_has_all_that_was_recorded(fmnist: Fmnist) -> None:
    document = fmnist.document("runs", "show", TRAIN)
    assert document["dynamics"] == {"gradient_norm/W1": [[1, 1.0], [2, 0.5]]}
    assert [epoch["val_accuracy"] for epoch in document["epochs"]] == [0.7, 0.88]
    shown = fmnist("runs", "show", TRAIN).stdout
    for words in ("gradient_norm/W1", "Python 3.", "numpy 2", "weights:", "Checks", "Evaluations"):
        assert words in shown


def test_the_command_that_repeats_a_run(fmnist: Fmnist) -> None:
    repeat = fmnist.document("runs", "show", TRAIN)["repeat"]
    assert shlex.split(repeat) == [
        *("fmnist", "train", "--batch", "50", "--lr", "0.1", "--train-size", "5000"),
        *("--check-gradient", "--data-dir", str(Path("my data").absolute())),
        "--allow-custom-data",
    ]
    # of a study's run, the run alone
    assert fmnist.document("runs", "show", 4)["repeat"] == (
        "fmnist train --momentum 0.9 --epochs 3 --no-early-stop --seed 1 --allow-custom-data"
    )


def test_the_command_repeats_a_study_s_run_to_the_bit(fmnist: Fmnist) -> None:
    fmnist.small("sweep-batch", "--batch", 50, "--epochs", 2, "--seed", 7)
    first = fmnist.document("runs", "show")
    # what was typed is not known here: this process is pytest's
    fmnist(*shlex.split(first["repeat"])[1:], "--allow-custom-data")
    again = fmnist.document("runs", "show")
    assert again["id"] == first["id"] + 1
    assert again["command"] == "train"
    for name in ("best_val_loss", "test_accuracy", "test_loss", "batch", "seed", "hidden"):
        assert again[name] == first[name]
    assert SMALL[0] in first["repeat"]


def test_every_parameter_can_be_repeated() -> None:
    """A new field of TrainConfig is a flag of train under its own name."""
    from fmnist_cli.registry.records import CONFIG_COLUMNS

    assert set(CONFIG_COLUMNS) == set(TrainConfig.__dataclass_fields__)


def test_svg_is_a_picture_that_needs_no_network(fmnist: Fmnist) -> None:
    fmnist("runs", "show", TRAIN, "--svg", "run.svg")
    tree = ElementTree.parse("run.svg")
    words = "".join(tree.getroot().itertext()).replace("\xa0", " ")
    assert f"Run {TRAIN}" in words
    assert "87.00 %" in words
    assert "url(http" not in words
    assert [p.name for p in Path.cwd().glob(".run*")] == []
    assert fmnist.error("runs", "show", TRAIN, "--svg", "run.png", code=2) == (
        "--svg must be a file that ends in .svg. Received: run.png."
    )
    message = fmnist.error("runs", "show", TRAIN, "--svg", "absent/run.svg", code=2)
    assert message.startswith("the file must be one that can be written. Received: absent/run.svg")


def test_compare_shows_what_differs_and_no_more(fmnist: Fmnist) -> None:
    result = fmnist("runs", "compare", 1, TRAIN).stdout
    for words in ("batch", "lr", "train size", "79.00 %", "87.00 %"):
        assert words in result
    assert "hidden" not in result
    assert "hidden" in fmnist("runs", "compare", 1, TRAIN, "--all").stdout
    document = fmnist.document("runs", "compare", 1, TRAIN)
    assert document["facts"]["parameters"]["batch"] == [[5], [50]]


def test_compare_of_arms_has_n_and_the_interval(fmnist: Fmnist) -> None:
    document = fmnist.document("runs", "compare", "study:1")
    assert [(g["label"], g["runs"]) for g in document["groups"]] == [
        ("momentum 0.5", [1, 2, 3]),
        ("momentum 0.9", [4, 5, 6]),
    ]
    for alpha, outcome in zip((0.5, 0.9), document["outcomes"], strict=True):
        values = ACCURACIES[alpha]
        found = outcome["best_val_accuracy"]
        assert (found["n"], found["mean"]) == (3, pytest.approx(fmean(values)))
        assert found["low"] is found["high"] is None  # an interval takes five
    test = next(d for d in document["differences"] if d["metric"] == "test_accuracy")
    paired = [b - a for a, b in zip(ACCURACIES[0.5], ACCURACIES[0.9], strict=True)]
    assert (test["n"], test["change"], test["low"]) == (3, pytest.approx(fmean(paired)), None)
    assert test["agree"] == all(change > 0 for change in paired)
    shown = fmnist("runs", "compare", "study:1").stdout
    assert "Difference from momentum 0.5" in shown
    assert "The verdicts, of all comparisons together, are wrong with at most 5 % (Holm)." in shown
    assert "+5.00 points" in shown


def test_compare_of_tags(fmnist: Fmnist) -> None:
    for run, tag in ((1, "a"), (2, "a"), (TRAIN, "b")):
        fmnist("runs", "tag", run, tag)
    groups = fmnist.document("runs", "compare", "tag:a", "tag:b", "latest")["groups"]
    assert [g["runs"] for g in groups] == [[1, 2], [TRAIN], [LOST]]


@pytest.mark.parametrize("width", [40, 80])
def test_compare_of_many_runs_fits(
    fmnist: Fmnist, monkeypatch: pytest.MonkeyPatch, width: int
) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    result = fmnist("runs", "compare", *range(1, LOST + 1)).stdout
    assert max(map(len, result.splitlines())) <= width
    words = "".join(result.split())
    assert all(f"run{i}" in words for i in range(1, LOST + 1))


@pytest.mark.parametrize(
    ("names", "message", "code"),
    [
        (("tag:none", 1), "what is compared must have runs. Received: tag:none", 2),
        (("1",), "compare needs at least two runs or groups. Received: 1.", 2),
        (("study:9",), "there is no study 9", 1),
        (("99", "1"), "there is no run 99", 1),
    ],
)
def test_compare_says_what_it_cannot(
    fmnist: Fmnist, names: tuple[object, ...], message: str, code: int
) -> None:
    assert message in fmnist.error("runs", "compare", *names, code=code)


@pytest.mark.parametrize("typed", ["--layers own/mine.py --epochs 2", "--layers=own/mine.py"])
def test_a_run_of_layers_of_ones_own_is_known_by_their_file(typed: str) -> None:
    assert layers_file(["fmnist", "train", *typed.split()]) == ["mine.py"]
    assert layers_file(["fmnist", "train", "--epochs", "2"]) == []


def test_plot_compare(fmnist: Fmnist) -> None:
    args = ("plot", "compare", "study:1", TRAIN, "--metric", "val_accuracy", "--out", "c.svg")
    assert fmnist.document(*args) == {"schema": "fmnist.plot.compare/1", "file": "c.svg"}
    assert "momentum 0.9" in Path("c.svg").read_text()
    assert "metric must be one of" in fmnist.error("plot", "compare", 1, "--metric", "x", code=2)
    fmnist("plot", "compare", DIVERGED, TRAIN, "--out", "d.svg")
    with Registry.open("runs.db", readonly=True) as registry:
        runs = [registry.get_run(which) for which in (DIVERGED, TRAIN)]
    assert runs[0].lr != runs[1].lr
    legend = re.sub(r"<[^>]*>\s*|\n", " ", Path("d.svg").read_text())
    for run in runs:
        assert f"lr {run.lr:g}" in legend
    assert json.loads(fmnist("runs", "show", DIVERGED, "--json").stdout)["epochs"]

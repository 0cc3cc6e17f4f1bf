"""`fmnist report`: what it trains, what it reuses, and that its commands do what it says."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any

import pytest

from fmnist_cli.engine.training import train as engine_train
from fmnist_cli.registry import Registry
from fmnist_cli.studies.batch_size import BATCH_SIZE
from fmnist_cli.studies.early_stopping import EARLY_STOPPING
from fmnist_cli.studies.momentum import MOMENTUM
from fmnist_cli.studies.shifted_images import SHIFTED_IMAGES

from ..commands.conftest import Fmnist
from .conftest import QUICK, Made

KEYS = [
    *("checks", "training", "sweep-batch", "early-stop", "momentum", "parameters", "ood"),
    *("mini-cnn", "sweep-lr"),
]


def runs() -> list[Any]:
    with Registry.open("runs.db", readonly=True) as registry:
        return registry.list_runs()[::-1]


@pytest.mark.usefixtures("only_mlp")
def test_a_second_report_trains_nothing(fmnist: Fmnist) -> None:
    document = fmnist.document(*QUICK)
    assert document["schema"] == "fmnist.report/1"
    assert document["quick"] is True
    assert [part["key"] for part in document["parts"]] == KEYS
    # one run of the defaults with its checks, batch sizes up to 200 images, five rates, one curve,
    # five momenta, one model, one exercise
    commands = [run.command for run in runs()]
    assert commands == [
        "train", *["sweep-batch"] * 3, "early-stop", *["momentum"] * 5, "ood", "mini-cnn",
            *["sweep-lr"] * 5,
    ]  # fmt: skip
    assert sum(part["new_runs"] for part in document["parts"]) == len(commands)
    written = [document["html"], document["markdown"], *document["figures"]]
    assert len(written) == 9
    assert all(Path(path).stat().st_size > 1000 for path in written)
    first = [Path(path).read_bytes() for path in written]

    again = fmnist.document(*QUICK)
    assert len(runs()) == len(commands)
    assert [part["runs"] for part in again["parts"]] == [p["runs"] for p in document["parts"]]
    assert {part["new_runs"] for part in again["parts"]} == {0}
    assert [Path(path).read_bytes() for path in written] == first


@pytest.mark.usefixtures("only_mlp")
def test_what_other_commands_trained_is_reused(fmnist: Fmnist) -> None:
    small = ("--epochs", "8")
    fmnist.small("train", *small)
    fmnist.small("momentum", *small, "--jobs", 2)  # side by side gives the same numbers
    fmnist.small("ood", *small)
    fmnist("mini-cnn", "--train")
    there = {run.id for run in runs()}
    document = fmnist.document(*QUICK)
    by_key = {part["key"]: set(part["runs"]) for part in document["parts"]}
    for key in ("training", "momentum", "ood", "mini-cnn"):
        assert by_key[key] <= there
    assert by_key["checks"].isdisjoint(there)  # that training had made no checks
    assert [run.command for run in runs() if run.id not in there] == [
        "gradcheck", *["sweep-batch"] * 3, "early-stop", *["sweep-lr"] * 5
    ]  # fmt: skip


@pytest.mark.usefixtures("only_mlp")
def test_another_seed_or_a_mini_cnn_of_other_weights_is_not_the_same(fmnist: Fmnist) -> None:
    fmnist.small("train", "--epochs", 8, "--seed", 7)
    fmnist("mini-cnn", "--train", "--w", 0.5, 0.75)
    there = {run.id for run in runs()}
    document = fmnist.document(*QUICK)
    assert there.isdisjoint(i for part in document["parts"] for i in part["runs"])


@pytest.mark.usefixtures("only_mlp")
def test_an_interrupted_report_goes_on(fmnist: Fmnist, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []

    def interrupted(*positional: Any, **keywords: Any) -> Any:
        calls.append(positional[2].batch)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return engine_train(*positional, **keywords)

    monkeypatch.setattr("fmnist_cli.engine.training.train", interrupted)
    fmnist(*QUICK, code=130)
    assert [run.status for run in runs()] == ["finished", "finished", "interrupted"]
    assert not Path("results/report/index.html").exists()
    fmnist(*QUICK)
    assert calls[:6] == [5, 1, 5, 5, 50, 5]
    page = Path("results/report/index.html").read_text()
    assert 'id="run-2"' in page
    assert 'id="run-3"' in page  # begun again, from its start
    assert {run.status for run in runs()} == {"finished"}


@pytest.mark.usefixtures("only_mlp")
def test_the_report_resumes_the_training_that_it_began(
    fmnist: Fmnist, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*positional: Any, on_epoch: Any, **keywords: Any) -> Any:
        def record(epoch: Any) -> None:
            on_epoch(epoch)
            raise KeyboardInterrupt

        return engine_train(*positional, on_epoch=record, **keywords)

    with monkeypatch.context() as patched:
        patched.setattr("fmnist_cli.engine.training.train", interrupted)
        assert fmnist.error(*QUICK, code=130) == (
            f"Interrupted: run 1 keeps its 1 epoch; continue with: fmnist {' '.join(QUICK)}"
        )
    fmnist(*QUICK)
    first, *others = runs()
    assert (first.status, first.resumes) == ("finished", 1)
    assert {run.command for run in others}.isdisjoint({"train"})


def test_a_report_that_is_stopped_says_how_to_go_on(
    fmnist: Fmnist, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stopped(*args: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("fmnist_cli.report.write._do_all", stopped)
    typed = " ".join([*QUICK, "--seeds 2"])
    assert fmnist.error(*QUICK, "--seeds", 2, code=130) == (
        f"Interrupted: what is done is kept; continue with: fmnist {typed}"
    )


@pytest.mark.slow
@pytest.mark.usefixtures("only_mlp")
def test_seeds_and_jobs(fmnist: Fmnist) -> None:
    document = fmnist.document(*QUICK, "--seeds", 2, "--jobs", 2)
    counts = {part["key"]: len(part["runs"]) for part in document["parts"]}
    assert counts["sweep-batch"] == 6
    assert counts["momentum"] == 10
    assert counts["training"] == 3  # the one that is drawn and checked, and both seeds
    assert counts["ood"] == 2
    page = Path(document["html"]).read_text()
    assert "The studies rest on 2 seeds each." in page
    assert "--seeds 2" in page
    assert "Up to 2 runs were trained side by side, but for the batch sizes." in page
    with Registry.open("runs.db", readonly=True) as registry:
        sweep = registry.latest_study("sweep-batch")
        assert sweep is not None
        assert "jobs" not in sweep.config
    again = fmnist.document(*QUICK, "--seeds", 2, "--jobs", 2)
    assert [part["runs"] for part in again["parts"]] == [p["runs"] for p in document["parts"]]
    assert Path(again["html"]).read_text() == page


def test_the_commands_of_the_page_do_the_same_again(fmnist: Fmnist, made: Made) -> None:
    with Registry.open(made.db, readonly=True) as registry:
        known = {
            run.command: (run.config | {"batch": None, "momentum": None, "lr": None})
            for run in registry.list_runs()
        }
    lines = [line for line in made.markdown.splitlines() if line.startswith("Again: `fmnist ")]
    typed = [shlex.split(line.removeprefix("Again: `").removesuffix("`"))[1:] for line in lines]
    assert [words[0] for words in typed] == [
        *("train", "train", "sweep-batch", "early-stop", "momentum"),
        *("count-params", "ood", "mini-cnn", "sweep-lr", "runs"),
    ]
    for words in typed:
        if words[0] in ("train", "sweep-batch", "early-stop", "momentum", "mini-cnn"):
            # the magnitude check needs more images than the small data set has
            fmnist(*(word for word in words if word != "--check-magnitude"))
            again = runs()[-1]
            assert again.command == words[0]
            assert again.config | {"batch": None, "momentum": None, "lr": None} == known[words[0]]


@pytest.mark.usefixtures("only_mlp")
def test_a_study_of_more_seeds_is_used_unless_the_seeds_are_chosen(fmnist: Fmnist) -> None:
    first = {part["key"]: part for part in fmnist.document(*QUICK)["parts"]}
    fmnist(*shlex.split(first["sweep-batch"]["command"])[1:], "--seeds", 2)
    document = fmnist.document(*QUICK)
    again = {part["key"]: part for part in document["parts"]}
    assert sum(part["new_runs"] for part in again.values()) == 0
    assert len(again["sweep-batch"]["runs"]) == 2 * len(first["sweep-batch"]["runs"])
    assert again["sweep-batch"]["command"] == f"{first['sweep-batch']['command']} --seeds 2"
    assert again["momentum"]["runs"] == first["momentum"]["runs"]
    page = Path(document["markdown"]).read_text()
    assert "The MLP's studies rest on 1 to 2 seeds each, that of the CNNs on one." in page
    chosen = fmnist.document(*QUICK, "--seeds", 1)
    assert [part["runs"] for part in chosen["parts"]] == [part["runs"] for part in first.values()]


@pytest.mark.usefixtures("only_mlp")
def test_a_report_says_why_in_the_assignments_order(fmnist: Fmnist) -> None:
    document = fmnist.document(*QUICK, "--why", "--seeds", 2)
    page = Path(document["markdown"]).read_text()
    titles = re.findall(r"^## (.+?)(?: \(quick version\))?$", page, re.MULTILINE)
    numbered = [title.partition(".")[0] for title in titles if "." in title]
    assert numbered == [*map(str, range(1, 9)), "Beyond"]
    for number, study in ((3, BATCH_SIZE), (4, EARLY_STOPPING), (5, MOMENTUM), (7, SHIFTED_IMAGES)):
        assert f"{number}. {study.title}" in titles
        assert study.part in page
    for question in (
        "Does a smaller batch guarantee faster training?",
        "What does too small a patience risk?",
        "How should training rely on previous gradients?",
        "Why is so much accuracy lost on rot90?",
        "Why does rot180 cost less accuracy than rot90 and rot270?",
    ):
        assert re.search(f"^### (Why: )?{re.escape(question)}$", page, re.MULTILINE)
    assert "cumulative learning rate" in page
    assert "report --why" not in page
    assert (Path(document["markdown"]).parent / "figures" / "sweep-batch-why.svg").exists()


def test_a_report_without_why_gives_intuition_and_names_what_tests_it(made: Made) -> None:
    page = made.markdown
    for question, said in (
        ("Does a larger batch need fewer gradient updates to converge?", ""),
        (
            "What does too small a patience risk?",
            "A stop by chance, where training would still improve: patience 1",
        ),
        ("How should training rely on previous gradients?", "whether the sum does more is not"),
        ("Why is accuracy lost on up4", "The MLP has a weight for every pixel"),
        ("Why is so much accuracy lost on rot90", ""),
    ):
        found = re.search(rf"^### (Why: )?{re.escape(question)}.*?(?=^##)", page, re.M | re.S)
        assert found, question
        assert said in found[0]
    lead = page.partition("## ")[0]
    assert "fmnist report --why also trains the counterfactual runs" in lead.replace("\\", "")
    table = [line for line in page.splitlines() if "--why tests it" in line]
    assert [re.search(r"fmnist (\S+)", line)[1] for line in table] == [  # type: ignore[index]
        *("sweep-batch", "early-stop", "momentum", "ood", "sweep-lr")
    ]
    losses = re.findall(r"^\| Loss (before|after) .* \| (\S+) \|$", page, re.MULTILINE)
    before, first, last = (float(loss) for _, loss in losses)
    assert last < first < before
    assert before == pytest.approx(0.7053, abs=5e-5)  # the loss that `mini-cnn --train` begins at
    assert "Batch 5000 is left out: the training set has" in page


@pytest.mark.usefixtures("only_mlp")
def test_a_quick_report_takes_what_a_small_data_set_has(fmnist: Fmnist) -> None:
    result = fmnist("report", "--quick", "--hidden", 8, "--allow-custom-data")
    assert "The data set is small: 240 images to train, 60 beside." in result.stderr
    assert {(run.train_size, run.val_size) for run in runs() if run.command == "momentum"} == {
        (240, 60)
    }


def test_a_folder_that_cannot_be_written_is_refused_first(fmnist: Fmnist) -> None:
    Path("file").touch()
    message = fmnist.error(*QUICK, "--out", "file", code=2)
    assert message.startswith("--out must be a folder that can be written. Received: file")
    assert not Path("runs.db").exists()


@pytest.mark.keras
@pytest.mark.slow
def test_all_three_models(fmnist: Fmnist) -> None:
    document = fmnist.document(*QUICK)
    (part,) = [part for part in document["parts"] if part["key"] == "ood"]
    with Registry.open("runs.db", readonly=True) as registry:
        models = [registry.get_run(run_id).model for run_id in part["runs"]]
    assert models == ["mlp", "cnn2", "cnn3"]
    assert (
        "Has one model the highest accuracy on every shifted set?"
        in Path(document["html"]).read_text()
    )

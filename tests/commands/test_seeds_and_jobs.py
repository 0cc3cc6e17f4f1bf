"""Several seeds, and runs side by side: the numbers, the failures, the signals."""

from __future__ import annotations

import json
import os
import signal
import statistics
import subprocess
import sys
import threading
import time
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fmnist_cli.analysis.batch_size import TEST_ACCURACY
from fmnist_cli.analysis.claims import judge, share
from fmnist_cli.analysis.result import StudyResult
from fmnist_cli.commands._option_groups import Common
from fmnist_cli.commands._output import Output
from fmnist_cli.engine.config import TrainConfig
from fmnist_cli.engine.data import Dataset, load
from fmnist_cli.errors import DataError, FmnistError, Terminated
from fmnist_cli.host import raise_at
from fmnist_cli.registry import Registry
from fmnist_cli.runner import jobs as _jobs
from fmnist_cli.runner.run import Recipe, Session
from fmnist_cli.runner.study import executor_of, run_study

from .conftest import SMALL, Fmnist

EPOCHS = ("--epochs", "3")
CONFIG = TrainConfig(train_size=200, val_size=50, hidden=16, epochs=3, patience=None)


def timeless(document: dict[str, Any]) -> list[Any]:
    return [
        {k: v for k, v in epoch.items() if not k.endswith("seconds")}
        for curve in document["curves"]
        for epoch in curve["epochs"]
    ]


# Seeds


def test_a_list_of_seeds(fmnist: Fmnist) -> None:
    args = ("momentum", *EPOCHS, "--alpha", 0.5, "--seed-list", "9, 1,5")
    document = fmnist.small_document(*args)
    assert [run["seed"] for run in document["runs"]] == [1, 5, 9]
    (arm,) = document["arms"]
    found = [run["test_accuracy"] for run in document["runs"]]
    summary = arm["test_accuracy"]
    assert summary["n"] == 3
    assert summary["mean"] == pytest.approx(statistics.fmean(found))
    assert summary["sd"] == pytest.approx(statistics.stdev(found))
    assert (summary["minimum"], summary["maximum"]) == (min(found), max(found))
    assert summary["low"] is summary["high"] is None  # an interval takes five


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (("--seed-list", "1,x"), "Received: 1,x."),
        (("--seed-list", ""), "Received: nothing."),
        (("--seed-list", "3,3"), "Received: 3,3."),
        (("--seed-list", "-1"), "Received: -1."),
        (
            ("--seed-list", "1,2", "--seeds", 2),
            "--seeds and --seed-list exclude each other. Received: --seeds 2 --seed-list 1,2.",
        ),
        (("--seeds", 0), "--seeds must be between 1 and 1000. Received: 0."),
        (("--jobs", 0), "--jobs must be between 1 and 256. Received: 0."),
    ],
)
def test_wrong_seeds(fmnist: Fmnist, args: tuple[object, ...], message: str) -> None:
    for command in ("momentum", "train"):
        assert fmnist.error(command, *SMALL, *args, code=2).endswith(message)
    assert not Path("runs.db").exists()


def test_train_with_several_seeds(fmnist: Fmnist) -> None:
    document = fmnist.small_document("train", *EPOCHS, "--seeds", 3)
    assert document["schema"] == "fmnist.train-seeds/1"
    assert [run["seed"] for run in document["runs"]] == [42, 43, 44]
    single = fmnist.small_document("train", *EPOCHS, "--seed", 43)
    assert document["runs"][1]["test_accuracy"] == single["test_accuracy"]
    assert document["runs"][1]["best_val_accuracy"] == single["best_val_accuracy"]
    with Registry.open("runs.db", readonly=True) as registry:
        study = registry.get_study(document["id"])
        assert study.kind == "train"
        for run in registry.study_runs(study.id):
            (file,) = registry.artefacts(run.id, kind="result")
            assert registry.artefact_path(file).name == "result.json"
    result = fmnist.small("train", *EPOCHS, "--seeds", 3, "--new")
    for word in ("mean", "standard", "lowest", "highest", "test accuracy", "training time"):
        assert word in result.stdout
    assert "95 %" not in result.stdout  # no interval from so few, and no column of dashes
    five = fmnist.small("train", *EPOCHS, "--seeds", 5).stdout
    assert "95 % interval" in " ".join(five.split())
    assert " points " in five
    fmnist("plot", "train", "--study", document["id"], "--out", "seeds.png")
    assert Path("seeds.png").read_bytes().startswith(b"\x89PNG")


def test_one_seed_says_so(fmnist: Fmnist) -> None:
    assert "on one seed" in fmnist.small("train", *EPOCHS).stdout
    assert fmnist.small("train", *EPOCHS, "--seed-list", 7).stdout.count("seed 7") == 1
    for study in (("momentum", "--alpha", 0.5, "--alpha", 0.9), ("ood",), ("early-stop",),
                  ("sweep-batch", "--batch", 5, "--batch", 50)):  # fmt: skip
        assert "One seed (42)." in " ".join(fmnist.small(*study, *EPOCHS).stdout.split())


def test_checks_go_with_one_seed(fmnist: Fmnist) -> None:
    message = fmnist.error("train", *SMALL, "--seeds", 2, "--check-gradient", code=2)
    flags = "--layers, --check-gradient, --check-magnitude and --log"
    assert message == f"{flags} go with one seed. Received: 2 seeds."


def test_diverged_seeds_are_named(fmnist: Fmnist) -> None:
    message = fmnist.error("train", *SMALL, *EPOCHS, "--seeds", 2, "--lr", 1000, code=4)
    assert message.startswith("the training diverged with 2 of 2 seeds (42, 43)")


@pytest.mark.parametrize("columns", ["80", "120"])
def test_tables_of_several_seeds_have_the_interval_and_fit(
    fmnist: Fmnist, monkeypatch: pytest.MonkeyPatch, columns: str
) -> None:
    monkeypatch.setenv("COLUMNS", columns)
    alphas = ("--alpha", 0.1, "--alpha", 0.9)
    for study in (("momentum", "--epoch-table", *alphas), ("ood",), ("early-stop",), ("train",),
                  ("sweep-batch", "--batch", 5)):  # fmt: skip
        few = fmnist.small(*study, *EPOCHS, "--seeds", 2).stdout
        assert study[0] == "train" or "With a mean: the lowest and highest seed." in few
        assert "±" not in few
        several = fmnist.small(*study, *EPOCHS, "--seeds", 5).stdout
        assert study[0] == "train" or "±: standard deviation over the seeds." in several
        assert "±" in several or study[0] == "train"
        assert "95 %" in several or study[0] in ("ood", "early-stop")
        assert "…" not in several  # no number is cut off


# Planted effects


def study_of(lrs: dict[str, float], seeds: int) -> StudyResult:
    arms = [(label, CONFIG.but(lr=lr)) for label, lr in lrs.items()]
    with Registry.open("runs.db") as registry:
        return run_study(
            Session(registry, _data()), Recipe("train"), arms, seeds=range(42, 42 + seeds)
        )


def _data() -> Dataset:
    return load(200, 50, data_dir=Path(os.environ["FMNIST_DATA_DIR"]), allow_custom=True)


def test_a_learning_rate_10_times_smaller_is_called(fmnist: Fmnist) -> None:
    result = study_of({"lr 0.01": 0.01, "lr 0.001": 0.001}, seeds=4)
    arms = result.runs
    # both arms stop at the limit of 3 epochs: what is compared is the accuracy after 3 epochs
    after_3 = replace(TEST_ACCURACY, bound=lambda run: 0)
    (claim,) = share(judge(arms, after_3, rises=False))
    assert claim.trend() == "yes"
    assert [len(condition.values) for condition in claim.conditions] == [4, 4]
    (claim,) = share(judge(arms, after_3, rises=True))
    assert claim.trend() == "no"
    # as the final accuracy it is a lower bound, for the slow arm was still improving
    (claim,) = share(judge(arms, TEST_ACCURACY, rises=False))
    assert claim.trend() == "not settled"


# Jobs


def test_the_bits_do_not_depend_on_the_jobs(fmnist: Fmnist) -> None:
    args = ("momentum", *EPOCHS, "--alpha", 0, "--alpha", 0.9, "--seeds", 2)
    alone = fmnist.small_document(*args)
    beside = fmnist.small_document(*args, "--jobs", 3, "--new")
    assert (alone["jobs"], beside["jobs"]) == (1, 3)
    assert timeless(alone) == timeless(beside)
    assert len({run.pid for run in runs_of(beside["id"])}) > 1
    with Registry.open("runs.db", readonly=True) as registry:
        runs = [registry.study_runs(one["id"]) for one in (alone, beside)]
        weights = [
            [
                np.load(registry.artefact_path(registry.artefacts(r.id, kind="weights")[0]))
                for r in of
            ]
            for of in runs
        ]
        for one, other in zip(*weights, strict=True):
            for name in one.files:
                assert one[name].tobytes() == other[name].tobytes()
        assert {r.data_source for r in runs[0]} == {r.data_source for r in runs[1]}
        assert {r.data_fingerprint for r in runs[0]} == {r.data_fingerprint for r in runs[1]}


def test_large_batches_have_the_same_bits_in_single_thread(fmnist: Fmnist) -> None:
    args = ("sweep-batch", *EPOCHS, "--batch", 200, "--batch", 150)
    alone, beside = (fmnist.small_document(*args, "--jobs", jobs) for jobs in (1, 2))
    for one, other in zip(alone["runs"], beside["runs"], strict=True):
        assert one["best_val_accuracy"] == other["best_val_accuracy"]
        with Registry.open("runs.db", readonly=True) as registry:
            losses = [
                [epoch.train_loss for epoch in registry.epochs(run["id"])] for run in (one, other)
            ]
        assert losses[0] == losses[1]


def test_times_side_by_side_are_marked(fmnist: Fmnist) -> None:
    args = ("sweep-batch", *EPOCHS, "--batch", 5, "--batch", 50)
    assert "side by side" not in fmnist.small(*args).stdout
    marked = fmnist.small(*args, "--jobs", 2).stdout
    assert "The times were taken with 2 runs side by side (--jobs)" in " ".join(marked.split())


def test_ood_side_by_side_records_the_evaluations(fmnist: Fmnist) -> None:
    args = ("ood", *EPOCHS, "--curve", "shift", "--seeds", 2, "--jobs", 2)
    document = fmnist.small_document(*args)
    for run in document["runs"]:
        sets = [one["test_set"] for one in document["evaluations"] if one["run"] == run["id"]]
        assert len(sets) == 1 + 4 + 32


def refuse_seed_43(run: Any, backend: Any, result: Any, data: Any) -> None:
    with Registry.open("runs.db", readonly=True) as registry:
        if registry.get_run(run.id).seed == 43:
            raise DataError("seed 43 is refused.")


def die_with_seed_43(run: Any, backend: Any, result: Any, data: Any) -> None:
    with Registry.open("runs.db", readonly=True) as registry:
        if registry.get_run(run.id).seed == 43:
            os.kill(os.getpid(), signal.SIGKILL)


def swallow(run: Any, backend: Any, result: Any, data: Any) -> None:
    Path("ended.txt").touch()
    try:
        time.sleep(60)
    except Terminated:
        raise ValueError("the signal is lost") from None


def stumble(run: Any, backend: Any, result: Any, data: Any) -> None:
    raise ZeroDivisionError("a bug")


def with_after(after: Any, jobs: int, seeds: int = 3) -> StudyResult:
    with Registry.open("runs.db") as registry:
        return run_study(
            Session(registry, _data(), Output(Common())),
            Recipe("train", after=after),
            [("arm", CONFIG)],
            seeds=range(42, 42 + seeds),
            executor=executor_of(jobs),
        )


@pytest.mark.parametrize("jobs", [1, 2])
def test_one_failure_does_not_stop_the_rest(fmnist: Fmnist, jobs: int) -> None:
    result = with_after(refuse_seed_43, jobs)
    assert [run.run.seed for run in result.runs] == [42, 44]
    assert result.failures == ("arm, seed 43: seed 43 is refused.",)
    with pytest.raises(FmnistError, match="1 run of study 1 failed: arm, seed 43: seed 43 is"):
        result.require_complete()
    assert sorted(run.status for run in runs_of(1)) == ["failed", "finished", "finished"]


def test_a_worker_that_is_killed_costs_its_run_alone(fmnist: Fmnist) -> None:
    result = with_after(die_with_seed_43, 2)
    assert [run.run.seed for run in result.runs] == [42, 44]
    (failure,) = result.failures
    assert (
        failure == "arm, seed 43: its process was ended by signal 9, and 2 before it died as well"
    )
    found = {run.seed: (run.status, run.resumes) for run in runs_of(1)}
    assert found == {42: ("finished", 0), 43: ("lost", 2), 44: ("finished", 0)}


def test_the_run_of_a_worker_that_is_killed_is_taken_up_again(fmnist: Fmnist) -> None:
    args = ("momentum", "--alpha", "0", "--alpha", "0.9", *SMALL, "--epochs", "1000")
    undisturbed = fmnist.document(*args, "--db", "undisturbed.db")
    command = [sys.executable, "-m", "fmnist_cli", *args, "--jobs", "2", "--json"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    killed: list[int] = []
    reached = 0
    deadline = time.monotonic() + 60
    while len(killed) < 2 and time.monotonic() < deadline:
        for run in training():
            # twice the same run, once it has come further than its checkpoint
            further = run.epochs_run > reached and run.resumes == len(killed)
            if run.arm == "momentum 0" and further and has_checkpoint(run):
                reached = run.epochs_run
                os.kill(run.pid, signal.SIGKILL)
                killed.append(run.pid)
        time.sleep(0.02)
    stdout, stderr = process.communicate(timeout=60)
    assert process.returncode == 0, stderr
    assert len(set(killed)) == 2
    assert 1 <= stderr.count("continues after epoch") <= 2  # or is killed before it can say so
    document = json.loads(stdout)
    assert document["failures"] == []
    assert timeless(document) == timeless(undisturbed)
    assert {run.arm: run.resumes for run in runs_of(1)} == {"momentum 0": 2, "momentum 0.9": 0}
    assert weights_of("runs.db", 1) == weights_of("undisturbed.db", 1)


def test_no_worker_outlives_a_signal_that_it_lost(fmnist: Fmnist) -> None:
    def terminate() -> None:
        while not Path("ended.txt").exists():
            time.sleep(0.02)
        os.kill(os.getpid(), signal.SIGTERM)

    before = signal.getsignal(signal.SIGTERM)
    raise_at({signal.SIGTERM: Terminated})
    sender = threading.Thread(target=terminate)
    sender.start()
    try:
        with pytest.raises(Terminated) as raised:
            with_after(swallow, 2)
    finally:
        sender.join()
        signal.signal(signal.SIGTERM, before)
    assert raised.value.kept is not None
    assert raised.value.kept.text.startswith("study 1 keeps 0 of 3 runs")
    assert "failed" in {run.status for run in runs_of(1)}


def has_checkpoint(run: Any) -> bool:
    with Registry.open("runs.db", readonly=True) as registry:
        return bool(list(registry.run_folder(run).glob("*.ckpt")))


def weights_of(db: str, study_id: int) -> dict[str | None, dict[str, bytes]]:
    found = {}
    with Registry.open(db, readonly=True) as registry:
        for run in registry.study_runs(study_id):
            (path,) = registry.artefacts(run.id, kind="weights")
            arrays = np.load(registry.artefact_path(path))
            found[run.arm] = {name: arrays[name].tobytes() for name in arrays.files}
    return found


def test_a_bug_in_a_worker_shows_its_traceback(
    fmnist: Fmnist, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(FmnistError, match="arm, seed 42: ZeroDivisionError: a bug"):
        with_after(stumble, 2, seeds=2)
    assert "in stumble" in capsys.readouterr().err


def runs_of(study_id: int) -> list[Any]:
    with Registry.open("runs.db", readonly=True) as registry:
        return registry.study_runs(study_id)


@pytest.mark.parametrize(("signum", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_ends_every_worker(fmnist: Fmnist, signum: signal.Signals, code: int) -> None:
    command = [sys.executable, "-m", "fmnist_cli", "momentum", *SMALL, "--epochs", "1000000"]
    process = subprocess.Popen(
        [*command, "--alpha", "0", "--alpha", "0.5", "--alpha", "0.9", "--jobs", "2"],
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and len(training()) < 2:
        time.sleep(0.1)
    pids = [run.pid for run in training()]
    assert len(set(pids)) == 2
    os.killpg(process.pid, signum)  # as a terminal does: everyone gets it
    for _ in range(20 if signum == signal.SIGTERM else 0):  # as timeout does: more than once
        time.sleep(0.005)
        with suppress(ProcessLookupError):
            process.send_signal(signum)
    _, stderr = process.communicate(timeout=60)
    assert process.returncode == code
    word = {130: "Interrupted", 143: "Terminated"}[code]
    typed = [*command[3:], "--alpha", "0", "--alpha", "0.5", "--alpha", "0.9", "--jobs", "2"]
    assert stderr.strip().splitlines()[-1] == (
        f"Error: {word}: study 1 keeps 0 of 3 runs, and the epochs of what was under way; "
        f"continue with: fmnist {' '.join(typed)}"
    )
    assert "Traceback" not in stderr
    assert {run.argv for run in runs_of(1)} == {("fmnist", *typed)}
    assert [run.status for run in runs_of(1)] == ["interrupted"] * 2
    for pid in pids:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)


def training() -> list[Any]:
    """The runs that have recorded some epochs."""
    try:
        return [run for run in runs_of(1) if run.epochs_run > 3]
    except FmnistError:
        return []


def test_workers_end_when_the_parent_is_killed(fmnist: Fmnist) -> None:
    command = [sys.executable, "-m", "fmnist_cli", "momentum", *SMALL, "--epochs", "1000000"]
    process = subprocess.Popen([*command, "--alpha", "0", "--alpha", "0.5", "--jobs", "2"])
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and len(training()) < 2:
        time.sleep(0.1)
    process.kill()
    process.wait()
    while time.monotonic() < deadline and any(r.status == "running" for r in runs_of(1)):
        time.sleep(0.1)
    assert [run.status for run in runs_of(1)] == ["interrupted"] * 2


def test_cores_are_shared_out(monkeypatch: pytest.MonkeyPatch) -> None:
    from fmnist_cli.engine.keras_models import runtime
    from fmnist_cli.engine.numpy_mlp import threads

    monkeypatch.setattr(runtime, "_pool_threads", runtime.SHARDS)
    monkeypatch.setattr(threads, "_single_thread", False)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)))
    _jobs.use_cores(_jobs.share_of(2))
    assert (runtime._pool_threads, threads._single_thread) == (2, False)
    _jobs.use_cores(_jobs.share_of(5))
    assert (runtime._pool_threads, threads._single_thread) == (1, True)


@pytest.mark.keras
def test_keras_has_the_same_bits_side_by_side(fmnist: Fmnist) -> None:
    for model in ("mlp", "cnn3"):
        args = ("train", "--epochs", 2, "--batch", 20, "--model", model, "--engine", "keras",
                "--seeds", 2, "--new")  # fmt: skip
        alone, beside = (fmnist.small_document(*args, "--jobs", jobs) for jobs in (1, 2))
        with Registry.open("runs.db", readonly=True) as registry:
            for one, other in zip(alone["runs"], beside["runs"], strict=True):
                losses = [
                    [(e.running_loss, e.val_loss) for e in registry.epochs(run["id"])]
                    for run in (one, other)
                ]
                assert losses[0] == losses[1]

"""Studies on a Dask cluster: the numbers, workers that die, interrupts, what is refused.

The clusters are real: a scheduler and workers in processes of their own.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from distributed import Client
from sqlalchemy import update

from fmnist_cli.analysis.result import StudyResult
from fmnist_cli.commands._option_groups import Common
from fmnist_cli.commands._output import Output
from fmnist_cli.engine.config import TrainConfig
from fmnist_cli.engine.data import load
from fmnist_cli.errors import FmnistError
from fmnist_cli.registry import Registry, RunRecord, schema
from fmnist_cli.runner import cluster as _cluster
from fmnist_cli.runner.jobs import Done, Elsewhere, Job
from fmnist_cli.runner.run import Recipe, Session, StudyCondition
from fmnist_cli.runner.study import run_study

from .conftest import SMALL, Fmnist

WAIT_SECONDS = 120.0
CONFIG = TrainConfig(train_size=200, val_size=50, hidden=16, epochs=3, patience=None)
LONG = ("momentum", *SMALL, "--epochs", "1000", "--alpha", "0", "--alpha", "0.9")  # seconds each


class Cluster:
    """A Dask scheduler and its workers, each a process of this machine."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.processes: list[subprocess.Popen[bytes]] = []
        self._start("scheduler", "--host", "127.0.0.1", "--port", "0")
        # it is written in place, with its closing bracket last
        wait_for(lambda: self._file.exists() and self._file.read_text().endswith("}"))
        self.address: str = json.loads(self._file.read_text())["address"]

    @property
    def _file(self) -> Path:
        return self.folder / "scheduler.json"

    def worker(self, *options: str) -> subprocess.Popen[bytes]:
        """Start one, of one thread unless ``options`` say otherwise."""
        return self._start("worker", "--nthreads", "1", "--no-nanny", *options)

    def nursed_worker(self) -> None:
        """Start one that is started again when it dies."""
        self._start("worker", "--nthreads", "1", "--nanny")

    def _start(self, what: str, *options: str) -> subprocess.Popen[bytes]:
        program = [sys.executable, "-m", f"distributed.cli.dask_{what}", "--no-dashboard"]
        with (self.folder / f"{what}-{len(self.processes)}.log").open("wb") as log:
            process = subprocess.Popen(
                [*program, "--scheduler-file", str(self._file), *options],
                stdout=log,
                stderr=log,
                cwd=self.folder,
                # what a test passes to a worker is a function of this module
                env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])},
            )
        self.processes.append(process)
        return process

    def end(self) -> None:
        for process in reversed(self.processes):
            process.kill()
            process.wait()


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    """A scheduler without workers."""
    cluster = Cluster(tmp_path)
    try:
        yield cluster
    finally:
        cluster.end()


@pytest.fixture
def shared_db(new_database: Callable[[Path], str], tmp_path: Path) -> str:
    """A registry on a server."""
    return new_database(tmp_path / "files")


@pytest.fixture(scope="module")
def undisturbed(tiny_data: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[Any, Any]:
    """What ``LONG`` computes in one process that nobody disturbs."""
    db = tmp_path_factory.mktemp("undisturbed") / "runs.db"
    process = start(*LONG, "--db", db, "--data-dir", tiny_data)
    _, stderr = process.communicate(timeout=WAIT_SECONDS)
    assert process.returncode == 0, stderr
    return recorded(str(db))


def wait_for(holds: Callable[[], object]) -> None:
    deadline = time.monotonic() + WAIT_SECONDS
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def wait_for_workers(cluster: Cluster, n: int) -> None:
    with Client(cluster.address, set_as_default=False) as client:
        client.wait_for_workers(n)


def runs_of(db: str) -> list[RunRecord]:
    """All runs, the oldest first; none where there is no registry yet."""
    try:
        with Registry.open(db, readonly=True) as registry:
            return registry.list_runs()[::-1]
    except FmnistError:
        return []


def under_way(db: str) -> list[RunRecord]:
    """The runs that could go on from a checkpoint."""
    running = [run for run in runs_of(db) if run.status == "running"]
    if not running:
        return []
    with Registry.open(db, readonly=True) as registry:
        return [run for run in running if list(registry.run_folder(run).glob("*.ckpt"))]


def recorded(db: str) -> dict[tuple[str | None, int], tuple[Any, ...]]:
    """What each run with a result computed, without its times, by arm and seed."""
    found = {}
    with Registry.open(db, readonly=True) as registry:
        for run in registry.list_runs(status="finished"):
            (weights,) = registry.artefacts(run.id, kind="weights")
            arrays = np.load(registry.artefact_path(weights))
            epochs = [
                {k: v for k, v in asdict(epoch).items() if not k.endswith("seconds")}
                for epoch in registry.epochs(run.id)
            ]
            found[run.arm, run.seed] = (
                epochs,
                {name: arrays[name].tobytes() for name in arrays.files},
                [asdict(one) | {"run_id": 0} for one in registry.evaluations(run.id)],
                (run.best_epoch, run.stop_reason, run.test_accuracy, run.epochs_run),
            )
    for epochs, *_ in found.values():
        for epoch in epochs:
            epoch.pop("run_id", None)
    return found


STARTED: list[subprocess.Popen[str]] = []


@pytest.fixture(autouse=True)
def _no_process_outlives_its_test() -> Iterator[None]:
    yield
    while STARTED:
        process = STARTED.pop()
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)  # and the workers that it has started
            process.wait()


def start(*args: object) -> subprocess.Popen[str]:
    """The command in a process of its own."""
    process = subprocess.Popen(
        [sys.executable, "-m", "fmnist_cli", *map(str, args)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    STARTED.append(process)
    return process


# The numbers


def test_a_cluster_computes_the_same(fmnist: Fmnist, cluster: Cluster) -> None:
    cluster.worker()
    cluster.worker()
    wait_for_workers(cluster, 2)
    args = ("momentum", "--epochs", 3, "--alpha", 0, "--alpha", 0.9, "--seeds", 2)
    alone = fmnist.small_document(*args, "--db", "alone.db")
    beside = fmnist.small_document(*args, "--db", "beside.db", "--scheduler", cluster.address)
    assert (alone["on_cluster"], beside["on_cluster"], beside["jobs"]) == (False, True, 1)
    assert [run["seed"] for run in beside["runs"]] == [42, 43, 42, 43]
    assert recorded("alone.db") == recorded("beside.db")
    runs = runs_of("beside.db")
    assert {run.pid for run in runs} == {worker.pid for worker in cluster.processes[1:]}
    assert {run.argv[:2] + run.argv[-3:] for run in runs} == {
        ("fmnist", "momentum", "--scheduler", cluster.address, "--json")
    }


def test_times_on_a_cluster_are_marked(fmnist: Fmnist, cluster: Cluster) -> None:
    cluster.worker()
    args = ("sweep-batch", "--epochs", 1, "--batch", 50, "--scheduler", cluster.address)
    found = " ".join(fmnist.small(*args).stdout.split())
    assert "The times were taken on a Dask cluster (--scheduler)" in found


def test_train_with_seeds_keeps_its_result_file(fmnist: Fmnist, cluster: Cluster) -> None:
    cluster.worker()
    where = ("--scheduler", cluster.address)
    document = fmnist.small_document("train", "--epochs", 2, "--seeds", 2, *where)
    assert json.loads(Path(document["result_file"]).read_text())["test"] == pytest.approx(
        document["runs"][0]["test_accuracy"]
    )
    message = fmnist.error("train", *SMALL, *where, code=2)
    assert message.endswith(f"with several seeds. Received: {' '.join(where)} and one seed.")


@pytest.mark.keras
def test_keras_computes_the_same_on_a_cluster(fmnist: Fmnist, cluster: Cluster) -> None:
    cluster.worker()
    cluster.worker()
    wait_for_workers(cluster, 2)
    args = ("train", "--epochs", 2, "--batch", 20, "--model", "cnn3", "--seeds", 2)
    fmnist.small(*args, "--db", "alone.db")
    fmnist.small(*args, "--db", "beside.db", "--scheduler", cluster.address)
    assert recorded("alone.db") == recorded("beside.db")


def test_a_worker_with_two_threads_trains_one_run_at_a_time(
    fmnist: Fmnist, cluster: Cluster
) -> None:
    cluster.worker("--nthreads", "2")
    args = ("momentum", "--epochs", 50, "--alpha", 0, "--alpha", 0.9)
    fmnist.small(*args, "--scheduler", cluster.address)
    one, other = sorted(runs_of("runs.db"), key=lambda run: run.started_at)
    assert one.ended_at is not None
    assert one.ended_at <= other.started_at


def test_a_relative_folder_is_found_by_workers_elsewhere(
    fmnist: Fmnist, cluster: Cluster, tiny_data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cluster.worker()
    Path("apart").mkdir()
    monkeypatch.chdir("apart")  # the workers are in the folder above
    monkeypatch.delenv("FMNIST_DATA_DIR")
    shutil.copytree(tiny_data, "mine")
    args = ("--data-dir", "mine", "--epochs", 2, "--alpha", 0, "--scheduler", cluster.address)
    assert fmnist.small_document("momentum", *args)["failures"] == []


# Workers that die


def test_the_run_of_a_worker_that_is_killed_is_taken_up_again(
    fmnist: Fmnist, cluster: Cluster, shared_db: str, undisturbed: Any
) -> None:
    cluster.worker()
    cluster.worker()
    wait_for_workers(cluster, 2)
    client = start(*LONG, "--db", shared_db, "--scheduler", cluster.address, "--json")
    wait_for(lambda: len(under_way(shared_db)) == 2)
    victim = under_way(shared_db)[0]
    assert victim.pid in [process.pid for process in cluster.processes]
    os.kill(victim.pid, signal.SIGKILL)
    stdout, stderr = client.communicate(timeout=WAIT_SECONDS)
    assert client.returncode == 0, stderr
    assert f"Run {victim.id} continues after epoch " in stderr
    assert json.loads(stdout)["failures"] == []
    runs = {run.id: run for run in runs_of(shared_db)}
    assert len(runs) == 2
    assert {run.id: run.resumes for run in runs.values()} == {
        run: int(run == victim.id) for run in runs
    }
    assert runs[victim.id].pid != victim.pid
    with Registry.open(shared_db, readonly=True) as registry:
        for run in runs:
            assert [epoch.epoch for epoch in registry.epochs(run)] == list(range(1, 1001))
            assert registry.get_run(run).digest == registry.computed_digest(run)
    assert recorded(shared_db) == undisturbed


def test_a_worker_that_is_told_to_close_hands_its_run_over(
    fmnist: Fmnist, cluster: Cluster, undisturbed: Any
) -> None:
    first = cluster.worker()
    client = start(*LONG, "--scheduler", cluster.address)
    wait_for(lambda: under_way("runs.db"))
    cluster.worker()
    first.terminate()
    first.wait()
    _, stderr = client.communicate(timeout=WAIT_SECONDS)
    assert client.returncode == 0, stderr
    assert [(run.status, run.resumes) for run in runs_of("runs.db")] == [
        ("finished", 1),
        ("finished", 0),
    ]
    assert recorded("runs.db") == undisturbed


def test_the_run_of_another_machine_is_taken_over_at_once(
    fmnist: Fmnist, cluster: Cluster, shared_db: str, tiny_data: Path, undisturbed: Any
) -> None:
    client = start(*LONG, "--db", shared_db)
    wait_for(lambda: under_way(shared_db))
    client.kill()
    client.communicate(timeout=WAIT_SECONDS)
    cluster.worker()
    with Registry.open(shared_db) as registry:
        with registry.database.write() as connection:
            columns = {"host": "node7", "boot_id": "another boot"}
            connection.execute(update(schema.run).values(columns))
        (run,) = registry.list_runs()
        assert run.status == "running"  # for all that its heartbeat says
        study = registry.get_study(run.study_id or 0)
    condition = StudyCondition(study.id, study.arms[0])
    job = Job("momentum 0", TrainConfig(**run.config), condition, run_uuid=run.uuid)
    data = load(200, 50, data_dir=tiny_data, allow_custom=True)
    origin = Elsewhere(shared_db, data.folder, data.source, data.fingerprint, run.argv)
    recipe = Recipe("momentum", test_every_epoch=True)
    task = _cluster._Task("key", job, recipe, origin, home="elsewhere")
    with Client(cluster.address, set_as_default=False) as dask:
        assert dask.submit(_cluster._train_one, task, key="key").result() == Done(job.name)
    (run,) = runs_of(shared_db)
    assert (run.status, run.resumes, run.host) == ("finished", 1, os.uname().nodename)
    key = study.arms[0], run.seed
    assert recorded(shared_db) == {key: undisturbed[key]}


def die_with_seed_43(run: Any, backend: Any, result: Any, data: Any) -> None:
    with Registry.open(run._database.target, readonly=True) as registry:
        if registry.get_run(run.id).seed == 43:
            os.kill(os.getpid(), signal.SIGKILL)


def stumble(run: Any, backend: Any, result: Any, data: Any) -> None:
    raise ZeroDivisionError("a bug")


def with_after(cluster: Cluster, after: Any, seeds: int = 3) -> StudyResult:
    folder = Path(os.environ["FMNIST_DATA_DIR"])
    data = load(200, 50, data_dir=folder, allow_custom=True)
    with Registry.open("runs.db") as registry:
        session = Session(registry, data, Output(Common()))
        return run_study(
            session,
            Recipe("train", after=after),
            [("arm", CONFIG)],
            seeds=range(42, 42 + seeds),
            executor=_cluster.Cluster(cluster.address),
        )


def test_a_run_that_kills_every_worker_is_given_up(fmnist: Fmnist, cluster: Cluster) -> None:
    cluster.nursed_worker()
    result = with_after(cluster, die_with_seed_43)
    assert [run.run.seed for run in result.runs] == [42, 44]
    assert result.failures == ("arm, seed 43: its worker died, and so did 3 others before it",)
    found = {run.seed: (run.status, run.resumes) for run in runs_of("runs.db")}
    assert found == {42: ("finished", 0), 43: ("lost", 3), 44: ("finished", 0)}


def test_a_bug_on_a_worker_shows_its_traceback(
    fmnist: Fmnist, cluster: Cluster, capsys: pytest.CaptureFixture[str]
) -> None:
    cluster.worker()
    with pytest.raises(FmnistError, match="arm, seed 42: ZeroDivisionError: a bug"):
        with_after(cluster, stumble, seeds=2)
    assert "in stumble" in capsys.readouterr().err


# Interrupts


def test_the_same_command_finishes_what_was_interrupted(
    fmnist: Fmnist, cluster: Cluster, shared_db: str, undisturbed: Any
) -> None:
    cluster.worker()
    cluster.worker()
    wait_for_workers(cluster, 2)
    command = (*LONG, "--db", shared_db, "--scheduler", cluster.address)
    for end in (signal.SIGINT, signal.SIGTERM, signal.SIGKILL):
        client = start(*command)
        wait_for(lambda: len(under_way(shared_db)) == 2)
        client.send_signal(end)
        _, stderr = client.communicate(timeout=WAIT_SECONDS)
        assert client.returncode in (130, 143, -signal.SIGKILL), stderr
        # without a client the workers notice that nobody wants the runs
        wait_for(lambda: not any(run.status == "running" for run in runs_of(shared_db)))
        assert [run.status for run in runs_of(shared_db)] == ["interrupted"] * 2
    fmnist(*command)
    assert [(run.status, run.resumes) for run in runs_of(shared_db)] == [("finished", 3)] * 2
    assert recorded(shared_db) == undisturbed


def test_a_scheduler_that_dies_is_named(fmnist: Fmnist, cluster: Cluster) -> None:
    cluster.worker()
    client = start(*LONG, "--scheduler", cluster.address)
    wait_for(lambda: under_way("runs.db"))
    cluster.processes[0].kill()
    _, stderr = client.communicate(timeout=WAIT_SECONDS)
    assert client.returncode == 1
    (error,) = [line for line in stderr.splitlines() if line.startswith("Error: ")]
    assert "momentum 0: the scheduler is gone, or has forgotten it" in error
    assert "Traceback" not in stderr
    wait_for(lambda: runs_of("runs.db")[0].status in ("interrupted", "lost"))


# What is refused


def study_on(scheduler: str) -> tuple[object, ...]:
    return ("momentum", *SMALL, "--epochs", 1, "--alpha", 0, "--scheduler", scheduler)


def test_jobs_and_an_address_exclude_each_other(fmnist: Fmnist) -> None:
    message = fmnist.error(*study_on("tcp://host:8786"), "--jobs", 2, code=2)
    assert message.startswith("--jobs and --scheduler exclude each other")
    assert message.endswith("Received: --jobs 2 --scheduler tcp://host:8786.")
    assert not Path("runs.db").exists()


@pytest.mark.parametrize("address", ["tcp://127.0.0.1:1", "nonsense", "http://x"])
def test_an_address_without_a_scheduler(
    fmnist: Fmnist, address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_cluster, "CONNECT_SECONDS", 0.5)
    message = fmnist.error(*study_on(address), code=2)
    assert message.startswith("scheduler must be the address of a Dask scheduler that runs")
    assert f"Received: {address} (" in message
    with Registry.open("runs.db") as registry:
        assert registry.list_studies() == []


def test_dask_is_asked_for_by_name(fmnist: Fmnist, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "distributed", None)
    message = fmnist.error(*study_on("tcp://host:8786"), code=2)
    assert message == "scheduler needs Dask, which is not installed: pip install 'fmnist[dask]'"


def test_a_file_is_no_registry_for_other_machines(
    fmnist: Fmnist, cluster: Cluster, shared_db: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    cluster.worker()
    monkeypatch.setattr(_cluster, "machine", lambda: "another boot")
    wait_for_workers(cluster, 1)
    message = fmnist.error(*study_on(cluster.address), code=2)
    assert "must be on a server. Received: " in message
    assert f"runs.db, and workers on {os.uname().nodename}. Name one on a Postgre" in message
    assert "--db postgresql+psycopg://user@host/" in message
    assert runs_of("runs.db") == []
    fmnist(*study_on(cluster.address), "--db", shared_db)
    assert [run.status for run in runs_of(shared_db)] == ["finished"]


def test_a_worker_that_joins_later_is_refused_the_file_as_well(
    fmnist: Fmnist, cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_cluster, "machine", lambda: "another boot")
    client_says = "has no worker yet; the runs wait for one."
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Output, "say", lambda self, text: cluster.worker() if client_says in text
                      else None)  # fmt: skip
        message = fmnist.error(*study_on(cluster.address), code=1)
    assert "momentum 0: a registry in which workers on other machines record" in message
    assert runs_of("runs.db") == []


def test_files_that_the_workers_do_not_see_are_named(
    fmnist: Fmnist, cluster: Cluster, shared_db: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    cluster.worker()
    wait_for_workers(cluster, 1)
    elsewhere = _cluster._WorkerInfo(
        "another boot", "node7", _cluster.__version__, sees_files=False
    )
    monkeypatch.setattr(_cluster, "_worker_info", lambda probe: elsewhere)
    result = fmnist(*study_on(cluster.address), "--db", shared_db)
    assert "is not the same one on node7: weights of runs there stay there" in result.stderr
    older = _cluster._WorkerInfo("another boot", "node7", "0.0.1", sees_files=True)
    monkeypatch.setattr(_cluster, "_worker_info", lambda probe: older)
    message = fmnist.error(*study_on(cluster.address), "--db", shared_db, code=2)
    assert message.endswith(f"must have fmnist {_cluster.__version__} installed. Received: 0.0.1.")

"""`runs export` and `runs import`: other programs read what was recorded, and registries merge."""

from __future__ import annotations

import csv
import json
import math
import shutil
import sqlite3
from contextlib import closing, suppress
from dataclasses import asdict
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from fmnist_cli.engine.config import TrainConfig
from fmnist_cli.epoch import Epoch
from fmnist_cli.registry import Outcome, Registry, RunSpec

from .conftest import Fmnist
from .recorded import DIVERGED, LOST, TRAIN

pytestmark = pytest.mark.usefixtures("recorded")


def view(name: str) -> list[dict[str, Any]]:
    with closing(sqlite3.connect("runs.db")) as connection:
        connection.row_factory = sqlite3.Row
        order = "run_id, epoch" if name == "epoch_curve" else "run_id"
        rows = connection.execute(f"SELECT * FROM {name} ORDER BY {order}")
        found = [dict(row) for row in rows]
    for row in found:
        if row.get("status") == "running":  # as the table has it
            row["status"] = "lost"
    return found


def curve(run: int) -> list[Epoch]:
    with Registry.open("runs.db", readonly=True) as registry:
        return list(registry.epochs(run))


def test_csv_has_every_number(fmnist: Fmnist) -> None:
    assert "Wrote 9 rows" in fmnist("runs", "export", "--out", "runs.csv").stderr
    with Path("runs.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    expected = view("run_summary")
    assert [list(row) for row in rows] == [list(row) for row in expected]
    for row, wanted in zip(rows, expected, strict=True):
        for name, value in wanted.items():
            found = row[name]
            assert found == "" if value is None else type(value)(found) == value


def test_json_says_what_was_written(fmnist: Fmnist) -> None:
    for args, form, runs in (
        ((), "csv", list(range(1, LOST + 1))),
        ((3, TRAIN, "--epochs", "--format", "jsonl"), "jsonl", [3, TRAIN]),
        ((TRAIN, "--format", "course"), "course", [TRAIN]),
    ):
        document = fmnist.document("runs", "export", *args, "--out", "runs.txt")
        expected = {"schema": "fmnist.runs.export/1", "file": "runs.txt", "format": form,
                    "runs": runs}  # fmt: skip
        assert document == expected
        assert Path("runs.txt").stat().st_size > 0
    message = fmnist.error("runs", "export", "--json", code=2)
    assert message.startswith("--json must have --out")


def test_jsonl_of_epochs_and_filters(fmnist: Fmnist) -> None:
    lines = fmnist("runs", "export", "--format", "jsonl", "--epochs").stdout.splitlines()
    assert [json.loads(line) for line in lines] == view("epoch_curve")
    lines = fmnist("runs", "export", 3, TRAIN, "--format", "jsonl").stdout.splitlines()
    assert [json.loads(line)["run_id"] for line in lines] == [3, TRAIN]
    args = ("runs", "export", "--format", "jsonl", "--where", "momentum = 0.9", "--epochs")
    lines = fmnist(*args).stdout.splitlines()
    assert {json.loads(line)["run_id"] for line in lines} == {4, 5, 6}


def test_markdown_is_a_table_that_one_would_paste(fmnist: Fmnist) -> None:
    lines = fmnist("runs", "export", 1, TRAIN, "--format", "md").stdout.splitlines()
    heading, _, *rows = [line for line in lines if line.startswith("|")]
    assert heading == (
        "| Run | Command | Model | Batch | Rate | Momentum | Seed | Best epoch | Test accuracy "
        "| Training time | Ended |"
    )
    assert rows[1] == (
        f"| {TRAIN} | train | mlp (numpy) | 50 | 0.1 | 0 | 42 | 2 of 2 | 87.00 % | 1.0 s "
        "| limit + |"
    )
    assert len(rows) == 2
    lines = fmnist("runs", "export", 1, "--epochs", "--format", "md").stdout.splitlines()
    assert [line for line in lines if line.startswith("| 1 | 3 |")]


def test_markdown_of_a_study_is_the_study_s_table(fmnist: Fmnist) -> None:
    text = fmnist("runs", "export", "--study", 1, "--format", "md").stdout
    rows = fmnist.document("runs", "show", "study:1")["table"]
    assert [line.split(" | ")[0] for line in text.splitlines() if line.startswith("| 0.")] == [
        f"| {row['momentum']}" for row in rows
    ]
    assert "80.00 % (79.00 to 81.00)" in text  # accuracies 0.79, 0.81, 0.80 by seed
    assert "| 3 |" in text


def test_course(fmnist: Fmnist) -> None:
    content = json.loads(fmnist("runs", "export", TRAIN, "--format", "course").stdout)
    assert content.pop("run")["id"] == TRAIN
    assert content == {"train": [0.75, 0.93], "val": [0.7, 0.88], "test": 0.87, "time": 1.0}
    assert fmnist.error("runs", "export", "--format", "course", code=2) == (
        "--out must name a folder where the files of several runs go. "
        "Received: 9 runs without --out."
    )
    fmnist("runs", "export", "--study", 1, "--format", "course", "--out", "hand-in")
    assert len(list(Path("hand-in").iterdir())) == 6


def test_course_is_what_train_writes(fmnist: Fmnist) -> None:
    file = fmnist.small_document("train", "--epochs", 2)["result_file"]
    exported = fmnist("runs", "export", "latest", "--format", "course").stdout
    assert json.loads(exported) == json.loads(Path(file).read_text())


def test_out_is_whole_or_absent(fmnist: Fmnist) -> None:
    message = fmnist.error("runs", "export", "--out", "absent/runs.csv", code=2)
    assert message == "--out's folder must exist. Received: absent."
    assert fmnist.error("runs", "export", "--format", "parquet", code=2) == (
        "--out must name where to write. Received: --format parquet without --out."
    )
    assert fmnist.error("runs", "export", "--to", "mlflow", code=2) == (
        "--out must name where to write. Received: --to mlflow without --out."
    )


def test_parquet(fmnist: Fmnist) -> None:
    import pyarrow.parquet

    for args, name in (((), "run_summary"), (("--epochs",), "epoch_curve")):
        fmnist("runs", "export", "--format", "parquet", "--out", "x.parquet", *args)
        assert pyarrow.parquet.read_table("x.parquet").to_pylist() == view(name)
    fmnist("runs", "export", "--format", "parquet", "--out", "no.parquet", "--model", "cnn2")
    empty = pyarrow.parquet.read_table("no.parquet")
    assert (empty.num_rows, empty.column_names) == (0, list(view("run_summary")[0]))


@pytest.mark.filterwarnings("default")  # what MLflow and what it uses warn of is not ours
def test_mlflow_reads_it(fmnist: Fmnist) -> None:
    fmnist("runs", "tag", TRAIN, "good")
    fmnist("runs", "note", TRAIN, "noted")
    for counts in ("9 runs to ml\n", "0 runs to ml; 9 unchanged\n"):
        result = fmnist("runs", "export", "--to", "mlflow", "--out", "ml")
        assert f"Wrote {counts}" in result.stderr
    client = mlflow_client()
    experiment = client.get_experiment_by_name("fmnist")
    found = {
        int(r.data.tags["fmnist.id"]): r for r in client.search_runs([experiment.experiment_id])
    }
    assert sorted(found) == list(range(1, LOST + 1))
    run = found[TRAIN]
    assert (run.data.params["batch"], run.data.params["lr"]) == ("50", "0.1")
    assert run.data.metrics["result.test_accuracy"] == 0.87
    assert run.data.tags["fmnist.tag.good"] == ""
    assert run.data.tags["mlflow.note.content"] == "noted"
    assert run.info.run_name == "[bold]best[/]"
    for name in ("val_accuracy", "train_loss", "running_loss"):
        history = client.get_metric_history(run.info.run_id, name)
        expected = [(epoch.epoch, getattr(epoch, name)) for epoch in curve(TRAIN)]
        assert [(m.step, m.value) for m in history] == expected
    assert client.get_metric_history(found[DIVERGED].info.run_id, "train_loss") == []
    assert [found[i].info.status for i in (TRAIN, DIVERGED, LOST)] == [
        *("FINISHED", "FAILED", "FAILED")
    ]
    artefacts = client.list_artifacts(run.info.run_id, "weights")
    assert [a.path for a in artefacts] == ["weights/weights.npz"]


def mlflow_client() -> Any:
    from mlflow.tracking import MlflowClient

    return MlflowClient(tracking_uri=f"sqlite:///{Path('ml/mlflow.db').resolve()}")


def epoch_of(number: int) -> Epoch:
    return Epoch(
        epoch=number, updates=number, train_seconds=0.5, eval_seconds=0.25,
        running_loss=1 / number, train_loss=0.9 / number, train_accuracy=0.5,
        val_loss=1.1 / number, val_accuracy=0.5, dead_units=0,
    )  # fmt: skip


@pytest.mark.filterwarnings("default")
def test_mlflow_is_brought_up_to_date(fmnist: Fmnist) -> None:
    def export() -> tuple[dict[str, list[int]], Any]:
        document = fmnist.document("runs", "export", new, TRAIN, "--to", "mlflow", "--out", "ml")
        (found,) = client.search_runs(["1"], f"tags.`fmnist.id` = '{new}'")
        return {k: document[k] for k in ("runs", "updated", "unchanged")}, found

    def history(name: str) -> list[tuple[int, float]]:
        return [(m.step, m.value) for m in client.get_metric_history(there.info.run_id, name)]

    new = LOST + 1
    fmnist("runs", "export", TRAIN, "--to", "mlflow", "--out", "ml")
    client = mlflow_client()
    spec = RunSpec(
        command="train",
        config=asdict(TrainConfig()),
        data_fingerprint="f",
        data_source="s",
        argv=("fmnist", "train"),
    )
    with Registry.open("runs.db") as registry:
        with suppress(KeyboardInterrupt), registry.run(spec) as run:
            run.record_epoch(epoch_of(1))
            raise KeyboardInterrupt
        counts, there = export()
        assert counts == {"runs": [new], "updated": [], "unchanged": [TRAIN]}
        assert there.info.status == "KILLED"
        client.set_tag(there.info.run_id, "mine", "stays")
        with registry.resume(registry.get_run(new)) as run:
            run.rewind_to(registry.epochs(new))
            run.record_epoch(epoch_of(2))
            run.finish(
                Outcome(
                    stop_reason="max_epochs",
                    train_seconds=1.0,
                    best_epoch=2,
                    updates_to_best=2,
                    best_val_accuracy=0.5,
                    best_val_loss=0.55,
                    test_accuracy=0.4,
                    test_loss=1.0,
                    still_improving=False,
                )
            )
    first = there.info.run_id
    counts, there = export()
    assert counts == {"runs": [], "updated": [new], "unchanged": [TRAIN]}
    assert (there.info.run_id, there.info.status) == (first, "FINISHED")
    assert history("val_loss") == [(1, 1.1), (2, 0.55)]
    assert history("result.test_accuracy") == [(0, 0.4)]
    fmnist("runs", "tag", new, "final")
    fmnist("runs", "rename", new, "better")
    counts, there = export()
    assert counts == {"runs": [], "updated": [new], "unchanged": [TRAIN]}
    assert (there.info.run_name, there.data.tags["fmnist.tag.final"]) == ("better", "")
    fmnist("runs", "tag", new, "final", "--remove")
    _, there = export()
    assert "fmnist.tag.final" not in there.data.tags
    assert there.data.tags["mine"] == "stays"
    assert export()[0] == {"runs": [], "updated": [], "unchanged": [TRAIN, new]}
    assert history("val_loss") == [(1, 1.1), (2, 0.55)]


@pytest.mark.filterwarnings("default")
def test_what_mlflow_has_deleted_stays_deleted(fmnist: Fmnist) -> None:
    args = ("runs", "export", TRAIN, DIVERGED, "--to", "mlflow", "--out", "ml")
    fmnist(*args)
    client = mlflow_client()
    (run,) = client.search_runs(["1"], f"tags.`fmnist.id` = '{TRAIN}'")
    client.delete_run(run.info.run_id)
    said = fmnist(*args).stderr
    assert "Wrote 0 runs to ml; 1 unchanged\n" in said
    assert f"Left out, since deleted there: run {TRAIN}\n" in said
    client.delete_experiment("1")
    assert fmnist.error(*args, code=1) == (
        "ml/mlflow.db must have its experiment fmnist. Received: one that was deleted there; "
        "restore it: MLFLOW_TRACKING_URI=sqlite:///ml/mlflow.db mlflow experiments restore -x 1"
    )


@pytest.mark.parametrize("obstacle", ["text", "folder", "other", "read-only"])
@pytest.mark.filterwarnings("default")
def test_a_database_that_mlflow_cannot_write(
    fmnist: Fmnist, monkeypatch: pytest.MonkeyPatch, obstacle: str
) -> None:
    from mlflow.exceptions import MlflowException
    from mlflow.tracking import MlflowClient

    Path("ml").mkdir()
    database = Path("ml/mlflow.db")
    if obstacle == "text":
        database.write_text("no database " * 100)
    elif obstacle == "folder":
        database.mkdir()
    elif obstacle == "other":
        shutil.copy("runs.db", database)
    else:  # as what a disk mounted read-only makes of it, for root too

        def refuse(*_: object, **__: object) -> None:
            raise MlflowException("(sqlite3.OperationalError) attempt to write a readonly\n[SQL]")

        monkeypatch.setattr(MlflowClient, "create_run", refuse)
    message = fmnist.error("runs", "export", TRAIN, "--to", "mlflow", "--out", "ml", code=1)
    assert message.startswith("ml/mlflow.db must be a database that MLflow can write. Received: ")


@pytest.mark.filterwarnings("default")
def test_a_file_that_has_changed_is_left_out_of_an_export(fmnist: Fmnist) -> None:
    (path,) = Path("runs.files").glob(f"{TRAIN}-*/weights.npz")
    path.write_bytes(b"other")
    result = fmnist("runs", "export", TRAIN, "--to", "mlflow", "--out", "ml")
    assert "Left out: " in result.stderr
    assert "weights.npz" in result.stderr


@pytest.mark.keras
@pytest.mark.filterwarnings("default")  # TensorBoard's own
def test_tensorboard_reads_it(fmnist: Fmnist) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    for _ in range(2):
        fmnist("runs", "export", "--study", 1, "--to", "tensorboard", "--out", "tb")
    folders = sorted(Path("tb").iterdir())
    assert [folder.name.partition("-")[0] for folder in folders] == [f"run{i}" for i in range(1, 7)]
    assert [len(list(folder.iterdir())) for folder in folders] == [1] * 6
    reader = EventAccumulator(str(folders[0])).Reload()
    for name in ("val_accuracy", "train_loss", "updates"):
        expected = [(epoch.epoch, getattr(epoch, name)) for epoch in curve(1)]
        found = [(scalar.step, scalar.value) for scalar in reader.Scalars(name)]
        assert found == [(step, pytest.approx(value, rel=1e-6)) for step, value in expected]
    assert [s.value for s in reader.Scalars("gradient_norm/W1")][:2] == [1.0, 0.5]
    times = [scalar.wall_time for scalar in reader.Scalars("val_loss")]
    assert [b - a for a, b in pairwise(times)] == [pytest.approx(0.75, abs=1e-3)] * 2


@pytest.mark.parametrize(
    ("missing", "args"),
    [("pyarrow", ("--format", "parquet")), ("mlflow", ("--to", "mlflow"))],
)
def test_an_extra_that_is_missing_is_named(
    fmnist: Fmnist, monkeypatch: pytest.MonkeyPatch, missing: str, args: tuple[str, ...]
) -> None:
    for module in (missing, f"{missing}.tracking"):
        monkeypatch.setitem(__import__("sys").modules, module, None)
    message = fmnist.error("runs", "export", *args, "--out", "x", code=2)
    assert 'install it: pip install "fmnist[' in message
    assert not Path("x").exists()


def test_import_merges_two_machines(fmnist: Fmnist) -> None:
    Path("laptop").mkdir()
    shutil.move("runs.db", "laptop/runs.db")
    shutil.move("runs.files", "laptop/runs.files")
    fmnist.small("train", "--epochs", 1)
    before = Path("laptop/runs.db").read_bytes()
    document = fmnist.document("runs", "import", "laptop/runs.db")
    assert document == {
        "schema": "fmnist.runs.import/1",
        "imported": list(range(2, LOST + 1)),
        "updated": [],
        "known": 0,
        "unfinished": [LOST],
        "damaged": [],
        "differing": [],
        "files_missing": [],
    }
    assert Path("laptop/runs.db").read_bytes() == before
    again = fmnist.document("runs", "import", "laptop/runs.db")
    assert (again["imported"], again["known"]) == ([], LOST - 1)
    back = fmnist.document("runs", "import", "runs.db", "--db", "laptop/runs.db")
    assert (len(back["imported"]), back["known"]) == (1, LOST - 1)
    same = ("uuid", "best_val_loss", "test_accuracy", "arm", "study_kind", "name")
    runs = {}
    for db in ("runs.db", "laptop/runs.db"):
        listed = fmnist.document("runs", "list", "--db", db, "--where", "status != 'lost'")["runs"]
        runs[db] = sorted(tuple(run[name] for name in same) for run in listed)
    assert runs["runs.db"] == runs["laptop/runs.db"]
    assert len(runs["runs.db"]) == LOST


def test_import_says_what_it_left_out(fmnist: Fmnist) -> None:
    Path("other").mkdir()
    shutil.copy("runs.db", "other/runs.db")  # without its files
    with closing(sqlite3.connect("other/runs.db")) as connection, connection:
        connection.execute("UPDATE run SET test_accuracy = 0.99 WHERE id = 2")
    result = fmnist("runs", "import", "other/runs.db", "--db", "fresh.db", code=3)
    assert "Imported 7 runs; 0 were here already" in result.stdout
    assert f"Left out, since they have not ended there: run {LOST}" in result.stderr
    assert "Gone or changed there, so not copied: " in result.stderr
    assert (
        "Left out, since they were changed or hold what no run holds: run 2 of other/runs.db"
        in result.stderr
    )


def test_import_of_what_is_no_registry(fmnist: Fmnist) -> None:
    Path("notes.txt").write_text("these are notes " * 100)
    assert fmnist.error("runs", "import", "notes.txt", code=1) == (
        "notes.txt is not an SQLite file. Name another registry to import."
    )
    assert fmnist.error("runs", "import", "absent.db", code=1) == (
        "absent.db does not exist. Name another registry to import."
    )
    assert fmnist.error("runs", "import", "runs.db", code=2) == (
        "import must take another registry than this one. Received: runs.db."
    )


def test_sqlite_utils_reads_the_views() -> None:
    import sqlite_utils

    database = sqlite_utils.Database("runs.db")
    assert {"run_summary", "epoch_curve"} <= set(database.view_names())
    best = next(
        database.query(
            "SELECT run_id, test_accuracy FROM run_summary ORDER BY test_accuracy DESC LIMIT 1"
        )
    )
    assert best == {"run_id": TRAIN, "test_accuracy": 0.87}
    rows = list(database["epoch_curve"].rows_where("run_id = ?", [DIVERGED]))
    assert [(row["epoch"], row["train_loss"]) for row in rows] == [(1, None)]
    database.conn.close()
    assert not any(isinstance(v, float) and math.isnan(v) for row in rows for v in row.values())


def test_a_formula_of_someone_elses_is_text_to_a_spreadsheet(fmnist: Fmnist) -> None:
    names = ['=HYPERLINK("http://x","y")', "+1+1", "-2", "@SUM(1)", "plain"]
    for run, name in enumerate(names, 1):
        fmnist("runs", "note", run, "--", name)
    words = ("runs", "export", *range(1, 6), "--columns", "run_id,note,lr")
    rows = list(csv.reader(fmnist(*words).stdout.splitlines()))
    assert rows[0] == ["run_id", "note", "lr"]
    assert [row[1] for row in rows[1:]] == [f"'{name}" for name in names[:4]] + ["plain"]
    lines = fmnist(*words, "--format", "jsonl").stdout.splitlines()
    assert [json.loads(line)["note"] for line in lines] == names  # exact
    assert fmnist("runs", "query", "select -1 AS a", "--csv").stdout == "a\n-1\n"

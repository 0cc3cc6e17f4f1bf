"""`fmnist check`, `fmnist grade` and `train --layers` as a user meets them."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.usercode.base import SOLUTION
from tests.usercode.test_results import WRONG, validate

from .conftest import Fmnist

CUSTOM = "--allow-custom-data"


@pytest.fixture
def right(isolated: Path) -> Path:
    path = isolated / "neural_networks.py"
    path.write_text(SOLUTION)
    return path


@pytest.fixture
def wrong(isolated: Path) -> Path:
    path = isolated / "wrong.py"
    path.write_text(WRONG)
    return path


def test_right_layers_hold(fmnist: Fmnist, right: Path) -> None:
    result = fmnist("check", right, CUSTOM)
    assert "failed" not in result.stdout
    assert "Linear layer: dW" in result.stdout


def test_a_wrong_layer_exits_3_with_its_name_and_line(fmnist: Fmnist, wrong: Path) -> None:
    result = fmnist("check", wrong, CUSTOM, code=3)
    assert "dW is N times too small" in result.stdout
    assert "linear_layer.backward, line 22" in result.stdout
    assert "Who divides" not in result.stdout
    assert "Who divides" in fmnist("check", wrong, CUSTOM, "--hints", 2, code=3).stdout
    assert "line 22" not in fmnist("check", wrong, CUSTOM, "--hints", 0, code=3).stdout


def test_the_document_names_the_mistake(fmnist: Fmnist, wrong: Path) -> None:
    document = fmnist.document("check", wrong, CUSTOM, code=3)
    assert document["schema"] == "fmnist.check/1"
    (dW,) = [check for check in document["checks"] if check["check"] == "linear_dW"]
    assert (dW["mistake"], dW["line"], dW["status"]) == ("dW-divided-by-N", 22, "failed")
    recorded = fmnist.document("runs", "show", document["id"])
    checks = {check["name"]: check for check in recorded["checks"]}
    assert checks["linear_dW"]["held"] is False
    assert checks["linear_db"]["held"] is True
    assert checks["linear_dW"]["figures"]["file"] == "wrong.py"
    assert checks["linear_dW"]["figures"]["sha256"] == document["sha256"]


def test_nothing_is_recorded_unless_asked(fmnist: Fmnist, right: Path, isolated: Path) -> None:
    fmnist("check", right, CUSTOM, "--no-record")
    assert not (isolated / "runs.db").exists()


def test_wrong_usage(fmnist: Fmnist, right: Path) -> None:
    assert "Received: neither" in fmnist.error("check", CUSTOM, code=2)
    assert "Received: both" in fmnist.error("check", right, "--interface", "a:b", code=2)
    assert "hints must be 0, 1 or 2" in fmnist.error("check", right, "--hints", 3, code=2)
    assert "can be read" in fmnist.error("check", "nowhere.py", CUSTOM, code=2)
    assert "Received: neither" in fmnist.error("grade", code=2)
    assert "must exist" in fmnist.error("grade", "nowhere", code=2)


def test_a_class_is_graded(fmnist: Fmnist, isolated: Path) -> None:
    folder = isolated / "class"
    for name, text in {"anna": SOLUTION, "ben": WRONG, "zoe": "while True: pass\n"}.items():
        (folder / name).mkdir(parents=True)
        (folder / name / "neural_networks.py").write_text(text)
    (isolated / "rubric.toml").write_text(
        "[points]\nlinear_dW = 6\nlinear_db = 4\n[limits]\ncall_seconds = 2\n"
    )
    document = fmnist.document(
        "grade", folder, "--rubric", "rubric.toml", "--csv", "grades.csv", "--feedback",
        "feedback", "--gradescope", "scope", CUSTOM,
    )  # fmt: skip
    scores = {file["name"].partition("/")[0]: file["score"] for file in document["files"]}
    assert scores == {"anna": 10, "ben": 4, "zoe": 0}
    assert "an endless loop" in document["files"][2]["remark"]
    assert (isolated / "grades.csv").read_text().count("\n") == 4
    page = (isolated / "feedback" / "ben_neural_networks.md").read_text()
    assert "**4 of 10 points.**" in page
    for name in scores:
        path = isolated / "scope" / f"{name}_neural_networks" / "results.json"
        validate(json.loads(path.read_text()))
    recorded = fmnist.document("runs", "show", document["id"])
    held = [(check["name"], check["held"]) for check in recorded["checks"]]
    assert held == [("anna/neural_networks.py", True), ("ben/neural_networks.py", False),
                    ("zoe/neural_networks.py", False)]  # fmt: skip


def test_an_autograder_is_written(fmnist: Fmnist, isolated: Path) -> None:
    fmnist("grade", "--make-autograder", "autograder")
    names = {path.name for path in (isolated / "autograder").iterdir()}
    assert names == {"setup.sh", "run_autograder", "rubric.toml", "README.md"}
    assert (isolated / "autograder" / "run_autograder").stat().st_mode & 0o111


def test_layers_of_ones_own_are_trained_and_recorded(fmnist: Fmnist, right: Path) -> None:
    options = ("--epochs", 2, "--batch", 20)
    own = fmnist.small_document("train", "--layers", right, *options)
    ours = fmnist.small_document("train", *options)
    assert own["config"]["engine"] == "user"
    for mine, theirs in zip(own["epochs"], ours["epochs"], strict=True):
        assert mine["train_loss"] == pytest.approx(theirs["train_loss"], rel=1e-5)
    shown = fmnist.document("runs", "show", own["id"])
    assert "layers" in {artefact["kind"] for artefact in shown["artefacts"]}


def test_runs_of_files_of_layers_are_told_apart_and_repeated(
    fmnist: Fmnist, right: Path, isolated: Path
) -> None:
    options = ("--epochs", 2, "--batch", 20)
    first = fmnist.small_document("train", "--layers", right, *options)["id"]
    other = isolated / "other.py"
    other.write_text(right.read_text() + "\n# another file\n")
    second = fmnist.small_document("train", "--layers", other, *options)["id"]
    shas = [hashlib.sha256(p.read_bytes()).hexdigest()[:12] for p in (right, other)]
    facts = fmnist.document("runs", "compare", first, second)["facts"]["parameters"]
    assert facts["layers"] == [[f"neural_networks.py ({shas[0]})"], [f"other.py ({shas[1]})"]]
    shown = "".join(fmnist("runs", "show", first).stdout.split())  # however it is wrapped
    assert f"fmnisttrain--layers{right}" in shown
    assert "--engineuser" not in shown
    message = fmnist.error("runs", "reproduce", first, code=2)
    assert "trained again from their file, which is kept as" in message
    assert f"fmnist runs show {first}" in message


@pytest.mark.parametrize(
    "options", [("--momentum", 0.5), ("--engine", "keras"), ("--check-gradient",)]
)
def test_layers_refuse_what_they_do_not_know(
    fmnist: Fmnist, right: Path, options: tuple[object, ...]
) -> None:
    message = fmnist.error("train", "--layers", right, *options, code=2)
    assert "layers are an MLP's" in message


def test_layers_go_with_one_seed(fmnist: Fmnist, right: Path) -> None:
    assert "one seed" in fmnist.error("train", "--layers", right, "--seeds", 2, code=2)


def test_ctrl_c_stops_the_files_at_work_and_leaves_nothing(fmnist: Fmnist, tmp_path: Path) -> None:
    Path("files").mkdir()
    for name in "abc":
        Path("files", f"{name}.py").write_text("while True: pass\n")
    (work := tmp_path / "work").mkdir()
    words = [sys.executable, "-m", "fmnist_cli", "grade", "files", "--allow-custom-data"]
    environment = os.environ | {"TMPDIR": str(work)}
    with subprocess.Popen(words, env=environment, stderr=subprocess.PIPE, text=True) as process:
        while len(list(work.rglob("progress"))) < 2:  # both have begun
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        process.send_signal(signal.SIGINT)  # an impatient one
        _, error = process.communicate(timeout=9)  # they would take 10 s
    assert (process.returncode, error) == (130, "Error: Interrupted.\n")
    assert not list(work.iterdir())
    assert not Path("runs.db").exists()

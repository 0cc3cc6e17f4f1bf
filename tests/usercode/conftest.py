"""Small images, and a file checked as a student's is."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from fmnist_cli.engine.backend import Split
from fmnist_cli.usercode.examine import CHECK_NAMES, check_file, check_layers
from fmnist_cli.usercode.guard import Limits
from fmnist_cli.usercode.outcomes import quiet
from fmnist_cli.usercode.parts import NAMES, load_source
from fmnist_cli.usercode.results import CheckReport
from fmnist_cli.usercode.shim import supplied
from tests.conftest import tiny_arrays

WITHOUT_TRAINING = tuple(n for n in CHECK_NAMES if n not in ("learns", "overfits", "speed"))

CheckText = Callable[..., CheckReport]


def check_here(text: str, seed: int, images: Split) -> CheckReport:
    """A text checked in this process, without trainings: for many texts on many seeds."""
    with supplied(), quiet():
        parts = load_source(text.encode(), "neural_networks.py")
    given = {names[0]: getattr(parts, part) for part, names in NAMES.items()
             if getattr(parts, part) is not None}  # fmt: skip
    return check_layers(**given, images=images, seed=seed, only=WITHOUT_TRAINING)


@pytest.fixture(scope="session")
def images() -> Split:
    """1,000 learnable images."""
    pixels, labels = tiny_arrays(1_000, np.random.default_rng(7))
    return Split(pixels.reshape(-1, 784) / np.float32(255), labels.astype(np.int64))


@pytest.fixture
def check_text(tmp_path: Path, images: Split) -> CheckText:
    """Checks a text as a file, without the trainings unless asked for."""

    def check(text: str, *, seed: int = 0, only: tuple[str, ...] = WITHOUT_TRAINING,
              limits: Limits | None = None) -> CheckReport:  # fmt: skip
        path = tmp_path / "neural_networks.py"
        path.write_text(text)
        return check_file(path, images, seed=seed, only=only, limits=limits)

    return check


def patched(diff: str, folder: Path) -> dict[str, str]:
    """The files that a diff makes of others, by name: ``--- base``, ``+++ name``, hunks without
    context. The base is one of the folder, or made before."""
    files: dict[str, str] = {}
    lines: list[str] = []
    name, moved = "", 0
    for line in diff.splitlines():
        if line.startswith("--- "):
            base = files.get(line[4:]) or (folder / line[4:]).read_text()
            lines, moved = base.splitlines(), 0
        elif line.startswith("+++ "):
            name = line[4:]
            files[name] = "\n".join(lines) + "\n"
        elif line.startswith("@@ "):
            old = line.split()[1][1:].split(",")
            at = int(old[0]) - 1 + moved
            del lines[at : at + int(old[1])]
            moved -= int(old[1])
            files[name] = "\n".join(lines) + "\n"
        elif line.startswith("+"):
            lines.insert(at, line[1:])
            at, moved = at + 1, moved + 1
            files[name] = "\n".join(lines) + "\n"
    return files

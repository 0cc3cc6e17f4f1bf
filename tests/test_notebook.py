"""The notebook, cell by cell in a kernel of its own, on a small data set."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import nbformat
import numpy as np
import pytest
from nbclient import NotebookClient

from fmnist_cli.engine.config import MODELS
from fmnist_cli.engine.data.idx import write_idx

from .conftest import tiny_arrays

NOTEBOOK = Path(__file__).parents[1] / "notebooks" / "fashion_mnist.ipynb"
N_FIGURES = 8
SMALL_DATA = """
import fmnist_cli
from fmnist_cli.engine.data import load
fmnist_cli.load_data = lambda *sizes: load(*sizes, data_dir={folder!r}, allow_custom=True)
"""


@pytest.fixture
def lesson_data(tmp_path: Path) -> Path:
    """As many images as the notebook asks for."""
    rng = np.random.default_rng(7)
    for part, n in (("train", 2_500), ("t10k", 500)):
        images, labels = tiny_arrays(n, rng)
        write_idx(tmp_path / f"{part}-images-idx3-ubyte.gz", images)
        write_idx(tmp_path / f"{part}-labels-idx1-ubyte.gz", labels)
    return tmp_path


def code_cells() -> list[Any]:
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    nbformat.validate(notebook)
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def figures(cells: list[Any]) -> int:
    outputs = [out for cell in cells for out in cell.get("outputs", ())]
    return sum("image/svg+xml" in out.get("data", {}) for out in outputs)


def test_the_committed_notebook_shows_what_it_does() -> None:
    """As ``make docs-notebook`` left it: every cell ran, in order, without an error."""
    cells = code_cells()
    assert [cell.execution_count for cell in cells] == [*range(1, len(cells) + 1)]
    assert all(out.output_type != "error" for cell in cells for out in cell.outputs)
    assert figures(cells) == N_FIGURES
    assert max(len(cell.source.splitlines()) for cell in cells) <= 16


def test_the_notebook_has_every_study_and_its_cnns() -> None:
    source = "\n".join(cell.source for cell in code_cells())
    for kind in ("sweep-batch", "sweep-lr", "early-stop", "momentum", "ood"):
        assert f'study("{kind}"' in source
    assert all(model in source for model in MODELS)
    assert "fmnist mini-cnn" in source


def test_the_notebook_takes_public_names_alone() -> None:
    import fmnist_cli

    lines = [line for cell in code_cells() for line in cell.source.splitlines()]
    imports = [line for line in lines if "fmnist_cli" in line]
    names = [name for line in imports for name in line.partition(" import ")[2].split(", ")]
    assert all(line.startswith("from fmnist_cli import ") for line in imports)
    assert len(names) > 12
    assert {*names} <= {*fmnist_cli.__all__}


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning")
def test_the_notebook_runs(
    lesson_data: Path, isolated: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    small = SMALL_DATA.format(folder=str(lesson_data)).replace(
        f"{str(lesson_data)!r}", f"__import__('pathlib').Path({str(lesson_data)!r})"
    )
    notebook.cells.insert(0, nbformat.v4.new_code_cell(small))
    NotebookClient(
        notebook, timeout=120, kernel_name="python3", resources={"metadata": {"path": isolated}}
    ).execute()
    assert figures(notebook.cells) == N_FIGURES
    outputs = [out for cell in notebook.cells for out in cell.get("outputs", ())]
    printed = "".join(out.text for out in outputs if out.output_type == "stream")
    assert "patience 2: stops after epoch 4, keeps epoch 2" in printed
    assert "Does a larger batch need fewer gradient updates to converge?" in printed
    assert (isolated / "lesson.db").exists()

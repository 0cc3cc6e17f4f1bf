"""The notebook, cell by cell in a kernel of its own, on a small data set."""

from __future__ import annotations

from pathlib import Path

import nbformat
import numpy as np
import pytest
from nbclient import NotebookClient

from fmnist_cli.engine.data.idx import write_idx

from .conftest import tiny_arrays

NOTEBOOK = Path(__file__).parents[1] / "notebooks" / "fashion_mnist.ipynb"
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


def test_the_committed_notebook_has_no_outputs() -> None:
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    nbformat.validate(notebook)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert len(code) > 8
    for cell in code:
        assert cell.outputs == []
        assert cell.execution_count is None
        assert len(cell.source.splitlines()) <= 16


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning")
def test_the_notebook_runs(lesson_data: Path, isolated: Path) -> None:
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    small = SMALL_DATA.format(folder=str(lesson_data)).replace(
        f"{str(lesson_data)!r}", f"__import__('pathlib').Path({str(lesson_data)!r})"
    )
    notebook.cells.insert(0, nbformat.v4.new_code_cell(small))
    NotebookClient(
        notebook, timeout=120, kernel_name="python3", resources={"metadata": {"path": isolated}}
    ).execute()
    outputs = [out for cell in notebook.cells for out in cell.get("outputs", ())]
    assert sum("image/svg+xml" in out.get("data", {}) for out in outputs) == 4
    printed = "".join(out.text for out in outputs if out.output_type == "stream")
    assert "patience 2: stops after epoch 4, keeps epoch 2" in printed
    assert "Does a larger batch need fewer gradient updates to converge?" in printed
    assert (isolated / "lesson.db").exists()

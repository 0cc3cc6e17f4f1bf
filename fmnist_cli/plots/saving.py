"""The one place where a figure becomes a file."""

from __future__ import annotations

import io
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fmnist_cli.errors import require
from fmnist_cli.files import require_writable, write_file
from fmnist_cli.plots.style import applied_style

if TYPE_CHECKING:
    from matplotlib.figure import Figure

DEFAULT_DPI = 150

# None takes the date out, so that the same figure is the same bytes.
_METADATA: dict[str, dict[str, Any]] = {
    ".png": {},
    ".svg": {"Date": None},
    ".pdf": {"CreationDate": None},
}


def check_path(path: str | os.PathLike[str] | None) -> None:
    """Whether a figure can be saved there, if anywhere: for asking before a long training.

    Raises
    ------
    UsageError
        When the ending is none of ours, the folder is missing or closed, or a folder has the name.
    """
    if path is None:
        return
    path = Path(path)
    require(
        path.suffix.lower() in _METADATA,
        "the plot's name must end in .png, .svg or .pdf",
        path.name or path,
    )
    require_writable(path, "the plot")


def save(figure: Figure, path: str | os.PathLike[str], *, dpi: int = DEFAULT_DPI) -> Path:
    """Write the figure as PNG, SVG or PDF, whichever the name ends in.

    The file appears whole or not at all, and the same figure gives the same bytes.

    Parameters
    ----------
    dpi : int in [10, 1200]
        Dots per inch of a PNG, and of the images inside an SVG or PDF.

    Raises
    ------
    UsageError
        As ``check_path``, and when the file cannot be written.
    """
    check_path(path)
    path = Path(path)
    require(10 <= dpi <= 1200, "dpi must be between 10 and 1200", dpi)
    kind = path.suffix.lower()
    buffer = io.BytesIO()
    with applied_style():
        figure.savefig(buffer, format=kind[1:], dpi=dpi, metadata=_METADATA[kind])

    write_file(path, buffer.getvalue(), "the plot")
    return path

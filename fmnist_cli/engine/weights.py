"""A model's weights as an ``.npz`` file: plain arrays by name, no pickles, so no code in it."""

from __future__ import annotations

import os
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fmnist_cli.engine.backend import Arrays
from fmnist_cli.errors import ArtefactError


def save_weights(path: Path, weights: Arrays) -> None:
    """Write the arrays; the file is whole or absent, never half-written."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with temporary.open("wb") as file:
            arrays: dict[str, Any] = {n.replace("/", "__"): array for n, array in weights.items()}
            np.savez(file, **arrays)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def load_weights(path: Path) -> dict[str, NDArray[np.floating[Any]]]:
    """The arrays of ``save_weights``.

    Raises
    ------
    ArtefactError
        When the file is missing, damaged, or holds anything but floating-point arrays.
    """
    try:
        with np.load(path, allow_pickle=False) as archive:
            arrays = {name.replace("__", "/"): archive[name] for name in archive.files}
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        reason = getattr(error, "strerror", None) or error
        raise ArtefactError(f"{path} must be an .npz file of weights: {reason}.") from error
    for name, array in arrays.items():
        if not np.issubdtype(array.dtype, np.floating):
            raise ArtefactError(
                f"{path} must hold floating-point arrays only. Received: {name} of {array.dtype}."
            )
    return arrays

"""A model's weights as an ``.npz`` file: plain arrays by name, no pickles, so no code in it."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from fmnist_cli.engine.backend import Arrays
from fmnist_cli.errors import ArtefactError
from fmnist_cli.files import open_regular, write_artefact


def save_weights(path: Path, weights: Arrays) -> None:
    """Write the arrays; the file is whole or absent, never half-written.

    Raises
    ------
    ArtefactError
        When it cannot be written.
    """
    write_artefact(path, array_bytes(weights), durable=True)


def load_weights(path: Path) -> dict[str, NDArray[np.floating[Any]]]:
    """The arrays of ``save_weights``.

    Raises
    ------
    ArtefactError
        When the file is missing, damaged, or holds anything but floating-point arrays.
    """
    try:
        with open_regular(path) as file:
            return read_arrays(file, str(path))
    except OSError as error:
        raise ArtefactError(f"{path} must be an .npz file of weights: {error.strerror}.") from error


def replace_arrays(ours: Arrays, theirs: Arrays, what: str) -> None:
    """Copy ``theirs`` over ``ours``: all of it, or nothing.

    Raises
    ------
    ArtefactError
        On a wrong name, shape or type, with ``what`` in it.
    """
    if set(theirs) != set(ours):
        raise ArtefactError(
            f"The {what} must be {', '.join(ours)}. Received: {', '.join(sorted(theirs))}."
        )
    for name, array in ours.items():
        came = np.asarray(theirs[name])
        if came.shape != array.shape or came.dtype.kind != "f":
            raise ArtefactError(
                f"The {what}' {name} must be floats of shape {array.shape}. "
                f"Received: {came.dtype} of shape {came.shape}."
            )
    for name, array in ours.items():
        array[...] = theirs[name]


def array_bytes(arrays: Arrays) -> bytes:
    """The content of an ``.npz`` file of the arrays, not compressed."""
    content = io.BytesIO()
    named: dict[str, Any] = {name.replace("/", "__"): array for name, array in arrays.items()}
    np.savez(content, **named)
    return content.getvalue()


def read_arrays(file: BinaryIO, shown: str) -> dict[str, NDArray[np.floating[Any]]]:
    """The arrays of ``array_bytes``, from a file that may be damaged or hostile.

    No code in it is run, and no more memory is used than the file is long.

    Raises
    ------
    ArtefactError
        With ``shown`` in it, for anything but whole floating-point arrays.
    """
    try:
        with zipfile.ZipFile(file) as archive:
            members = archive.infolist()
        if any(member.compress_type for member in members):
            raise ValueError("its arrays are compressed")
        if sum(member.file_size for member in members) > file.seek(0, io.SEEK_END):
            raise ValueError("its arrays claim to be longer than the file")
        file.seek(0)
        with np.load(file, allow_pickle=False) as loaded:
            arrays = {name.replace("__", "/"): loaded[name] for name in loaded.files}
    except _NO_ARRAYS as error:
        raise ArtefactError(f"{shown} must be an .npz file of weights: {error}.") from error
    for name, array in arrays.items():
        if not (isinstance(array, np.ndarray) and np.issubdtype(array.dtype, np.floating)):
            kind = getattr(array, "dtype", type(array).__name__)
            raise ArtefactError(
                f"{shown} must hold floating-point arrays only. Received: {name} of {kind}."
            )
    return arrays


# what zipfile and NumPy raise for a file that is not one of theirs
_NO_ARRAYS = (
    EOFError,
    KeyError,
    MemoryError,
    NotImplementedError,
    OSError,
    RuntimeError,
    ValueError,
    zipfile.BadZipFile,
)

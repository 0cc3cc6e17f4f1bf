"""A folder that holds the four files, and what is in them."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fmnist_cli.engine.data import official
from fmnist_cli.engine.data.idx import read_idx, refusal
from fmnist_cli.engine.data.official import DataFile, fingerprint
from fmnist_cli.errors import ChecksumError, DataError
from fmnist_cli.formatting import printable

Sections = dict[str, NDArray[np.uint8]]
"""The four files decoded, by ``SECTIONS``: images (N, 28, 28) and labels (N,)."""
SECTIONS = ("train_images", "train_labels", "test_images", "test_labels")

Progress = Callable[[str, int, int | None], object]
"""Told often while bytes arrive: what and from where, how many, of how many (None if unknown)."""


@dataclass(frozen=True)
class Folder:
    """A folder that holds all four files; nothing is said of their content.

    Attributes
    ----------
    source : str
        In human words, such as "Debian's package dataset-fashion-mnist".
    files : tuple of Path
        In ``FILES``' order; each with or without ``.gz``.
    """

    path: Path
    source: str
    files: tuple[Path, ...]

    @property
    def title(self) -> str:
        """Source and path, for messages."""
        return f"{self.source} ({printable(str(self.path))})"


@dataclass(frozen=True)
class Contents:
    """What the four files of a folder hold.

    Attributes
    ----------
    digests : tuple of str
        SHA-256 of the decompressed files in hex, in ``FILES``' order.
    """

    digests: tuple[str, ...]
    n_train: int
    n_test: int

    @property
    def is_official(self) -> bool:
        return self.digests == tuple(file.sha256 for file in official.FILES)

    @property
    def fingerprint(self) -> str:
        return fingerprint(self.digests)


@dataclass(frozen=True)
class FileReport:
    """How one file compares with the official one.

    Attributes
    ----------
    expected_sha256, found_sha256 : str
        Of the decompressed content; found is None where the file cannot be read.
    ok : bool
        The two are equal.
    n : int or None
        Images or labels in it.
    shape : tuple of int, or None
    error : str or None
        Why it is not ok, in one sentence.
    """

    path: Path
    name: str
    expected_sha256: str
    found_sha256: str | None
    ok: bool
    n: int | None
    shape: tuple[int, ...] | None
    error: str | None


def bytes_below(root: Path) -> int:
    """The size of all files in a folder tree; those that vanish meanwhile do not count."""
    total = 0
    for folder, _, names in os.walk(root):
        for name in names:
            with contextlib.suppress(OSError):
                total += (Path(folder) / name).stat().st_size
    return total


def locate_files(path: Path) -> dict[str, Path]:
    """The files of the four that the folder holds, by name; the ``.gz`` where both forms are.

    Raises
    ------
    DataError
        When the folder cannot be looked into; one that is not there just holds none.
    """
    held: dict[str, Path] = {}
    try:
        for file in official.FILES:
            forms = (path / f"{file.name}.gz", path / file.name)
            if found := next((form for form in forms if form.is_file()), None):
                held[file.name] = found
    except OSError as error:
        raise DataError(
            f"The data folder {path} must be readable. Found: {error.strerror}."
        ) from None
    return held


def missing_names(held: Mapping[str, Path]) -> list[str]:
    return [f"{file.name}.gz" for file in official.FILES if file.name not in held]


def open_folder(path: Path, source: str) -> Folder:
    """The folder, or a DataError that names the files it lacks."""
    held = _locate_files_of_folder(path)
    if missing := missing_names(held):
        raise DataError(
            f"{path} must hold the four files of the data set. Missing: {', '.join(missing)}."
        )
    return Folder(path, source, tuple(held[file.name] for file in official.FILES))


def _locate_files_of_folder(path: Path) -> dict[str, Path]:
    held = locate_files(path)
    if not held and not path.is_dir():
        raise DataError(f"The data folder must exist. Received: {path}.")
    return held


def read_folder(folder: Folder) -> tuple[Contents, Sections]:
    """Decode all four files; a DataError if one is bad or their counts disagree."""
    parts = [
        read_idx(path, file.item_shape)
        for path, file in zip(folder.files, official.FILES, strict=True)
    ]
    for i in (0, 2):
        (n, found), images = (len(part.array) for part in parts[i : i + 2]), folder.files[i].name
        if found != n:
            expected = f"as many labels as {images} has images, {n}"
            raise refusal(folder.files[i + 1], expected, f"{found}")
    contents = Contents(
        tuple(part.sha256 for part in parts), len(parts[0].array), len(parts[2].array)
    )
    return contents, {name: part.array for name, part in zip(SECTIONS, parts, strict=True)}


def verify_official(file: DataFile, path: Path) -> None:
    """DataError unless the file at ``path`` is the official one; ChecksumError if well formed."""
    _require_official(file, path, read_idx(path, file.item_shape).sha256)


def _require_official(file: DataFile, path: Path, sha256: str) -> None:
    if sha256 != file.sha256:
        raise ChecksumError(str(refusal(path, f"of SHA-256 {file.sha256}", sha256)))


def verify_folder(path: Path) -> list[FileReport]:
    """Compare each of the four files with the official one; the decoded cache is not asked."""
    held = _locate_files_of_folder(path)
    return [
        _report(file, held.get(file.name, path / f"{file.name}.gz"), file.name in held)
        for file in official.FILES
    ]


def _report(file: DataFile, path: Path, is_there: bool) -> FileReport:
    idx, problem = None, None
    try:
        if not is_there:
            raise DataError(f"{path} is missing.")
        idx = read_idx(path, file.item_shape)
        _require_official(file, path, idx.sha256)
    except DataError as error:
        problem = str(error)
    return FileReport(
        path=path,
        name=file.name,
        expected_sha256=file.sha256,
        found_sha256=idx.sha256 if idx else None,
        ok=problem is None,
        n=len(idx.array) if idx else None,
        shape=idx.array.shape if idx else None,
        error=problem,
    )

"""The decoded cache: what the four files of a folder hold, ready to be read row by row.

One entry, one file, per folder: a line with the format's version and the SHA-256 of the second
line; the second line, JSON, with what the entry was made of (each source file's path, size and
times), the digests and counts, and the SHA-256 of every block; then the blocks. An entry whose
source files changed is stale, one that fails a digest is damaged; both are made again.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import platformdirs
from numpy.typing import NDArray

from fmnist_cli.engine.backend import Split
from fmnist_cli.engine.config import N_INPUTS
from fmnist_cli.engine.data.folder import SECTIONS, Contents, Folder, Sections, read_folder
from fmnist_cli.files import TEMPORARY, replace_file

_FORMAT = "fmnist-decoded/1"
_BLOCK_ROWS = 1000  # 784 kB of pixels: hashed and converted while in the processor's cache
_MOST_HEADER_BYTES = 1 << 24
_KEPT_ENTRIES = 4
NO_CACHE = Path("/dev/null/fmnist")  # which cannot be made, not even by root
_ABANDONED_SECONDS = 3600.0

Blocks = Iterator[tuple[int, NDArray[np.uint8]]]  # (first row, rows) of a section
Stamp = list[list[Any]]


class DamagedEntryError(Exception):
    """A block of an entry is not what was written. Never leaves the data package."""


@dataclass(frozen=True)
class Decoded:
    """The content of a folder that may be used, to be read from a cache entry or from memory.

    ``_blocks`` takes a section and how many of its rows to read, block by block.
    """

    folder: Folder
    contents: Contents
    _blocks: Callable[[str, int], Blocks]

    def train(self, n: int) -> Split:
        """The first ``n`` examples of the training file; DamagedEntryError if the entry is."""
        return self._split("train", n)

    def test(self) -> Split:
        """The whole test file; DamagedEntryError if the entry is damaged there."""
        return self._split("test", self.contents.n_test)

    def _split(self, part: str, n: int) -> Split:
        images = np.empty((n, N_INPUTS), np.float32)
        labels = np.empty(n, np.int64)
        for start, rows in self._blocks(f"{part}_images", n):
            np.divide(rows, np.float32(255), out=images[start : start + len(rows)])
        for start, rows in self._blocks(f"{part}_labels", n):
            labels[start : start + len(rows)] = rows[:, 0]
        images.flags.writeable = labels.flags.writeable = False
        return Split(images, labels)


def cache_folder() -> Path:
    """fmnist's own cache: below XDG_CACHE_HOME, or where the system keeps its caches."""
    try:
        return platformdirs.user_cache_path("fmnist")
    except RuntimeError:  # this user has no home
        return NO_CACHE


def entry_path(folder: Folder) -> Path:
    """Where the folder's entry is, or would be."""
    key = hashlib.sha256(os.fsencode(folder.path.resolve())).hexdigest()[:16]
    return cache_folder() / "decoded" / f"{key}.bin"


def decode(folder: Folder) -> Decoded:
    """The folder's content, from its entry if that is fresh; else from its files, checked whole.

    A new entry is written where the cache is writable; where it is not, that only costs time.

    Raises
    ------
    DataError
        When a file is bad or the counts disagree.
    """
    path = entry_path(folder)
    before = _stamp(folder)
    if before is not None and (decoded := _open_entry(path, folder, before)):
        return decoded
    contents, sections = read_folder(folder)
    if before is not None and _stamp(folder) == before:
        with contextlib.suppress(OSError):
            _write_entry(path, before, contents, sections)
    return Decoded(folder, contents, partial(_memory_blocks, sections))


def forget(folder: Folder) -> None:
    """Remove the folder's entry, if there is one and it can be removed."""
    with contextlib.suppress(OSError):
        entry_path(folder).unlink()


def _stamp(folder: Folder) -> Stamp | None:
    """What must be unchanged for an entry to hold: each file's path, size and times."""
    try:
        stats = [(path, path.stat()) for path in folder.files]
    except OSError:
        return None
    return [[str(path.resolve()), s.st_size, s.st_mtime_ns, s.st_ctime_ns] for path, s in stats]


def _layout(contents: Contents) -> dict[str, tuple[int, int, int]]:
    """Of each section its offset in the data, its rows and the bytes of a row."""
    layout, offset = {}, 0
    for section in SECTIONS:
        n = contents.n_train if section.startswith("train") else contents.n_test
        row_bytes = N_INPUTS if section.endswith("images") else 1
        layout[section] = (offset, n, row_bytes)
        offset += n * row_bytes
    return layout


def _open_entry(path: Path, folder: Folder, stamp: Stamp) -> Decoded | None:
    """The entry, or None where there is none, or it is stale, damaged or of another format."""
    try:
        with path.open("rb") as file:
            first = file.readline(_MOST_HEADER_BYTES)
            second = file.readline(_MOST_HEADER_BYTES)
            n_bytes = os.fstat(file.fileno()).st_size
    except OSError:
        return None
    if first != _first_line(second):
        return None
    header = json.loads(second)
    digests, n_train, n_test = (header["contents"][k] for k in ("digests", "n_train", "n_test"))
    contents = Contents(tuple(digests), n_train, n_test)
    n_header_bytes = len(first) + len(second)
    data_bytes = (n_train + n_test) * (N_INPUTS + 1)
    if header["stamp"] != stamp or n_bytes != n_header_bytes + data_bytes:
        return None
    read = partial(_entry_blocks, path, n_header_bytes, contents, header["block_digests"])
    return Decoded(folder, contents, read)


def _first_line(second: bytes) -> bytes:
    return f"{_FORMAT} {hashlib.sha256(second).hexdigest()}\n".encode()


def _memory_blocks(sections: Sections, section: str, n: int) -> Blocks:
    array = sections[section]
    rows = array.reshape(len(array), -1)[:n]
    return ((i, rows[i : i + _BLOCK_ROWS]) for i in range(0, n, _BLOCK_ROWS))


def _entry_blocks(
    path: Path,
    n_header_bytes: int,
    contents: Contents,
    digests: Mapping[str, list[str]],
    section: str,
    n: int,
) -> Blocks:
    offset, n_stored, row_bytes = _layout(contents)[section]
    buffer = np.empty((min(_BLOCK_ROWS, n_stored), row_bytes), np.uint8)
    try:
        with path.open("rb", buffering=0) as file:
            file.seek(n_header_bytes + offset)
            for i, digest in zip(range(0, n, _BLOCK_ROWS), digests[section], strict=False):
                block = buffer[: min(_BLOCK_ROWS, n_stored - i)]  # whole, for its digest
                file.readinto(block.data.cast("B"))
                if hashlib.sha256(block.data).hexdigest() != digest:
                    raise DamagedEntryError(f"{path}: {section}, block at row {i}")
                yield i, block[: n - i]
    except OSError as error:
        raise DamagedEntryError(f"{path}: {error}") from error


def _write_entry(path: Path, stamp: Stamp, contents: Contents, sections: Sections) -> None:
    header = {
        "stamp": stamp,
        "contents": asdict(contents),
        "block_digests": {
            name: [
                hashlib.sha256(array[i : i + _BLOCK_ROWS].data).hexdigest()
                for i in range(0, len(array), _BLOCK_ROWS)
            ]
            for name, array in sections.items()
        },
    }
    second = json.dumps(header).encode() + b"\n"
    path.parent.mkdir(parents=True, exist_ok=True)
    _prune(path)
    arrays = [array.data.cast("B") for array in sections.values()]
    replace_file(path, [_first_line(second) + second, *arrays])


def _prune(path: Path) -> None:
    """Keep the newest entries beside the one to be written; sweep what a killed process left."""
    now = time.time()
    for left in path.parent.glob(TEMPORARY):
        with contextlib.suppress(FileNotFoundError):
            if now - left.stat().st_mtime > _ABANDONED_SECONDS:
                left.unlink()
    others = [(p.stat().st_mtime_ns, p) for p in path.parent.glob("*.bin") if p != path]
    for _, old in sorted(others, reverse=True)[_KEPT_ENTRIES - 1 :]:
        old.unlink(missing_ok=True)

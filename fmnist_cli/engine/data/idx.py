"""The IDX format of the MNIST family: read strictly, and written.

A file is a big-endian header (a magic number 0x0000080d, d being the number of dimensions and
08 the type, unsigned byte; then d sizes of four bytes) and the bytes themselves, row-major.

Source: Y. LeCun, C. Cortes, C. Burges, *The MNIST database*, "File formats".
"""

from __future__ import annotations

import gzip
import hashlib
import io
import math
import os
import struct
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fmnist_cli.engine.config import N_CLASSES
from fmnist_cli.errors import DataError

MAX_ITEMS = 1_000_000
_MAGIC = 0x0800
_MAX_DEFLATE_RATIO = 1032  # a bit at least for 258 bytes (zlib's technical notes: 1032)
_CHUNK_BYTES = 1 << 20


@dataclass(frozen=True)
class Idx:
    """The content of one file.

    Attributes
    ----------
    array : (N, 28, 28) or (N,) uint8
    sha256 : str
        Of the decompressed content, header included, in hex.
    """

    array: NDArray[np.uint8]
    sha256: str


def read_idx(path: Path, item_shape: tuple[int, ...]) -> Idx:
    """Read a file of images (``item_shape`` (28, 28)) or of labels (``()``).

    A name that ends in ``.gz`` must be gzipped, any other must not. The header is judged before
    a byte of the body is read, and at most one byte more than it announces is decompressed, so
    that no file takes more memory than ``MAX_ITEMS`` allow.

    Raises
    ------
    DataError
        Naming the file, what was expected and what was found; nothing is read partly.
    """
    try:
        with path.open("rb") as raw:
            size = os.fstat(raw.fileno()).st_size
            if path.suffix != ".gz":
                return _parse(raw, path, item_shape, most_bytes=size)
            with gzip.GzipFile(fileobj=raw, mode="rb") as stream:
                return _parse(stream, path, item_shape, most_bytes=size * _MAX_DEFLATE_RATIO)
    except EOFError:
        raise refusal(path, "a whole gzip file", "one that is cut off") from None
    except (gzip.BadGzipFile, zlib.error) as error:
        raise refusal(path, "a sound gzip file", _words(error)) from None
    except OSError as error:
        raise refusal(path, "a readable file", error.strerror or _words(error)) from None


def refusal(path: Path, expected: str, found: str) -> DataError:
    """The error for a bad file."""
    return DataError(f"{path} must be {expected}. Found: {found}.")


def _words(error: Exception) -> str:
    return str(error).strip().rstrip(".")


def _parse(
    stream: io.BufferedReader | gzip.GzipFile,
    path: Path,
    item_shape: tuple[int, ...],
    *,
    most_bytes: int,
) -> Idx:
    n_dims = 1 + len(item_shape)
    header_bytes = 4 + 4 * n_dims
    header = stream.read(header_bytes)
    if len(header) < header_bytes:
        raise refusal(
            path, f"an IDX file with a header of {header_bytes} bytes", f"{len(header)} bytes"
        )
    magic, n, *shape = struct.unpack(f">{1 + n_dims}I", header)
    if magic != _MAGIC | n_dims:
        raise refusal(
            path, f"an IDX file with magic number 0x{_MAGIC | n_dims:08x}", f"0x{magic:08x}"
        )
    if tuple(shape) != item_shape:
        raise refusal(path, f"images of {_by(item_shape)} pixels", f"{_by(shape)}")
    if not 1 <= n <= MAX_ITEMS:
        raise refusal(path, f"an IDX file of 1 to {MAX_ITEMS} items", f"{n}")
    body_bytes = n * math.prod(item_shape)
    announced = f"an IDX file of {n} items, {header_bytes + body_bytes} bytes"
    if header_bytes + body_bytes > most_bytes:
        raise refusal(path, announced, f"room for at most {most_bytes} bytes")

    array = np.empty((n, *item_shape), np.uint8)
    body = array.data.cast("B")
    digest = hashlib.sha256(header)
    read = 0
    while read < body_bytes:
        chunk = body[read : read + _CHUNK_BYTES]
        got = stream.readinto(chunk)
        if not got:
            raise refusal(path, announced, f"{header_bytes + read} bytes")
        digest.update(chunk[:got])
        read += got
    # Reading past the end also makes gzip compare its own checksum and length.
    if stream.read(1):
        raise refusal(path, announced, "more bytes after them")
    if not item_shape and (wrong := np.flatnonzero(array >= N_CLASSES)).size:
        i = int(wrong[0])
        raise refusal(path, f"labels of 0 to {N_CLASSES - 1}", f"{array[i]} at item {i}")
    return Idx(array, digest.hexdigest())


def _by(shape: tuple[int, ...] | list[int]) -> str:
    return "x".join(str(size) for size in shape)


def write_idx(path: Path, array: NDArray[np.uint8]) -> None:
    """Write a uint8 array; gzipped when the name ends in ``.gz``.

    The same array gives the same bytes: the gzip header carries no name and no time.
    """
    if array.dtype != np.uint8:
        raise TypeError(f"array must be of uint8, not {array.dtype}")
    content = (
        struct.pack(f">{1 + array.ndim}I", _MAGIC | array.ndim, *array.shape) + array.tobytes()
    )
    with path.open("wb") as raw:
        if path.suffix != ".gz":
            raw.write(content)
            return
        with gzip.GzipFile(filename="", mode="wb", fileobj=raw, mtime=0) as stream:
            stream.write(content)

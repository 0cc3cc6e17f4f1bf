"""The IDX parser: exact on good files, a DataError that says why on every bad one."""

from __future__ import annotations

import gzip
import hashlib
import struct
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fmnist_cli.engine.data.idx import MAX_ITEMS, read_idx, write_idx
from fmnist_cli.errors import DataError

IMAGE = (28, 28)


def images_content(n: int = 3, *, magic: int = 0x803, shape: tuple[int, ...] = IMAGE) -> bytes:
    """An images file as its definition has it, written by hand."""
    pixels = (np.arange(n * 784) % 251).astype(np.uint8).tobytes()
    return struct.pack(">IIII", magic, n, *shape) + pixels


def labels_content(labels: list[int]) -> bytes:
    return struct.pack(">II", 0x801, len(labels)) + bytes(labels)


@pytest.mark.parametrize("name", ["a", "a.gz"])
def test_reads_images_and_hashes_the_decompressed_bytes(tmp_path: Path, name: str) -> None:
    path, content = tmp_path / name, images_content()
    path.write_bytes(gzip.compress(content) if name.endswith(".gz") else content)

    idx = read_idx(path, IMAGE)

    assert idx.array.shape == (3, 28, 28)
    assert idx.array.dtype == np.uint8
    assert idx.array[1, 0, 0] == 784 % 251  # row-major: the second image begins at byte 784
    assert idx.array[0, 1, 0] == 28
    assert idx.sha256 == hashlib.sha256(content).hexdigest()


@pytest.mark.parametrize("name", ["labels", "labels.gz"])
def test_what_is_written_is_read_back(tmp_path: Path, name: str) -> None:
    path, labels = tmp_path / name, np.arange(10, dtype=np.uint8)
    write_idx(path, labels)

    np.testing.assert_array_equal(read_idx(path, ()).array, labels)
    content = path.read_bytes() if name == "labels" else gzip.decompress(path.read_bytes())
    assert content == labels_content(list(range(10)))


def test_writing_is_deterministic(tmp_path: Path) -> None:
    for name in ("one.gz", "other.gz"):
        write_idx(tmp_path / name, np.zeros(5, np.uint8))
    written = (tmp_path / "one.gz").read_bytes()
    assert written == (tmp_path / "other.gz").read_bytes()
    assert written[4:8] == bytes(4)  # gzip's MTIME


def test_only_bytes_are_written(tmp_path: Path) -> None:
    with pytest.raises(TypeError, match="uint8"):
        write_idx(tmp_path / "a", np.zeros(3))


BAD_IMAGES = {
    "empty": (b"", "a header of 16 bytes. Found: 0 bytes"),
    "short header": (images_content()[:9], "a header of 16 bytes. Found: 9 bytes"),
    "labels' magic": (images_content(magic=0x801), "magic number 0x00000803. Found: 0x00000801"),
    "floats": (images_content(magic=0xD03), "magic number 0x00000803. Found: 0x00000d03"),
    "32x32": (images_content(shape=(32, 32)), "images of 28x28 pixels. Found: 32x32"),
    "28x0": (images_content(shape=(28, 0)), "images of 28x28 pixels. Found: 28x0"),
    "no images": (images_content(0), f"1 to {MAX_ITEMS} items. Found: 0"),
    "too many": (
        struct.pack(">IIII", 0x803, 2**32 - 1, 28, 28),
        f"1 to {MAX_ITEMS} items. Found: 4294967295",
    ),
    "more announced": (
        struct.pack(">IIII", 0x803, 1000, 28, 28) + bytes(784),
        "1000 items, 784016 bytes. Found: ",
    ),
    "one byte short": (images_content()[:-1], "3 items, 2368 bytes. Found: "),
    "one byte more": (images_content() + b"\0", "3 items, 2368 bytes. Found: more"),
}


@pytest.mark.parametrize("gzipped", [False, True])
@pytest.mark.parametrize("case", BAD_IMAGES)
def test_bad_content_is_refused(tmp_path: Path, case: str, gzipped: bool) -> None:
    content, message = BAD_IMAGES[case]
    path = tmp_path / ("images.gz" if gzipped else "images")
    path.write_bytes(gzip.compress(content) if gzipped else content)

    with pytest.raises(DataError) as error:
        read_idx(path, IMAGE)

    assert str(error.value).startswith(f"{path} must be ")
    assert message in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("wrong", [10, 255])
def test_labels_outside_0_to_9_are_refused(tmp_path: Path, wrong: int) -> None:
    path = tmp_path / "labels"
    path.write_bytes(labels_content([0, 9, wrong, 3]))
    with pytest.raises(DataError, match=rf"labels of 0 to 9\. Found: {wrong} at item 2\."):
        read_idx(path, ())


WHOLE = gzip.compress(images_content(), mtime=0)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "a header of 16 bytes. Found: 0 bytes"),
        (WHOLE[:5], "Found: one that is cut off"),
        (WHOLE[: len(WHOLE) // 2], "Found: one that is cut off"),
        (WHOLE[:-1], "Found: one that is cut off"),
        (b"<!DOCTYPE html>", "a sound gzip file. Found: Not a gzipped file (b'<!')"),
        (WHOLE + b"<html>", "a sound gzip file. Found: "),
        (WHOLE[:-8] + b"\1\2\3\4" + WHOLE[-4:], "a sound gzip file. Found: CRC check failed"),
        (WHOLE[:10] + b"\xff" * 40, "a sound gzip file. Found: "),
        (WHOLE + WHOLE, "Found: more bytes after them"),
    ],
)
def test_bad_gzip_is_refused(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "images.gz"
    path.write_bytes(content)
    with pytest.raises(DataError) as error:
        read_idx(path, IMAGE)
    assert message in str(error.value)


def test_what_is_no_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"readable file\. Found: No such file"):
        read_idx(tmp_path / "absent.gz", IMAGE)
    with pytest.raises(DataError, match=r"readable file\. Found: Is a directory"):
        read_idx(tmp_path, IMAGE)


def peak_bytes_of_refusing(path: Path, item_shape: tuple[int, ...]) -> int:
    tracemalloc.start()
    try:
        with pytest.raises(DataError):
            read_idx(path, item_shape)
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_a_decompression_bomb_is_not_decompressed(tmp_path: Path) -> None:
    path = tmp_path / "bomb.gz"
    path.write_bytes(gzip.compress(images_content() + bytes(64 << 20), compresslevel=1))
    assert peak_bytes_of_refusing(path, IMAGE) < 4 << 20


def test_a_small_file_cannot_ask_for_much_memory(tmp_path: Path) -> None:
    path = tmp_path / "claims.gz"
    path.write_bytes(gzip.compress(struct.pack(">IIII", 0x803, MAX_ITEMS, 28, 28)))
    assert peak_bytes_of_refusing(path, IMAGE) < 4 << 20


bodies = st.one_of(
    st.binary(max_size=2000),
    st.builds(
        lambda magic, n, rows, columns, rest: struct.pack(">IIII", magic, n, rows, columns) + rest,
        st.sampled_from([0x801, 0x803, 0x80000803]),
        st.one_of(st.integers(0, 3), st.integers(0, 2**32 - 1)),
        st.sampled_from([28, 0, 1, 2**32 - 1]),
        st.sampled_from([28, 0, 2**32 - 1]),
        st.binary(max_size=1600),
    ),
    st.builds(
        lambda n, rest: struct.pack(">II", 0x801, n) + rest,
        st.integers(0, 20),
        st.binary(max_size=20),
    ),
)


@settings(max_examples=150, deadline=None)
@given(
    content=bodies,
    form=st.sampled_from(["plain", "gzipped", "bare"]),
    cut=st.integers(0, 40),
    flip=st.integers(0, 3000),
    item_shape=st.sampled_from([IMAGE, ()]),
)
def test_any_bytes_are_read_right_or_refused(
    tmp_path_factory: pytest.TempPathFactory,
    content: bytes,
    form: str,
    cut: int,
    flip: int,
    item_shape: tuple[int, ...],
) -> None:
    path = tmp_path_factory.getbasetemp() / ("fuzz" if form == "plain" else "fuzz.gz")
    stored = bytearray(gzip.compress(content) if form == "gzipped" else content)
    if form == "gzipped" and stored and flip < len(stored):
        stored[flip] ^= 0x10
    path.write_bytes(stored[: len(stored) - cut] if cut <= 20 else stored)
    try:
        idx = read_idx(path, item_shape)
    except DataError:
        return
    decompressed = path.read_bytes() if form == "plain" else gzip.decompress(path.read_bytes())
    assert idx.array.tobytes() == decompressed[4 + 4 * idx.array.ndim :]
    assert idx.array.shape[1:] == item_shape

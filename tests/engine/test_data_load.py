"""The splits, custom data sets, and the decoded cache under them."""

from __future__ import annotations

import gzip
import hashlib
import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from fmnist_cli.engine import data
from fmnist_cli.engine.data import cache, folder, official, sources
from fmnist_cli.engine.data.idx import write_idx
from fmnist_cli.errors import ChecksumError, DataError, UsageError

NAMES = [file.name for file in official.FILES]
UNIT = np.array([np.float32(grey) / np.float32(255) for grey in range(256)])


@pytest.fixture
def custom(tiny_data: Path, tmp_path: Path) -> Path:
    """A copy of the small data set, to be spoilt."""
    return shutil.copytree(tiny_data, tmp_path / "custom")


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """Grows by a path whenever a source file is decoded."""
    seen: list[Path] = []
    real = folder.read_idx

    def spy(path: Path, item_shape: tuple[int, ...]) -> object:
        seen.append(path)
        return real(path, item_shape)

    monkeypatch.setattr(folder, "read_idx", spy)
    return seen


def content(path: Path, name: str) -> bytes:
    return gzip.decompress((path / f"{name}.gz").read_bytes())


def load(path: Path, train_size: int = 200, val_size: int = 50) -> data.Dataset:
    return data.load(train_size, val_size, data_dir=path, allow_custom=True)


def the_entry() -> Path:
    (entry,) = (data.cache_folder() / "decoded").iterdir()
    return entry


def assert_is(dataset: data.Dataset, path: Path, train_size: int = 200, val_size: int = 50) -> None:
    """The splits hold what the files' bytes say, taken straight from them."""
    for part, split, start, n in (
        ("train", dataset.train, 0, train_size),
        ("train", dataset.val, train_size, val_size),
        ("t10k", dataset.test, 0, 100),
    ):
        pixels = content(path, f"{part}-images-idx3-ubyte")[16 + 784 * start :][: 784 * n]
        labels = content(path, f"{part}-labels-idx1-ubyte")[8 + start :][:n]
        expected = UNIT[np.frombuffer(pixels, np.uint8)]
        np.testing.assert_array_equal(split.images, expected.reshape(n, 784))
        assert split.labels.tolist() == list(labels)


def test_splits_are_the_head_and_what_follows(tiny_data: Path) -> None:
    assert_is(load(tiny_data), tiny_data)


def test_splits_have_the_promised_form(tiny_data: Path) -> None:
    for _ in ("from the files", "from the cache"):
        dataset = load(tiny_data)
        for split in (dataset.train, dataset.val, dataset.test):
            assert split.images.dtype == np.float32
            assert split.labels.dtype == np.int64
            assert split.images.flags.c_contiguous
            assert not split.images.flags.writeable
            assert not split.labels.flags.writeable
        assert (dataset.folder, dataset.is_official) == (tiny_data, False)
        assert str(tiny_data) in dataset.source


def test_fingerprint_is_that_of_the_four_decompressed_files(tiny_data: Path) -> None:
    lines = "".join(hashlib.sha256(content(tiny_data, n)).hexdigest() + "\n" for n in NAMES)
    expected = hashlib.sha256(lines.encode()).hexdigest()
    assert load(tiny_data).fingerprint == expected
    assert load(tiny_data, 10, 1).fingerprint == expected


def test_fingerprint_ignores_how_the_files_are_compressed(custom: Path, tiny_data: Path) -> None:
    for i, name in enumerate(NAMES):
        path = custom / f"{name}.gz"
        raw = gzip.decompress(path.read_bytes())
        path.unlink()
        if i % 2:
            (custom / name).write_bytes(raw)
        else:
            path.write_bytes(gzip.compress(raw, 1))
    assert load(custom).fingerprint == load(tiny_data).fingerprint


def test_official_fingerprint_follows_from_the_official_digests() -> None:
    assert data.fingerprint(file.sha256 for file in data.FILES) == data.OFFICIAL_FINGERPRINT


def test_too_small_a_set_names_both_numbers(tiny_data: Path) -> None:
    load(tiny_data, 200, 100)
    with pytest.raises(DataError, match=r"at most 300, .*Received: 200 \+ 101\."):
        load(tiny_data, 200, 101)


@pytest.mark.parametrize(("train_size", "val_size"), [(0, 1), (1, 0), (-5, 3)])
def test_sizes_below_one_are_refused(tiny_data: Path, train_size: int, val_size: int) -> None:
    with pytest.raises(UsageError, match=f"Received: {train_size} and {val_size}"):
        load(tiny_data, train_size, val_size)


def test_custom_data_needs_leave(tiny_data: Path) -> None:
    with pytest.raises(ChecksumError) as error:
        data.load(10, 5, data_dir=tiny_data)
    assert f"{tiny_data / NAMES[0]}.gz must be Fashion-MNIST's" in str(error.value)
    assert error.value.remedy == "allow_custom_data"
    assert error.value.exit_code == 3


@pytest.mark.parametrize("name", NAMES)
def test_a_given_folder_that_lacks_a_file_is_an_error(custom: Path, name: str) -> None:
    (custom / f"{name}.gz").unlink()
    with pytest.raises(DataError, match=rf"Missing: {name}\.gz\."):
        load(custom)


def test_a_given_folder_must_exist(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"must exist\. Received: .*nowhere"):
        load(tmp_path / "nowhere")


def test_counts_must_agree(custom: Path) -> None:
    write_idx(custom / "t10k-labels-idx1-ubyte.gz", np.zeros(99, np.uint8))
    with pytest.raises(DataError) as error:
        load(custom)
    assert "t10k-labels-idx1-ubyte.gz must be as many labels" in str(error.value)
    assert "has images, 100. Found: 99." in str(error.value)


@pytest.mark.parametrize("n_bytes", [0, 30, 4000])
def test_a_truncated_file_is_refused(custom: Path, n_bytes: int) -> None:
    path = custom / "train-images-idx3-ubyte.gz"
    path.write_bytes(path.read_bytes()[:n_bytes])
    with pytest.raises(DataError, match=r"train-images-idx3-ubyte\.gz must be"):
        load(custom)


def test_second_load_reads_no_source_file(tiny_data: Path, reads: list[Path]) -> None:
    first = load(tiny_data)
    assert len(reads) == 4
    second = load(tiny_data, 120, 30)
    assert len(reads) == 4
    assert second.fingerprint == first.fingerprint
    assert_is(second, tiny_data, 120, 30)


def test_only_the_needed_blocks_are_read(
    tiny_data: Path, reads: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Damage beyond the rows that are asked for is not met; within them it is."""
    monkeypatch.setattr(cache, "_BLOCK_ROWS", 40)
    load(tiny_data)
    entry = the_entry()
    stored = bytearray(entry.read_bytes())
    first_row = len(stored) - 400 * 785
    stored[first_row + 130 * 784] ^= 1
    entry.write_bytes(stored)

    assert_is(load(tiny_data, 100, 20), tiny_data, 100, 20)
    assert len(reads) == 4
    assert_is(load(tiny_data, 100, 21), tiny_data, 100, 21)
    assert len(reads) == 8


def flip(entry: Path, position: float) -> None:
    stored = bytearray(entry.read_bytes())
    stored[int(position * (len(stored) - 1))] ^= 0x40
    entry.write_bytes(stored)


SPOILS: dict[str, Callable[[Path], object]] = {
    "first byte": lambda entry: flip(entry, 0),
    "header": lambda entry: flip(entry, 200 / entry.stat().st_size),
    "pixels": lambda entry: flip(entry, 0.3),
    "test labels": lambda entry: flip(entry, 1),
    "truncated": lambda entry: os.truncate(entry, entry.stat().st_size - 1),
    "empty": lambda entry: os.truncate(entry, 0),
    "longer": lambda entry: entry.write_bytes(entry.read_bytes() + b"x"),
    "another version": lambda entry: entry.write_bytes(
        entry.read_bytes().replace(b"decoded/1", b"decoded/0", 1)
    ),
    "a folder": lambda entry: (entry.unlink(), entry.mkdir()),
}


@pytest.mark.parametrize("spoil", SPOILS)
def test_a_damaged_entry_is_made_again(tiny_data: Path, reads: list[Path], spoil: str) -> None:
    load(tiny_data)
    SPOILS[spoil](the_entry())

    assert_is(load(tiny_data), tiny_data)
    assert len(reads) == 8
    if spoil != "a folder":
        assert_is(load(tiny_data), tiny_data)
        assert len(reads) == 8


def test_an_entry_is_stale_once_a_source_file_changed(custom: Path, reads: list[Path]) -> None:
    """Even if its size and its time of modification are what they were."""
    path = custom / "train-labels-idx1-ubyte"
    path.write_bytes(content(custom, path.name))
    (custom / f"{path.name}.gz").unlink()
    before, stat = load(custom), path.stat()
    write_idx(path, np.full(300, 9, np.uint8))
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert (path.stat().st_size, path.stat().st_mtime_ns) == (stat.st_size, stat.st_mtime_ns)

    after = load(custom)

    assert set(after.train.labels.tolist()) == {9}
    assert after.fingerprint != before.fingerprint
    assert len(reads) == 8


def test_a_file_damaged_after_it_was_cached_is_refused(custom: Path) -> None:
    load(custom)
    path = custom / "train-images-idx3-ubyte.gz"
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(DataError, match="cut off"):
        load(custom)


def test_an_unwritable_cache_only_costs_time(
    tiny_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, reads: list[Path]
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    for _ in range(2):
        assert_is(load(tiny_data), tiny_data)
    assert len(reads) == 8


def test_an_interrupted_write_leaves_no_entry(
    tiny_data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(self: Path, target: Path) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", interrupt)
        with pytest.raises(KeyboardInterrupt):
            load(tiny_data)
    assert list((data.cache_folder() / "decoded").iterdir()) == []


def test_old_entries_make_room(tiny_data: Path, tmp_path: Path) -> None:
    for i in range(7):
        load(shutil.copytree(tiny_data, tmp_path / f"copy{i}"), 10, 5)
    assert len(list((data.cache_folder() / "decoded").iterdir())) == 4


def test_verify_reports_each_file(custom: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = hashlib.sha256(content(custom, NAMES[0])).hexdigest()
    files = (replace(official.FILES[0], sha256=first), *official.FILES[1:])
    monkeypatch.setattr(official, "FILES", files)
    (custom / f"{NAMES[2]}.gz").write_bytes(b"<html>")
    (custom / f"{NAMES[3]}.gz").unlink()

    good, other, bad, missing = data.verify(custom)

    assert (good.ok, good.n, good.shape, good.error) == (True, 300, (300, 28, 28), None)
    assert good.expected_sha256 == good.found_sha256 == first
    assert (other.ok, other.n, other.shape) == (False, 300, (300,))
    assert other.found_sha256 == hashlib.sha256(content(custom, NAMES[1])).hexdigest()
    assert other.error is not None
    assert official.FILES[1].sha256 in other.error
    assert (bad.ok, bad.found_sha256, bad.n) == (False, None, None)
    assert "Not a gzipped file" in str(bad.error)
    assert missing.error == f"{custom / NAMES[3]}.gz is missing."


def test_verify_does_not_trust_the_decoded_cache(custom: Path) -> None:
    load(custom)
    (custom / f"{NAMES[0]}.gz").write_bytes(b"")
    assert data.verify(custom)[0].found_sha256 is None


def test_verify_without_any_folder_says_how_to_get_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sources.apt, "INSTALLED_FOLDER", Path("/nonexistent"))
    with pytest.raises(DataError, match="no folder that holds") as error:
        data.verify()
    assert error.value.remedy == "fetch_data"
    with pytest.raises(DataError, match="must exist"):
        data.verify(Path("nowhere"))

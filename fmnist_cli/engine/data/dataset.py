"""The data that a run trains, validates and tests on."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from fmnist_cli.engine.backend import Split
from fmnist_cli.engine.data.cache import DamagedEntryError, Decoded, decode, forget
from fmnist_cli.engine.data.folder import Progress
from fmnist_cli.engine.data.sources import fetch, find
from fmnist_cli.errors import DataError, require


@dataclass(frozen=True)
class Dataset:
    """The three splits, and where they come from.

    Attributes
    ----------
    train : Split
        The first ``train_size`` images of the training file.
    val : Split
        The next ``val_size``.
    test : Split
        The whole test file.
    fingerprint : str
        Names the four files' content, whatever was taken of it; see ``official.fingerprint``.
    source : str
        In human words, with the folder.
    is_official : bool
        The files are Fashion-MNIST's, bit for bit.
    """

    train: Split
    val: Split
    test: Split
    fingerprint: str
    source: str
    folder: Path
    is_official: bool


def load(
    train_size: int,
    val_size: int,
    *,
    data_dir: str | Path | None = None,
    allow_custom: bool = False,
    fit: bool = False,
    on_progress: Progress | None = None,
) -> Dataset:
    """The splits, from the first source that holds the data; downloaded if none does.

    Parameters
    ----------
    train_size, val_size : int >= 1
    data_dir : str or Path, optional
        The only folder to look at.
    allow_custom : bool, default False
        Take a data set in ``data_dir`` that is not Fashion-MNIST.
    fit : bool, default False
        Share out the images that there are, in the same ratio, where the training file has fewer.
    on_progress : Progress, optional
        Told of a download's bytes.

    Raises
    ------
    DataError
        When the data cannot be had, a file is bad, or the training file has too few images.
    ChecksumError
        When the data set is custom and that is not allowed.
    """
    require(
        train_size >= 1 and val_size >= 1,
        "train-size and val-size must be at least 1",
        f"{train_size} and {val_size}",
    )
    data_dir = None if data_dir is None else Path(data_dir)

    def found() -> Decoded:
        held = find(data_dir, allow_custom=allow_custom)
        return held or decode(fetch(on_progress=on_progress))

    decoded = found()
    try:
        return _split(decoded, train_size, val_size, fit)
    except DamagedEntryError:
        forget(decoded.folder)
    # Now from the files themselves, which are judged anew: they may have been damaged too.
    return _split(found(), train_size, val_size, fit)


def _split(decoded: Decoded, train_size: int, val_size: int, fit: bool) -> Dataset:
    n_train = decoded.contents.n_train
    if fit and train_size + val_size > n_train:
        train_size = n_train * train_size // (train_size + val_size)
        val_size = n_train - train_size
    if train_size + val_size > n_train:
        raise DataError(
            f"train-size and val-size together must be at most {n_train}, the training images "
            f"in {decoded.folder.path}. Received: {train_size} + {val_size}."
        )
    head = decoded.train(train_size + val_size)
    return Dataset(
        train=Split(head.images[:train_size], head.labels[:train_size]),
        val=Split(head.images[train_size:], head.labels[train_size:]),
        test=decoded.test(),
        fingerprint=decoded.contents.fingerprint,
        source=decoded.folder.title,
        folder=decoded.folder.path,
        is_official=decoded.contents.is_official,
    )

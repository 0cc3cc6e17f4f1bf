"""The data set that the options name, with a bar while it is fetched or decoded."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fmnist_cli.errors import require

if TYPE_CHECKING:
    from tqdm import tqdm

    from fmnist_cli.commands._options import DataOptions
    from fmnist_cli.commands._output import Output
    from fmnist_cli.engine.config import TrainConfig
    from fmnist_cli.engine.data import Dataset
    from fmnist_cli.registry import Registry
    from fmnist_cli.runner.run import Session


@contextmanager
def open_session(
    db: str, config: TrainConfig, options: DataOptions, out: Output, /, **folders: Path
) -> Iterator[Session]:
    """What the runner works in, with the data set that the options name.

    The registry, and the folders that are written into (by their options), are made only once the
    data is there.
    """
    from fmnist_cli.files import writable_folder
    from fmnist_cli.registry import Registry
    from fmnist_cli.runner.run import Session

    dataset = load_data(config, options, out)
    for name, folder in folders.items():
        writable_folder(folder, f"--{name}")
    with Registry.open(db) as registry:
        yield Session(registry, dataset, out, out.argv)


def open_existing(db: str) -> Registry:
    """A registry whose runs are asked for, to be written: it is not made where there is none."""
    from fmnist_cli.registry import Registry

    Registry.open(db, readonly=True).close()
    return Registry.open(db)


def load_data(config: TrainConfig, options: DataOptions, out: Output) -> Dataset:
    """The data set, with a bar while it is fetched or decoded."""
    from fmnist_cli.engine.data import load

    with DataProgress(out) as progress:
        return load(
            config.train_size,
            config.val_size,
            data_dir=_folder(options.data_dir),
            allow_custom=options.allow_custom_data,
            on_progress=progress,
        )


def _folder(data_dir: Path | None) -> Path | None:
    """The folder that was given, by a name that messages can use; UsageError for a file."""
    if data_dir is not None:
        with suppress(PermissionError):  # which reading it will tell of
            require(not data_dir.is_file(), "data-dir must be a folder, not a file", data_dir)
    return Path.cwd() if data_dir == Path() else data_dir  # "." or an empty word


class DataProgress:
    """Shows the engine's progress reports, one bar per label."""

    def __init__(self, out: Output) -> None:
        self.out = out
        self.label = ""
        self.bar: tqdm[Any] | None = None

    def __enter__(self) -> DataProgress:
        return self

    def __exit__(self, *exc: object) -> None:
        if self.bar is not None:
            self.bar.close()

    def __call__(self, label: str, done_bytes: int, total_bytes: int | None) -> None:
        if label != self.label:
            if self.bar is not None:
                self.bar.close()
            self.label = label
            self.out.say(label)
            self.bar = self.out.bar(
                total_bytes, label, unit="B", unit_scale=True, unit_divisor=1024
            )
        assert self.bar is not None
        self.bar.update(done_bytes - self.bar.n)

"""The data set that the options name, with a bar while it is fetched or decoded."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, closing, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from fmnist_cli.errors import require

if TYPE_CHECKING:
    from fmnist_cli.commands._option_groups import DataOptions
    from fmnist_cli.commands._output import Output
    from fmnist_cli.engine.config import TrainConfig
    from fmnist_cli.engine.data import Dataset
    from fmnist_cli.progress import ByteBars
    from fmnist_cli.registry import Registry
    from fmnist_cli.runner.run import Session


@contextmanager
def open_session(
    config: TrainConfig,
    options: DataOptions,
    out: Output,
    fit: bool = False,
    /,
    **folders: Path,
) -> Iterator[Session]:
    """What the runner works in, with the data set that the options name; ``fit`` as in ``load``.

    The registry, and the folders that are written into (by their options), are made only once the
    data is there.
    """
    from fmnist_cli.files import folders_removed_on_error, writable_folder
    from fmnist_cli.runner.run import Session

    dataset = load_data(config, options, out, fit=fit)
    config.but(train_size=len(dataset.train), val_size=len(dataset.val))  # refused if too few
    with ExitStack() as refusals:
        for name, folder in folders.items():
            refusals.enter_context(folders_removed_on_error(folder))
            writable_folder(folder, f"--{name}")
        registry = open_registry(out.db)
    with registry:
        yield Session(registry, dataset, out, out.argv)


def open_registry(db: str, *, readonly: bool = False) -> Registry:
    """As ``Registry.open``, whose import takes time that no help page should."""
    from fmnist_cli.registry import Registry

    return Registry.open(db, readonly=readonly)


def open_existing(db: str) -> Registry:
    """A registry whose runs are asked for, to be written: it is not made where there is none."""
    open_registry(db, readonly=True).close()
    return open_registry(db)


def load_data(
    config: TrainConfig, options: DataOptions, out: Output, *, fit: bool = False
) -> Dataset:
    """The data set, with a bar while it is fetched or decoded; ``fit`` as in ``load``."""
    from fmnist_cli.engine.data import load

    with data_progress(out) as progress:
        return load(
            config.train_size,
            config.val_size,
            data_dir=_folder(options.data_dir),
            allow_custom=options.allow_custom_data,
            fit=fit,
            on_progress=progress,
        )


def data_progress(out: Output) -> AbstractContextManager[ByteBars]:
    """What shows the progress of fetching and decoding."""
    from fmnist_cli.progress import ByteBars

    return closing(ByteBars(out.say, quiet=out.quiet))


def _folder(data_dir: Path | None) -> Path | None:
    """The folder that was given, by a name that messages can use; UsageError for a file."""
    if data_dir is not None:
        with suppress(PermissionError):  # which reading it will tell of
            require(not data_dir.is_file(), "data-dir must be a folder, not a file", data_dir)
    return Path.cwd() if data_dir == Path() else data_dir  # "." or an empty word

"""For pytest, nbgrader and otter: an assertion about a student's layers."""

from __future__ import annotations

from collections.abc import Collection
from functools import cache
from pathlib import Path
from typing import Any

from fmnist_cli.engine.backend import Split
from fmnist_cli.usercode.examine import CHECK_NAMES, check_file, check_layers
from fmnist_cli.usercode.results import Report

_N_IMAGES = 1_000


@cache
def real_images() -> Split:
    """The first 1,000 training images."""
    from fmnist_cli.engine.data import load

    return load(_N_IMAGES, 1).train


def assert_layers(
    *layers: Any,
    file: Path | str | None = None,
    checks: Collection[str] = CHECK_NAMES,
    hints: int = 1,
    images: Split | None = None,
    **parts: Any,
) -> Report:
    """Raise AssertionError, with the diagnosis, unless every check holds.

    Parameters
    ----------
    *layers : ``linear_layer, relu, miniBatchGradientDescent``, as far as there are any
    file : path, optional
        A file to check in a process of its own, in place of the layers.
    checks : collection of str
        The checks to hold, by name; all by default.
    hints : 0, 1 or 2
    images : Split, optional
        Fashion-MNIST's by default.
    **parts : further parts, as ``check_layers`` takes them

    Raises
    ------
    AssertionError
    """
    images = images or real_images()
    if file is not None:
        report = check_file(Path(file), images, only=checks)
    else:
        report = check_layers(*layers, images=images, only=checks, **parts)
    failed = [r for r in report.results if r.status == "failed" and r.check in checks]
    message = "\n".join(f"{r.title}: {' '.join(r.explanation(hints))}" for r in failed)
    assert not failed, message
    return report

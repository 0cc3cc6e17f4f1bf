"""For pytest, nbgrader and otter: an assertion about a student's layers."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import Any

from fmnist_cli.engine.backend import Split
from fmnist_cli.usercode.examine import CHECK_NAMES, check_file, check_layers, real_images
from fmnist_cli.usercode.results import CheckReport


def assert_layers(
    *layers: Any,
    file: Path | str | None = None,
    checks: Collection[str] = CHECK_NAMES,
    hints: int = 1,
    images: Split | None = None,
    **parts: Any,
) -> CheckReport:
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
    wanted = {*checks, "loads", "conduct"}
    if file is not None:
        report = check_file(file, images, only=wanted)
    else:
        report = check_layers(*layers, images=images, only=wanted, **parts)
    # a check that was asked for by name must have been run
    wrong = ("failed",) if checks is CHECK_NAMES else ("failed", "skipped", "absent")
    failed = [r for r in report.results if r.status in wrong and r.check in wanted]
    if failed:
        raise AssertionError(
            "\n".join(f"{r.title}: {' '.join(r.explanation(hints))}" for r in failed)
        )
    return report

"""fmnist: a laboratory for training dynamics on Fashion-MNIST.

The command line is one import away in Python. What the package offers is listed in ``__all__``,
and nothing is imported before it is used::

    from fmnist_cli import TrainConfig, load_data, make_backend, train

    config = TrainConfig(batch=50, lr=0.05, epochs=3, train_size=2_000, val_size=500)
    data = load_data(config.train_size, config.val_size)
    result = train(make_backend(config, data.train), data, config)
    print(result.best.epoch, result.test.accuracy)

A study trains several configurations, records every run, and answers from them::

    from fmnist_cli import Registry, study, sweep_answers

    with Registry.open("lesson.db") as registry:
        arms = {f"batch {size}": config.but(batch=size) for size in (5, 50, 500)}
        sweep = study("sweep-batch", arms, data, registry)
    for answer in sweep_answers(sweep.runs):
        print(answer.question, answer.statement)

Which function does what: ``docs/python.md``.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from fmnist_cli.version import __version__

if TYPE_CHECKING:
    from fmnist_cli import plots as plots
    from fmnist_cli.analysis.batch_size import sweep_answers as sweep_answers
    from fmnist_cli.analysis.early_stopping import early_stop_answers as early_stop_answers
    from fmnist_cli.analysis.momentum import momentum_answers as momentum_answers
    from fmnist_cli.api import answers_of as answers_of
    from fmnist_cli.api import check_gradient as check_gradient
    from fmnist_cli.api import compare_runs as compare_runs
    from fmnist_cli.api import evaluate_shifted as evaluate_shifted
    from fmnist_cli.api import figure_of as figure_of
    from fmnist_cli.api import read_run as read_run
    from fmnist_cli.api import read_study as read_study
    from fmnist_cli.api import record_training as record_training
    from fmnist_cli.api import reproduce as reproduce
    from fmnist_cli.api import resume as resume
    from fmnist_cli.api import study as study
    from fmnist_cli.api import write_report as write_report
    from fmnist_cli.engine.config import TrainConfig as TrainConfig
    from fmnist_cli.engine.data import load as load_data  # noqa: F401
    from fmnist_cli.engine.gradients import check_magnitude as check_magnitude
    from fmnist_cli.engine.gradients import check_mlp as check_mlp
    from fmnist_cli.engine.parameters import count as count_parameters  # noqa: F401
    from fmnist_cli.engine.shifts import SHIFTED_SETS as SHIFTED_SETS
    from fmnist_cli.engine.shifts import shifted_split as shifted_split
    from fmnist_cli.engine.stopping import EarlyStopping as EarlyStopping
    from fmnist_cli.engine.training import assess as assess
    from fmnist_cli.engine.training import make_backend as make_backend
    from fmnist_cli.engine.training import train as train
    from fmnist_cli.progress import TqdmListener as TqdmListener
    from fmnist_cli.registry import Registry as Registry
    from fmnist_cli.runner.listener import Listener as Listener
    from fmnist_cli.usercode.examine import assert_layers as assert_layers
    from fmnist_cli.usercode.examine import check_file as check_file
    from fmnist_cli.usercode.examine import check_layers as check_layers
    from fmnist_cli.usercode.network_checks import check_network as check_network


# the public names by the module that they are in
_MODULES = {
    "analysis.batch_size": ("sweep_answers",),
    "analysis.early_stopping": ("early_stop_answers",),
    "analysis.momentum": ("momentum_answers",),
    "api": (
        *("answers_of", "check_gradient", "compare_runs", "evaluate_shifted", "figure_of"),
        *("read_run", "read_study", "record_training", "reproduce", "resume", "study"),
        "write_report",
    ),
    "engine.config": ("TrainConfig",),
    "engine.data": ("load_data",),
    "engine.gradients": ("check_magnitude", "check_mlp"),
    "engine.parameters": ("count_parameters",),
    "engine.shifts": ("SHIFTED_SETS", "shifted_split"),
    "engine.stopping": ("EarlyStopping",),
    "engine.training": ("assess", "make_backend", "train"),
    "progress": ("TqdmListener",),
    "registry": ("Registry",),
    "runner.listener": ("Listener",),
    "usercode.examine": ("assert_layers", "check_file", "check_layers"),
    "usercode.network_checks": ("check_network",),
}
_PUBLIC = {name: module for module, names in _MODULES.items() for name in names}
_NAME_THERE = {"count_parameters": "count", "load_data": "load"}

__all__ = ["__version__", "plots", *_PUBLIC]


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used (PEP 562)."""
    if name == "plots":
        return import_module("fmnist_cli.plots")
    if name not in _PUBLIC:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_PUBLIC[name]}"), _NAME_THERE.get(name, name))


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})

"""Options that contradict each other, or would change nothing, are refused in one line."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.main import get_command
from typer.testing import CliRunner

from fmnist_cli.cli import COMMANDS, app
from fmnist_cli.engine.keras_models import runtime
from fmnist_cli.registry import Registry

from .conftest import SMALL, Fmnist


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (
            ("plot", "train", "--study", 1, "--run", 3),
            "--run and --study exclude each other. Received: --study 1 --run 3.",
        ),
        (
            ("plot", "ood", "--samples", "--curve", "shift"),
            "--samples, --curve and --map exclude each other. Received: --samples --curve shift.",
        ),
        (
            ("plot", "early-stop", "--patience", 2, "--patience", 2),
            "each --patience must be given once. Received: --patience 2 --patience 2.",
        ),
        (
            ("plot", "early-stop", "--patience", 0),
            "--patience must be at least 1. Received: 0.",
        ),
        (
            ("plot", "compare", 1, 2, "--metric", "val_loss", "--metric", "val_loss"),
            "each --metric must be given once. Received: --metric val_loss --metric val_loss.",
        ),
        (
            ("train", "--seed", 5, "--seed-list", "1,2"),
            "--seed and --seed-list exclude each other. Received: --seed 5 --seed-list 1,2.",
        ),
        (
            ("report", "--seed", 5, "--seed-list", "1,2"),
            "--seed and --seed-list exclude each other. Received: --seed 5 --seed-list 1,2.",
        ),
        (
            ("train", "--jobs", 2),
            "--jobs, --scheduler and --new go with several seeds. Received: --jobs 2 and one seed.",
        ),
        (
            ("train", "--new", "--seed-list", 7),
            "--jobs, --scheduler and --new go with several seeds. Received: --new and one seed.",
        ),
        (
            ("early-stop", "--patience", 3, "--patience", 1, "--patience", 3),
            "each --patience must be given once. Received: --patience 1 --patience 3 --patience 3.",
        ),
        (
            ("momentum", "--alpha", 0.5, "--alpha", 0.5),
            "each --alpha must be given once. Received: --alpha 0.5 --alpha 0.5.",
        ),
        (
            ("sweep-batch", "--batch", 5, "--batch", 5),
            "each --batch must be given once. Received: --batch 5 --batch 5.",
        ),
        (
            ("mini-cnn", "--data", "four.csv", "--steps", 9),
            "--data, --examples, --lr, --steps and --seed are about the training. "
            "Received: --data four.csv --steps 9 without --train.",
        ),
        (
            ("mini-cnn", "--train", "--data", "four.csv", "--examples", 9),
            "--data and --examples exclude each other. Received: --data four.csv --examples 9.",
        ),
        (
            ("gradcheck", "--model", "mini-cnn", "--samples", 5, "--batch", 2),
            "the mini-cnn has four weights and one example of its own; of the options it takes --e "
            "and --all. Received: --samples 5 --batch 2.",
        ),
        (
            ("ood", "--run", 3, "--lr", 0.1, "--new"),
            "run evaluates recorded weights, so no option may ask for a training. "
            "Received: --run 3 --lr 0.1 --new.",
        ),
        (
            ("runs", "list", "--all", "-n", 3),
            "--all and --limit exclude each other. Received: --all --limit 3.",
        ),
    ],
)
def test_contradictions(fmnist: Fmnist, args: tuple[object, ...], message: str) -> None:
    found = fmnist.error(*args, code=2)
    assert sorted(found.split()) == sorted(message.split())  # the options in any order
    assert found.partition(" Received: ")[0] == message.partition(" Received: ")[0]
    assert not Path("runs.db").exists()


def test_what_is_set_for_every_command_is_no_contradiction(
    fmnist: Fmnist, monkeypatch: pytest.MonkeyPatch
) -> None:
    Path("fmnist.toml").write_text("seed = 7\njobs = 2\nlr = 0.02\n")
    monkeypatch.setenv("FMNIST_NEW", "1")
    args = ("train", *SMALL, "--epochs", 1)
    assert fmnist.document(*args)["config"]["seed"] == 7
    several = fmnist.document(*args, "--seed-list", "1,2")
    assert [run["seed"] for run in several["runs"]] == [1, 2]
    fmnist("mini-cnn")
    fmnist("ood", "--run", 1, "--allow-custom-data")
    fmnist("train", *SMALL, "--epochs", 1, "--jobs", 1)


def test_data_dir_is_a_folder(fmnist: Fmnist) -> None:
    Path("file").touch()
    message = fmnist.error("train", "--data-dir", "file", code=2)
    assert message == "--data-dir must be a folder, not a file. Received: file."
    for here in ("", "."):
        message = fmnist.error("train", "--data-dir", here, code=1)
        assert message.startswith(f"{Path.cwd()} must hold the four files")


def test_an_engine_that_cannot_start_leaves_no_run(
    fmnist: Fmnist, monkeypatch: pytest.MonkeyPatch
) -> None:
    runtime.import_tensorflow.cache_clear()
    monkeypatch.setattr(runtime, "find_spec", lambda _: None)
    message = fmnist.error(
        "train", *SMALL, "--model", "cnn2", "--engine", "keras", "--epochs", 1, code=2
    )
    assert message.endswith("Received: no module tensorflow.")
    with Registry.open("runs.db", readonly=True) as registry:
        assert registry.list_runs() == []


ODD = ("-1", "nan", "1e400", "", "²", "9" * 400, "1,2", "--", "\x1b[2J")


def _leaves(command: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    for name, inner in getattr(command, "commands", {}).items():
        yield from _leaves(inner, (*path, name))
    if not getattr(command, "commands", {}):
        yield path, command


@pytest.mark.parametrize("first", COMMANDS)
def test_every_option_with_every_odd_value(
    fmnist: Fmnist, monkeypatch: pytest.MonkeyPatch, first: str
) -> None:
    """A usage error is one line and leaves nothing; what gets past it finds no data."""
    monkeypatch.setenv("FMNIST_DATA_DIR", "absent")
    tried = 0
    for path, command in _leaves(get_command(app).commands[first], (first,)):
        needed = [
            "1" for one in command.params if one.param_type_name == "argument" and one.required
        ]
        for option in command.params:
            if option.param_type_name != "option" or option.is_flag:
                continue
            for value in ODD:
                result = CliRunner().invoke(app, [*path, *needed, f"{option.opts[0]}={value}"])
                said = (path, option.opts[0], value, result.stderr)
                assert result.exit_code in (0, 1, 2, 3), (said, result.exception)
                if result.exit_code:
                    errors = [line for line in result.stderr.splitlines() if "Error" in line]
                    assert len(errors) == 1, said
                    assert errors[0].startswith("Error: "), said
                    assert not list(Path().iterdir()), said
                assert "\x1b" not in result.stdout + result.stderr, said
                for left in Path().iterdir():
                    shutil.rmtree(left) if left.is_dir() else left.unlink()
                tried += 1
    assert tried or first == "config"  # which has none

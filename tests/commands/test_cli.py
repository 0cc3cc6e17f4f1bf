"""The command line as a whole: start-up, help, the error boundary."""

from __future__ import annotations

import subprocess
import sys

import pytest
import typer.main
from typer.testing import CliRunner

from fmnist_cli import __version__
from fmnist_cli.cli import app

from .conftest import Fmnist

HEAVY = ("tensorflow", "keras", "matplotlib", "alembic", "numpy", "sqlalchemy", "pandas", "dask")
COMMANDS = (
    *("train", "sweep-batch", "gradcheck", "early-stop", "momentum", "ood"),
    *("count-params", "mini-cnn", "report", "plot", "runs", "data"),
)


def imported_by(code: str) -> set[str]:
    """The heavy modules that are in sys.modules after the code has run in a new process."""
    show = f"import sys\n{code}\nprint(*(m for m in {HEAVY} if m in sys.modules), file=sys.stderr)"
    result = subprocess.run(
        [sys.executable, "-c", show], capture_output=True, text=True, check=True
    )
    return set(result.stderr.split("\n")[-2].split())


def run_code(*args: str) -> str:
    return f"""
from fmnist_cli.cli import app
try:
    app({list(args)!r})
except SystemExit as end:
    assert end.code == 0, end.code
"""


@pytest.mark.parametrize("args", [("--help",), ("train", "--help"), ("--version",)])
def test_help_imports_nothing_heavy(args: tuple[str, ...]) -> None:
    assert imported_by(run_code(*args)) == set()


def test_runs_list_imports_only_what_reads_the_registry(fmnist: Fmnist) -> None:
    fmnist.small("train", "--epochs", 1)
    assert imported_by(run_code("runs", "list")) <= {"sqlalchemy"}
    assert imported_by(run_code("runs", "show")) <= {"sqlalchemy", "numpy"}


def test_a_command_imports_no_other_and_help_no_group(fmnist: Fmnist) -> None:
    fmnist.small("train", "--epochs", 1)
    shown = "print(*(m for m in sys.modules if m.startswith('fmnist_cli.commands.')))"
    loaded = [
        set(
            subprocess.run(
                [sys.executable, "-c", f"import sys\n{run_code(*args)}\n{shown}"],
                capture_output=True,
                text=True,
                check=True,
            )
            .stdout.split("\n")[-2]
            .split()
        )
        for args in (("runs", "list"), ("--help",))
    ]
    listing, help = ({name.split(".")[2] for name in found} for found in loaded)
    assert not listing & {"plot", "ood", "sweep_batch", "report", "grade"}
    assert not help & {"plot", "runs", "data", "config"}


def test_training_the_mlp_imports_no_framework(fmnist: Fmnist) -> None:
    fmnist.small("train", "--epochs", 1)
    args = ("train", "--train-size", "200", "--val-size", "50", "--epochs", "1")
    found = imported_by(run_code(*args, "--allow-custom-data"))
    assert found == {"numpy", "sqlalchemy"}


@pytest.mark.parametrize("command", ["train", "ood", "gradcheck"])
def test_the_cnns_commands_import_no_framework(fmnist: Fmnist, command: str) -> None:
    args = ("--model", "cnn3", "--train-size", "20", "--val-size", "10", "--allow-custom-data")
    fmnist(command, *args, *(() if command == "gradcheck" else ("--epochs", 1)))
    epochs = () if command == "gradcheck" else ("--epochs", "1")
    found = imported_by(run_code(command, *args, *epochs, "--quiet"))
    assert found <= {"numpy", "sqlalchemy", "matplotlib"}


def test_counting_parameters_imports_no_framework() -> None:
    assert imported_by(run_code("count-params")) == set()


def test_every_command_is_listed_and_documented() -> None:
    result = CliRunner().invoke(app, ["--help"])
    for command in COMMANDS:
        assert f" {command} " in result.output
        shown = CliRunner().invoke(app, [command, "--help"])
        assert shown.exit_code == 0
        assert len(shown.output.splitlines()) > 8


def test_paragraphs_of_the_help_have_no_line_ends_of_the_source() -> None:
    for command in COMMANDS:
        help = typer.main.get_command(app).commands[command].help
        assert all("\n" not in paragraph for paragraph in help.split("\n\n")), command


def test_flags_show_no_value_in_the_help() -> None:
    for args in ([], ["train"], ["runs", "list"]):
        assert "<bool>" not in CliRunner().invoke(app, [*args, "--help"]).output


def test_version(fmnist: Fmnist) -> None:
    assert fmnist("--version").stdout == f"fmnist {__version__}\n"


def test_an_interrupt_while_the_commands_are_imported() -> None:
    code = """
import os, signal, sys
class Interrupts:
    def find_spec(self, name, *_):
        if name == "typer":
            os.kill(os.getpid(), signal.SIGINT)
sys.meta_path.insert(0, Interrupts())
from fmnist_cli.__main__ import main
main()
"""
    ended = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False
    )
    assert (ended.returncode, ended.stderr) == (130, "Error: Interrupted.\n")


def test_a_mistyped_command_gets_a_suggestion(fmnist: Fmnist) -> None:
    message = fmnist.error("trian", code=2)
    assert message == "No such command 'trian'. Did you mean 'train'? Try: fmnist --help"


def test_a_number_that_is_none(fmnist: Fmnist) -> None:
    message = fmnist.error("train", "--lr", "fast", code=2)
    assert message.startswith("Invalid value for '--lr': ")
    assert message.endswith("Try: fmnist train --help")


def test_a_bug_shows_its_traceback(fmnist: Fmnist, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*args: object, **keywords: object) -> None:
        raise ZeroDivisionError("a bug")

    monkeypatch.setattr("fmnist_cli.commands._data.load_data", broken)
    with pytest.raises(ZeroDivisionError):
        fmnist.small("train")


def test_architecture_imports_point_one_way() -> None:
    code = "import fmnist_cli.engine.training, fmnist_cli.engine.gradients, fmnist_cli.analysis"
    show = f"{code}; import sys; print(*sys.modules)"
    modules = set(
        subprocess.run(
            [sys.executable, "-c", show], capture_output=True, text=True, check=True
        ).stdout.split()
    )
    assert not {m for m in modules if m.startswith(("typer", "rich", "sqlalchemy"))}
    assert not {m for m in modules if m.startswith(("fmnist_cli.commands", "fmnist_cli.registry"))}
    show = "import fmnist_cli.registry, sys; print(*sys.modules)"
    modules = set(
        subprocess.run(
            [sys.executable, "-c", show], capture_output=True, text=True, check=True
        ).stdout.split()
    )
    assert not {m for m in modules if m.startswith(("fmnist_cli.commands", "fmnist_cli.engine"))}

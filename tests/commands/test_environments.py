"""Where fmnist finds itself: containers, notebooks' variables, folders that are closed to it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from fmnist_cli.formatting import printable
from tests.usercode.base import SOLUTION

from .conftest import SMALL, Fmnist

NOBODY = 65534
OTHERS = ("XDG_", "KERAS_", "MPL")


def start(
    *args: object, nobody: bool = False, stdin: str = "", **environment: str | None
) -> subprocess.CompletedProcess[str]:
    """``fmnist ARGS`` in a process of its own; None takes a variable away."""
    env = {k: v for k, v in os.environ.items() if not k.startswith(OTHERS)}
    for name, value in environment.items():
        env.pop(name, None)
        if value is not None:
            env[name] = value
    words = [sys.executable, "-m", "fmnist_cli", *map(str, args)]
    if nobody and os.getuid() == 0:
        drop = ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups"]
        words = [*drop, *words]
    return subprocess.run(words, env=env, capture_output=True, text=True, input=stdin, check=False)


def error_of(run: subprocess.CompletedProcess[str], code: int) -> str:
    """The one line on stderr of a command that failed."""
    assert run.returncode == code, run.stderr
    (line,) = run.stderr.splitlines()
    return line.removeprefix("Error: ")


@pytest.fixture
def open_folder(fmnist: Fmnist, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The current folder, one that everybody may look into."""
    if os.getuid() == 0 and shutil.which("setpriv") is None:
        pytest.skip("root may do everything, and there is no setpriv")
    folder = Path(tempfile.mkdtemp(prefix="fmnist-open-"))
    folder.chmod(0o755)
    data = Path(os.environ["FMNIST_DATA_DIR"])
    shutil.copytree(data, folder / "data")
    (folder / "data").chmod(0o755)
    monkeypatch.setenv("FMNIST_DATA_DIR", str(folder / "data"))
    monkeypatch.chdir(folder)
    yield folder
    if (folder / "closed").exists():
        (folder / "closed").chmod(0o755)
    shutil.rmtree(folder)


def test_no_home(open_folder: Path) -> None:
    everyone = {"HOME": None, "XDG_CACHE_HOME": None, "nobody": True}
    # 65534 has a home in /etc/passwd, so its name is taken away as well where that is possible
    assert start("--version", **everyone).returncode == 0
    assert start("data", "info", **everyone).returncode == 0
    assert start("config", "show", **everyone).returncode == 0


def test_no_home_at_all(fmnist: Fmnist, monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(uid: int) -> None:
        raise KeyError(uid)

    monkeypatch.delenv("HOME")
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setattr("pwd.getpwuid", unknown)
    assert "none; it would be" in " ".join(fmnist("config", "show").stdout.split())
    assert fmnist.document("data", "info")["cache_bytes"] == 0
    fmnist.small("train", "--epochs", 1)
    assert not list(Path().glob("~*"))
    fmnist("doctor", "--allow-custom-data")


def test_a_registry_whose_name_begins_with_a_tilde(fmnist: Fmnist) -> None:
    fmnist.small("train", "--epochs", 1, "--db", "~backup.db")
    assert Path("~backup.db").exists()
    assert len(fmnist.document("runs", "list", "--db", "~backup.db")["runs"]) == 1
    shutil.copy("~backup.db", Path.home() / "mine.db")
    assert len(fmnist.document("runs", "list", "--db", "~/mine.db")["runs"]) == 1
    found = fmnist.document("doctor", "--allow-custom-data", "--db", "~/mine.db")["findings"]
    assert "1 run" in next(one["found"] for one in found if one["subject"] == "registry")


def test_no_temporary_folder(fmnist: Fmnist, monkeypatch: pytest.MonkeyPatch) -> None:
    def none() -> str:
        raise FileNotFoundError(2, "No usable temporary directory found in ['/tmp']")

    monkeypatch.setattr("tempfile.gettempdir", none)
    fmnist.small("train", "--epochs", 1)
    assert [run["status"] for run in fmnist.document("runs", "list")["runs"]] == ["finished"]
    fmnist("runs", "recover")
    fmnist("plot", "train")


def test_a_folder_that_is_closed(open_folder: Path) -> None:
    closed = Path("closed")
    closed.mkdir(mode=0o700 if os.getuid() == 0 else 0)
    run = start("doctor", "--db", closed / "runs.db", "--allow-custom-data", "--json", nobody=True)
    assert run.returncode == 3, run.stderr
    assert "closed/runs.db cannot be looked at: Permission denied" in " ".join(run.stdout.split())
    for args in (
        ("runs", "list", "--db", closed / "runs.db"),
        ("data", "verify", "--data-dir", closed / "data"),
        ("data", "info", "--data-dir", closed / "data"),
        ("train", *SMALL, "--allow-custom-data", "--results", closed / "results"),
        ("momentum", *SMALL, "--allow-custom-data", "--plot", closed / "a.png"),
        ("report", *SMALL, "--allow-custom-data", "--out", closed / "a.html"),
    ):
        run = start(*args, nobody=True)
        assert "Traceback" not in run.stderr
        if args[:2] != ("data", "info"):
            assert len(run.stderr.splitlines()) == 1
            assert "closed" in run.stderr
    assert {path.name for path in Path().iterdir()} == {"closed", "data"}


@pytest.mark.parametrize("obstacle", ["file", "dangling link"])
def test_results_that_cannot_be_made(fmnist: Fmnist, obstacle: str) -> None:
    fmnist.small("train", "--epochs", 1, "--results", "other")
    results = Path("results")
    if obstacle == "file":
        results.touch()
    else:
        results.symlink_to("absent/folder")
    message = fmnist.error("plot", "train", code=2)
    assert message.startswith("the plot's folder must be a folder that can be written. Received: r")
    for seeds in (1, 2):
        args = ("train", *SMALL, "--seeds", seeds)
        assert fmnist.error(*args, code=2).startswith("--results must be a folder that can be w")
    assert len(fmnist.document("runs", "list")["runs"]) == 1


@pytest.mark.parametrize("backend", ["Qt4Agg", "module://matplotlib_inline.not_here"])
def test_the_backend_of_a_notebook(fmnist: Fmnist, backend: str) -> None:
    fmnist.small("train", "--epochs", 1)
    run = start("plot", "train", "--out", "a.png", MPLBACKEND=backend)
    assert (run.returncode, run.stdout) == (0, "Saved a.png\n"), run.stderr


@pytest.mark.parametrize(
    "environment",
    [
        {"HOME": "/proc/none", "XDG_CACHE_HOME": None},
        {"HOME": "", "XDG_CONFIG_HOME": "/etc/passwd", "XDG_CACHE_HOME": "/etc/passwd"},
        {"TMPDIR": "/proc/none", "MPLCONFIGDIR": "/proc/none", "MPLBACKEND": "nonsense"},
        {"OMP_NUM_THREADS": "x", "TZ": "nonsense", "LANG": "xx", "PYTHONWARNINGS": "error"},
    ],
)
def test_what_is_of_no_use_is_no_obstacle(
    fmnist: Fmnist, environment: dict[str, str | None]
) -> None:
    expected = fmnist.small_document("train", "--epochs", 1)["test_loss"]
    run = start("train", *SMALL, "--epochs", 1, "--json", **environment)
    assert run.returncode == 0, run.stderr
    assert json.loads(run.stdout)["test_loss"] == expected
    plotted = start("plot", "train", "--out", "a.png", **environment)
    assert (plotted.returncode, plotted.stdout, plotted.stderr) == (0, "Saved a.png\n", "")
    assert {one["status"] for one in fmnist.document("runs", "list")["runs"]} == {"finished"}


NO_UTF8, LINES, CONTROL, MARKUP = b"bad\xff\xfe", b"new\nline", b"esc\x1b[2J\r", b"[old] [bold]"


def test_any_name_of_a_file_or_folder(fmnist: Fmnist) -> None:
    """What is recorded of it is sound, so that an import takes it, and it is written as shown."""
    word = os.fsdecode(b" ".join((NO_UTF8, LINES, CONTROL, MARKUP)))
    shutil.copytree(os.environ["FMNIST_DATA_DIR"], word)
    layers = Path(word, f"{word}.py")
    layers.write_text(SOLUTION)
    data = ("--data-dir", word, "--allow-custom-data", "--db", f"{word}.db")
    fmnist("train", *SMALL, "--epochs", 1, "--results", word, *data)
    fmnist("train", *SMALL, "--epochs", 1, "--layers", layers, *data)
    fmnist("grade", word, "--csv", Path(word, "grades.csv"), "--feedback", word, *data)
    fmnist("runs", "verify", "--db", f"{word}.db")
    fmnist("runs", "import", f"{word}.db", "--db", "all.db")
    fmnist("runs", "verify", "--db", "all.db")
    assert len(fmnist.document("runs", "list", "--db", "all.db")["runs"]) == 3
    saved = fmnist("report", "--quick", "--hidden", 8, "--out", Path(word, "page"), *data).stdout
    assert f"{printable(word)}/page/index.html" in saved
    assert Path(word, "page", "index.html").read_bytes().decode()
    fmnist("runs", "delete", 1, "--yes", "--db", f"{word}.db")


def test_names_that_no_file_can_have(fmnist: Fmnist) -> None:
    name = "n" * 256
    Path("submissions").mkdir()
    for code, *args in (
        (1, "train", *SMALL, "--data-dir", name),
        (2, "train", *SMALL, "--results", name),
        (1, "grade", name),
        (2, "grade", "submissions", "--rubric", name),
        (2, "check", name),
        (1, "runs", "list", "--db", name),
        (1, "doctor", "--db", name),
    ):
        assert "File name too long" in fmnist.error(*args, code=code)
    assert {path.name for path in Path().iterdir()} == {"submissions"}


def test_figures_without_any_folder_for_their_fonts(
    fmnist: Fmnist, monkeypatch: pytest.MonkeyPatch
) -> None:
    fmnist.small("train", "--epochs", 1)
    nowhere = Path("file")
    nowhere.touch()
    code = (
        "import sys, tempfile\n"
        "def none(): raise FileNotFoundError(2, 'No usable temporary directory found in x')\n"
        "tempfile.gettempdir = tempfile._get_default_tempdir = none\n"
        "from fmnist_cli.__main__ import main\n"
        "sys.argv = ['fmnist', 'plot', 'train']\n"
        "main()"
    )
    env = {k: v for k, v in os.environ.items() if not k.startswith(OTHERS)}
    env |= {"HOME": str(nowhere / "home")}
    run = subprocess.run(
        [sys.executable, "-c", code], env=env, capture_output=True, text=True, check=False
    )
    assert "there must be a folder for temporary files" in error_of(run, 1)

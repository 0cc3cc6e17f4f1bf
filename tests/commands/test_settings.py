"""Flags win over the environment, the environment over a file; doctor says what is missing."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
from typer.testing import CliRunner

from fmnist_cli.cli import app
from fmnist_cli.commands._advice import left_behind
from fmnist_cli.commands._option_groups import Common
from fmnist_cli.commands._output import Output
from fmnist_cli.commands._settings import FILE_NAME
from fmnist_cli.errors import Kept, Terminated
from fmnist_cli.formatting import without_password

from .conftest import Fmnist

SMALL = ("--train-size", "200", "--val-size", "50", "--allow-custom-data", "--epochs", "1")


def config_of(fmnist: Fmnist, *args: object) -> dict:
    return fmnist.document("train", *SMALL, *args)["config"]


def test_precedence(fmnist: Fmnist, monkeypatch: pytest.MonkeyPatch) -> None:
    assert config_of(fmnist)["batch"] == 5
    Path("fmnist.toml").write_text("batch = 20\nlr = 0.5\npatience = 7\n")
    assert (config_of(fmnist)["batch"], config_of(fmnist)["patience"]) == (20, 7)
    monkeypatch.setenv("FMNIST_BATCH", "40")
    config = config_of(fmnist)
    assert (config["batch"], config["lr"]) == (40, 0.5)
    assert config_of(fmnist, "--batch", 50)["batch"] == 50
    shown = fmnist.document("config", "show")
    assert shown["file"] == "fmnist.toml"
    sources = {name: (o["value"], o["source"]) for name, o in shown["options"].items()}
    assert sources["batch"] == ("40", "environment: FMNIST_BATCH")
    assert sources["lr"] == (0.5, "file: fmnist.toml")
    assert sources["momentum"] == (0.0, "default")


def test_the_file_of_the_user_and_a_named_one(
    fmnist: Fmnist, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    (tmp_path / "fmnist").mkdir()
    (tmp_path / "fmnist" / "fmnist.toml").write_text("hidden = 3\n")
    assert config_of(fmnist)["hidden"] == 3
    (tmp_path / "other.toml").write_text("hidden = 4\n")
    monkeypatch.setenv("FMNIST_CONFIG", str(tmp_path / "other.toml"))
    assert config_of(fmnist)["hidden"] == 4
    monkeypatch.setenv("FMNIST_CONFIG", "absent.toml")
    message = fmnist.error("train", *SMALL, code=2)
    assert message == "FMNIST_CONFIG must name a file that exists. Received: absent.toml."


def test_a_home_that_may_not_be_searched_holds_no_file(
    fmnist: Fmnist, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked_at = Path.is_file

    def is_file(path: Path) -> bool:
        if path.parent.name == "fmnist":
            raise PermissionError(13, "Permission denied")
        return looked_at(path)

    monkeypatch.setattr(Path, "is_file", is_file)
    assert fmnist.document("config", "show")["file"] is None


def test_config_show_says_where_a_file_would_be_and_which_defaults_differ(
    fmnist: Fmnist, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown = " ".join(fmnist("config", "show").stdout.split())
    assert f"none; it would be ./fmnist.toml or {Path.home()}/.config/fmnist/fmnist.toml" in shown
    assert "early-stop and momentum: 30 epochs" in shown
    Path("fmnist.toml").write_text("epochs = 7\n")
    shown = fmnist("config", "show").stdout
    assert "Defaults (file: fmnist.toml)" in shown
    assert "early-stop and momentum" not in shown


def test_an_option_that_takes_several_values_keeps_its_own_default(fmnist: Fmnist) -> None:
    Path("fmnist.toml").write_text("batch = 20\n")
    document = fmnist.document("sweep-batch", *SMALL, "--batch", 5, "--batch", 10)
    assert [run["batch"] for run in document["runs"]] == [5, 10]


def test_what_is_typed_wins_over_what_excludes_it(
    fmnist: Fmnist, monkeypatch: pytest.MonkeyPatch
) -> None:
    Path("fmnist.toml").write_text("patience = 7\nseeds = 3\njson = true\njobs = 2\n")
    several = fmnist.document("train", *SMALL, "--seed-list", "1,2", "--jobs", 1)
    assert [run["seed"] for run in several["runs"]] == [1, 2]
    one = fmnist.document("train", *SMALL, "--seeds", 1, "--jobs", 1, "--no-early-stop")
    assert one["config"]["patience"] is None
    assert fmnist("runs", "query", "select 1 AS a", "--csv").stdout == "a\n1\n"
    assert fmnist("runs", "export").stdout.startswith("run_id,")
    assert "--json must have --out" in fmnist.error("runs", "export", "--json", code=2)
    message = fmnist.error("train", *SMALL, "--scheduler", "tcp://127.0.0.1:9", code=2)
    assert "Received: tcp://127.0.0.1:9 (" in message
    Path("fmnist.toml").write_text("seed-list = '1,2'\n")
    assert config_of(fmnist, "--seed", 9)["seed"] == 9
    monkeypatch.setenv("FMNIST_SEEDS", "1")  # nearer than the file
    assert config_of(fmnist)["seed"] == 42
    monkeypatch.setenv("FMNIST_SEED_LIST", "1,2")
    monkeypatch.setenv("FMNIST_SEEDS", "2")
    assert fmnist.error("train", *SMALL, code=2) == (
        "--seeds and --seed-list exclude each other. "
        "Received: --seeds 2 (from FMNIST_SEEDS) --seed-list 1,2 (from FMNIST_SEED_LIST)."
    )


def test_an_error_names_where_a_value_comes_from(
    fmnist: Fmnist, monkeypatch: pytest.MonkeyPatch
) -> None:
    Path("fmnist.toml").write_text("hidden = 0\n")
    message = "--hidden must be between 1 and 65536. Received: 0"
    assert fmnist.error("train", *SMALL, code=2) == f"{message} (from fmnist.toml)."
    assert fmnist.error("train", *SMALL, "--hidden", 0, code=2) == f"{message}."
    monkeypatch.setenv("FMNIST_HIDDEN", "0")
    assert fmnist.error("train", *SMALL, code=2) == f"{message} (from FMNIST_HIDDEN)."
    monkeypatch.setenv("FMNIST_HIDDEN", "many")
    message = fmnist.error("train", *SMALL, code=2)
    assert message.startswith("Invalid value for '--hidden' (from FMNIST_HIDDEN): ")


def test_a_variable_that_nobody_reads_is_said(
    fmnist: Fmnist, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FMNIST_EPOCH", "3")
    told = "FMNIST_EPOCH is set, and no variable that fmnist reads. Did you mean FMNIST_EPOCHS?"
    assert told in fmnist("train", *SMALL).stderr.splitlines()
    assert fmnist("train", *SMALL, "--quiet").stderr == ""


@pytest.mark.parametrize(
    "url",
    [
        "postgresql+psycopg://user:sec%40ret@127.0.0.1:1/db",
        "postgresql+psycopg://user:se@sec/ret@127.0.0.1:1/db",
        "postgresql+psycopg://127.0.0.1:1/db?user=user&password=secret&files=/x",
        "postgresql+psycopg:///db?host=127.0.0.1&port=1&PASSWORD=secret",
    ],
)
def test_a_password_is_shown_nowhere(
    fmnist: Fmnist, monkeypatch: pytest.MonkeyPatch, url: str
) -> None:
    words = ("sec%40ret", "se@sec", "sec/ret", "secret")

    def assert_none(text: str) -> None:
        assert not [word for word in words if word in text], text

    assert_none(without_password(url))
    assert "***" in without_password(url)
    for args in (("runs", "list"), ("train", *SMALL), ("doctor", "--allow-custom-data")):
        result = CliRunner().invoke(app, [*args, "--db", url])
        assert result.exit_code in (1, 2, 3)
        assert_none(result.output)
    monkeypatch.setenv("FMNIST_DB", url)
    for args in (("config", "show"), ("config", "show", "--json"), ("runs", "list")):
        assert_none(CliRunner().invoke(app, args).output)
    out = Output(Common(db=url))
    monkeypatch.delenv("FMNIST_DB")
    assert_none(out.command("runs list"))
    error = Terminated(Kept("study 1 keeps 2 of 5 runs", repeat=True))
    assert_none(left_behind("Terminated", error, ("fmnist", "momentum", "--db", url)))
    assert_none(left_behind("Terminated", error, ("fmnist", "momentum", f"--db={url}")))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            "bacth = 5",
            "fmnist.toml may set options only. Received: bacth. Did you mean batch?",
        ),
        ("batch = [1, 2]", "fmnist.toml: batch must be one value. Received: [1, 2]."),
        ("batch 5", "fmnist.toml must be a TOML file."),
        ("batch = 0", "--batch must be between 1 and 200. Received: 0 (from fmnist.toml)."),
        ("lr = 'fast'", "fmnist.toml: lr must be a number. Received: 'fast'."),
        ("batch = true", "fmnist.toml: batch must be a whole number. Received: true."),
        ("batch = 1.5", "fmnist.toml: batch must be a whole number. Received: 1.5."),
        ("db = 3", "fmnist.toml: db must be a string. Received: 3."),
        ("plot = 3", "fmnist.toml: plot must be a string. Received: 3."),
        ("quiet = 1", "fmnist.toml: quiet must be true or false. Received: 1."),
        ("model = 'cnn'", "fmnist.toml: model must be one of mlp, cnn2, cnn3. Received: 'cnn'."),
    ],
)
def test_a_bad_file_is_one_line(fmnist: Fmnist, content: str, message: str) -> None:
    Path("fmnist.toml").write_text(content)
    assert fmnist.error("train", *SMALL, code=2).startswith(message)


@pytest.mark.parametrize(
    ("make", "found"),
    [
        (os.mkfifo, "a FIFO, a device or a link to nothing"),
        (os.mkdir, "a folder"),
        (partial(os.symlink, "absent"), "a FIFO, a device or a link to nothing"),
    ],
)
@pytest.mark.parametrize("path", [FILE_NAME, f".config/fmnist/{FILE_NAME}"])
def test_what_is_no_file_is_not_overlooked(
    fmnist: Fmnist,
    monkeypatch: pytest.MonkeyPatch,
    make: Callable[[str], None],
    found: str,
    path: str,
) -> None:
    monkeypatch.setenv("HOME", str(Path.cwd()))
    Path(".config/fmnist").mkdir(parents=True)
    make(path)
    said = f"{path} must be a regular file. Received: {found}."
    assert fmnist.error("runs", "list", code=2).endswith(said)
    assert "regular file" in " ".join(fmnist("doctor", code=3).stdout.split())
    fmnist("train", "--help")


def test_a_bad_file_is_no_obstacle_to_help_and_doctor(fmnist: Fmnist) -> None:
    Path("fmnist.toml").write_text("batch = true")
    for args in (("--version",), ("--help",), ("train", "--help")):
        assert fmnist(*args).stdout
    findings = fmnist.document("doctor", "--allow-custom-data", code=3)["findings"]
    assert [(f["subject"], f["found"]) for f in findings if not f["ok"]] == [
        ("settings", "fmnist.toml: batch must be a whole number. Received: true.")
    ]


def test_doctor(fmnist: Fmnist, monkeypatch: pytest.MonkeyPatch) -> None:
    document = fmnist.document("doctor", "--allow-custom-data")
    assert document["holds"]
    found = {finding["subject"]: finding for finding in document["findings"]}
    assert "custom" in found["data"]["found"]
    assert found["registry"]["found"] == "runs.db will be made by the first run"
    monkeypatch.delenv("FMNIST_DATA_DIR")
    Path("runs.db").write_text("not a registry")
    bad = fmnist.document("doctor", code=3)["findings"]
    mends = {finding["subject"]: finding["mend"] for finding in bad if not finding["ok"]}
    assert mends == {"data": "fmnist data fetch", "registry": "fmnist runs verify"}

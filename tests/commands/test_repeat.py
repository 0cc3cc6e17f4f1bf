"""The line that repeats a run, and the hints that continue one: whatever sets defaults today."""

from __future__ import annotations

import shlex
import shutil
from pathlib import Path
from typing import Any

import pytest

from fmnist_cli.registry import Registry

from .conftest import SMALL, Fmnist


def repeat(fmnist: Fmnist, run_id: object = "latest") -> str:
    return str(fmnist.document("runs", "show", run_id)["repeat"])


def do_again(fmnist: Fmnist, line: str) -> None:
    program, *words = shlex.split(line)
    assert program == "fmnist"
    fmnist(*words, "--quiet")


def runs() -> list[Any]:
    with Registry.open("runs.db", readonly=True) as registry:
        return registry.list_runs()[::-1]


def require_equal(one: Any, other: Any) -> None:
    for name in ("config", "data_fingerprint", "study_id", "test_accuracy", "best_val_loss"):
        assert getattr(one, name) == getattr(other, name), name


def test_what_a_file_sets_then_or_now_changes_nothing(fmnist: Fmnist) -> None:
    fmnist.small("train", "--epochs", 3)
    line = repeat(fmnist)
    Path("fmnist.toml").write_text(
        'batch = 50\nlr = 0.1\nseeds = 3\npatience = 1\nmonitor = "val_loss"'
    )
    now = repeat(fmnist)
    for word in ("--batch 5", "--lr 0.01", "--seeds 1", "--patience 3", "--monitor val_accuracy"):
        assert word in now
        assert word not in line
    do_again(fmnist, now)
    fmnist.small("train", "--epochs", 2, "--seeds", 1)
    by_file = repeat(fmnist)
    Path("fmnist.toml").unlink()
    do_again(fmnist, repeat(fmnist, 3))
    first, second, third, fourth = runs()
    require_equal(first, second)
    assert (third.batch, third.monitor) == (50, "val_loss")
    require_equal(third, fourth)
    assert "--seeds 1" in by_file


def test_a_study_that_the_environment_asks_for_is_not_repeated(
    fmnist: Fmnist, monkeypatch: pytest.MonkeyPatch
) -> None:
    fmnist.small("train", "--epochs", 1)
    monkeypatch.setenv("FMNIST_SEEDS", "3")
    monkeypatch.setenv("FMNIST_NO_SUCH", "3")
    monkeypatch.setenv("FMNIST_LR", "0.010")  # the same number
    line = repeat(fmnist)
    assert "--seeds 1" in line
    assert "--lr" not in line
    do_again(fmnist, line)
    assert len(runs()) == 2


def test_data_of_ones_own_stays_ones_own(
    fmnist: Fmnist, tiny_data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(tiny_data, "somewhere/mine")
    monkeypatch.setenv("FMNIST_DATA_DIR", "somewhere/mine")
    fmnist.small("train", "--epochs", 1)
    monkeypatch.delenv("FMNIST_DATA_DIR")
    line = repeat(fmnist)
    assert f"--data-dir {Path('somewhere/mine').absolute()} --allow-custom-data" in line
    do_again(fmnist, line)
    fmnist.small("train", "--epochs", 1, "--data-dir", "somewhere/mine")
    Path("elsewhere").mkdir()
    db = Path("runs.db").absolute()
    monkeypatch.chdir("elsewhere")
    typed = str(fmnist.document("runs", "show", 3, "--db", db)["repeat"])
    do_again(fmnist, f"{typed} --db {db}")
    monkeypatch.chdir("..")
    assert len({run.data_fingerprint for run in runs()}) == 1
    assert len(runs()) == 4


def test_what_trains_nothing_is_typed_again_with_what_was_decided(
    fmnist: Fmnist, monkeypatch: pytest.MonkeyPatch
) -> None:
    fmnist.small("gradcheck")
    typed = " ".join(("fmnist", "gradcheck", *SMALL))
    assert repeat(fmnist) == typed
    monkeypatch.setenv("FMNIST_BATCH", "7")
    monkeypatch.setenv("FMNIST_LR", "0.5")  # no option of gradcheck
    assert repeat(fmnist) == f"{typed} --batch 5"


def test_a_hint_to_continue_names_the_data_from_anywhere(
    fmnist: Fmnist, tiny_data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(tiny_data, "mine")

    def stopped(*args: object, **keywords: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("fmnist_cli.engine.training.train", stopped)
    where = Path("mine").absolute()
    for command in (("train",), ("momentum", "--alpha", 0)):
        message = fmnist.error(*command, *SMALL, "--data-dir", "mine", code=130)
        assert f"--data-dir {where}" in message.partition("continue with: ")[2]
        shown = fmnist("runs", "show").stderr
        assert f"--data-dir {where}" in shown


def test_a_hint_to_continue_a_study_names_what_the_environment_set(
    fmnist: Fmnist, monkeypatch: pytest.MonkeyPatch
) -> None:
    from fmnist_cli.engine import training

    def stopped(*args: object, **keywords: object) -> None:
        raise KeyboardInterrupt

    for name, value in (("BATCH", "50"), ("SEEDS", "2"), ("SEED", "7"), ("EPOCHS", "2")):
        monkeypatch.setenv(f"FMNIST_{name}", value)
    typed = ("momentum", "--alpha", 0, *SMALL)
    with monkeypatch.context() as patched:
        patched.setattr(training, "train", stopped)
        said = fmnist.error(*typed, code=130).partition("continue with: ")[2]
        shown = fmnist("runs", "show").stderr
        assert fmnist("runs", "explain").stderr.startswith(shown.strip())
    for name in ("SEED", "SEEDS"):
        monkeypatch.delenv(f"FMNIST_{name}")
    monkeypatch.setenv("FMNIST_BATCH", "5")
    by_record = fmnist("runs", "show").stderr.splitlines()[0].partition("fmnist ")[2]
    for words in (said.removeprefix("fmnist "), by_record.partition("   ")[0]):
        for flag in ("--batch 50", "--seeds 2", "--seed 7"):
            assert flag in words
    assert "--epochs" not in by_record  # the environment sets it still
    fmnist(*shlex.split(by_record.partition("   ")[0]))
    with Registry.open("runs.db", readonly=True) as registry:
        (study,) = registry.list_studies()
        ended = [run for run in registry.list_runs() if run.status == "finished"]
    assert [(run.batch, run.seed) for run in ended] == [(50, 8), (50, 7)]
    assert study.id == 1

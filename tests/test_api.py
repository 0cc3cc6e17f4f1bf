"""The Python interface: its names, its examples, and that importing it costs nothing."""

from __future__ import annotations

import re
import subprocess
import sys
import textwrap
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest

import fmnist_cli
from fmnist_cli.engine.data import load
from fmnist_cli.errors import Interrupted, Kept, UsageError
from fmnist_cli.runner.listener import ProgressBar, SilentBar

DOCUMENT = Path(__file__).parents[1] / "docs" / "python.md"


def test_importing_the_package_imports_nothing_else() -> None:
    code = (
        "import sys; before = set(sys.modules); import fmnist_cli; "
        "print(*(m for m in set(sys.modules) - before if m.startswith(('fmnist', 'numpy'))))"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert sorted(result.stdout.split()) == ["fmnist_cli", "fmnist_cli.version"]


@pytest.mark.parametrize("name", fmnist_cli.__all__)
def test_every_public_name_is_there_and_documented(name: str) -> None:
    assert name in dir(fmnist_cli)
    assert getattr(fmnist_cli, name).__doc__
    if name != "__version__":
        assert f"`{name}" in DOCUMENT.read_text(encoding="utf-8")


def test_what_is_not_there() -> None:
    with pytest.raises(AttributeError, match="module 'fmnist_cli' has no attribute 'fit'"):
        _ = fmnist_cli.fit


def test_the_examples_of_the_docstring_run(
    tiny_data: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    example = "\n".join(re.findall(r"(?m)^    .*$", fmnist_cli.__doc__ or ""))
    for size, smaller in (("2_000", "200"), ("=500", "=50"), ("50, 500", "50, 150")):
        assert size in example
        example = example.replace(size, smaller)
    monkeypatch.setattr(
        fmnist_cli, "load_data", partial(load, data_dir=tiny_data, allow_custom=True), raising=False
    )
    exec(textwrap.dedent(example), {})
    printed = capsys.readouterr()
    assert re.match(r"[1-3] 0\.\d+\n", printed.out)
    assert printed.out.count("?") == 4
    assert printed.err == ""


def test_a_study_is_recorded_once_and_read_again(tiny_data: Path) -> None:
    data = fmnist_cli.load_data(200, 50, data_dir=tiny_data, allow_custom=True)
    config = fmnist_cli.TrainConfig(train_size=200, val_size=50, epochs=2, hidden=8)
    arms = {f"momentum {alpha:g}": config.but(momentum=alpha) for alpha in (0.5, 0.9)}
    with fmnist_cli.Registry.open("runs.db") as registry:
        first = fmnist_cli.study("momentum", arms, data, registry, seeds=2)
        again = fmnist_cli.study("momentum", arms, data, registry, seeds=2)
        anew = fmnist_cli.study("momentum", arms, data, registry, seeds=2, reuse=False)
        assert len(registry.list_runs()) == 8
    assert again == first
    losses = [[run.epochs[-1].train_loss for run in one.runs] for one in (first, anew)]
    assert losses[0] == losses[1]


def test_what_python_called_is_recorded_as_called(
    tiny_data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from fmnist_cli.engine import training
    from fmnist_cli.runner.command_line import repeat_command, resume_hint

    data = fmnist_cli.load_data(200, 50, data_dir=tiny_data, allow_custom=True)
    config = fmnist_cli.TrainConfig(train_size=200, val_size=50, epochs=2, hidden=8)
    monkeypatch.setattr(sys, "argv", ["/lib/ipykernel_launcher.py", "-f", "kernel-7.json"])

    def interrupted(*args: object, **keywords: object) -> None:
        raise KeyboardInterrupt

    with fmnist_cli.Registry.open("runs.db") as registry:
        fmnist_cli.study("momentum", {"one": config}, data, registry)
        monkeypatch.setattr(training, "train", interrupted)
        with pytest.raises(KeyboardInterrupt) as caught:
            fmnist_cli.study("momentum", {"one": config.but(lr=0.02)}, data, registry)
        stopped, done = registry.list_runs()
    call = "fmnist_cli.study('momentum', ...)"
    assert isinstance(caught.value, Interrupted)
    text = "study 2 keeps 0 of 1 run, and the epochs of what was under way"
    assert caught.value.kept == Kept(text, repeat=True)
    assert stopped.argv == done.argv == (call,)
    assert resume_hint(stopped) is None  # there is nothing to type
    assert repeat_command(done).startswith("fmnist train --epochs 2 ")


def test_the_gradient_check_is_the_one_of_the_command(tiny_data: Path) -> None:
    data = fmnist_cli.load_data(200, 50, data_dir=str(tiny_data), allow_custom=True)
    config = fmnist_cli.TrainConfig(train_size=200, val_size=50, hidden=8)
    with pytest.raises(UsageError, match=r"n must be at least 1\. Received: 0\."):
        fmnist_cli.check_gradient(config, data, n=0)
    check = fmnist_cli.check_gradient(config, data, select=7)
    assert check.holds
    assert check.summary["entries_checked"] == 28


class Heard:
    """A listener that keeps what it hears."""

    def __init__(self) -> None:
        self.messages: list[str] = []
        self.counted: dict[str, int] = {}

    def message(self, text: str, /) -> None:
        self.messages.append(text)

    def warning(self, text: str | None, /) -> None:
        if text is not None:
            self.messages.append(text)

    def progress(
        self, total: int, label: str, *, unit: str, initial: int = 0
    ) -> AbstractContextManager[ProgressBar]:
        heard, self.counted[label] = self, initial

        class Bar(SilentBar):
            def update(self, n: int = 1, /) -> None:
                heard.counted[label] += n

        return nullcontext(Bar())


def test_a_training_is_recorded_as_by_the_command(
    tiny_data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = fmnist_cli.load_data(200, 50, data_dir=tiny_data, allow_custom=True)
    config = fmnist_cli.TrainConfig(train_size=200, val_size=50, epochs=4, patience=None, hidden=8)
    heard = Heard()
    with fmnist_cli.Registry.open("runs.db") as registry:
        ways = {"check_gradient": True, "dynamics": True, "listener": heard}
        recorded = fmnist_cli.record_training(config, data, registry, **ways)
        quiet = fmnist_cli.record_training(config, data, registry)
        assert {check.kind for check in registry.checks(recorded.run.id)} == {"gradient"}
        assert registry.dynamics(recorded.run.id)
        assert not registry.dynamics(quiet.run.id)
        assert fmnist_cli.read_run(registry, "latest") == quiet
    assert heard.counted == {"mlp b5": 4}
    alone = fmnist_cli.train(fmnist_cli.make_backend(config, data.train), data, config)
    for one in (recorded, quiet):
        assert [e.train_loss for e in one.epochs] == [e.train_loss for e in alone.epochs]
        assert alone.test is not None
        assert one.run.test_accuracy == alone.test.accuracy
        assert one.run.argv == ("fmnist_cli.record_training(...)",)
    captured = capsys.readouterr()
    assert captured.out + captured.err == ""


def test_a_run_is_resumed_and_reproduced_bit_for_bit(
    tiny_data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from fmnist_cli.engine.checkpoint import Checkpoints
    from fmnist_cli.errors import UsageError

    data = fmnist_cli.load_data(200, 50, data_dir=tiny_data, allow_custom=True)
    config = fmnist_cli.TrainConfig(train_size=200, val_size=50, epochs=6, patience=None, hidden=8)
    offered = Checkpoints.offer

    def stop(self: Checkpoints, checkpoint: Any, *rest: Any) -> None:
        offered(self, checkpoint, *rest)
        if len(checkpoint.epochs) == 3:
            raise KeyboardInterrupt

    with fmnist_cli.Registry.open("runs.db") as registry:
        whole = fmnist_cli.record_training(config, data, registry)
        with monkeypatch.context() as patched:
            patched.setattr(Checkpoints, "offer", stop)
            with pytest.raises(Interrupted, match="run 2 keeps its 3 epochs") as caught:
                fmnist_cli.record_training(config, data, registry)
        assert caught.value.kept == Kept("run 2 keeps its 3 epochs", run_id=2)
        fmnist_cli.record_training(config.but(seed=1), data, registry)
        other = fmnist_cli.load_data(150, 50, data_dir=tiny_data, allow_custom=True)
        with pytest.raises(UsageError, match="must have the data it began with"):
            fmnist_cli.resume(2, replace(other, fingerprint="0" * 64), registry)
        resumed = fmnist_cli.resume("latest", data, registry)  # the latest that was interrupted
        assert (resumed.run.id, resumed.run.resumes) == (2, 1)
        found = fmnist_cli.reproduce(2, data, registry)
        assert (found.run_id, found.reproduced_by) == (2, 4)
        assert found.comparison.verdict == "identical"
    losses = [[epoch.train_loss for epoch in one.epochs] for one in (whole, resumed)]
    assert losses[0] == losses[1]


def test_a_study_is_read_back(tiny_data: Path) -> None:
    data = fmnist_cli.load_data(200, 50, data_dir=tiny_data, allow_custom=True)
    config = fmnist_cli.TrainConfig(train_size=200, val_size=50, epochs=2, hidden=8)
    arms = {"momentum 0": config}
    with fmnist_cli.Registry.open("runs.db") as registry:
        made = fmnist_cli.study("momentum", arms, data, registry, seeds=(7, 3))
        assert {run.run.seed for run in made.runs} == {3, 7}
        assert fmnist_cli.read_study(registry, made.study.id) == made


def test_a_notebook_hears_of_the_work(tiny_data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = fmnist_cli.load_data(200, 50, data_dir=tiny_data, allow_custom=True)
    config = fmnist_cli.TrainConfig(train_size=200, val_size=50, epochs=2, hidden=8)
    with fmnist_cli.Registry.open("runs.db") as registry:
        fmnist_cli.study(
            "momentum", {"one": config}, data, registry, listener=fmnist_cli.TqdmListener()
        )
    captured = capsys.readouterr()
    assert "one: best epoch" in captured.out
    assert "momentum: " in captured.err


def test_shifted_sets_are_evaluated_from_recorded_weights(tiny_data: Path) -> None:
    data = fmnist_cli.load_data(200, 50, data_dir=tiny_data, allow_custom=True)
    config = fmnist_cli.TrainConfig(train_size=200, val_size=50, epochs=3, hidden=8)
    with fmnist_cli.Registry.open("runs.db") as registry:
        trained = fmnist_cli.record_training(config, data, registry)
        found = fmnist_cli.evaluate_shifted("latest", data, registry, curves=("shift",))
        assert len(found.evaluations) == 1 + 4 + 32
        again = fmnist_cli.evaluate_shifted("latest", data, registry)  # not the run just made
    sets = {one.test_set: one.accuracy for one in found.evaluations}
    assert sets["test"] == trained.run.test_accuracy
    assert {one.test_set: one.accuracy for one in again.evaluations}.items() <= sets.items()


def test_runs_are_compared_and_drawn(tiny_data: Path) -> None:
    data = fmnist_cli.load_data(200, 50, data_dir=tiny_data, allow_custom=True)
    config = fmnist_cli.TrainConfig(train_size=200, val_size=50, epochs=2, hidden=8)
    arms = {"slow": config.but(lr=0.01), "fast": config.but(lr=0.1)}
    with fmnist_cli.Registry.open("runs.db") as registry:
        study = fmnist_cli.study("momentum", arms, data, registry, seeds=2)
        found = fmnist_cli.compare_runs(registry, ["study:1"])
        pair = fmnist_cli.compare_runs(registry, [1, "latest"])
    assert [(group.label, len(group.runs)) for group in found.groups] == [("slow", 2), ("fast", 2)]
    assert found.facts["parameters"]["lr"] == [[0.01], [0.1]]
    slow, fast = ([run.run.test_accuracy for run in found.groups[i].runs] for i in (0, 1))
    changes = [one.contrast.change for one in found.differences if one.metric == "test_accuracy"]
    paired = [b - a for a, b in zip(slow, fast, strict=True)]
    assert changes == [pytest.approx(sum(paired) / 2)]
    assert found.by_image is None
    assert pair.by_image is not None
    for one in (found, pair, study, study.runs[0]):
        assert "<svg" in fmnist_cli.plots.to_svg(fmnist_cli.figure_of(one))


def test_luck_and_its_answers_from_python(tiny_data: Path) -> None:
    data = fmnist_cli.load_data(200, 50, data_dir=tiny_data, allow_custom=True)
    config = fmnist_cli.TrainConfig(train_size=200, val_size=50, epochs=2, hidden=8)
    arms = {f"weights {seed}": config.but(init_seed=seed) for seed in (42, 43)}
    with fmnist_cli.Registry.open("runs.db") as registry:
        found = fmnist_cli.study("luck", arms, data, registry, seeds=2)
    typical, *others = fmnist_cli.answers_of(found)
    assert typical.question == "Is the run with seed 42 a typical one?"
    assert typical.evidence["test_accuracy"] == found.runs[0].test_accuracy
    assert len(others) == 3
    assert "<svg" in fmnist_cli.plots.to_svg(fmnist_cli.figure_of(found))

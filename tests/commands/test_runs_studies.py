"""`runs studies`: what each asked for, and how much of it is there."""

from __future__ import annotations

import pytest

from fmnist_cli.registry import Registry

from .conftest import Fmnist

EPOCHS = ("--epochs", "2")


def test_studies_newest_first(fmnist: Fmnist, monkeypatch: pytest.MonkeyPatch) -> None:
    fmnist.small("momentum", *EPOCHS, "--alpha", 0.5, "--alpha", 0.9, "--seed-list", "7,9")
    sweep = ("sweep-batch", *EPOCHS, "--batch", 5, "--batch", 50, "--jobs", 2)
    with monkeypatch.context() as patched:
        patched.setattr("fmnist_cli.runner.processes.Processes.run", interrupted)
        fmnist.small(*sweep, code=130)
    document = fmnist.document("runs", "studies")
    assert (document["schema"], document["more"]) == ("fmnist.runs.studies/1", False)
    first, second = document["studies"]
    assert first.keys() == {
        *("id", "uuid", "kind", "name", "arms", "seeds", "runs_with_result", "runs_asked"),
        *("created_at", "jobs"),
    }
    assert (first["id"], first["kind"], first["arms"]) == (
        2,
        "sweep-batch",
        ["batch 5", "batch 50"],
    )
    assert (first["seeds"], first["jobs"]) == ([42], 2)
    assert (first["runs_with_result"], first["runs_asked"]) == (0, 2)
    assert (second["id"], second["seeds"], second["jobs"]) == (1, [7, 9], 1)
    assert (second["runs_with_result"], second["runs_asked"]) == (4, 4)

    monkeypatch.setenv("COLUMNS", "120")
    shown = fmnist("runs", "studies")
    assert "0 of 2" in shown.stdout
    assert "momentum 0.5, momentum 0.9" in shown.stdout
    assert "fmnist runs list --study 2" in shown.stderr
    (only,) = fmnist.document("runs", "studies", "--kind", "momentum")["studies"]
    assert only["id"] == 1
    document = fmnist.document("runs", "studies", "--limit", 1)
    assert ([one["id"] for one in document["studies"]], document["more"]) == ([2], True)
    assert "No study fits" in fmnist("runs", "studies", "--kind", "ood").stderr


def interrupted(*args: object) -> None:
    raise KeyboardInterrupt


def test_a_study_that_python_began_by_itself(fmnist: Fmnist) -> None:
    with Registry.open("runs.db") as registry:
        registry.study("lesson", {}, name="[bold]mine[/]", arms=("one",))
    (study,) = fmnist.document("runs", "studies")["studies"]
    assert (study["name"], study["runs_with_result"], study["runs_asked"]) == (
        "[bold]mine[/]",
        0,
        0,
    )
    assert "[bold]mine[/]" in fmnist("runs", "studies").stdout

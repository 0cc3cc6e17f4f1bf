"""Runs, studies and files, found again."""

from __future__ import annotations

import dataclasses
import json
import sys
from pathlib import Path
from typing import Any

import pytest
from registry_rig import CONFIG, OUTCOME_AT_ONCE, Target, raw, spec

from fmnist_cli import __version__, host
from fmnist_cli.errors import ArtefactError, RunNotFound
from fmnist_cli.registry import Registry, RunRecord, provenance


def recorded(registry: Registry, **changes: object) -> int:
    with registry.run(spec(**changes)) as run:
        run.finish(OUTCOME_AT_ONCE)
    return run.id


def test_newest_first_even_when_the_clock_is_set_back(
    registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = recorded(registry)
    monkeypatch.setattr("fmnist_cli.registry.run.now", lambda: "2001-01-01T00:00:00.000000Z")
    second = recorded(registry)
    assert [run.id for run in registry.list_runs()] == [second, first]
    assert registry.get_run("latest").id == second
    assert registry.get_run("latest").total_seconds >= 0  # type: ignore[operator]


def test_list_runs_filters(registry: Registry) -> None:
    study = registry.study("sweep-batch", {})
    one = recorded(registry)
    two = recorded(registry, model="cnn2", engine="keras", command="ood")
    three = recorded(registry, study_id=study.id)
    with pytest.raises(ZeroDivisionError), registry.run(spec()):
        raise ZeroDivisionError

    def ids(**filters: object) -> list[int]:
        return [run.id for run in registry.list_runs(**filters)]  # type: ignore[arg-type]

    assert ids(limit=2) == [4, three]
    assert ids(model="cnn2") == [two]
    assert ids(command="ood") == [two]
    assert ids(study_id=study.id) == [three]
    assert ids(status="finished", model="mlp") == [three, one]
    assert ids(status="failed") == [4]
    assert ids(status="lost") == []
    assert ids(limit=0) == []


def test_get_run_by_id_uuid_and_latest(db: Target, registry: Registry) -> None:
    with pytest.raises(RunNotFound) as raised:
        registry.get_run("latest")
    assert str(raised.value) == f"{db} holds no run yet."
    one, two = recorded(registry), recorded(registry)
    raw(db, f"UPDATE run SET uuid = '00001111{'a' * 24}' WHERE id = {one}")
    raw(db, f"UPDATE run SET uuid = '00001111{'b' * 24}' WHERE id = {two}")
    assert registry.get_run(one).id == registry.get_run(str(one)).id == one
    assert registry.get_run("00001111a").id == one
    assert registry.get_run("latest").id == two
    with pytest.raises(
        RunNotFound, match="must have a uuid that begins with 00001111; several have"
    ):
        registry.get_run("00001111")


@pytest.mark.parametrize("which", [99, "99", "0", -1, 2**70, "[/foo]", "%%%%", "abcd", "", "é"])
def test_an_absent_run_is_named(registry: Registry, which: int | str) -> None:
    recorded(registry)
    with pytest.raises(RunNotFound, match=r"there is no run ") as raised:
        registry.get_run(which)
    assert str(which) in str(raised.value)


def test_find_run(registry: Registry) -> None:
    run_id = recorded(registry)
    assert registry.find_run(run_id) == registry.get_run(run_id)
    assert registry.find_run(run_id + 1) is None
    assert registry.find_run(2**70) is None


def test_an_id_is_never_given_twice(db: Target, registry: Registry) -> None:
    first = recorded(registry)
    raw(db, "DELETE FROM run")
    assert recorded(registry) == first + 1


def test_deleting_a_run_takes_its_parts_along(db: Target, registry: Registry) -> None:
    with registry.run(spec()) as run:
        run.record_check("gradient", "W1", {}, True)
        run.finish(OUTCOME_AT_ONCE)
    with registry.database.write() as connection:
        connection.exec_driver_sql("DELETE FROM run")
    assert raw(db, "SELECT count(*) FROM run_check") == [(0,)]


def test_the_configuration_comes_back(registry: Registry) -> None:
    mlp = registry.get_run(recorded(registry, patience=None, seed=2**63 - 1))
    assert mlp.config == CONFIG | {"patience": None, "seed": 2**63 - 1}
    cnn = registry.get_run(recorded(registry, model="cnn3", engine="keras"))
    assert cnn.hidden is None
    assert "hidden" not in cnn.config


def test_a_configuration_must_be_whole(registry: Registry) -> None:
    config = {name: value for name, value in CONFIG.items() if name != "lr"}
    with pytest.raises(TypeError, match="config must have the keys"):
        registry.run(dataclasses.replace(spec(), config=config))


@pytest.mark.parametrize(
    "name", ["[/foo]", "[bold red]x[/]", "naïve 猫 \U0001f980 \u202e", "'; --", ""]
)
def test_names_are_kept_to_the_letter(db: Target, registry: Registry, name: str) -> None:
    study = registry.study("momentum", {"label": name}, arms=(name,), name=name)
    run = registry.get_run(
        recorded(registry, name=name, arm=name, study_id=study.id, argv=("fmnist", name))
    )
    assert (run.name, run.arm, run.argv) == (name, name, ("fmnist", name))
    assert registry.get_study(study.id) == study
    assert (study.name, study.arms, study.config) == (name, (name,), {"label": name})
    assert raw(db, "SELECT name FROM run") == [(name,)]


def test_studies(registry: Registry) -> None:
    assert registry.latest_study("sweep-batch") is None
    one = registry.study("sweep-batch", {"epochs": 3}, arms=("batch 50", "batch 5"))
    other = registry.study("momentum", {})
    assert registry.latest_study("sweep-batch") == one
    assert registry.list_studies() == [other, one]
    assert registry.list_studies(kind="momentum") == [other]
    with pytest.raises(RunNotFound, match="there is no study 9"):
        registry.get_study(9)
    with pytest.raises(RunNotFound, match="there is no study 9"):
        registry.study_runs(9)

    for arm, seed in [
        ("batch 5", 1),
        ("else", 1),
        ("batch 50", 2),
        ("batch 5", 0),
        ("batch 50", 1),
    ]:
        recorded(registry, study_id=one.id, arm=arm, seed=seed)
    assert [(run.arm, run.seed) for run in registry.study_runs(one.id)] == [
        ("batch 50", 1),
        ("batch 50", 2),
        ("batch 5", 0),
        ("batch 5", 1),
        ("else", 1),
    ]


def test_artefacts(tmp_path: Path, registry: Registry) -> None:
    outside = tmp_path.parent / f"{tmp_path.name}-results.json"
    outside.write_text("{}")
    with registry.run(spec()) as run:
        assert run.folder == tmp_path / "runs.files" / f"{run.id}-{run.uuid[:8]}"
        weights = run.folder / "wéights.npz"
        weights.write_bytes(b"abc")
        saved = run.add_artefact("weights", weights)
        with pytest.raises(ArtefactError, match="must be in the run's own folder"):
            run.add_artefact("results", outside)
        run.finish(OUTCOME_AT_ONCE)
    # the SHA-256 of "abc", from FIPS 180-2
    assert saved.sha256 == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert (saved.bytes, saved.path) == (3, f"runs.files/{run.id}-{run.uuid[:8]}/wéights.npz")
    assert registry.artefacts(run.id) == registry.artefacts(run.id, kind="weights") == (saved,)
    assert registry.artefacts(run.id, kind="results") == ()
    assert registry.artefact_path(saved) == weights

    weights.write_bytes(b"abd")
    with pytest.raises(ArtefactError, match=f"must be {saved.sha256}. Received: "):
        registry.artefact_path(saved)
    weights.unlink()
    with pytest.raises(ArtefactError, match=f"of run {run.id} cannot be read"):
        registry.artefact_path(saved)


def test_artefacts_move_with_the_registry(tmp_path: Path) -> None:
    (tmp_path / "here").mkdir()
    with Registry.open(tmp_path / "here" / "runs.db") as registry, registry.run(spec()) as run:
        file = run.folder / "weights.npz"
        file.write_bytes(b"abc")
        run.add_artefact("weights", file)
        run.finish(OUTCOME_AT_ONCE)
    (tmp_path / "here").rename(tmp_path / "there")
    with Registry.open(tmp_path / "there" / "runs.db", readonly=True) as registry:
        (artefact,) = registry.artefacts(run.id)
        assert registry.artefact_path(artefact).read_bytes() == b"abc"


def test_provenance(registry: Registry) -> None:
    run: RunRecord = registry.get_run(recorded(registry))
    assert run.fmnist_version == __version__
    assert run.process_started is None or run.process_started < run.started_at
    found = registry.environment(run.id)
    assert found["python"] == ".".join(map(str, sys.version_info[:3]))
    assert found["packages"]["sqlalchemy"] is not None
    assert found["cpus"] >= found["cpus_usable"] >= 1
    assert found == json.loads(json.dumps(found))
    with pytest.raises(RunNotFound, match="there is no run 9"):
        registry.environment(9)


def test_provenance_names_blas_and_its_threads() -> None:
    import numpy  # noqa: F401

    assert any(
        library["user_api"] == "blas" and library["num_threads"] >= 1
        for library in provenance.blas()
    )


def test_provenance_never_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError("no")

    def refuse_proc(path: Path, **options: Any) -> str:
        if path.is_relative_to("/proc"):
            raise OSError("no")
        return read_text(path, **options)

    read_text = Path.read_text
    monkeypatch.setattr("subprocess.run", refuse)
    monkeypatch.setattr(Path, "read_text", refuse_proc)
    assert provenance.environment()["git"] is None
    assert host.boot_id() is None
    assert provenance.process_started() is None
    assert provenance.package_version("no-such-package") is None


def test_somebody_elses_checkout_is_not_ours(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers = {"HEAD": f"{tmp_path}\nc0ffee"}
    monkeypatch.setattr(provenance, "_git", lambda _, *arguments: answers.get(arguments[-1]))
    assert provenance.git_state() is None
    top = Path(provenance.__file__).parents[2]
    answers["HEAD"] = f"{top}\nc0ffee"
    answers["."] = " M fmnist_cli/cli.py"
    assert provenance.git_state() == {"commit": "c0ffee", "dirty": True}
    answers["."] = ""
    assert provenance.git_state() == {"commit": "c0ffee", "dirty": False}

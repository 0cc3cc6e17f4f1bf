"""What is refused leaves no registry, no row and no folder; what is deleted is named first."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from .conftest import SMALL, Fmnist

OLD_REGISTRY = Path(__file__).parents[1] / "registry" / "data" / "schema_0001.db"
TRAIN = ("train", *SMALL, "--epochs", 1)


@pytest.mark.parametrize(
    ("args", "code"),
    [
        (("gradcheck", *SMALL, "--e", 0), 2),
        (("gradcheck", *SMALL, "--e", "nan"), 2),
        (("gradcheck", *SMALL, "--e", 1e-13), 2),
        (("gradcheck", *SMALL, "--model", "cnn2", "--e", 1e-13), 2),
        (("gradcheck", *SMALL, "--model", "cnn2", "--engine", "keras", "--e", 1e-10), 2),
        (("mini-cnn", "--train", "--data", "absent.csv"), 1),
        *(
            ((*command, *SMALL, "--data-dir", "broken"), 1)
            for command in (
                ("train",),
                ("train", "--seeds", 2),
                ("gradcheck",),
                ("sweep-batch", "--batch", 5),
                ("early-stop",),
                ("momentum",),
                ("ood",),
                ("report", "--quick"),
            )
        ),
        (("train", *SMALL, "--layers", "absent.py"), 2),
        (("train", *SMALL, "--layers", "layers.py"), 2),
        (("train", *SMALL, "--seed", 2**63 - 1, "--seeds", 2), 2),
        (("momentum", *SMALL, "--seed-list", 2**63), 2),
        (("momentum", *SMALL, "--seed-list", "9" * 5000), 2),
        (("momentum", *SMALL, "--seeds", 1000), 2),
        (("momentum", *SMALL, "--scheduler", "nowhere"), 2),
        (("report", *SMALL, "--quick", "--seed-list", 2**63), 2),
        (("grade", "absent", "--make-autograder", "autograder"), 2),
        (("ood", "--run", 1, "--allow-custom-data"), 1),
        (("train", "--resume", 1), 1),
        (("runs", "resume", 1), 1),
        (("runs", "reproduce", 1), 1),
        (("runs", "tag", 1, "a"), 1),
        (("runs", "note", 1, "a"), 1),
        (("runs", "rename", 1, "a"), 1),
        (("runs", "delete", 1, "--yes"), 1),
        (("runs", "gc"), 1),
        (("runs", "import", "absent.db"), 1),
        (("runs", "import", "broken/train-images-idx3-ubyte.gz"), 1),
    ],
    ids=lambda value: " ".join(map(str, value[:2])) if isinstance(value, tuple) else None,
)
def test_what_is_refused_leaves_nothing(
    fmnist: Fmnist, args: tuple[object, ...], code: int
) -> None:
    broken = Path("broken")
    broken.mkdir()
    (broken / "train-images-idx3-ubyte.gz").write_bytes(b"no image")
    Path("layers.py").write_text("one = 1\n")
    results = ("--results", "results/new") if args[0] in ("train",) else ()
    fmnist.error(*args, *results, "--db", "new.db", code=code)
    assert {path.name for path in Path().iterdir()} == {"broken", "layers.py"}


@pytest.mark.parametrize("db", ["n" * 252 + ".db", "ä" * 120 + ".db", "absent/runs.db"])
@pytest.mark.parametrize("command", [TRAIN, ("sweep-batch", *SMALL, "--batch", 5)])
def test_a_registry_that_cannot_be_made_leaves_nothing(
    fmnist: Fmnist, command: tuple[object, ...], db: str
) -> None:
    said = fmnist.error(*command, "--results", "results/new", "--db", db, code=1)
    must = "the folder of absent/runs.db does not exist" if "/" in db else "at most 213 bytes"
    assert must in said
    assert not list(Path().iterdir())


def test_the_longest_name_of_a_registry(fmnist: Fmnist) -> None:
    """Its journals, its folder and its backups have longer ones."""
    db = "n" * 210 + ".db"
    fmnist(*TRAIN, "--db", db)
    fmnist("runs", "verify", "--db", db)
    old = f"{'o' * 210}.db"
    shutil.copyfile(OLD_REGISTRY, old)
    fmnist("runs", "tag", 1, "a", "--db", old)  # which upgrades it
    assert [path for path in Path().iterdir() if path.name.startswith(f"{old}.backup-0001-")]


def test_a_question_names_what_it_is_about(fmnist: Fmnist, monkeypatch: pytest.MonkeyPatch) -> None:
    fmnist(*TRAIN)
    fmnist(*TRAIN, "--lr", 0.02)
    monkeypatch.setenv("FMNIST_QUIET", "1")
    asked = fmnist("runs", "delete", 1, 2, code=1).stderr
    assert "run 1: train, finished, 1 epoch\nrun 2: train, finished, 1 epoch\n" in asked
    assert "Delete 2 runs, for good? [y/N]" in asked
    assert "Delete run 2, for good? [y/N]" in fmnist("runs", "delete", 2, code=1).stderr

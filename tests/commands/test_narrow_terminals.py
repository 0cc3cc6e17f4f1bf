"""A table that the terminal is too narrow for is printed row by row: nothing is left out."""

from __future__ import annotations

import re

import pytest

from .conftest import Fmnist

EPOCHS = ("--epochs", "3")
STUDIES: tuple[tuple[str, tuple[object, ...], tuple[str, ...]], ...] = (
    (
        "train",
        ("--seeds", 2),
        ("best epoch", "validation accuracy", "test accuracy", "training time", "ended"),
    ),
    (
        "sweep-batch",
        ("--batch", 5, "--batch", 50),
        ("best epoch", "updates to best", "seconds to best", "seconds per epoch", "test accuracy"),
    ),
    (
        "momentum",
        ("--alpha", 0.5, "--alpha", 0.9),
        ("training loss", "lowest", "test accuracy kept", "last test accuracy", "ended"),
    ),
    (
        "early-stop",
        ("--patience", 1, "--patience", 3),
        ("stops after", "keeps epoch", "test accuracy kept", "best epoch", "cost"),
    ),
    ("ood", (), ("test set as it is", "moved up 4 pixels", "rot90", "rotated by 180°")),
)


@pytest.mark.parametrize(("command", "args", "headings"), STUDIES, ids=[s[0] for s in STUDIES])
def test_studies(
    fmnist: Fmnist,
    monkeypatch: pytest.MonkeyPatch,
    command: str,
    args: tuple[object, ...],
    headings: tuple[str, ...],
) -> None:
    numbers = []
    for columns in (40, 60, 80, 120):
        monkeypatch.setenv("COLUMNS", str(columns))
        again = () if columns == 40 or command == "train" else ("--new",)
        out = fmnist.small(command, *EPOCHS, *args, *again).stdout
        assert max(map(len, out.splitlines())) <= columns
        assert "…" not in out
        for heading in headings if columns == 40 else ():
            assert heading in out
        numbers.append(sorted(set(re.findall(r"[0-9]+\.[0-9]+ %", " ".join(out.split())))))
    assert numbers[0] == numbers[1] == numbers[2] == numbers[3]


@pytest.mark.usefixtures("recorded")
@pytest.mark.parametrize("columns", [40, 60, 80])
def test_what_is_recorded(fmnist: Fmnist, monkeypatch: pytest.MonkeyPatch, columns: int) -> None:
    for args in (("show", 1, "--epochs"), ("compare", "study:1"), ("compare", 1, 2, 7, "--all")):
        monkeypatch.setenv("COLUMNS", "200")
        wide = set(re.findall(r"[0-9]+\.[0-9]+", fmnist("runs", *args).stdout))
        monkeypatch.setenv("COLUMNS", str(columns))
        narrow = fmnist("runs", *args).stdout
        assert max(map(len, narrow.splitlines())) <= columns
        assert "…" not in narrow
        assert wide <= set(re.findall(r"[0-9]+\.[0-9]+", narrow.replace("\n", " ")))

"""A registry that another program wrote values into: a line that names the run, no traceback."""

from __future__ import annotations

import re
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy import Boolean, Float, Integer

from fmnist_cli.registry import schema
from fmnist_cli.registry.sql import reader

from .conftest import Fmnist

pytestmark = pytest.mark.usefixtures("recorded")

RUN = "UPDATE run SET {} WHERE id = 7"
PLANTED = {
    "a time without a zone": RUN.format("started_at = '2026-01-01T00:00:00.000000'"),
    "no time": RUN.format("ended_at = 'yesterday'"),
    "no JSON": RUN.format("argv = '{nope'"),
    "other JSON": RUN.format("argv = '[1, null]'"),
    "a blob for a number": RUN.format("lr = x'706c616e746564'"),  # "planted"
    "a text for a number": RUN.format("test_accuracy = 'good'"),
    "infinity": RUN.format("momentum = 9e999"),
    "a path for a uuid": RUN.format("uuid = '../../x'"),
    "a long text": RUN.format("name = printf('%.*c', 12000000, 'x')"),
    "no kind": RUN.format("""nonfinite = '{"val_loss": "zzz"}'"""),
}
COMMANDS = (
    ("runs", "list"),
    ("runs", "list", "--json"),
    ("runs", "show", "7"),
    ("runs", "show", "7", "--json"),
    ("runs", "compare", "7", "1"),
    ("runs", "explain", "7"),
    ("runs", "export"),
    ("runs", "export", "--format", "jsonl"),
    ("runs", "export", "--format", "md"),
    ("runs", "export", "--format", "parquet", "--out", "a.parquet"),
    ("runs", "gc", "--dry-run"),
    ("runs", "tag", "7", "x"),
    ("runs", "verify"),
    ("plot", "train", "--run", "7", "--out", "a.svg"),
)


def plant(sql: str) -> None:
    with closing(sqlite3.connect("runs.db")) as connection:
        connection.execute("PRAGMA ignore_check_constraints = 1")
        connection.execute(sql)
        connection.commit()


def from_another_hand(fmnist: Fmnist, args: tuple[str, ...]) -> None:
    """The command works, or ends with one line; it has left a run out or named it."""
    from typer.testing import CliRunner

    from fmnist_cli.cli import app

    result = CliRunner().invoke(app, list(args), catch_exceptions=False)
    assert result.exit_code in (0, 1, 3)
    if result.exit_code:
        assert result.stderr.count("Error: ") == 1


@pytest.mark.parametrize("sql", PLANTED.values(), ids=PLANTED.keys())
def test_a_run(fmnist: Fmnist, sql: str) -> None:
    plant(sql)
    for args in COMMANDS:
        from_another_hand(fmnist, args)
    message = fmnist.error("runs", "show", 7, code=1)
    assert message.startswith("run 7 of runs.db must hold what a run holds. Received: run.")
    found = fmnist("runs", "verify", code=3).stdout
    assert "must hold what a run holds" in " ".join(found.split())
    fmnist("runs", "show", 1)
    fmnist("runs", "compare", "study:1")


@pytest.mark.parametrize("what", ["no time", "no JSON", "a blob for a number", "a long text"])
def test_it_can_be_deleted_by_its_id(fmnist: Fmnist, what: str) -> None:
    plant(PLANTED[what])
    assert fmnist.error("runs", "show", 7, code=1).endswith("rid of it: fmnist runs delete 7")
    fmnist.error("runs", "delete", "latest", "7777", code=1)
    fmnist("runs", "delete", 7, "--yes")
    fmnist("runs", "gc")
    assert not list(Path("runs.files").glob("7-*"))
    assert len(fmnist.document("runs", "list")["runs"]) == 8


@pytest.mark.parametrize("row", ["status = 'running', lr = 'x'", "uuid = '../../x'"])
def test_it_cannot_where_its_files_or_its_end_are_not_known(fmnist: Fmnist, row: str) -> None:
    plant(RUN.format(row))
    fmnist.error("runs", "delete", 7, "--yes", code=1)
    with closing(sqlite3.connect("runs.db")) as connection:
        assert connection.execute("SELECT count(*) FROM run").fetchone() == (9,)


def test_one_whose_files_are_not_sound_can_be_deleted(fmnist: Fmnist) -> None:
    plant("UPDATE artefact SET sha256 = 'none' WHERE run_id = 7")
    fmnist("runs", "delete", 7, "--yes")


def test_it_is_left_out_of_a_list(fmnist: Fmnist) -> None:
    plant(PLANTED["a blob for a number"])
    for args in (("list",), ("export",), ("list", "--json"), ("export", "--epochs")):
        result = fmnist("runs", *args)
        assert "Left out, since its lr is none: run 7\n" in result.stderr
        assert not re.search("planted|706c616e746564", result.stdout)
    assert {run["id"] for run in fmnist.document("runs", "list")["runs"]} == {
        *(1, 2, 3, 4, 5, 6, 8, 9)
    }


@pytest.mark.parametrize(
    "sql",
    [
        "UPDATE epoch SET val_accuracy = x'01' WHERE run_id = 1",
        "UPDATE epoch SET val_loss = 'x' WHERE run_id = 1",
        "DELETE FROM epoch WHERE run_id = 1 AND epoch = 2",
        """UPDATE epoch SET nonfinite = '{"other": "nan"}'""",
        "UPDATE evaluation SET confusion = '5'",
        "UPDATE evaluation SET answers = 'zz'",
        "UPDATE run_check SET figures = '[1]'",
        "INSERT INTO tag VALUES (1, hex(zeroblob(3000000)))",
        "INSERT INTO tag VALUES (1, x'ff00')",
        "UPDATE study SET arms = '5'",
        "UPDATE study SET config = '[]'",
        "UPDATE study SET created_at = '2026-01-01T00:00:00'",
        "UPDATE run SET environment = '[]'",
        """UPDATE run SET environment = '{"packages": 5}'""",
    ],
)
def test_what_belongs_to_a_run_or_a_study(fmnist: Fmnist, sql: str) -> None:
    plant(sql)
    for args in (
        ("runs", "show", "1", "--epochs"),
        ("runs", "explain", "1"),
        ("runs", "show", "study:1"),
        ("runs", "studies"),
        ("runs", "compare", "study:1"),
        ("runs", "compare", "1", "2"),
        ("runs", "export", "--epochs"),
        ("runs", "export", "--study", "1", "--format", "md"),
        ("runs", "verify"),
        ("plot", "momentum", "--out", "a.svg"),
    ):
        from_another_hand(fmnist, args)


KINDS = {Boolean: bool, Integer: int, Float: float}


def test_the_reader_knows_the_kinds_of_the_columns() -> None:
    columns = [c for table in (schema.run, schema.epoch) for c in table.c]
    views = " ".join(schema.views_for("sqlite").values())
    shown = [c for c in columns if f".{c.name}" in views and c.name != "id"]
    assert len(shown) > 20
    for c in shown:
        kind = next((k for t, k in KINDS.items() if isinstance(c.type, t)), str)
        assert reader.kind_of(c.name) is kind, c.name
    assert reader.kind_of("run_id") is int
    assert reader.kind_of("train_seconds_per_epoch") is float


def test_an_answer_that_would_fill_the_memory(
    fmnist: Fmnist, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reader, "MAX_ANSWER_BYTES", 5_000_000)
    numbers = "WITH RECURSIVE t(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM t LIMIT {}) "
    for form in ((), ("--csv",), ("--json",)):
        asked = numbers.format(900) + "SELECT zeroblob(1000000) FROM t"
        assert fmnist.error("runs", "query", asked, *form, code=2) == (
            "query must answer with at most 5 MB; end it with a LIMIT."
        )
    asked = numbers.format(2500) + "SELECT n, NULL AS none FROM t"
    lines = fmnist("runs", "query", asked, "--csv").stdout.splitlines()
    assert lines == ["n,none", *(f"{n}," for n in range(1, 2501))]
    assert fmnist.document("runs", "query", asked)["rows"] == [[n, None] for n in range(1, 2501)]

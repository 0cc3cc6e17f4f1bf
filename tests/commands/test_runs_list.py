"""`runs list` and `runs query`: what is found, how it fits, and that nothing can be changed."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import pytest

from fmnist_cli.registry.sql import reader, sqlite

from .conftest import Fmnist
from .recorded import DIVERGED, LOST, TRAIN

pytestmark = pytest.mark.usefixtures("recorded")


def listed(fmnist: Fmnist, *args: object) -> list[int]:
    return [run["id"] for run in fmnist.document("runs", "list", *args)["runs"]]


def test_newest_first_and_a_limit(fmnist: Fmnist) -> None:
    assert listed(fmnist) == list(range(LOST, 0, -1))
    document = fmnist.document("runs", "list", "--limit", 2)
    assert [run["id"] for run in document["runs"]] == [LOST, DIVERGED]
    assert (document["schema"], document["more"]) == ("fmnist.runs.list/1", True)
    assert "The first 2; for more" in fmnist("runs", "list", "-n", 2).stderr
    assert listed(fmnist, "--all") == listed(fmnist)


@pytest.mark.parametrize(
    ("args", "ids"),
    [
        (("--study", 1), [6, 5, 4, 3, 2, 1]),
        (("--study", 1, "--where", "seed = 2"), [5, 2]),
        (("--model", "cnn2"), []),
        (("--command", "train"), [LOST, DIVERGED, TRAIN]),
        (("--status", "diverged"), [DIVERGED]),
        (("--status", "lost"), [LOST]),
        (("--status", "running"), []),
        (("--where", "status = 'lost'"), [LOST]),
        (("--where", "batch = 50 and test_accuracy > 0.85"), [TRAIN]),
        (("--where", "run_id = 3; "), [3]),
        (("--where", "momentum = 0.9 -- the greater one"), [6, 5, 4]),
        # what is not there, or is not finite, satisfies nothing
        (("--where", "test_accuracy < 2 or test_accuracy >= 2"), [9, 7, 6, 5, 4, 3, 2, 1]),
        (
            (
                "--where",
                "run_id in (select run_id from epoch_curve where train_loss < 9)",
            ),
            None,
        ),
        (("--sort", "-test_accuracy", "-n", 3), [TRAIN, 6, 4]),
        (("--sort", "test_accuracy", "-n", 1), [LOST]),
        (("--sort", "-best_epoch", "--status", "diverged"), [DIVERGED]),
    ],
)
def test_what_is_found(fmnist: Fmnist, args: tuple[object, ...], ids: list[int] | None) -> None:
    expected = [i for i in range(LOST, 0, -1) if i != DIVERGED] if ids is None else ids
    assert listed(fmnist, *args) == expected


def test_tags_find_runs(fmnist: Fmnist) -> None:
    fmnist("runs", "tag", 2, "good", "slow")
    fmnist("runs", "tag", 3, "good")
    assert listed(fmnist, "--tag", "good") == [3, 2]
    assert listed(fmnist, "--tag", "good", "--tag", "slow") == [2]
    assert listed(fmnist, "--where", "tags is null") == [9, 8, 7, 6, 5, 4, 1]


@pytest.mark.parametrize(
    ("width", "there", "gone"),
    [
        (40, ("run", "status"), ("note", "time")),
        (60, ("run", "status", "lr", "test %"), ("note",)),
        (80, ("run", "status", "age", "lr", "momentum", "test %"), ()),
        (200, ("run", "age", "command", "name", "lr", "momentum", "best", "time", "note"), ()),
    ],
)
def test_it_fits_the_terminal(
    fmnist: Fmnist,
    monkeypatch: pytest.MonkeyPatch,
    width: int,
    there: tuple[str, ...],
    gone: tuple[str, ...],
) -> None:
    fmnist("runs", "note", 3, "a very long note that goes on and on, for as long as it likes")
    monkeypatch.setenv("COLUMNS", str(width))
    result = fmnist("runs", "list")
    lines = result.stdout.splitlines()
    assert max(map(len, lines)) <= width
    heading = lines[1]
    assert all(word in heading for word in there)
    assert not any(word in heading for word in gone)
    assert ("…" in result.stdout) == ("note" in heading)  # shortened, not wrapped
    assert len(lines) == 9 + 4
    for word in gone:
        assert word in result.stderr  # it says what is missing


def test_what_varies_is_shown_and_what_does_not_is_said(fmnist: Fmnist) -> None:
    one = fmnist("runs", "list", "--study", 1)
    assert "momentum" in one.stdout.splitlines()[1]
    assert "seed" in one.stdout.splitlines()[1]
    assert "hidden" not in one.stdout
    assert "In all: model mlp, batch 5, engine numpy, lr 0.01, hidden 128" in one.stderr
    assert "[bold]best[/]" in fmnist("runs", "list").stdout


def test_named_columns(fmnist: Fmnist) -> None:
    result = fmnist("runs", "list", "--columns", "run_id, lr,status", "-n", 1)
    assert result.stdout.split()[:3] == ["run_id", "lr", "status"]
    assert result.stdout.split()[-3:] == [str(LOST), "0.01", "lost"]


def test_a_long_list_is_the_same_table(fmnist: Fmnist, monkeypatch: pytest.MonkeyPatch) -> None:
    args = ("runs", "list", "--columns", "run_id,status,model,lr,name,tags")  # no age, which grows
    monkeypatch.setenv("COLUMNS", "100")
    usual = fmnist(*args).stdout
    monkeypatch.setattr("fmnist_cli.commands.runs._columns.LONG", 3)
    long = fmnist(*args).stdout
    words = [line.split() for line in usual.splitlines() if line.strip() and "─" not in line]
    assert [line.split() for line in long.splitlines()] == words


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (
            ("--where", "bacth = 5"),
            "where must name a column of run_summary. Received: bacth; did you mean batch.",
        ),
        (
            ("--where", "val_accuracy > 0.8"),
            "where must name a column of run_summary. Received: val_accuracy; did you mean "
            "best_val_accuracy.",
        ),
        (
            ("--sort", "-accuracy"),
            "sort must name a column of run_summary. Received: accuracy; did you mean "
            "test_accuracy.",
        ),
        (
            ("--columns", "run_id,modl"),
            "columns must name a column of run_summary. Received: modl; did you mean model.",
        ),
        (
            ("--where", "1; DROP TABLE run"),
            "where must be one SQL expression over the columns of run_summary; nothing was "
            "changed. Received: 1; DROP TABLE run.",
        ),
        (
            ("--where", "1) OR (1"),
            "where must be one SQL expression over the columns of run_summary. Received: 1) OR "
            '(1 (near ")": syntax error).',
        ),
        (
            ("--where", "run_id = 3; SELECT 1"),
            "where must be one SQL expression over the columns of run_summary. Received: "
            "run_id = 3; SELECT 1.",
        ),
        (("--limit", 0), "--limit must be at least 1. Received: 0."),
        (
            ("--limit", 10**20),
            f"--limit must be less than {2**63 - 1}; or give --all. Received: {10**20}.",
        ),
        (("--study", 10**20), f"study must be the id of a study. Received: {10**20}."),
    ],
)
def test_one_line_says_what_is_wrong(
    fmnist: Fmnist, args: tuple[object, ...], message: str
) -> None:
    assert fmnist.error("runs", "list", *args, code=2) == message


def contents(folder: Path) -> dict[str, bytes]:
    return {str(p): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


WRITES = (
    "DELETE FROM run",
    "delete from run_summary",
    "UPDATE run SET seed = 1",
    "INSERT INTO tag VALUES (1, 'x')",
    "REPLACE INTO tag VALUES (1, 'x')",
    "DROP TABLE run",
    "CREATE TABLE x (y)",
    "CREATE TEMP TABLE x (y)",
    "ALTER TABLE run ADD COLUMN x",
    "SELECT 1; DROP TABLE run",
    "WITH x AS (SELECT 1) DELETE FROM run",
    "ATTACH 'other.db' AS other",
    "DETACH main",
    "PRAGMA user_version = 7",
    "PRAGMA query_only = OFF",
    "PRAGMA writable_schema = ON",
    "PRAGMA journal_mode = WAL",
    "VACUUM",
    "VACUUM INTO 'copy.db'",
    "REINDEX",
    "ANALYZE",
    "BEGIN IMMEDIATE",
    "EXPLAIN DELETE FROM run",
)


@pytest.mark.parametrize("statement", WRITES)
def test_a_query_only_reads(fmnist: Fmnist, recorded: Path, statement: str) -> None:
    before = contents(recorded.parent)
    message = fmnist.error("runs", "query", statement, code=2)
    assert message.startswith("query must be one SELECT, which only reads")
    # where takes no statement at all
    fmnist.error("runs", "list", "--where", f"1; {statement}", code=2)
    fmnist.error("runs", "list", "--where", f"({statement})", code=2)
    assert contents(recorded.parent) == before


@pytest.mark.parametrize("unable", ["SELECT load_extension('x')", "SELECT readfile('runs.db')"])
def test_a_query_reaches_no_file(fmnist: Fmnist, unable: str) -> None:
    assert "query must be one SELECT" in fmnist.error("runs", "query", unable, code=2)


def limit_queries(monkeypatch: pytest.MonkeyPatch, **limits: float) -> None:
    for name, value in limits.items():
        for module in (reader, sqlite):
            if hasattr(module, name):
                monkeypatch.setattr(module, name, value)


def test_a_query_without_end_is_stopped(fmnist: Fmnist, monkeypatch: pytest.MonkeyPatch) -> None:
    limit_queries(monkeypatch, QUERY_SECONDS=0.1)
    endless = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) "
    message = fmnist.error("runs", "query", f"{endless} SELECT count(*) FROM n", code=2)
    assert message.startswith("query must end within 0.1 s. Received: WITH RECURSIVE")
    where = f"run_id = ({endless} SELECT count(*) FROM n)"
    assert "where must end within" in fmnist.error("runs", "list", "--where", where, code=2)
    limit_queries(monkeypatch, QUERY_SECONDS=10.0, MAX_ROWS=1000)
    message = fmnist.error("runs", "query", f"{endless} SELECT i FROM n", code=2)
    assert message == "query must answer with at most 1,000 rows; end it with a LIMIT."
    assert "too big" in fmnist.error("runs", "query", "SELECT zeroblob(1000000000)", code=2)
    limit_queries(monkeypatch, MAX_ANSWER_BYTES=2_000_000)
    many = "SELECT zeroblob(900000) FROM (SELECT 1 UNION SELECT 2 UNION SELECT 3)"
    message = fmnist.error("runs", "query", many, code=2)
    assert message == "query must answer with at most 2 MB; end it with a LIMIT."
    fmnist("runs", "query", f"{many} LIMIT 2")


def test_a_query_names_what_it_does_not_find(fmnist: Fmnist) -> None:
    assert fmnist.error("runs", "query", "SELECT * FROM runs", code=2) == (
        "query must name a table of the registry. Received: runs; did you mean run."
    )
    assert fmnist.error("runs", "query", "SELECT e.val_los FROM epoch_curve e", code=2) == (
        "query must name a column of what it selects from. Received: val_los; did you mean "
        "val_loss."
    )
    assert "syntax error" in fmnist.error("runs", "query", "SELEC 1", code=2)
    assert "Received: nothing." in fmnist.error("runs", "query", "", code=2)


def test_a_query_as_table_csv_and_json(fmnist: Fmnist) -> None:
    query = (
        "SELECT momentum, count(*) AS n, avg(test_accuracy) AS mean, note FROM run_summary "
        "WHERE study_id = 1 GROUP BY momentum"
    )
    table = fmnist("runs", "query", query).stdout.splitlines()
    assert table[1].split() == ["momentum", "n", "mean", "note"]
    assert table[3].split() == ["0.5", "3", "0.8", "-"]
    rows = list(csv.reader(io.StringIO(fmnist("runs", "query", query, "--csv").stdout)))
    assert rows[0] == ["momentum", "n", "mean", "note"]
    assert float(rows[2][2]) == pytest.approx(0.85)
    document = fmnist.document("runs", "query", query)
    assert document["schema"] == "fmnist.runs.query/1"
    assert document["columns"] == ["momentum", "n", "mean", "note"]
    assert [row[:2] for row in document["rows"]] == [[0.5, 3], [0.9, 3]]
    assert fmnist.document("runs", "query", "SELECT 9e999, x'ff', 1, 1")["rows"] == [
        [None, "ff", 1, 1]
    ]
    assert "exclude" in fmnist.error("runs", "query", query, "--csv", "--json", code=2)


def test_lost_runs_are_lost_in_the_view_too(fmnist: Fmnist) -> None:
    query = "SELECT status, count(*) FROM run_summary GROUP BY 1 ORDER BY 1"
    rows = fmnist.document("runs", "query", query)["rows"]
    assert rows == [["diverged", 1], ["finished", 7], ["lost", 1]]


@pytest.mark.parametrize(
    "command",
    [
        ("runs", "list"),
        ("runs", "query", "SELECT * FROM run_summary"),
        ("runs", "show", TRAIN),
        ("runs", "compare", 1, TRAIN),
        ("runs", "compare", "study:1"),
        ("runs", "tag", 1, "x"),
        ("runs", "note", 1, "x" * 200),
        ("runs", "rename", 1, "x" * 200),
    ],
)
def test_json_is_strict_at_40_columns(
    fmnist: Fmnist, monkeypatch: pytest.MonkeyPatch, command: tuple[object, ...]
) -> None:
    wide = fmnist(*command, "--json").stdout
    monkeypatch.setenv("COLUMNS", "40")
    result = fmnist(*command, "--json")
    assert result.stdout == wide
    document = json.loads(result.stdout, parse_constant=lambda word: pytest.fail(word))
    assert document["schema"].startswith(f"fmnist.runs.{command[1]}/")


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (("--model", "cnn9", "--status", "lost"), "No run fits: --model cnn9."),
        (("--command", "train", "--study", 1), "No run fits: --study 1, --command train."),
    ],
)
def test_the_filter_that_left_nothing_is_named(
    fmnist: Fmnist, args: tuple[object, ...], said: str
) -> None:
    assert fmnist("runs", "list", *args).stderr.strip() == said


def test_the_settings_of_training_are_no_filters(fmnist: Fmnist) -> None:
    Path("fmnist.toml").write_text('model = "cnn2"\nepochs = 7\n')
    assert listed(fmnist) == list(range(LOST, 0, -1))
    assert len(fmnist("runs", "export").stdout.splitlines()) == 1 + LOST
    assert "Epochs" not in fmnist("runs", "show", TRAIN).stdout


def test_rows_that_do_not_fit_are_shown_as_records(
    fmnist: Fmnist, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    lines = fmnist("runs", "query", "SELECT * FROM run_summary LIMIT 2").stdout.splitlines()
    assert [line.split() for line in lines if line.startswith("run_id")] == [
        ["run_id", "1"],
        ["run_id", "2"],
    ]
    assert max(map(len, lines)) <= 80


def test_a_damaged_registry_is_named(fmnist: Fmnist, recorded: Path) -> None:
    content = bytearray(recorded.read_bytes())
    content[8192:] = b"\xff" * (len(content) - 8192)
    Path("damaged.db").write_bytes(content)
    for args in (("list", "--db"), ("query", "SELECT * FROM run", "--db"), ("import",)):
        message = fmnist.error("runs", *args, "damaged.db", code=1)
        assert message.startswith("damaged.db is damaged; restore a copy"), args

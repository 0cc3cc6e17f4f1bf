"""How rows of ``run_summary`` look as a table that fits the terminal."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from fmnist_cli.commands._output import make_table
from fmnist_cli.commands.runs._common import STATUS_STYLE
from fmnist_cli.formatting import percent, seconds

if TYPE_CHECKING:
    from rich.table import Table

Row = Mapping[str, Any]

MAX_TEXT = 24  # characters of a name, a note or the tags
GAP = 2  # between columns
LONG = 1000  # rows

VARIED = {  # the columns that are shown where they differ, and how long they stay
    "engine": 44, "lr": 76, "momentum": 74, "hidden": 72, "augment": 70, "head": 71,
    "train_size": 48, "val_size": 38, "max_epochs": 42, "patience": 46, "monitor": 36,
    "seed": 68, "init_seed": 67, "order_seed": 66,
}  # fmt: skip


@dataclass(frozen=True)
class ListColumn:
    """One column: what is in its cells, and how long it stays where the terminal is narrow."""

    heading: str
    cell: Callable[[Row], str]
    importance: int = 0
    right: bool = True


def usual_columns(rows: Sequence[Row]) -> list[ListColumn]:
    """What tells these runs apart, and how they went."""
    now = datetime.now(UTC)

    def varies(name: str) -> bool:
        return len({row[name] for row in rows}) > 1

    def given(name: str) -> bool:
        return any(row[name] for row in rows)

    columns = [
        ListColumn("run", lambda row: str(row["run_id"]), 100),
        ListColumn("status", lambda row: row["status"], 90, right=False),
        ListColumn("age", lambda row: age(now - datetime.fromisoformat(row["started_at"])), 62),
        ListColumn("command", _text("command"), 58 if varies("command") else 10, right=False),
    ]
    if given("name"):
        columns.append(ListColumn("name", _text("name"), 66, right=False))
    if given("study_id"):
        columns.append(ListColumn("study", _text("study_id"), 20))
    columns.append(ListColumn("model", _text("model"), 78 if varies("model") else 40, right=False))
    columns.append(ListColumn("batch", _text("batch"), 77 if varies("batch") else 30))
    columns += [
        ListColumn(name.replace("_", " "), _text(name), importance)
        for name, importance in VARIED.items()
        if varies(name) and not (name == "hidden" and _one_but_none(rows, name))
    ]
    columns += [
        ListColumn("best", _best, 55),
        ListColumn("val %", lambda row: _percent(row["best_val_accuracy"]), 80),
        ListColumn("test %", lambda row: _percent(row["test_accuracy"]), 85),
        ListColumn("time", lambda row: seconds(row["train_seconds"] or None), 52),
    ]
    if given("tags"):
        columns.append(ListColumn("tags", _text("tags"), 60, right=False))
    if given("note"):
        columns.append(ListColumn("note", _text("note"), 40, right=False))
    return columns


def named_columns(names: Sequence[str], rows: Sequence[Row]) -> list[ListColumn]:
    """Columns of the view, as they are; the first ones stay longest."""
    return [
        ListColumn(name, _text(name), -i, right=all(is_number(row[name]) for row in rows))
        for i, name in enumerate(names)
    ]


def is_number(value: object) -> bool:
    """Whether it goes into a column of numbers."""
    return value is None or isinstance(value, int | float)


def in_common(rows: Sequence[Row]) -> str:
    """What all of several runs share: ``lr 0.01, momentum 0``; empty where nothing is."""
    names = ("model", "batch", *VARIED)
    same = [
        f"{name.replace('_', ' ')} {shortened(plain(rows[0][name]))}"
        for name in names
        if rows[0][name] not in (None, "none") and len({row[name] for row in rows}) == 1
    ]
    return ", ".join(same) if len(rows) > 1 else ""


def fitting_table(
    columns: Sequence[ListColumn], rows: Sequence[Row], width: int
) -> tuple[Table | str, list[str]]:
    """The table, and the headings of the columns for which there was no room.

    A long one is plain text: rich would take seconds for it.
    """
    from rich.text import Text

    cells = {column: [column.cell(row) for row in rows] for column in columns}
    widths = {column: max(map(_width, (column.heading, *texts))) for column, texts in cells.items()}
    kept = list(columns)
    while len(kept) > 1 and sum(widths[c] + GAP for c in kept) > width:
        kept.remove(min(kept, key=lambda column: column.importance))
    left_out = [column.heading for column in columns if column not in kept]
    if len(rows) > LONG:
        lines = zip(*([column.heading, *cells[column]] for column in kept), strict=True)
        sides = [(column.right, widths[column]) for column in kept]
        return "".join(_line(line, sides) for line in lines), left_out
    table = make_table()
    for column in kept:
        table.add_column(column.heading, justify="right" if column.right else "left", no_wrap=True)
    styles = [STATUS_STYLE if column.heading == "status" else {} for column in kept]
    for texts in zip(*(cells[column] for column in kept), strict=True):
        shown = zip(texts, styles, strict=True)
        table.add_row(*(Text(text, style.get(text, "")) for text, style in shown))
    return table, left_out


def _line(cells: Sequence[str], sides: Sequence[tuple[bool, int]]) -> str:
    padded = []
    for text, (right, width) in zip(cells, sides, strict=True):
        gap = " " * (width - _width(text))
        padded.append(gap + text if right else text + gap)
    return (" " + "  ".join(padded)).rstrip() + "\n"


def _width(text: str) -> int:
    """Columns that the text takes in a terminal."""
    if text.isascii():
        return len(text)
    from rich.cells import cell_len

    return cell_len(text)


def age(delta: timedelta) -> str:
    """How long ago, in the largest unit that makes sense: ``40s``, ``12m``, ``5h``, ``3d``."""
    total = max(0, int(delta.total_seconds()))
    for unit, size in (("d", 86_400), ("h", 3_600), ("m", 60)):
        if total >= size:
            return f"{total // size}{unit}"
    return f"{total}s"


def shortened(text: str) -> str:
    """The text on one line, of at most ``MAX_TEXT`` characters."""
    line = " ".join(text.split())
    return line if len(line) <= MAX_TEXT else f"{line[: MAX_TEXT - 1]}…"


def _text(name: str) -> Callable[[Row], str]:
    return lambda row: shortened(plain(row[name]))


def plain(value: object, digits: int = 6) -> str:
    """A value of the registry as a word; ``digits`` of a number that is not whole."""
    if value is None:
        return "-"
    return f"{value:.{digits}g}" if isinstance(value, float) else str(value)


def _percent(fraction: float | None) -> str:
    return percent(fraction, 1).removesuffix(" %")


def _best(row: Row) -> str:
    return f"{row['best_epoch'] or '-'}/{row['epochs_run']}{'+' if row['still_improving'] else ''}"


def _one_but_none(rows: Sequence[Row], name: str) -> bool:
    return len({row[name] for row in rows} - {None}) == 1

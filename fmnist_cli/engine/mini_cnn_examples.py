"""Examples for the mini CNN: made by a planted one, or read from a file."""

from __future__ import annotations

import csv
import math
from pathlib import Path

import numpy as np

from fmnist_cli.engine.mini_cnn import LARGEST, Array, forward
from fmnist_cli.errors import DataError, require

TEACHER_W = (1.0, -1.0)
TEACHER_V = (1.0, -1.0)
_TEACHER_MARGIN = 0.1  # |y^| of the teacher on every example that it labels

COLUMNS = ("x1", "x2", "x3", "y")


def make_examples(rng: np.random.Generator, n: int) -> tuple[Array, Array]:
    """n examples x (n, 3) from N(0, 1), labelled y (n,) = -1 or +1 by a planted mini CNN.

    The teacher's y^ is at least 0.1 away from 0 on each, and half of them (rounded up) are
    positive: the data can be learnt perfectly, and both classes are there.

    Raises
    ------
    UsageError
        When n is not between 2 and 100,000.
    """
    require(2 <= n <= 100_000, "the number of examples must be between 2 and 100000", n)
    kept: dict[int, list[Array]] = {1: [], -1: []}
    wanted = {1: n - n // 2, -1: n // 2}
    while any(sum(map(len, kept[sign])) < wanted[sign] for sign in wanted):
        candidates = rng.normal(size=(4 * n, 3))
        y_hat = forward(candidates, TEACHER_W, TEACHER_V)["y_hat"]
        for sign in wanted:
            kept[sign].append(candidates[sign * y_hat >= _TEACHER_MARGIN])
    x = np.concatenate([np.concatenate(kept[sign])[: wanted[sign]] for sign in wanted])
    y = np.repeat([1.0, -1.0], [wanted[1], wanted[-1]])
    order = rng.permutation(n)
    return x[order], y[order]


def read_examples(path: Path) -> tuple[Array, Array]:
    """x (N, 3) and y (N,) from a CSV file with the header ``x1,x2,x3,y``; y is -1 or +1.

    Raises
    ------
    DataError
        When the file cannot be read or a line is not as it must be; it names the line.
    """
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            lines = csv.reader(file)
            header, wanted = (",".join(map(str.strip, row)) for row in (next(lines, []), COLUMNS))
            _expect(header == wanted, path, 1, f"the header {wanted}", header)
            rows = [_read_row(path, lines.line_num, fields) for fields in lines if fields]
    except OSError as error:
        raise DataError(f"The examples {path} could not be read: {error.strerror}.") from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise DataError(
            f"The examples must be a CSV file in UTF-8. Received: {path} ({error})."
        ) from error
    if not rows:
        raise DataError(f"{path}: expected at least one example below the header. Found: none.")
    table = np.array(rows, np.float64)
    return table[:, :3], table[:, 3]


def _expect(holds: bool, path: Path, line: int, what: str, found: object) -> None:
    if not holds:
        raise DataError(f"{path}, line {line}: expected {what}. Found: {found!r}.")


def _read_row(path: Path, line: int, fields: list[str]) -> list[float]:
    _expect(len(fields) == len(COLUMNS), path, line, f"{len(COLUMNS)} values", len(fields))
    row = []
    for name, text in zip(COLUMNS, fields, strict=True):
        try:
            row.append(float(text))
        except ValueError:
            row.append(math.nan)
        _expect(name != "y" or row[-1] in (-1, 1), path, line, "y to be -1 or +1", text)
        within = f"{name} to be a number between -1e6 and 1e6"
        _expect(abs(row[-1]) <= LARGEST, path, line, within, text)
    return row

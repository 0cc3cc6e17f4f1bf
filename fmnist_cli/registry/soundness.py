"""Whether values that another program wrote are such as a registry holds.

What comes from another registry or from a journal is data: nothing of it may break a command here
or reach further than its row. SQLite takes any value in any column, and only the constraints of
the tables are checked as rows are inserted; everything else is checked here, before.
"""

from __future__ import annotations

import json
import re
import sys
import unicodedata
from collections.abc import Callable, Mapping
from typing import Any

from sqlalchemy import BigInteger, Boolean, Column, Float, Integer, Row, String, Table

from fmnist_cli.registry.records import MAX_TEXT, is_time

MAX_DEPTH = 20  # of JSON
KINDS = ("nan", "inf", "-inf")

_HEXADECIMAL = {
    "uuid": re.compile("[0-9a-f]{32}"),
    "sha256": re.compile("[0-9a-f]{64}"),
    "digest": re.compile("[0-9a-f]{64}"),
    "answers": re.compile("(?:[0-9a-f]{2})*"),
}
_DIRECTIONS = "\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"
# what a person wrote or a program said, with lines
_FREE = {("run", "message"), ("run", "note"), ("run", "argv"), ("run", "environment")}

# which have the name of a file or folder in them
_PATHS = {("run", "data_source"), ("run_check", "name"), ("artefact", "path")}


def unsound(
    table: Table, row: Row[Any] | Mapping[str, Any], *, displayable: bool = True
) -> str | None:
    """What is wrong with a row, in a few words; None where nothing is.

    Parameters
    ----------
    displayable : bool
        Whether a text that cannot be shown as it is, such as the name of a folder, is wrong.
    """
    values = row._mapping if isinstance(row, Row) else row
    for name, value in values.items():
        if name not in table.c:
            return f"{table.name}.{name} is not known"
        if wrong := _wrong(table.c[name], value, displayable):
            return f"{table.name}.{name} {wrong}"
    return None


def is_displayable(text: str, *, allowed: str = "") -> bool:
    """Whether a terminal and an SVG can show it: no control or direction characters."""
    return not any(
        one not in allowed
        and (
            unicodedata.category(one) in ("Cc", "Cs", "Zl", "Zp")
            or one in _DIRECTIONS
            or ord(one) & 0xFFFE == 0xFFFE  # no character of XML
        )
        for one in text
    )


def _wrong(column: Column[Any], value: Any, displayable: bool) -> str | None:
    where = (column.table.name, column.name)
    if value is None:
        return None if column.nullable or column.primary_key else "is missing"
    if isinstance(column.type, Boolean):
        return None if value in (0, 1) and isinstance(value, bool | int) else "is no truth value"
    if isinstance(column.type, Integer):
        bits = 63 if isinstance(column.type, BigInteger) or column.name == "id" else 31
        whole = isinstance(value, int) and not isinstance(value, bool)
        return None if whole and abs(value) < 2**bits else "is no whole number of its size"
    if isinstance(column.type, Float):
        number = isinstance(value, int | float) and not isinstance(value, bool)
        return None if number and abs(value) <= sys.float_info.max else "is no finite number"
    if not isinstance(value, str):
        return "is no text"
    longest = (column.type.length if isinstance(column.type, String) else None) or MAX_TEXT
    if len(value) > longest:
        return f"has more than {longest:,} characters"
    is_free = not displayable or where in _FREE or column.name in _JSON
    if not is_free and not is_displayable(value, allowed="\t\n" if where in _PATHS else ""):
        return "has characters that cannot be shown"
    try:
        value.encode()
    except UnicodeEncodeError:
        return "is no UTF-8"
    if "\0" in value:
        return "has a NUL"
    if column.name.endswith("_at") or column.name == "process_started":
        return None if is_time(value) else "is no time"
    if pattern := _HEXADECIMAL.get(column.name):
        return None if pattern.fullmatch(value) else "is none"
    if where == ("epoch", "nonfinite"):
        names = column.table.c
        return _wrong_json(value, lambda kinds: _kinds(kinds) and all(k in names for k in kinds))
    if check := _JSON.get(column.name):
        return _wrong_json(value, _texts if check is _labels and not displayable else check)
    return None


def _wrong_json(text: str, check: Callable[[Any], bool]) -> str | None:
    try:
        value = json.loads(text, parse_constant=refuse_constant)
        return None if check(value) and _depth(value) <= MAX_DEPTH else "is not such JSON"
    except (ValueError, RecursionError):
        return "is no JSON"


def refuse_constant(constant: str) -> None:
    """For ``json.loads``: NaN and infinities are no JSON."""
    raise ValueError(f"{constant} is no number of JSON")


def _depth(value: Any) -> int:
    if isinstance(value, dict):
        value = list(value.values())
    return 1 + max(map(_depth, value), default=0) if isinstance(value, list) else 0


def _texts(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(one, str) for one in value)


def _labels(value: Any) -> bool:
    return _texts(value) and all(map(is_displayable, value))


def _environment(value: Any) -> bool:
    """An object with what is read of it of the right kind."""
    kinds = {"packages": dict, "git": dict, "variables": dict, "blas": list, "resumed": list}
    return isinstance(value, dict) and all(
        isinstance(value.get(name) or kind(), kind) for name, kind in kinds.items()
    )


def _object(value: Any) -> bool:
    return isinstance(value, dict)


def _kinds(value: Any) -> bool:
    return isinstance(value, dict) and all(kind in KINDS for kind in value.values())


def _matrix(value: Any) -> bool:
    """Rows of counts, as many in each as there are rows."""
    return (
        isinstance(value, list)
        and bool(value)
        and all(isinstance(row, list) and len(row) == len(value) for row in value)
        and all(type(count) is int and 0 <= count < 2**63 for row in value for count in row)
    )


_JSON: Mapping[str, Callable[[Any], bool]] = {
    "argv": _texts,
    "arms": _labels,
    "config": _object,
    "confusion": _matrix,
    "environment": _environment,
    "figures": _object,
    "nonfinite": _kinds,
}

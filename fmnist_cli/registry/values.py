"""The one seam through which values enter the registry.

NumPy scalars become Python numbers (SQLite would store an ``np.int64`` as a BLOB), and what is
not finite becomes NULL beside its kind, for no two databases agree on NaN.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Float, Table


def clean(value: object, kinds: dict[str, str], where: str = "") -> Any:
    """The value in plain Python: None, bool, int, float, str, and lists and dicts of these.

    Parameters
    ----------
    value : scalar, NumPy scalar or array, mapping, list or tuple
    kinds : dict
        Gains ``{where: "nan" | "inf" | "-inf"}`` for every number that is not finite; the number
        itself becomes None. Inside a container ``where`` is a dotted path such as ``W1.error``.

    Raises
    ------
    TypeError
        For a value of any other type: the caller's bug.
    """
    if hasattr(value, "tolist"):  # NumPy's scalars and arrays, without importing NumPy
        value = value.tolist()
    if isinstance(value, float) and not math.isfinite(value):
        kinds[where] = str(value)
        return None
    if value is None or isinstance(value, bool | int | float):
        return value
    if isinstance(value, str):
        # an argument that is no UTF-8 arrives with lone surrogates, which cannot be stored, and
        # no text of PostgreSQL holds a NUL
        return value.replace("\0", "\\x00").encode("utf-8", "backslashreplace").decode("utf-8")
    dot = f"{where}." if where else ""
    if isinstance(value, Mapping):
        return {str(key): clean(item, kinds, f"{dot}{key}") for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [clean(item, kinds, f"{dot}{i}") for i, item in enumerate(value)]
    raise TypeError(
        f"the registry takes plain values. Received: {type(value).__name__} at {where!r}"
    )


def to_json(value: object) -> str:
    """Strict JSON, as it is stored: compact, with Unicode as it is."""
    return json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))


def to_row(table: Table, values: Mapping[str, object]) -> dict[str, Any]:
    """What ``values`` look like in a row of ``table``; containers become JSON text.

    A number that is not finite is stored as NULL and named in the column ``nonfinite``; a table
    without that column refuses it (ValueError).
    """
    kinds: dict[str, str] = {}
    row: dict[str, Any] = {}
    for name, value in values.items():
        plain = clean(value, kinds, name)
        if isinstance(plain, dict | list):
            plain = to_json(plain)
        elif isinstance(plain, int) and isinstance(table.c[name].type, Float):
            plain = float(plain)
        row[name] = plain
    if kinds:
        if "nonfinite" not in table.c:
            raise ValueError(f"{table.name} takes finite numbers only. Received: {kinds}")
        row["nonfinite"] = to_json(kinds)
    return row


def now() -> str:
    """The present, as the registry writes every time: UTC, ISO 8601, microseconds, ``Z``."""
    return utc_text(datetime.now(UTC))


def utc_text(time: datetime) -> str:
    """An aware time as text: ``2026-11-24T08:07:37.000000Z``; such texts sort by time."""
    return time.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


def to_datetime(text: str | None) -> datetime | None:
    """The aware UTC time that ``utc_text`` wrote."""
    return None if text is None else datetime.fromisoformat(text)

"""Values as text: for people (percent, seconds, counts) and for programs (strict JSON)."""

from __future__ import annotations

import json
import math
import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import fields, is_dataclass
from typing import Any

# what makes a terminal do something, turns text round, or may stand in no XML: control characters
# but tab and line end, bidirectional marks, line separators, halves of characters, non-characters
_UNPRINTABLE = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff"
    "\ufeff\ufff9-\ufffb\ufffe\uffff]"
)
_IN_USER = re.compile(r"(://[^:@/\s]*):[^?\s]*@")  # to the last @: a password may hold one
_IN_QUERY = re.compile(r"(?i)([?&](?:[a-z_]*passw(?:or)?d|passfile|secret|token)=)[^&\s]*")


def printable(text: str) -> str:
    """The text as it may be shown, whoever wrote it: what is no text is written ``\\x1b``."""
    if text.isascii() and text.isprintable():
        return text
    return _UNPRINTABLE.sub(lambda found: found[0].encode("unicode_escape").decode(), text)


def without_password(text: str) -> str:
    """A path, a URL or an option that holds one, fit to be shown and recorded."""
    return _IN_QUERY.sub(r"\1***", _IN_USER.sub(r"\1:***@", text))


def count_range(counts: Iterable[int]) -> str:
    """``3``, or ``2 to 3`` where not all are one."""
    known = sorted(counts)
    return f"{known[0]}" if known[0] == known[-1] else f"{known[0]} to {known[-1]}"


def pluralize(n: int, noun: str) -> str:
    """``1 epoch``, ``2,000 epochs``."""
    return f"{n:,} {noun}{'' if n == 1 else 's'}"


def format_count(value: float) -> str:
    """A count, or a mean of counts: ``7``, ``12.3``, ``1,234``."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def to_json(value: Any) -> str:
    """Strict JSON, indented; NaN and infinities become null."""
    return json_text(value, indent=2)


def json_text(value: Any, indent: int | None = None) -> str:
    """Strict JSON on one line, or indented; what may not be shown as it is is escaped."""
    text = json.dumps(plain(value), indent=indent, allow_nan=False, ensure_ascii=False)
    return _UNPRINTABLE.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def plain(value: Any) -> Any:
    """``value`` as JSON can hold it.

    NumPy's arrays and tuples as lists, records by their fields, paths and times as text; NaN and
    infinities as None.
    """
    if value is None or type(value) in (str, int, bool):
        return value
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if hasattr(value, "tolist"):  # NumPy's arrays and scalars
        return plain(value.tolist())
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if is_dataclass(value):
        return plain({field.name: getattr(value, field.name) for field in fields(value)})
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    return value.isoformat() if hasattr(value, "isoformat") else value


def percent(fraction: float | None, digits: int = 2) -> str:
    """0.8512 as ``85.12 %``; a dash where there is none."""
    return "-" if fraction is None else f"{100 * fraction:.{digits}f} %"


def seconds(value: float | None) -> str:
    """A duration with the digits that a person reads: ``0.093 s``, ``12.3 s``, ``2 min 05 s``."""
    if value is None:
        return "-"
    if value < 1:
        return f"{value:.3f} s"
    if value < 60:
        return f"{value:.1f} s"
    minutes, rest = divmod(round(value), 60)
    return f"{minutes} min {rest:02d} s"

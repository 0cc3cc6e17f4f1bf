"""Numbers as text: for people (percent, seconds, counts) and for programs (strict JSON)."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any


def pluralize(n: int, noun: str) -> str:
    """``1 epoch``, ``2,000 epochs``."""
    return f"{n:,} {noun}{'' if n == 1 else 's'}"


def format_count(value: float) -> str:
    """A count, or a mean of counts: ``7``, ``12.3``, ``1,234``."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def to_json(value: Any) -> str:
    """Strict JSON, indented; NaN and infinities become null."""
    return json.dumps(plain(value), indent=2, allow_nan=False, ensure_ascii=False)


def plain(value: Any) -> Any:
    """``value`` as JSON can hold it: NumPy's arrays as lists, NaN and infinities as None."""
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
    return value


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


def mean_and_spread(values: Iterable[float | None], show: Callable[[float], str]) -> str:
    """One value as it is; several as their mean and standard deviation; a dash for none."""
    from statistics import fmean, stdev

    present = [value for value in values if value is not None]
    if not present:
        return "-"
    if len(present) == 1:
        return show(present[0])
    return f"{show(fmean(present))} ± {show(stdev(present))}"

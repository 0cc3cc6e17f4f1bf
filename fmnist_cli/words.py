"""Numbers of things in words, for the engine's answers and the commands alike."""

from __future__ import annotations


def counted(n: int, noun: str) -> str:
    """``1 epoch``, ``2,000 epochs``."""
    return f"{n:,} {noun}{'' if n == 1 else 's'}"


def mean_count(value: float) -> str:
    """A count, or a mean of counts: ``7``, ``12.3``, ``1,234``."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"

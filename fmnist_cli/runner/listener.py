"""Who hears of the work while it is done: messages, warnings and progress.

The runner prints nothing. A command listens with its terminal, a notebook with a bar of its own,
and a worker passes on what it hears to the process that shows it.
"""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Protocol


class ProgressBar(Protocol):
    """What counts the units of some work."""

    def update(self, n: int = 1, /) -> object:
        """Count ``n`` units more."""

    def status(self, text: str, /) -> object:
        """Show what holds just now, such as the latest accuracy."""


class Listener(Protocol):
    """Who hears of the work."""

    def message(self, text: str, /) -> None:
        """Hear what happens now, in one line."""

    def warning(self, text: str | None, /) -> None:
        """Hear what the user must know of, each text once; None is no warning."""

    def progress(
        self, total: int, label: str, *, unit: str, initial: int = 0
    ) -> AbstractContextManager[ProgressBar]:
        """Count from ``initial`` to ``total`` units of the work that ``label`` names."""


class SilentBar:
    """Counts nothing."""

    def update(self, n: int = 1, /) -> None:
        pass

    def status(self, text: str, /) -> None:
        pass


class Silent:
    """Hears nothing."""

    def message(self, text: str, /) -> None:
        pass

    def warning(self, text: str | None, /) -> None:
        pass

    def progress(
        self, total: int, label: str, *, unit: str, initial: int = 0
    ) -> AbstractContextManager[ProgressBar]:
        return nullcontext(SilentBar())

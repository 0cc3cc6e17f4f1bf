"""How the data layer tells what it is doing to whoever shows it."""

from __future__ import annotations

from typing import Protocol


class Progress(Protocol):
    """Called often while bytes arrive; the command layer turns it into a bar."""

    def __call__(self, label: str, done_bytes: int, total_bytes: int | None) -> None:
        """``label`` says what arrives and from where; ``total_bytes`` is None where unknown."""


def silent(label: str, done_bytes: int, total_bytes: int | None) -> None:
    """The Progress that shows nothing."""

"""A listener for Python: messages and bars, in a terminal or a notebook."""

from __future__ import annotations

from contextlib import AbstractContextManager, closing
from typing import Any

from tqdm.auto import tqdm

from fmnist_cli.runner.listener import ProgressBar


class TqdmListener:
    """Prints messages, and shows progress as tqdm does: in a notebook with its own bar.

    Parameters
    ----------
    leave : bool, default False
        Let finished bars stand.
    """

    def __init__(self, *, leave: bool = False) -> None:
        self.leave = leave
        self._warnings: set[str] = set()

    def message(self, text: str, /) -> None:
        tqdm.write(text)

    def warning(self, text: str | None, /) -> None:
        if text is not None and text not in self._warnings:
            self._warnings.add(text)
            self.message(text)

    def progress(
        self, total: int, label: str, *, unit: str, initial: int = 0
    ) -> AbstractContextManager[ProgressBar]:
        bar = tqdm(total=total, desc=label, unit=unit, initial=initial, leave=self.leave)
        return closing(_TqdmBar(bar))


class _TqdmBar:
    def __init__(self, bar: Any) -> None:
        self.bar = bar

    def update(self, n: int = 1, /) -> None:
        self.bar.update(n)

    def status(self, text: str, /) -> None:
        self.bar.set_postfix_str(text, refresh=False)

    def close(self) -> None:
        self.bar.close()

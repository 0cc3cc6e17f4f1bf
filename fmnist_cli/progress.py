"""Progress bars: of a terminal, and of Python in a terminal or a notebook."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack, closing
from typing import Any

from tqdm import tqdm

from fmnist_cli.formatting import printable
from fmnist_cli.host import signals_deferred
from fmnist_cli.runner.listener import ProgressBar


class CountingBar:
    """A bar of tqdm's, as the runner counts with it."""

    def __init__(self, bar: Any) -> None:
        self.bar = bar

    def update(self, n: int = 1, /) -> None:
        self.bar.update(n)

    def status(self, text: str, /) -> None:
        self.bar.set_postfix_str(text, refresh=False)

    def close(self) -> None:
        self.bar.close()


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
        from tqdm.auto import tqdm

        bar = tqdm(total=total, desc=label, unit=unit, initial=initial, leave=self.leave)
        return closing(CountingBar(bar))


class _TerminalBar(tqdm):  # type: ignore[misc]
    """tqdm's bar, drawn whole: a Ctrl-C between its line and the way back would leave the cursor
    on another line than tqdm takes it for."""

    monitor_interval = 0  # no thread that watches over it

    def display(self, *args: Any, **kwargs: Any) -> Any:
        with signals_deferred():
            return super().display(*args, **kwargs)


def terminal_bar(total: float | None, label: str, *, quiet: bool, **keywords: Any) -> tqdm[Any]:
    """A bar on stderr, gone when it is done; silent when quiet or not on a terminal."""
    with (
        ExitStack() as drawn
    ):  # tqdm draws a bar as it makes it: one that is not returned is cleared
        with signals_deferred():
            bar = drawn.enter_context(
                _TerminalBar(
                    total=total,
                    desc=printable(label),
                    file=sys.stderr,
                    disable=quiet or not sys.stderr.isatty() or os.environ.get("TERM") == "dumb",
                    ncols=_bar_width(),
                    leave=False,
                    **keywords,
                )
            )
            bar.dynamic_ncols = lambda _: (_bar_width(), None)
        drawn.pop_all()
    return bar


class ByteBars:
    """Shows the data's progress reports, a bar for every label."""

    def __init__(self, say: Callable[[str], None], *, quiet: bool) -> None:
        self.say, self.quiet = say, quiet
        self.label = ""
        self.bar: Any = None

    def close(self) -> None:
        if self.bar is not None:
            self.bar.close()

    def __call__(self, label: str, done_bytes: int, total_bytes: int | None) -> None:
        if label != self.label:
            self.close()
            self.label = label
            self.say(label)
            units = {"unit": "B", "unit_scale": True, "unit_divisor": 1024}
            self.bar = terminal_bar(total_bytes, label, quiet=self.quiet, **units)
        self.bar.update(done_bytes - self.bar.n)


def _bar_width() -> int:
    """Columns of a bar: what a terminal echoes after it, such as ^C, must not begin a new line."""
    try:
        columns = os.get_terminal_size(sys.stderr.fileno()).columns
    except (OSError, ValueError):
        return 76
    return max(10, columns - 4)

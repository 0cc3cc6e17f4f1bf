"""The look that every figure shares: type, colours, the sheet with its heading and notes.

Nothing global is touched: ``applied_style()`` sets matplotlib's parameters for a block and puts
them back. It starts from matplotlib's own defaults, so that a user's matplotlibrc does not change
what a figure looks like.
"""

from __future__ import annotations

import logging
import os
import sys
import textwrap
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, NamedTuple

from fmnist_cli.formatting import printable

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# Okabe and Ito, "Color Universal Design" (2008): told apart by all common colour visions.
BLACK, ORANGE, SKY, GREEN = "#000000", "#E69F00", "#56B4E9", "#009E73"
YELLOW, BLUE, VERMILLION, PURPLE = "#F0E442", "#0072B2", "#D55E00", "#CC79A7"
GREY = "#555555"

WIDTH_INCHES = 7.2  # a text block's width, and a figure's
NARROW_INCHES = 4.3  # on a phone, whose 360 pixels show the text at its size
TEXT_POINTS, SMALL_POINTS, TITLE_POINTS = 9.0, 8.0, 12.0
EDGE_POINTS = 6.0
CHARACTER_EM = 0.56  # mean advance of DejaVu Sans in running text

_RC = {
    "font.size": TEXT_POINTS,
    "axes.titlesize": TEXT_POINTS,
    "axes.labelsize": TEXT_POINTS,
    "xtick.labelsize": SMALL_POINTS,
    "ytick.labelsize": SMALL_POINTS,
    "legend.fontsize": SMALL_POINTS,
    "legend.frameon": False,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.8,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#E4E4E4",
    "grid.linewidth": 0.6,
    "lines.linewidth": 1.6,
    "lines.markersize": 4.0,
    "hatch.linewidth": 0.6,
    "text.parse_math": False,  # a "$" in a run's name is a dollar sign
    "figure.dpi": 100,
    "savefig.dpi": 150,
    "svg.fonttype": "none",  # text stays text: it can be searched and copied
    "svg.hashsalt": "fmnist",  # else the ids in an SVG are random
    "pdf.fonttype": 42,  # TrueType, embedded
}


_width: ContextVar[float] = ContextVar("_width", default=WIDTH_INCHES)


@contextmanager
def narrow() -> Iterator[None]:
    """Figures that are drawn within it are for a phone."""
    token = _width.set(NARROW_INCHES)
    try:
        yield
    finally:
        _width.reset(token)


def sheet_width() -> float:
    """Of a figure, in inches."""
    return _width.get()


def is_narrow() -> bool:
    return sheet_width() < WIDTH_INCHES


@contextmanager
def applied_style() -> Iterator[None]:
    """Matplotlib's parameters for our figures, within a block or (as a decorator) a function."""
    _import_matplotlib()
    import matplotlib.style

    with matplotlib.style.context(["default", _RC]), warnings.catch_warnings():
        # A name in a script that the font lacks is drawn as boxes.
        warnings.filterwarnings("ignore", message="Glyph .* missing from")
        yield


def _import_matplotlib() -> None:
    """Import it, also where MPLBACKEND names a backend (a notebook's, Qt's) that is not here:
    our figures need none."""
    if "matplotlib" in sys.modules:
        return
    backend = os.environ.pop("MPLBACKEND", None)  # a bad one would break the import
    logger = logging.getLogger("matplotlib")
    level = logger.level
    logger.setLevel(logging.ERROR)  # that its cache is a temporary one concerns nobody
    try:
        import matplotlib
        import matplotlib.font_manager  # nor that the cache of the fonts has no room
    finally:
        logger.setLevel(level)
        if backend is not None:
            os.environ["MPLBACKEND"] = backend
    if backend is not None:
        with suppress(ValueError):
            matplotlib.rcParams["backend"] = backend


Dashes = str | tuple[float, tuple[float, ...]]


class Look(NamedTuple):
    """How one line is drawn; the dashes and the marker tell it apart in grey."""

    colour: str
    dashes: Dashes
    marker: str


_COLOURS = (BLUE, VERMILLION, GREEN, ORANGE, PURPLE, BLACK, SKY)
_DASHES: tuple[Dashes, ...] = ("-", (0, (5, 1.5)), (0, (5, 1.5, 1, 1.5)), (0, (1, 1)))
MARKERS = "os^DvPX<>"
_BAR_COLOURS = (BLUE, ORANGE, GREEN, PURPLE, SKY, VERMILLION, YELLOW)
_HATCHES = ("", "///", "...", "\\\\\\", "xxx", "---", "+++")


def look(i: int) -> Look:
    """The i-th of many lines: colour, dashes and marker repeat with different periods."""
    return Look(_COLOURS[i % len(_COLOURS)], _DASHES[i % len(_DASHES)], MARKERS[i % len(MARKERS)])


TRAIN, VALIDATION, TEST = look(0), look(1), look(2)
RUNNING = Look(SKY, "-", "")


def bar_colour(i: int) -> tuple[str, str]:
    """Fill and hatch of the i-th kind of bar."""
    return _BAR_COLOURS[i % len(_BAR_COLOURS)], _HATCHES[i % len(_HATCHES)]


def plain(name: str, width: int | None = None, lines: int = 3) -> str:
    """A user's name as it may be drawn: printable, wrapped at ``width``, at most ``lines`` lines.

    What is too long loses its middle, for names that differ do so at their start or end.
    """
    text = " ".join(printable(name).split())
    if width is not None:
        whole, room = text, width * lines
        while len(textwrap.wrap(text, width)) > lines:  # words leave some of the room unused
            text = f"{whole[: room // 2]}…{whole[len(whole) - room // 2 + 1 :]}"
            room -= 1
        text = "\n".join(textwrap.wrap(text, width))
    # Matplotlib leaves a label that starts with "_" out of the legend.
    return f" {text}" if text.startswith("_") else text


def new_figure(title: str, subtitle: str, notes: Sequence[str] = (), *, height: float) -> Figure:
    """A sheet with its heading at the top left and its notes, a paragraph each, at the bottom left.

    ``height`` is that of the axes, in inches; what heading and notes need is added. The sheet is
    ``sheet_width()`` wide.
    """
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    width = sheet_width()
    room = width * 72 - 2 * EDGE_POINTS
    title_lines = _wrapped(title, TITLE_POINTS, room, weight="bold")
    subtitle_lines = _wrapped(subtitle, TEXT_POINTS, room)
    note_lines = [line for note in notes for line in _wrapped(note, SMALL_POINTS, room)]
    title_height = len(title_lines) * TITLE_POINTS * 1.35
    top = EDGE_POINTS + title_height + len(subtitle_lines) * TEXT_POINTS * 1.35 + EDGE_POINTS
    bottom = len(note_lines) * SMALL_POINTS * 1.35 + (EDGE_POINTS if note_lines else 0)

    total = height * 72 + top + bottom
    figure = Figure(figsize=(width, total / 72), facecolor="white")
    figure.set_layout_engine(
        ConstrainedLayoutEngine(
            rect=(0, bottom / total, 1, 1 - (top + bottom) / total),
            w_pad=EDGE_POINTS / 72,
            h_pad=EDGE_POINTS / 72,
        )
    )
    x, edge = EDGE_POINTS / (width * 72), EDGE_POINTS / total

    def write(gid: str, lines: list[str], y: float, points: float, **properties: Any) -> None:
        figure.text(x, y, "\n".join(lines), gid=gid, size=points, **properties)

    write("title", title_lines, 1 - edge, TITLE_POINTS, weight="bold", va="top")
    below_title = 1 - edge - title_height / total
    write("subtitle", subtitle_lines, below_title, TEXT_POINTS, color=GREY, va="top")
    if note_lines:
        write("notes", note_lines, edge, SMALL_POINTS, color=GREY, va="bottom")
    return figure


def _wrapped(text: str, points: float, room: float, weight: str = "normal") -> list[str]:
    """The text in lines no wider than ``room`` points, as the font measures them."""
    from matplotlib.font_manager import FontProperties
    from matplotlib.textpath import text_to_path

    # Hinting at low resolutions makes text up to 4 % wider than the outlines measured here.
    font = FontProperties(size=points * 1.04, weight=weight)

    def fits(line: str) -> bool:
        return text_to_path.get_text_width_height_descent(line, font, ismath=False)[0] <= room

    pieces: list[str] = []  # "batch 5 ·" stays together; a part wider than the sheet does not
    for part in plain(text).replace(" · ", " ·\n").split("\n"):
        pieces += [part] if fits(part) else part.split(" ")
    lines = [""]
    for piece in pieces:
        longer = f"{lines[-1]} {piece}".strip()
        if fits(longer):
            lines[-1] = longer
            continue
        lines.append("")
        for character in piece:  # a word may be wider than the sheet, too
            if not fits(lines[-1] + character):
                lines.append("")
            lines[-1] += character
    return [line.removesuffix(" ·") for line in lines if line] or [""]


def finish(figure: Figure) -> Figure:
    """Lay the figure out once and for all, so that every format and resolution is the same."""
    figure.draw_without_rendering()
    figure.set_layout_engine("none")
    return figure

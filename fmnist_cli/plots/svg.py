"""Matplotlib's SVG for a page: smaller, without addresses, and readable on a dark page too.

An SVG file follows the reader's light or dark setting by itself, also inside ``<img>``: a media
query in its own style sheet replaces each colour by its counterpart on dark ground.
"""

from __future__ import annotations

import colorsys
import io
import re
from typing import TYPE_CHECKING

from fmnist_cli.plots.style import applied_style

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Rgb = tuple[float, float, float]  # each in [0, 1]

DARK_GROUND = "#16191d"
DARK_INK = "#e4e6e9"
CONTRAST = 4.5  # text in a series' colour, by WCAG 2.2, 1.4.3

_UNSATURATED = 0.08
_STEP = 0.01  # of lightness

_HEAD = re.compile(r"^.*?(?=<svg)", re.DOTALL)
_METADATA = re.compile(r"<metadata>.*?</metadata>\s*", re.DOTALL)
_SPACE = re.compile(r"\s*\n\s*")
_COLOUR = re.compile(r"(?:fill|stroke|stop-color): (#[0-9a-f]{6})")


def to_svg(figure: Figure) -> str:
    """The figure as an SVG document for light and dark pages, such as a notebook's."""
    buffer = io.BytesIO()
    with applied_style():
        figure.savefig(buffer, format="svg", metadata={"Date": None})
    svg = _HEAD.sub("", buffer.getvalue().decode())
    svg = _SPACE.sub("\n", _METADATA.sub("", svg))
    return svg.replace("</style>", f"{_dark_rules(svg)}</style>", 1)


def on_dark(colour: str) -> str:
    """The counterpart of a colour that was chosen for white ground.

    Parameters
    ----------
    colour : str
        ``#rrggbb``

    Returns
    -------
    str
        For greys the grey that stands out from ``DARK_GROUND`` as they do from white; other
        colours keep their hue and are as light as text needs.
    """
    from matplotlib.colors import to_hex, to_rgb

    rgb, ground, ink = to_rgb(colour), to_rgb(DARK_GROUND), to_rgb(DARK_INK)
    hue, lightness, saturation = colorsys.rgb_to_hls(*rgb)
    if saturation < _UNSATURATED or lightness in (0, 1):
        red, green, blue = (i + (g - i) * lightness for g, i in zip(ground, ink, strict=True))
        return to_hex((red, green, blue))
    while _contrast(rgb, ground) < CONTRAST:
        lightness += _STEP
        rgb = colorsys.hls_to_rgb(hue, lightness, saturation)
    return to_hex(rgb)


def _dark_rules(svg: str) -> str:
    colours = sorted(set(_COLOUR.findall(svg)))
    rules = [f"svg{{fill:{DARK_INK}}}"]  # black is left out where it is the default
    rules += [
        f'[style*="{name}: {colour}"]{{{name}:{on_dark(colour)}!important}}'
        for colour in colours
        for name in ("fill", "stroke")
        if f"{name}: {colour}" in svg
    ]
    return f"@media (prefers-color-scheme: dark){{{''.join(rules)}}}"


def _contrast(one: Rgb, other: Rgb) -> float:
    """From 1 to 21; WCAG 2.2, "contrast ratio"."""
    dark, light = sorted((_luminance(one), _luminance(other)))
    return (light + 0.05) / (dark + 0.05)


def _luminance(rgb: Rgb) -> float:
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in rgb]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

"""The page as a browser shows it, at the widths of a phone and of a desk, light and dark."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from .chromium import Chromium
from .conftest import Made

pytestmark = [pytest.mark.browser, pytest.mark.timeout(120)]

PHONE, DESK = 360, 1280


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("width", [PHONE, DESK])
def test_the_page_loads_alone_fits_and_shows_every_picture(
    made: Made, chromium: Chromium, width: int, dark: bool
) -> None:
    chromium.open(made.folder / "index.html", width=width, dark=dark)
    reported = [
        event for event in chromium.events
        if event[0] in ("Log.entryAdded", "Runtime.consoleAPICalled", "Runtime.exceptionThrown")
    ]  # fmt: skip
    assert reported == []
    requested = [
        event["request"]["url"].partition(",")[0]
        for method, event in chromium.events
        if method == "Network.requestWillBeSent"
    ]
    others = [url for url in requested if not url.startswith("data:")]
    assert others == [(made.folder / "index.html").as_uri()]

    assert chromium.evaluate("document.documentElement.scrollWidth") <= width
    sticking_out = """[...document.querySelectorAll('body *')].filter(
        element => !element.closest('.scroll') && element.getBoundingClientRect().right > %d + 0.5
    ).map(element => element.outerHTML.slice(0, 80))"""
    assert chromium.evaluate(sticking_out % width) == []
    sizes = chromium.evaluate("[...document.images].map(i => [i.complete, i.naturalWidth])")
    assert len(sizes) == 7
    assert all(complete and natural > 300 for complete, natural in sizes)


def test_no_table_is_clipped_at_a_desk(made: Made, chromium: Chromium) -> None:
    chromium.open(made.folder / "index.html", width=1200)
    clipped = """[...document.querySelectorAll('.scroll')].filter(
        box => box.scrollWidth > box.clientWidth + 1).map(box => box.ariaLabel)"""
    assert chromium.evaluate(clipped) == []


def test_what_scrolls_on_a_phone_says_so_and_its_caption_stays(
    made: Made, chromium: Chromium
) -> None:
    chromium.open(made.folder / "index.html", width=390)
    without = """[...document.querySelectorAll('.scroll')].filter(
        box => box.scrollWidth > box.clientWidth + 1
        && !getComputedStyle(box).backgroundImage.includes('gradient')).map(box => box.ariaLabel)"""
    assert chromium.evaluate(without) == []
    captions = "[...document.querySelectorAll('caption')].map(c => c.getBoundingClientRect().right)"
    assert max(chromium.evaluate(captions)) <= 390


def test_no_figure_is_cut_on_a_phone(made: Made, chromium: Chromium) -> None:
    chromium.open(made.folder / "index.html", width=390)
    cut = "[...document.images].filter(i => i.getBoundingClientRect().right > 390).length"
    assert chromium.evaluate(cut) == 0


def test_texts_tables_and_figures_end_at_one_margin(made: Made, chromium: Chromium) -> None:
    chromium.open(made.folder / "index.html", width=1200)
    right = """[...new Set([...document.querySelectorAll('main table, main figure, main section')]
        .map(e => Math.round(e.getBoundingClientRect().right)))]"""
    assert len(chromium.evaluate(right)) == 1


def test_links_within_the_page_lead_somewhere(made: Made, chromium: Chromium) -> None:
    chromium.open(made.folder / "index.html", width=DESK)
    dangling = """[...document.links].map(a => a.getAttribute('href')).filter(
        href => !document.getElementById(href.slice(1)))"""
    assert chromium.evaluate("document.links.length") > 30
    assert chromium.evaluate(dangling) == []


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_text_and_figures_follow_the_colour_scheme(
    made: Made, chromium: Chromium, dark: bool
) -> None:
    chromium.open(made.folder / "index.html", width=DESK, dark=dark)
    box = chromium.evaluate("""(() => { const b = document.images[0].getBoundingClientRect();
        return [b.x + scrollX, b.y + scrollY, b.width, b.height] })()""")
    figure = Image.open(io.BytesIO(chromium.screenshot(*box))).convert("L")
    grey = np.asarray(figure) / 255
    # most of a figure is ground; its title and axes are ink on it
    assert (np.median(grey) < 0.2) == dark
    assert (np.median(grey) > 0.9) == (not dark)
    assert np.ptp(grey) > 0.6

    ratio = """(() => {
      const luminance = colour => { const [r, g, b] = colour.match(/[0-9.]+/g).slice(0, 3)
        .map(c => c / 255).map(c => c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4);
        return 0.2126 * r + 0.7152 * g + 0.0722 * b };
      const ground = element => { for (let e = element; e; e = e.parentElement) {
        const colour = getComputedStyle(e).backgroundColor;
        if (!/, 0\\)$/.test(colour)) return luminance(colour) } };
      return Math.min(...[...document.querySelectorAll('p, a, h1, h2, h3, dd, th, td, caption, '
        + 'figcaption, strong, code, .label')].map(e => { const [low, high] =
          [luminance(getComputedStyle(e).color), ground(e)].sort((a, b) => a - b);
          return (high + 0.05) / (low + 0.05) })) })()"""
    assert chromium.evaluate(ratio) >= 4.5

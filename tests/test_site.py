"""The documentation as a site: it builds without a warning, and its links lead somewhere."""

from __future__ import annotations

import subprocess
import sys
from functools import cache
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

pytestmark = pytest.mark.slow

DOCS = Path(__file__).parent.parent / "docs"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    options = ["-W", "--keep-going", "-n", "-q"]
    built = subprocess.run(
        [sys.executable, "-m", "sphinx", *options, DOCS, folder], capture_output=True, text=True
    )
    assert built.returncode == 0, built.stderr
    return folder


class Page(HTMLParser):
    """The names that a page can be entered at, and where it leads."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.names: set[str] = set()
        self.links: set[str] = set()
        self.feed(text)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        given = {name: value for name, value in attributes if value}
        if "id" in given:
            self.names.add(given["id"])
        self.links |= {given[name] for name in ("href", "src") if name in given}


@cache
def read(path: Path) -> Page:
    return Page(path.read_text(encoding="utf-8"))


def test_every_page_is_built_and_in_the_navigation(site: Path) -> None:
    pages = {path.relative_to(DOCS).with_suffix(".html").as_posix() for path in DOCS.rglob("*.md")}
    assert all((site / page).is_file() for page in pages)
    navigation = read(site / "search.html").links  # a page without a text of its own
    assert pages <= navigation


def test_links_inside_the_site_lead_somewhere(site: Path) -> None:
    broken = []
    for path in site.rglob("*.html"):
        for link in read(path).links:
            where = urlsplit(link)
            if where.scheme or where.netloc:
                continue
            target = path.parent / unquote(where.path) if where.path else path
            names = read(target).names if where.fragment and target.is_file() else {where.fragment}
            if not target.is_file() or where.fragment not in names:
                broken.append(f"{path.relative_to(site)}: {link}")
    assert not broken


def test_nothing_is_loaded_from_elsewhere(site: Path) -> None:
    for path in site.rglob("*.html"):
        text = path.read_text(encoding="utf-8")
        for tag in ('<script src="', '<link rel="stylesheet" href="'):
            assert f"{tag}http" not in text, path.name

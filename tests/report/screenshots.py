"""The pictures in docs/report.md.

::

    python -m tests.report.screenshots results/report/index.html docs/images
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from .chromium import Chromium, find

SHOTS = {  # name: width, height and scale; dark; the heading at its top
    "report-desktop-light": (1280, 1500, 1, False, None),
    "report-desktop-dark": (1280, 1500, 1, True, "sweep-batch"),
    "report-phone-light": (390, 1600, 1.5, False, None),
    "report-phone-dark": (390, 1600, 1.5, True, "early-stop"),
}


def main(page: Path, folder: Path) -> None:
    """Take every shot of the page."""
    executable = find()
    if executable is None:
        sys.exit("needs Chromium: apt-get install chromium")
    with tempfile.TemporaryDirectory() as profile:
        browser = Chromium(executable, Path(profile))
        for name, (width, height, scale, dark, heading) in SHOTS.items():
            browser.open(page, width=width, dark=dark, scale=scale)
            top = 0.0
            if heading is not None:
                top = browser.evaluate(
                    f"document.getElementById('{heading}').getBoundingClientRect().y - 24"
                )
            (folder / f"{name}.png").write_bytes(browser.screenshot(0, top, width, height))
        browser.close()


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))

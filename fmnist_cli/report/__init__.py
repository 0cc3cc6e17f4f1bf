"""The report: content in, one HTML page or its Markdown twin out.

``blocks`` says what a report consists of; ``html`` and ``markdown`` write it. No command line, no
registry, no training.
"""

from fmnist_cli.report.blocks import (
    FIGURES_FOLDER,
    Finding,
    Formula,
    Listing,
    Picture,
    Prose,
    Report,
    Section,
    run_anchor,
)
from fmnist_cli.report.html import to_html
from fmnist_cli.report.markdown import to_markdown

__all__ = [
    "FIGURES_FOLDER",
    "Finding",
    "Formula",
    "Listing",
    "Picture",
    "Prose",
    "Report",
    "Section",
    "run_anchor",
    "to_html",
    "to_markdown",
]

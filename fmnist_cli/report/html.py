"""A report as one HTML page that needs nothing else: no network, no script, no other file."""

from __future__ import annotations

import base64
import re
from collections.abc import Iterator
from html import escape
from importlib.resources import files

from fmnist_cli.analysis.answers import Answer
from fmnist_cli.analysis.why.causes import Explanation
from fmnist_cli.report import blocks
from fmnist_cli.report.mathml import mathml
from fmnist_cli.tables import Column, Table

SHORT = 24  # characters

SPREAD = re.compile(r"(.+?) ((?:± |\().+)$")  # of a number in a cell
_VIEW_BOX = re.compile(r'viewBox="0 0 ([0-9.]+) ([0-9.]+)"')


def to_html(report: blocks.Report) -> str:
    """The page."""
    return "\n".join(_page(report)) + "\n"


def _page(report: blocks.Report) -> Iterator[str]:
    css = (files("fmnist_cli.report") / "page.css").read_text(encoding="utf-8")
    title = f"{report.title} ({report.label})" if report.label else report.title
    yield "<!DOCTYPE html>"
    yield '<html lang="en">'
    yield "<head>"
    yield '<meta charset="utf-8">'
    yield '<meta name="viewport" content="width=device-width, initial-scale=1">'
    yield '<meta name="color-scheme" content="light dark">'
    yield f"<title>{escape(title)}</title>"
    yield '<link rel="icon" href="data:,">'
    yield f"<style>\n{css}</style>"
    yield "</head>"
    yield "<body>"
    yield "<header>"
    yield f"<h1>{escape(report.title)}{_badge(report)}</h1>"
    yield '<dl class="whose">'
    for label, text in (("Name", report.author), ("Course", report.course)):
        yield f'<dt>{label}</dt><dd contenteditable="true">{escape(text)}</dd>'
    yield "</dl>"
    yield f"<p>{escape(report.lead)}</p>"
    yield "</header>"
    yield '<nav aria-labelledby="contents">'
    yield '<h2 id="contents">Contents</h2>'
    yield "<ol>"
    for section in report.sections:
        yield f'<li><a href="#{section.key}">{escape(section.title)}</a></li>'
    yield "</ol>"
    yield "</nav>"
    yield "<main>"
    yield '<section aria-labelledby="summary">'
    yield f'<h2 id="summary">The answers{_badge(report)}</h2>'
    yield '<dl class="findings">'
    for finding in report.findings:
        yield f'<dt><a href="#{finding.key}">{escape(finding.question)}</a></dt>'
        verdict = escape(blocks.sentence(finding.verdict))
        yield f'<dd><strong class="verdict">{verdict}</strong> {escape(finding.line)}</dd>'
    yield "</dl>"
    yield "</section>"
    for section in report.sections:
        yield from _section(section, report)
    yield "</main>"
    yield "</body>"
    yield "</html>"


def _section(section: blocks.Section, report: blocks.Report) -> Iterator[str]:
    yield f'<section aria-labelledby="{section.key}">'
    yield f'<h2 id="{section.key}">{escape(section.title)}{_badge(report)}</h2>'
    for block in section.blocks:
        yield from _block(block)
    if section.command or section.run_ids or section.figures:
        yield '<footer class="source">'
        if section.command:
            yield f"<p>Again: <code>{escape(section.command)}</code></p>"
        if section.figures:
            commands = ", ".join(f"<code>{escape(command)}</code>" for command in section.figures)
            yield f"<p>Figures: {commands}</p>"
        if section.run_ids:
            links = ", ".join(
                f'<a href="#{blocks.run_anchor(run_id)}">{run_id}</a>' for run_id in section.run_ids
            )
            yield f"<p>Recorded as run{'s' if len(section.run_ids) > 1 else ''} {links}.</p>"
        yield "</footer>"
    yield "</section>"


def _block(block: blocks.Block) -> Iterator[str]:
    if isinstance(block, blocks.Prose):
        yield f"<p>{escape(block.text)}</p>"
    elif isinstance(block, blocks.Formula):
        yield f'<p class="formula">{mathml(block.text)}</p>'
    elif isinstance(block, Answer):
        yield '<div class="answer">'
        yield f"<h3>{escape(block.question)}</h3>"
        verdict, _, rest = block.statement.partition(". ")
        yield f'<p><strong class="verdict">{escape(verdict)}.</strong> {escape(rest)}</p>'
        yield "</div>"
    elif isinstance(block, Explanation):
        yield '<div class="answer">'
        yield f"<h3>{escape(block.heading)}</h3>"
        yield f"<p>{escape(block.answer)}</p>"
        yield from (f"<p>{escape(statement)}</p>" for statement in block.measured)
        yield "</div>"
    elif isinstance(block, blocks.Picture):
        yield from _picture(block)
    elif isinstance(block, blocks.Listing):
        caption = escape(block.caption)
        yield f'<figure class="listing"><figcaption>{caption}</figcaption>'
        yield f'<div class="scroll" role="region" aria-label="{caption}" tabindex="0">'
        yield f"<pre><code>{escape(block.text.rstrip())}</code></pre></div></figure>"
    else:
        yield from _table(block)


def _picture(picture: blocks.Picture) -> Iterator[str]:
    size = _VIEW_BOX.search(picture.svg)
    assert size is not None
    # points to CSS pixels; with both known, the page does not jump while it loads
    width, height = (round(float(points) * 96 / 72) for points in size.groups())
    yield "<figure>"
    yield f'<div class="scroll" role="region" aria-label="Figure {picture.name}" tabindex="0">'
    yield "<picture>"
    if picture.narrow:
        yield f'<source media="(max-width: 600px)" srcset="{_data(picture.narrow)}">'
    yield (
        f'<img src="{_data(picture.svg)}" alt="{escape(picture.alt)}" '
        f'width="{width}" height="{height}">'
    )
    yield "</picture>"
    yield "</div>"
    yield f"<figcaption>{escape(picture.caption)}</figcaption>"
    yield "</figure>"


def _data(svg: str) -> str:
    """The drawing as an address."""
    return f"data:image/svg+xml;base64,{base64.b64encode(svg.encode()).decode()}"


def _table(table: Table) -> Iterator[str]:
    yield f'<div class="scroll" role="region" aria-label="{escape(table.caption)}" tabindex="0">'
    yield "<table>"
    yield f"<caption>{escape(table.caption)}</caption>"
    kinds = [' class="number"' if column.numeric else "" for column in table.columns]
    yield "<thead><tr>"
    for column, kind in zip(table.columns, kinds, strict=True):
        yield f'<th scope="col"{kind}>{escape(blocks.heading(column))}</th>'
    yield "</tr></thead>"
    yield "<tbody>"
    for i, row in enumerate(table.cells):
        anchor = f' id="{table.anchors[i]}"' if table.anchors else ""
        cells = "".join(
            f'<th scope="row"{kind or _short(cell)}>{_cell(column, cell)}</th>'
            if j == 0
            else f"<td{kind or _short(cell)}>{_cell(column, cell)}</td>"
            for j, (column, cell, kind) in enumerate(zip(table.columns, row, kinds, strict=True))
        )
        yield f"<tr{anchor}>{cells}</tr>"
    yield "</tbody>"
    yield "</table>"
    yield "</div>"
    for note in table.notes:
        yield f'<p class="note">{escape(note)}</p>'


def _cell(column: Column, cell: str) -> str:
    """The cell's content; what the seeds spread over stands below their mean."""
    if column.formula and cell:
        return mathml(cell)
    if not column.numeric or not (found := SPREAD.match(cell)):
        return escape(cell)
    mean, spread = found.groups()
    return f'{escape(mean)}<br><span class="spread">{escape(spread)}</span>'


def _short(cell: str) -> str:
    """Few words stay on one line: breaking at a hyphen would not make a table narrower by much."""
    return ' class="short"' if len(cell) <= SHORT else ""


def _badge(report: blocks.Report) -> str:
    return f' <span class="label">{escape(report.label)}</span>' if report.label else ""

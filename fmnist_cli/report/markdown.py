"""A report as Markdown (GitHub's), its figures as files beside it."""

from __future__ import annotations

import re
from collections.abc import Iterator

from fmnist_cli.analysis.answers import Answer
from fmnist_cli.analysis.why.causes import Explanation
from fmnist_cli.report import blocks
from fmnist_cli.tables import Table

_SPECIAL = re.compile(r"([\\`*_{}\[\]<>#|~&])")


def to_markdown(report: blocks.Report) -> str:
    """The text; each picture is expected at ``figures/<name>.svg``."""
    return "\n".join(_lines(report)) + "\n"


def _lines(report: blocks.Report) -> Iterator[str]:
    label = f" ({_escape(report.label)})" if report.label else ""
    yield f"# {_escape(report.title)}{label}"
    yield ""
    yield f"Name: {_escape(report.author)}  "
    yield f"Course: {_escape(report.course)}"
    yield ""
    yield _escape(report.lead)
    yield ""
    yield f"## The answers{label}"
    yield ""
    for finding in report.findings:
        verdict = _escape(blocks.sentence(finding.verdict))
        yield f"- {_escape(finding.question)} **{verdict}** {_escape(finding.line)}"
    for section in report.sections:
        yield ""
        yield f"## {_escape(section.title)}{label}"
        yield from _section(section)


def _section(section: blocks.Section) -> Iterator[str]:
    for block in section.blocks:
        yield ""
        yield from _block(block)
    if section.command:
        yield ""
        yield f"Again: `{section.command}`"
    if section.figures:
        yield ""
        yield f"Figures: {', '.join(f'`{command}`' for command in section.figures)}"
    if section.run_ids:
        yield ""
        ids = ", ".join(map(str, section.run_ids))
        yield f"Recorded as run{'s' if len(section.run_ids) > 1 else ''} {ids}."


def _block(block: blocks.Block) -> Iterator[str]:
    if isinstance(block, blocks.Prose):
        yield _escape(block.text)
    elif isinstance(block, blocks.Formula):
        yield f"`{block.text}`"
    elif isinstance(block, Answer):
        yield f"### {_escape(block.question)}"
        yield ""
        yield _escape(block.statement)
    elif isinstance(block, Explanation):
        yield f"### {_escape(block.heading)}"
        for statement in (block.answer, *block.measured):
            yield ""
            yield _escape(statement)
    elif isinstance(block, blocks.Picture):
        yield f"![{_escape(block.alt)}]({blocks.FIGURES_FOLDER}/{block.name}.svg)"
        yield ""
        yield f"*{_escape(block.caption)}*"
    elif isinstance(block, blocks.Listing):
        yield f"*{_escape(block.caption)}*"
        yield ""
        yield f"```\n{block.text.rstrip()}\n```"
    else:
        yield from table_lines(block)


def table_lines(table: Table) -> Iterator[str]:
    """The table, its caption above and its notes below."""
    yield f"*{_escape(table.caption)}*"
    yield ""
    yield _row(blocks.heading(column) for column in table.columns)
    yield "|" + "|".join(" ---: " if c.numeric else " --- " for c in table.columns) + "|"
    for row in table.cells:
        yield _row(row)
    for note in table.notes:
        yield ""
        yield _escape(note)


def _row(cells: Iterator[str] | tuple[str, ...]) -> str:
    return "| " + " | ".join(map(_escape, cells)) + " |"


def _escape(text: str) -> str:
    return _SPECIAL.sub(r"\\\1", " ".join(text.split()))

"""A report as Markdown (GitHub's), its figures as files beside it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from fmnist_cli.analysis.answers import Answer
from fmnist_cli.analysis.why.causes import Explanation
from fmnist_cli.report import blocks
from fmnist_cli.tables import Table

_SPECIAL = re.compile(r"([\\`*_{}\[\]<>#|~&])")


def to_markdown(report: blocks.Report) -> str:
    """The text; each picture is expected at ``figures/<name>.svg``."""
    return "\n\n".join(_paragraphs(report)) + "\n"


def _paragraphs(report: blocks.Report) -> Iterator[str]:
    label = f" ({_escape(report.label)})" if report.label else ""
    yield f"# {_escape(report.title)}{label}"
    yield f"Name: {_escape(report.author)}  \nCourse: {_escape(report.course)}"
    yield _escape(report.lead)
    yield f"## The answers{label}"
    yield "\n".join(map(_finding, report.findings))
    for section in report.sections:
        yield f"## {_escape(section.title)}{label}"
        for block in section.blocks:
            yield from _block(block)
        if section.command:
            yield f"Again: `{section.command}`"
        if section.figures:
            yield f"Figures: {', '.join(f'`{command}`' for command in section.figures)}"
        if section.run_ids:
            ids = ", ".join(map(str, section.run_ids))
            yield f"Recorded as run{'s' if len(section.run_ids) > 1 else ''} {ids}."


def _finding(finding: blocks.Finding) -> str:
    verdict = _escape(blocks.sentence(finding.verdict))
    return f"- {_escape(finding.question)} **{verdict}** {_escape(finding.line)}"


def _block(block: blocks.Block) -> Iterator[str]:
    if isinstance(block, blocks.Prose):
        yield _escape(block.text)
    elif isinstance(block, blocks.Formula):
        yield f"`{block.text}`"
    elif isinstance(block, Answer):
        yield f"### {_escape(block.question)}"
        yield _escape(block.statement)
    elif isinstance(block, Explanation):
        yield f"### {_escape(block.heading)}"
        yield from map(_escape, (block.answer, *block.measured))
    elif isinstance(block, blocks.Picture):
        yield f"![{_escape(block.alt)}]({blocks.FIGURES_FOLDER}/{block.name}.svg)"
        yield f"*{_escape(block.caption)}*"
    elif isinstance(block, blocks.Listing):
        yield f"*{_escape(block.caption)}*"
        yield f"```\n{block.text.rstrip()}\n```"
    else:
        yield from table_paragraphs(block)


def table_paragraphs(table: Table) -> Iterator[str]:
    """The table, its caption above and its notes below."""
    yield f"*{_escape(table.caption)}*"
    heads = _row(blocks.heading(column) for column in table.columns)
    rule = "|" + "|".join(" ---: " if c.numeric else " --- " for c in table.columns) + "|"
    yield "\n".join([heads, rule, *map(_row, table.cells)])
    yield from map(_escape, table.notes)


def _row(cells: Iterable[str]) -> str:
    return "| " + " | ".join(map(_escape, cells)) + " |"


def _escape(text: str) -> str:
    return _SPECIAL.sub(r"\\\1", " ".join(text.split()))

"""What a report consists of: plain, frozen values, without any markup in their texts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import get_args

from fmnist_cli.analysis.answers import Answer, Verdict
from fmnist_cli.analysis.why.causes import Explanation
from fmnist_cli.tables import Column, Table

FIGURES_FOLDER = "figures"  # beside the Markdown file


@dataclass(frozen=True)
class Prose:
    """A paragraph."""

    text: str


@dataclass(frozen=True)
class Formula:
    """A formula on a line of its own, as ``mathml`` takes it."""

    text: str


@dataclass(frozen=True)
class Listing:
    """Lines that stay as they are: a derivation, an algorithm, a program."""

    caption: str
    text: str


@dataclass(frozen=True)
class Picture:
    """A figure."""

    name: str  # the file's, without its ending
    caption: str
    alt: str  # what it shows, for who does not see it
    svg: str  # as ``plots.to_svg`` makes it, for a desk
    narrow: str = ""  # for a phone


@dataclass(frozen=True)
class Finding:
    """A question and its answer in one line, for the summary."""

    key: str  # of the section that says more
    question: str
    verdict: str  # ``yes``, ``no``, ``not settled``, or the number that was asked for
    line: str  # what the verdict rests on


Block = Prose | Formula | Table | Listing | Picture | Answer | Explanation


@dataclass(frozen=True)
class Section:
    """One part of the work."""

    key: str  # unique within the report; the section's anchor
    title: str
    blocks: tuple[Block, ...]
    command: str = ""  # what to type to do this part again, if anything
    run_ids: tuple[int, ...] = ()  # that the part rests on
    figures: tuple[str, ...] = ()  # what to type to draw what explains it


@dataclass(frozen=True)
class Report:
    """The whole."""

    title: str
    lead: str
    label: str  # what the reader of any part must know, such as that the report is a quick one
    findings: tuple[Finding, ...]
    sections: tuple[Section, ...]  # in the order of reading
    author: str = ""  # whose work it is; empty leaves a place for it
    course: str = ""  # what it is for, likewise

    @property
    def pictures(self) -> tuple[Picture, ...]:
        return tuple(b for s in self.sections for b in s.blocks if isinstance(b, Picture))


def heading(column: Column) -> str:
    """A column's heading as the pages write it, with a capital."""
    return column.heading[:1].upper() + column.heading[1:]


def run_anchor(run_id: int) -> str:
    """Where the table of runs has the run."""
    return f"run-{run_id}"


def sentence(verdict: str) -> str:
    """A verdict as a sentence of its own; a number begins one and stays as it is."""
    return f"{verdict[0].upper()}{verdict[1:]}." if verdict in get_args(Verdict) else verdict

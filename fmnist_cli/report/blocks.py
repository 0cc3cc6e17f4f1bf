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
    """A figure.

    Attributes
    ----------
    name : str
        The file's name without its ending.
    alt : str
        What it shows, for who does not see it.
    svg, narrow : str
        The drawing, as ``plots.to_svg`` makes it, for a desk and for a phone.
    """

    name: str
    caption: str
    alt: str
    svg: str
    narrow: str = ""


@dataclass(frozen=True)
class Finding:
    """A question and its answer in one line, for the summary.

    Attributes
    ----------
    key : str
        Of the section that says more.
    verdict : str
        ``yes``, ``no``, ``not settled``, or the number that was asked for.
    line : str
        What the verdict rests on.
    """

    key: str
    question: str
    verdict: str
    line: str


Block = Prose | Formula | Table | Listing | Picture | Answer | Explanation


@dataclass(frozen=True)
class Section:
    """One part of the work.

    Attributes
    ----------
    key : str
        Unique within the report; the section's anchor.
    command : str
        What to type to do this part again; empty where there is nothing to do.
    run_ids : tuple of int
        The recorded runs that the part rests on.
    figures : tuple of str
        What to type to draw what explains it.
    """

    key: str
    title: str
    blocks: tuple[Block, ...]
    command: str = ""
    run_ids: tuple[int, ...] = ()
    figures: tuple[str, ...] = ()


@dataclass(frozen=True)
class Report:
    """The whole.

    Attributes
    ----------
    label : str
        What the reader of any part must know, such as that the report is a quick one; empty
        where there is no such thing.
    author, course : str
        Whose work it is and what it is for; empty leaves a place for them.
    sections : tuple of Section
        In the order of reading; the last ones may be about runs and machine.
    """

    title: str
    lead: str
    label: str
    findings: tuple[Finding, ...]
    sections: tuple[Section, ...]
    author: str = ""
    course: str = ""

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

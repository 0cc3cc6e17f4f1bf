"""What is compared: runs one by one, or groups of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import typer

from fmnist_cli.commands._completion import complete_run
from fmnist_cli.errors import UsageError

if TYPE_CHECKING:
    from fmnist_cli.registry import Registry, RunRecord

Groups = Annotated[
    list[str],
    typer.Argument(
        metavar="A B ...",
        help="Runs by id, uuid or latest; study:ID for the arms of a study; tag:NAME for the runs "
        "with a tag.",
        show_default=False,
        autocompletion=complete_run,
    ),
]


@dataclass(frozen=True)
class Group:
    """Runs that are taken together: one, those of an arm, or those with a tag."""

    label: str
    runs: tuple[RunRecord, ...]


def resolve(registry: Registry, names: Sequence[str]) -> list[Group]:
    """The groups that ``names`` stand for; UsageError where one stands for no run."""
    groups: list[Group] = []
    several = sum(name.startswith("study:") for name in names) > 1
    for name in names:
        kind, colon, which = name.partition(":")
        if kind == "study" and colon and which.isdecimal():
            prefix = f"study {which} " if several else ""
            arms: dict[str, list[RunRecord]] = {}
            for run in registry.study_runs(int(which)):
                arms.setdefault(run.arm or "no arm", []).append(run)
            found = [Group(f"{prefix}{arm}", tuple(runs)) for arm, runs in arms.items()]
        elif kind == "tag" and colon:
            runs = registry.list_runs(tag=which)[::-1]
            found = [Group(which, tuple(runs))] if runs else []
        else:
            run = registry.get_run(name)
            found = [Group(f"run {run.id}" + (f" {run.name}" if run.name else ""), (run,))]
        if not found:
            raise UsageError(
                f"what is compared must have runs. Received: {name}, which has none; "
                "see which there are: fmnist runs list."
            )
        groups += found
    return groups

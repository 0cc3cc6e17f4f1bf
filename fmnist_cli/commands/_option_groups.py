"""The groups of options: what each command takes, as dataclasses with defaults and help."""

from __future__ import annotations

from dataclasses import Field, dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fmnist_cli.engine.config import TrainConfig, option
from fmnist_cli.errors import require

if TYPE_CHECKING:
    from fmnist_cli.runner.jobs import Executor


@dataclass(frozen=True, kw_only=True)
class DataOptions:
    """Where the images come from."""

    data_dir: Path | None = option(
        None, "Folder with the four IDX files, instead of the usual places."
    )
    allow_custom_data: bool = option(
        False, "Accept files in --data-dir that are not the official ones."
    )


@dataclass(frozen=True, kw_only=True)
class Common:
    """What every command takes."""

    db: str = option("runs.db", "The registry: a path, or an SQLAlchemy URL.")
    json: bool = option(False, "Print one JSON document, and nothing else, on stdout.")
    quiet: bool = option(False, "No progress and no hints.")
    argv: tuple[str, ...] = ()  # the command line, from fmnist on; no option


@dataclass(frozen=True, kw_only=True)
class StudyOptions:
    """What every study takes."""

    seeds: int = option(1, "Number of seeds for every setting, from --seed up.")
    seed_list: str | None = option(None, "The seeds, in place of --seeds: 1,5,9.")
    jobs: int = option(1, "Number of parallel runs, each in a process of its own.")
    scheduler: str | None = option(None, "Address of a Dask scheduler whose workers train.")
    new: bool = option(False, "Start a new study even if one could be continued.")
    why: bool = option(False, "Test the causes by counterfactual runs, and explain.")
    plot: Path | None = option(None, "Draw the study into this .png, .svg or .pdf file.")

    def __post_init__(self) -> None:
        require(1 <= self.seeds <= 1000, "seeds must be between 1 and 1000", self.seeds)
        require(1 <= self.jobs <= 256, "jobs must be between 1 and 256", self.jobs)
        if self.seed_list is not None:
            self._listed()

    def seeds_from(self, first: int) -> tuple[int, ...]:
        """The seeds of every arm; ``first`` is where ``--seeds`` counts from."""
        listed = self.seed_list is not None
        seeds = self._listed() if listed else tuple(range(first, first + self.seeds))
        require(max(seeds) < 2**63, "seed must be between 0 and 2^63 - 1", max(seeds))
        return seeds

    def how(self, first_seed: int) -> dict[str, Any]:
        """How ``run_study`` trains a study, as its keywords."""
        seeds = self.seeds_from(first_seed)
        return {"seeds": seeds, "executor": self.executor(), "new": self.new}

    def executor(self) -> Executor:
        """Who trains the runs."""
        from fmnist_cli.runner.study import executor_of

        return executor_of(self.jobs, self.scheduler)

    def _listed(self) -> tuple[int, ...]:
        given = self.seed_list or ""
        words = [word.strip() for word in given.split(",")]
        numbers = all(word.isascii() and word.isdecimal() and len(word) < 25 for word in words)
        require(
            numbers and len({int(word) for word in words}) == len(words),
            "seed-list must be different whole numbers with commas between, such as 1,5,9",
            given or "nothing",
        )
        return tuple(int(word) for word in words)


PANELS: dict[type, str] = {
    TrainConfig: "Training",
    StudyOptions: "Study",
    DataOptions: "Data",
    Common: "Registry and output",
}


def options_of(group: type) -> list[Field[Any]]:
    """The fields of a group that are options."""
    return [field for field in fields(group) if "help" in field.metadata]


def environment_variable(name: str) -> str:
    """``FMNIST_TRAIN_SIZE`` for ``train_size``: what sets the option where no flag does."""
    return f"FMNIST_{name.upper()}"

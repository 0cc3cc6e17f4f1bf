"""Option groups: a command names a configuration, and gets its fields as options.

A command written as ::

    @app.command()
    @with_options()
    def train(config: TrainConfig, data: DataOptions, common: Common, check: bool = False)

has an option for every field of the three dataclasses, with the default and the help that the
field declares, and is called with the finished (validated) objects.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import MISSING, Field, dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, get_type_hints

import typer

from fmnist_cli.engine.config import TrainConfig, option
from fmnist_cli.errors import UsageError, require

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

    seeds: int = option(1, "Repeat every arm with so many seeds, from --seed up.")
    seed_list: str | None = option(None, "Or with these seeds: 1,5,9.")
    jobs: int = option(1, "Train so many runs side by side, each in a process of its own.")
    scheduler: str | None = option(
        None, "Train on the workers of the Dask scheduler with this address."
    )
    new: bool = option(False, "Begin a new study, even where one could be continued.")
    plot: Path | None = option(None, "Draw the study into this .png, .svg or .pdf file.")

    def __post_init__(self) -> None:
        require(1 <= self.seeds <= 1000, "seeds must be between 1 and 1000", self.seeds)
        require(1 <= self.jobs <= 256, "jobs must be between 1 and 256", self.jobs)
        require(
            self.jobs == 1 or self.scheduler is None,
            "jobs are for one machine, and a scheduler has workers of its own; give one of the two",
            f"--jobs {self.jobs} --scheduler {self.scheduler}",
        )
        if self.seed_list is not None:
            self._listed()
            require(
                self.seeds == 1,
                "seeds and seed-list exclude each other",
                f"--seeds {self.seeds} --seed-list {self.seed_list}",
            )

    def seeds_from(self, first: int) -> tuple[int, ...]:
        """The seeds of every arm; ``first`` is where ``--seeds`` counts from."""
        if self.seed_list is not None:
            return self._listed()
        return tuple(range(first, first + self.seeds))

    def how(self, first_seed: int) -> dict[str, Any]:
        """How ``run_study`` trains a study, as its keywords."""
        seeds = self.seeds_from(first_seed)
        return {"seeds": seeds, "executor": self.executor(), "new": self.new}

    def executor(self) -> Executor:
        """Who trains the runs."""
        from fmnist_cli.runner.jobs import InProcess

        if self.scheduler is not None:
            from fmnist_cli.runner.cluster import Cluster

            return Cluster(self.scheduler)
        if self.jobs > 1:
            from fmnist_cli.runner.processes import Processes

            return Processes(self.jobs)
        return InProcess()

    def _listed(self) -> tuple[int, ...]:
        given = self.seed_list or ""
        words = [word.strip() for word in given.split(",")]
        numbers = all(word.isdecimal() for word in words)
        require(
            numbers and len({int(word) for word in words}) == len(words),
            "seed-list must be different whole numbers with commas between, such as 1,5,9",
            given or "nothing",
        )
        return tuple(int(word) for word in words)


_PANELS: dict[type, str] = {
    TrainConfig: "Training",
    StudyOptions: "Study",
    DataOptions: "Data",
    Common: "Registry and output",
}


GROUPS = tuple(_PANELS)


def options_of(group: type) -> list[Field[Any]]:
    """The fields of a group that are options."""
    return [field for field in fields(group) if "help" in field.metadata]


def environment_variable(name: str) -> str:
    """``FMNIST_TRAIN_SIZE`` for ``train_size``: what sets the option where no flag does."""
    return f"FMNIST_{name.upper()}"


def typed(context: typer.Context, *, but: Collection[str] = ()) -> dict[str, str]:
    """What stands on the command line, by the parameter's name: ``{"batch": "--batch 5"}``.

    Parameters
    ----------
    but
        Parameters that are left out.
    """
    found = {}
    for parameter in context.command.params:
        name = parameter.name or ""
        source = context.get_parameter_source(name)
        if name in but or source is None or source.name != "COMMANDLINE":
            continue
        value = context.params[name]
        each = value if getattr(parameter, "multiple", False) else [value]
        found[name] = " ".join(_as_typed(parameter.opts[0], one) for one in each)
    return found


def _as_typed(flag: str, value: Any) -> str:
    if value is True:
        return flag
    words = value if isinstance(value, tuple) else (value,)
    return " ".join([flag, *map(str, words)])


def require_distinct(flag: str, values: Sequence[Any]) -> None:
    """UsageError where an option that is given several times has the same value twice."""
    require(
        len(set(values)) == len(values),
        f"each {flag} must be given once",
        " ".join(f"--{flag} {value}" for value in values),
    )


@functools.cache
def _annotations(group: type) -> dict[str, Any]:
    return get_type_hints(group)


def with_options(
    *, omit: tuple[str, ...] = (), defaults: Mapping[str, Any] | None = None
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Expand the option groups among a command's parameters.

    Parameters
    ----------
    omit
        Fields that are no option of this command; they keep their default.
    defaults
        Other defaults for some fields, as this command wants them.
    """
    changed = defaults or {}

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        hints = get_type_hints(command, include_extras=True)
        signature = inspect.signature(command)
        groups = {n: hints[n] for n in signature.parameters if hints[n] in _PANELS}
        own = [
            p.replace(annotation=hints[n], kind=inspect.Parameter.KEYWORD_ONLY)
            for n, p in signature.parameters.items()
            if n not in groups
        ]
        wants_context = "context" in signature.parameters
        if not wants_context:
            own.append(_CONTEXT)
        expanded = {
            name: [_option(group, f.name, changed) for f in options_of(group) if f.name not in omit]
            for name, group in groups.items()
        }

        @functools.wraps(command)
        def call(**values: Any) -> None:
            built = {}
            context = values["context"] if wants_context else values.pop("context")
            for name, group in groups.items():
                given = {p.name: values.pop(p.name) for p in expanded[name]}
                if group is TrainConfig:
                    _early_stopping(given, values, changed)
                if group is StudyOptions:
                    _one_choice_of_seeds(context, given["seed_list"])
                if group is Common:
                    given["argv"] = tuple(context.obj or ())
                built[name] = group(**given)
            command(**built, **values)

        parameters = list(own)
        for parameter in (p for group in expanded.values() for p in group):
            parameters.append(parameter)
            if parameter.name == "patience":
                parameters.append(_NO_EARLY_STOP)
        call.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]
        call.__doc__ = command.__doc__
        call.__annotations__ = {p.name: p.annotation for p in parameters}
        return call

    return decorate


_CONTEXT = inspect.Parameter("context", inspect.Parameter.KEYWORD_ONLY, annotation=typer.Context)

_NO_EARLY_STOP = inspect.Parameter(
    "no_early_stop",
    inspect.Parameter.KEYWORD_ONLY,
    default=False,
    annotation=Annotated[
        bool,
        typer.Option(
            "--no-early-stop",
            help="Train to the last epoch, whatever happens.",
            rich_help_panel="Training",
        ),
    ],
)


def _early_stopping(
    given: dict[str, Any], values: dict[str, Any], changed: Mapping[str, Any]
) -> None:
    """Turn ``--patience`` (None when not given) and ``--no-early-stop`` into one patience."""
    if "patience" not in given:
        given.update({k: v for k, v in changed.items() if k == "patience"})
        return
    if values.pop("no_early_stop"):
        if given["patience"] is not None:
            raise UsageError(
                "patience and no-early-stop exclude each other. "
                f"Received: --patience {given['patience']} --no-early-stop."
            )
    elif given["patience"] is None:
        given["patience"] = changed.get("patience", TrainConfig.patience)


def _one_choice_of_seeds(context: Any, seed_list: str | None) -> None:
    seed = typed(context).get("seed")
    if seed_list is not None and seed is not None:
        raise UsageError(
            f"seed and seed-list exclude each other. Received: {seed} --seed-list {seed_list}."
        )


def _option(group: type, name: str, changed: Mapping[str, Any]) -> inspect.Parameter:
    field = group.__dataclass_fields__[name]  # type: ignore[attr-defined]
    annotation = _annotations(group)[name]
    default = changed.get(name, field.default)
    assert default is not MISSING
    flag = f"--{name.replace('_', '-')}"
    help = field.metadata["help"]
    if name == "patience":  # None stands for: not given
        help = f"{help} [dim]\\[default: {default}][/dim]"
        default = None
    info = typer.Option(
        flag,
        help=help,
        envvar=environment_variable(name),
        show_envvar=name in ("data_dir", "db"),
        show_default=default is not None and default is not False,
        rich_help_panel=_PANELS[group],
    )
    return inspect.Parameter(
        name,
        inspect.Parameter.KEYWORD_ONLY,
        default=default,
        annotation=Annotated[annotation, info],
    )

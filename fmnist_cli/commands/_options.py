"""Option groups: a command names a configuration, and gets its fields as options.

A command written as ::

    @app.command()
    @with_options()
    def train(config: TrainConfig, data: DataOptions, out: Output, check: bool = False)

has an option for every field of the three dataclasses, with the default and the help that the
field declares, and is called with the finished (validated) objects.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import MISSING, Field, fields, is_dataclass
from typing import Annotated, Any, get_type_hints

import typer

from fmnist_cli.commands._option_groups import (
    PANELS,
    Common,
    StudyOptions,
    environment_variable,
    options_of,
)
from fmnist_cli.commands._output import Output
from fmnist_cli.commands._settings import settings_file, unknown_variables
from fmnist_cli.engine.config import TrainConfig
from fmnist_cli.errors import UsageError, require

_ADVANCED = ("scheduler",)

# Of two options that exclude each other the one holds that is nearer to the user.
_EXCLUSIVE = (
    ("no_early_stop", "patience"),
    ("seeds", "seed_list"),
    ("seed", "seed_list"),
    ("jobs", "scheduler"),
)
_NEARNESS = ("DEFAULT", "DEFAULT_MAP", "ENVIRONMENT", "COMMANDLINE")


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
        found[name] = _all_typed(parameter, context.params[name])
    return found


def _all_typed(parameter: Any, value: Any) -> str:
    """``--batch 5 --batch 50``, of an option that may be given several times."""
    each = value if getattr(parameter, "multiple", False) else [value]
    return " ".join(_as_typed(parameter.opts[0], one) for one in each)


def _set_elsewhere(context: typer.Context) -> list[str]:
    """What the file and the environment set of the training and the study, as it would be typed:
    what continues an interrupted command names it. (The data is known by its fingerprint.)"""
    words = []
    decides = {field.name for group in (TrainConfig, StudyOptions) for field in options_of(group)}
    for parameter in context.command.params:
        name, value = parameter.name or "", context.params.get(parameter.name or "")
        if name in decides and nearness(context, name) in (1, 2) and value not in (None, False):
            words += _all_typed(parameter, value).split(" ")
    return words


def nearness(context: typer.Context, name: str) -> int:
    """How near to the user an option's value was set: not (0), file, environment, flag."""
    source = context.get_parameter_source(name)
    return 0 if source is None else _NEARNESS.index(source.name)


def origin(context: typer.Context, name: str) -> str:
    """`` (from FMNIST_BATCH)`` or the file, where it was not the command line; else nothing."""
    of_what = {1: str(settings_file()), 2: environment_variable(name)}
    found = of_what.get(nearness(context, name))
    return f" (from {found})" if found else ""


def _choose_one(context: typer.Context, values: dict[str, Any]) -> None:
    """Take the farther one of two that exclude each other for not given; UsageError where both
    are as near."""
    for pair in _EXCLUSIVE:
        if not values.keys() >= {*pair}:
            continue
        near = [nearness(context, name) for name in pair]
        usual = [p.default for name in pair for p in context.command.params if p.name == name]
        if near[0] != near[1] and 0 not in near:
            farther = near.index(min(near))
            if pair[farther] != "seed":  # where --seed-list is given, nobody asks for it
                values[pair[farther]] = usual[farther]
            continue
        as_given = near[0] == near[1] > 0 and all(
            values[name] != default for name, default in zip(pair, usual, strict=True)
        )
        if as_given and ("seed" not in pair or near[0] == _NEARNESS.index("COMMANDLINE")):
            flags = [f"--{name.replace('_', '-')}" for name in pair]
            shown = [
                _as_typed(flag, values[name]) + origin(context, name)
                for flag, name in zip(flags, pair, strict=True)
            ]
            raise UsageError(
                f"{flags[0]} and {flags[1]} exclude each other. Received: {' '.join(shown)}."
            )


def _as_user_knows_it(error: UsageError, context: typer.Context) -> str:
    """The message with the option as it is typed, and where a value comes from that was not."""
    message, option = str(error), error.data.get("option", "")
    name = option.replace("-", "_")
    if not any(parameter.name == name for parameter in context.command.params):
        return message
    end = f"Received: {error.data.get('received')}."
    return f"--{message.replace(end, f'{end[:-1]}{origin(context, name)}.')}"


def _as_typed(flag: str, value: Any) -> str:
    if value is True:
        return flag
    words = value if isinstance(value, tuple) else (value,)
    return " ".join([flag, *map(str, words)])


def require_distinct(flag: str, values: Sequence[Any]) -> None:
    """UsageError where an option that is given several times has the same value twice."""
    received = " ".join(f"--{flag} {value}" for value in values)
    require(len(set(values)) == len(values), f"each --{flag} must be given once", received)


@functools.cache
def _annotations(group: type) -> dict[str, Any]:
    return get_type_hints(group, include_extras=True)


def _fields(group: type) -> Sequence[Field[Any]]:
    """The fields of a group that are options; of one that is no panel of the help, all."""
    return options_of(group) if group in PANELS else fields(group)


def with_options(
    *,
    omit: tuple[str, ...] = (),
    several: tuple[str, ...] = (),
    defaults: Mapping[str, Any] | None = None,
    further: Callable[[Mapping[str, Any]], Mapping[str, Any]] = lambda values: {},
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Expand the option groups among a command's parameters.

    Parameters
    ----------
    omit
        Fields that are no option of this command; they keep their default.
    several
        Fields whose option may be given several times: the group has the first value, and the
        command gets all of them as a parameter of its own.
    defaults
        Other defaults for some fields, as this command wants them.
    further
        From all values, those of fields that are no option of this command, where not the default.
    """
    changed = defaults or {}

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        hints = get_type_hints(command, include_extras=True)
        signature = inspect.signature(command)
        hints = {n: Common if hint is Output else hint for n, hint in hints.items()}
        groups = {n: hints[n] for n in signature.parameters if is_dataclass(hints[n])}
        own = {n: p for n, p in signature.parameters.items() if n not in (*groups, *several)}
        parameters = [_parameter(n, hints[n], p.default) for n, p in own.items()]
        if "context" not in own:
            parameters.append(_parameter("context", typer.Context))
        names: dict[str, list[str]] = {}
        for group_name, group in groups.items():
            names[group_name] = [f.name for f in _fields(group) if f.name not in omit]
            for name in names[group_name]:
                parameters.append(_option(group, name, changed, several=name in several))
                if name == "patience":
                    parameters.append(_NO_EARLY_STOP)

        @functools.wraps(command)
        def call(**values: Any) -> None:
            context = values["context"] if "context" in own else values.pop("context")
            try:
                _choose_one(context, values)
                for name, value in values.items():
                    if isinstance(value, list) and {*map(type, value)} <= {int, float}:
                        require_distinct(name, value)  # the settings that are compared
                _set_patience(values, changed)
                context.find_root().obj = (*(context.obj or ()), *_set_elsewhere(context))
                built: dict[str, Any] = {}
                lists = {name: values[name] for name in several}
                values |= {name: found[0] for name, found in lists.items()}
                omitted = {**changed, **further(values)}
                for name, group in groups.items():
                    given = {field: values.pop(field) for field in names[name]}
                    given |= {n: omitted[n] for n in omit if n in omitted and hasattr(group, n)}
                    if group is not Common:
                        built[name] = group(**given)
                        continue
                    built[name] = out = Output(Common(**given, argv=tuple(context.obj or ())))
                    for line in () if out.quiet else unknown_variables():
                        out.say(line)
                command(**built, **lists, **values)
            except UsageError as error:
                error.args = (_as_user_knows_it(error, context),)
                raise

        call.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]
        call.__annotations__ = {p.name: p.annotation for p in parameters}
        return call

    return decorate


def _parameter(
    name: str, annotation: Any, default: Any = inspect.Parameter.empty
) -> inspect.Parameter:
    kind = inspect.Parameter.KEYWORD_ONLY
    return inspect.Parameter(name, kind, default=default, annotation=annotation)


_NO_EARLY_STOP = _parameter(
    "no_early_stop",
    Annotated[
        bool,
        typer.Option(
            "--no-early-stop",
            help="Train to the last epoch, whatever happens.",
            rich_help_panel=PANELS[TrainConfig],
        ),
    ],
    False,
)


def _set_patience(values: dict[str, Any], changed: Mapping[str, Any]) -> None:
    """Make one patience of ``--patience`` (None where it is not given) and ``--no-early-stop``."""
    stops = not values.pop("no_early_stop", True)
    if stops and values["patience"] is None:
        values["patience"] = changed.get("patience", TrainConfig.patience)


def _option(
    group: type, name: str, changed: Mapping[str, Any], *, several: bool
) -> inspect.Parameter:
    field = group.__dataclass_fields__[name]  # type: ignore[attr-defined]
    annotation = _annotations(group)[name]
    default = changed.get(name, field.default)
    assert default is not MISSING
    if group not in PANELS:  # each of its options is declared where its type is
        return _parameter(name, annotation, default)
    help = field.metadata["help"]
    if name == "patience":  # None stands for: not given
        help = f"{help} [dim]\\[default: {default}][/dim]"
        default = None
    if several:
        help, default = f"{help.removesuffix('.')}; give it several times.", [default]
        annotation = list[annotation]  # type: ignore[valid-type]
    info = typer.Option(
        f"--{name.replace('_', '-')}",
        help=help,
        envvar=environment_variable(name),
        show_envvar=name in ("data_dir", "db"),
        show_default=default is not None and default is not False,
        rich_help_panel="Advanced" if name in _ADVANCED else PANELS[group],
        readable=name != "plot",  # it is written, also where it exists
    )
    return _parameter(name, Annotated[annotation, info], default)

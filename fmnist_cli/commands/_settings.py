"""Defaults of the user's own: flags win over the environment, the environment over a file.

The file is the first that exists of ``$FMNIST_CONFIG``, ``./fmnist.toml`` and
``~/.config/fmnist/fmnist.toml``. It holds options by their names, such as ``batch = 50``,
``train-size = 20000`` or ``db = "/data/runs.db"``, and they hold for every command that has them.
"""

from __future__ import annotations

import difflib
import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import Field
from pathlib import Path
from types import NoneType
from typing import Any, Literal, get_args, get_origin, get_type_hints

from fmnist_cli.commands._option_groups import PANELS, environment_variable, options_of
from fmnist_cli.errors import UsageError
from fmnist_cli.files import expand

FILE_NAME = "fmnist.toml"
FILE_VARIABLE = "FMNIST_CONFIG"


def known_options() -> dict[str, Field[Any]]:
    """Every option that a file may set, by its Python name."""
    return {field.name: field for group in PANELS for field in options_of(group)}


def settings_file() -> Path | None:
    """The file that is read, or None."""
    named = os.environ.get(FILE_VARIABLE)
    if named:
        path = expand(named)
        if not path.is_file():
            raise UsageError(f"{FILE_VARIABLE} must name a file that exists. Received: {named}.")
        return path
    for path in usual_files():
        with suppress(PermissionError):  # a folder that may not be searched holds none for us
            if path.is_file():
                return path
            if os.path.lexists(path):
                found = "a folder" if path.is_dir() else "a FIFO, a device or a link to nothing"
                raise UsageError(f"{path} must be a regular file. Received: {found}.")
    return None


def usual_files() -> tuple[Path, Path]:
    """Where the file is looked for, in this order, if the environment names none."""
    home = Path(os.environ.get("XDG_CONFIG_HOME") or expand("~/.config"))
    return Path(FILE_NAME), home / "fmnist" / FILE_NAME


def read_settings() -> dict[str, Any]:
    """What the file sets, by Python name.

    Raises
    ------
    UsageError
        When the file is not TOML, sets what is no option, or gives a value of the wrong type.
    """
    path = settings_file()
    if path is None:
        return {}
    import tomllib

    try:
        with path.open("rb") as file:
            content = tomllib.load(file)
    except (OSError, tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"{path} must be a TOML file. Received: {error}.") from error
    known = known_options()
    annotations = {name: a for group in PANELS for name, a in get_type_hints(group).items()}
    settings = {}
    for key, value in content.items():
        name = key.replace("-", "_")
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            hint = f" Did you mean {near[0].replace('_', '-')}?" if near else ""
            raise UsageError(f"{path} may set options only. Received: {key}.{hint}")
        if isinstance(value, dict | list):
            raise UsageError(f"{path}: {key} must be one value. Received: {value}.")
        wanted = _wanted(annotations[name], value)
        if wanted is not None:
            received = str(value).lower() if isinstance(value, bool) else repr(value)
            raise UsageError(f"{path}: {key} must be {wanted}. Received: {received}.")
        settings[name] = value
    return settings


def _wanted(annotation: Any, value: Any) -> str | None:
    """What the value must be instead, or None where its type is right."""
    if get_origin(annotation) is Literal:
        choices = get_args(annotation)
        return None if value in choices else f"one of {', '.join(map(str, choices))}"
    (kind,) = {*(get_args(annotation) or (annotation,))} - {NoneType}
    types, words = {
        int: ((int,), "a whole number"),
        float: ((int, float), "a number"),
        bool: ((bool,), "true or false"),
    }.get(kind, ((str,), "a string"))
    return None if type(value) in types else words  # a bool is an int, and no number


def unknown_variables() -> list[str]:
    """A line for each variable of the environment that looks like ours and is none."""
    found = [name for name in os.environ if name.startswith("FMNIST_")]
    if not found:
        return []
    known = [FILE_VARIABLE, *map(environment_variable, known_options())]
    lines = []
    for name in sorted({*found} - {*known}):
        near = difflib.get_close_matches(name, known, n=1)
        hint = f" Did you mean {near[0]}?" if near else ""
        lines.append(f"{name} is set, and no variable that fmnist reads.{hint}")
    return lines


def default_map(command: Any, settings: Mapping[str, Any], words: Sequence[str]) -> dict[str, Any]:
    """The settings as Typer takes them: for the command that the words name those of its options
    that the environment can set, too; what a study compares is set on the command line alone."""
    if not settings:
        return {}
    if hasattr(command, "commands"):
        named = command.commands.keys() & {*words}
        return {name: default_map(command.commands[name], settings, words) for name in named}
    several = {p.name: getattr(p, "multiple", False) for p in command.params}
    fixed = {p.name for p in command.params if several[p.name] and not p.envvar}
    return {
        name: [value] if several[name] else value
        for name, value in settings.items()
        if name in several.keys() - fixed
    }


def source_of(name: str, settings: Mapping[str, Any]) -> tuple[Any, str]:
    """The value that an option has where no flag sets it, and where it comes from."""
    variable = environment_variable(name)
    if variable in os.environ:
        return os.environ[variable], f"environment: {variable}"
    if name in settings:
        return settings[name], f"file: {settings_file()}"
    return known_options()[name].default, "default"


def taken_today(command: Any) -> dict[str, Any]:
    """What a command's options are at present where nothing is typed."""
    usual = {p.name: p.default for p in command.params if p.envvar}
    return {name: usual[name] for name in usual.keys() & known_options().keys()} | set_today(
        command
    )


def set_today(command: Any) -> dict[str, Any]:
    """The defaults of a command's options that the file or the environment sets at present."""
    settings = read_settings()
    found = {}
    for name in {parameter.name for parameter in command.params} & known_options().keys():
        value, source = source_of(name, settings)
        if source != "default":
            found[name] = value
    return found

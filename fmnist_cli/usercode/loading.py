"""A student's file as a module: run once from the top, never as a script."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType
from typing import Any

from fmnist_cli.usercode.parts import Parts, find_parts

MODULE_NAME = "fmnist_user_code"  # not __main__: the file's main is not run


def load_source(
    source: bytes | str, filename: str, *, built_ins: dict[str, Any] | None = None
) -> Parts:
    """Run a file's text in a module of its own and find its parts.

    Whatever the text raises is raised here.
    """
    module = ModuleType(MODULE_NAME)
    module.__file__ = filename
    if built_ins is not None:
        vars(module)["__builtins__"] = built_ins
    sys.modules[MODULE_NAME] = module  # dataclasses and pickle look a class's module up
    exec(compile(source, filename, "exec", dont_inherit=True), vars(module))
    text = source.decode("utf-8", "replace") if isinstance(source, bytes) else source
    return find_parts(vars(module), text)


def load_object(reference: str, folder: Path) -> Any:
    """What ``module:factory`` names: the module from ``folder`` or the path, its attribute.

    Raises
    ------
    ValueError
        When the reference is not of that form.
    """
    module_name, separator, attribute = reference.partition(":")
    if not (separator and module_name and attribute.isidentifier()):
        raise ValueError(reference)
    from importlib import import_module

    sys.path.insert(0, str(folder))
    try:
        return getattr(import_module(module_name), attribute)
    finally:
        sys.path.remove(str(folder))

"""`make test` installs anywhere: every package is pinned, to a version for each Python we name.

A pin that the Python at hand is too old for, or a package without a pin, sends pip looking through
all versions of everything: it ends after minutes, or not at all.
"""

from __future__ import annotations

import tomllib
from importlib.metadata import distribution, distributions
from pathlib import Path

from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parent.parent
OURS = {"fmnist", "pip", "setuptools", "wheel"}  # comes with the environment


def pins() -> dict[str, str]:
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pinned = [Requirement(line) for line in lines if line and not line.startswith("#")]
    return {canonicalize_name(one.name): str(one.specifier).removeprefix("==") for one in pinned}


def needed(name: str, extras: frozenset[str], found: dict[str, set[str]]) -> dict[str, set[str]]:
    """The packages that `name[extras]` installs here, each with the extras that are asked of it."""
    asked = found.setdefault(canonicalize_name(name), set())
    for text in distribution(name).requires or []:
        wanted = Requirement(text)
        holds = wanted.marker is None or any(
            wanted.marker.evaluate({"extra": extra}) for extra in extras | {""}
        )
        key = canonicalize_name(wanted.name)
        if holds and (key not in found or not wanted.extras <= found[key]):
            found.setdefault(key, set()).update(wanted.extras)
            needed(wanted.name, frozenset(wanted.extras), found)
    asked |= extras
    return found


def test_everything_that_make_test_installs_is_pinned_to_what_is_here() -> None:
    installed = {canonicalize_name(one.name): one.version for one in distributions()}
    everything = needed("fmnist", frozenset({"dev"}), {}).keys() - OURS
    assert len(everything) > 100
    pinned = pins()
    assert {name: pinned.get(name) for name in everything} == {
        name: installed[name] for name in everything
    }


def test_every_pin_admits_the_oldest_python_that_is_named() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    oldest = next(one for one in SpecifierSet(project["requires-python"]) if one.operator == ">=")
    too_new = {
        one.name: one.metadata.get("Requires-Python")
        for one in distributions()
        if canonicalize_name(one.name) in pins()
        and f"{oldest.version}.0" not in SpecifierSet(one.metadata.get("Requires-Python") or "")
    }
    assert too_new == {}

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


def needed(name: str, extra: str, found: set[tuple[str, str]]) -> set[tuple[str, str]]:
    """What ``name[extra]`` installs here, itself included: packages, each with an extra or none."""
    key = canonicalize_name(name), extra
    if key not in found:
        found.add(key)
        for wanted in map(Requirement, distribution(name).requires or []):
            if wanted.marker is None or wanted.marker.evaluate({"extra": extra}):
                for its_extra in {"", *wanted.extras}:
                    needed(wanted.name, its_extra, found)
    return found


def test_everything_that_make_test_installs_is_pinned_to_what_is_here() -> None:
    installed = {canonicalize_name(one.name): one.version for one in distributions()}
    everything = {name for name, _ in needed("fmnist", "dev", set())} - OURS
    assert len(everything) > 100
    pinned = pins()
    assert {name: pinned.get(name) for name in everything} == {
        name: installed[name] for name in everything
    }


def test_every_pin_admits_the_oldest_python_that_is_named() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    oldest = next(one for one in SpecifierSet(project["requires-python"]) if one.operator == ">=")
    pinned = pins()
    too_new = {
        one.name: one.metadata.get("Requires-Python")
        for one in distributions()
        if canonicalize_name(one.name) in pinned
        and f"{oldest.version}.0" not in SpecifierSet(one.metadata.get("Requires-Python") or "")
    }
    assert too_new == {}

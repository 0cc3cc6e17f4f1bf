"""What a run ran on: versions, processor, BLAS and its threads, host, process, git commit.

Nothing here fails for want of a fact; a fact that cannot be had is None.
"""

from __future__ import annotations

import os
import platform
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from fmnist_cli import host

PACKAGES = ("numpy", "tensorflow", "keras", "sqlalchemy", "alembic", "threadpoolctl")

# variables that change the numbers or the speed
VARIABLES = (
    "CUDA_VISIBLE_DEVICES",
    "KERAS_BACKEND",
    "MKL_NUM_THREADS",
    "OMP_NUM_THREADS",
    "OPENBLAS_CORETYPE",
    "OPENBLAS_NUM_THREADS",
    "TF_DETERMINISTIC_OPS",
    "TF_ENABLE_ONEDNN_OPTS",
    "TF_NUM_INTEROP_THREADS",
    "TF_NUM_INTRAOP_THREADS",
    "VECLIB_MAXIMUM_THREADS",
)


def environment() -> dict[str, Any]:
    """Everything that could explain why two runs of one configuration differ."""
    return {
        "python": platform.python_version(),
        "implementation": platform.python_implementation(),
        "system": platform.system(),
        "release": platform.release(),
        "machine": platform.machine(),
        "cpu": cpu_model(),
        "cpus": os.cpu_count(),
        "cpus_usable": host.cpus_usable(),
        "packages": {name: package_version(name) for name in PACKAGES},
        "blas": blas(),
        "variables": {name: os.environ[name] for name in VARIABLES if name in os.environ},
        "git": git_state(),
    }


@cache
def package_version(name: str) -> str | None:
    """The installed version; the package is not imported."""
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def cpu_model() -> str | None:
    """The processor's name in words."""
    try:
        for line in Path("/proc/cpuinfo").read_text(errors="replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or None


def blas() -> list[dict[str, Any]]:
    """The BLAS and OpenMP libraries that are loaded, with their threads; none before NumPy is."""
    if "numpy" not in sys.modules:
        return []
    from threadpoolctl import threadpool_info

    facts = ("user_api", "internal_api", "version", "num_threads", "architecture")
    return [{fact: library.get(fact) for fact in facts} for library in threadpool_info()]


def git_state() -> dict[str, Any] | None:
    """The commit of the checkout that this package runs from, and whether its code differs.

    None for an installed package, even inside somebody else's checkout.
    """
    package = Path(__file__).resolve().parents[1]
    answer = _git(package, "rev-parse", "--show-toplevel", "HEAD")
    if answer is None:
        return None
    top, _, commit = answer.rpartition("\n")
    if Path(top) / package.name != package:
        return None
    changes = _git(package, "--no-optional-locks", "status", "--porcelain", "--", ".")
    return {"commit": commit, "dirty": None if changes is None else bool(changes)}


def _git(folder: Path, *arguments: str) -> str | None:
    try:
        done = subprocess.run(
            ["git", "-C", str(folder), *arguments],
            capture_output=True,
            check=True,
            encoding="utf-8",
            errors="replace",
            timeout=5,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()


def process_started() -> datetime | None:
    """When this process began (Linux)."""
    try:
        fields = Path("/proc/self/stat").read_text(errors="replace").rpartition(")")[2].split()
        seconds_after_boot = int(fields[19]) / os.sysconf("SC_CLK_TCK")
        age = time.clock_gettime(time.CLOCK_BOOTTIME) - seconds_after_boot
    except (OSError, AttributeError):
        return None
    return datetime.now(UTC) - timedelta(seconds=age)

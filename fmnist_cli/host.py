"""This machine, as far as processes and runs on it must know it."""

from __future__ import annotations

import os
from pathlib import Path


def cpus_usable() -> int | None:
    """How many processors this process may run on."""
    affinity = getattr(os, "sched_getaffinity", None)  # not on macOS
    return os.cpu_count() if affinity is None else len(affinity(0))


def boot_id() -> str | None:
    """Identifies the machine's present boot (Linux)."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return None

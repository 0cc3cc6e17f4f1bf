"""What ``--jobs`` brings and costs: the tables of ``docs/scaling.md``, from runs on this machine.

    make bench-jobs

Rounds are interleaved and the quickest counts, for the machine may have other work.
"""

from __future__ import annotations

import argparse
import re
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

PAGE = Path(__file__).parent.parent / "docs" / "scaling.md"
WAYS = {"one after the other": (), "`--jobs 2`": ("--jobs", "2")}
LONG = ("--seeds", "8", "--epochs", "20", "--no-early-stop")
SHORT = ("--epochs", "1", "--train-size", "200", "--val-size", "50", "--hidden", "16")
FEW, MANY = 20, 120


def seconds(*words: str) -> tuple[float, float]:
    """Wall and processor seconds of one ``fmnist train`` in a folder of its own."""
    with tempfile.TemporaryDirectory() as work:
        before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
        command = [sys.executable, "-m", "fmnist_cli", "train", *words, "--quiet"]
        subprocess.run(command, cwd=work, check=True, stdout=subprocess.DEVNULL)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        taken = time.perf_counter() - began
    return taken, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def quickest(rounds: int, works: dict[str, tuple[str, ...]]) -> dict[str, tuple[float, float]]:
    """The quickest of some rounds of each, one after the other in turn."""
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in works}
    for _ in range(rounds):
        for name, words in works.items():
            found[name].append(seconds(*words))
            print(name, *words, found[name][-1], file=sys.stderr)
    return {name: min(taken) for name, taken in found.items()}


def table(name: str, head: str, rows: list[str], page: str) -> str:
    """The page with this table between its marks."""
    text = "\n".join([head, re.sub(r"[^|]+", " --- ", head), *rows])
    marks = rf"(<!-- {name} -->\n).*?(\n<!-- end -->)"
    filled, n = re.subn(marks, lambda m: f"{m[1]}{text}{m[2]}", page, flags=re.DOTALL)
    assert n == 1
    return filled


def main(rounds: int) -> None:
    long = quickest(rounds, {way: (*LONG, *words) for way, words in WAYS.items()})
    rows = [f"| {way} | {wall:.1f} | {cpu:.0f} |" for way, (wall, cpu) in long.items()]
    page = PAGE.read_text(encoding="utf-8")
    page = table("jobs", "| | seconds | processor seconds |", rows, page)
    ends = [
        quickest(rounds, {way: (*SHORT, "--seeds", str(n), *words) for way, words in WAYS.items()})
        for n in (FEW, MANY)
    ]
    rows = []
    for way in WAYS:
        few, many = (end[way][0] for end in ends)
        each = (many - few) / (MANY - FEW)
        rows.append(f"| {way} | {few - FEW * each:.1f} | {1000 * each:.0f} |")
    head = "| | to begin with, s | each run more, ms |"
    PAGE.write_text(table("cost", head, rows, page), encoding="utf-8")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=6)
    main(parser.parse_args().rounds)

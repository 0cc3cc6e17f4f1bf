"""How many transactions a second a registry takes from runs that record; write
docs/benchmarks-registry.md.

    python benchmarks/bench_registry.py
    python benchmarks/bench_registry.py runs.db postgresql+psycopg://user@host/database

Each writer is a process with a run of its own that records epochs as fast as it can, one
transaction each, as `Run.record_epoch` makes them; a training makes four a second at most. Each
registry named keeps those runs; without one, an SQLite file in a temporary folder is measured.
"""

from __future__ import annotations

import argparse
import itertools
import multiprocessing
import os
import tempfile
import time
from dataclasses import asdict
from multiprocessing.synchronize import Barrier
from pathlib import Path

import numpy as np
from bench_epoch import ROOT, cpu

from fmnist_cli.engine.config import TrainConfig
from fmnist_cli.epoch import Epoch
from fmnist_cli.formatting import without_password
from fmnist_cli.registry import Outcome, Registry, RunSpec
from fmnist_cli.registry.run import FLUSH_SECONDS

WRITERS = (1, 4, 12)


def write(target: str, seconds: float, barrier: Barrier) -> list[float]:
    """Record epochs for so long; the seconds that each took."""
    ticks = itertools.count()  # on this clock every epoch is due for a transaction
    spec = RunSpec(
        command="bench",
        config=asdict(TrainConfig()),
        data_fingerprint="0" * 64,
        data_source="none",
        argv=("bench_registry.py",),
    )
    took = []
    with Registry.open(target) as registry:
        with registry.run(spec, clock=lambda: float(next(ticks))) as run:
            barrier.wait()
            end = time.perf_counter() + seconds
            while (began := time.perf_counter()) < end:
                number = len(took) + 1
                run.record_epoch(
                    Epoch(
                        epoch=number,
                        updates=2000 * number,
                        train_seconds=0.1,
                        eval_seconds=0.02,
                        running_loss=0.51,
                        train_loss=0.5,
                        train_accuracy=0.83,
                        val_loss=0.52,
                        val_accuracy=0.82,
                        dead_units=0,
                    )
                )
                took.append(time.perf_counter() - began)
            run.finish(Outcome(stop_reason="max_epochs", train_seconds=seconds))
        return took


def measure(target: str, writers: int, seconds: float) -> tuple[float, float, float]:
    """Transactions a second of all, and the median and 99th percentile of one's milliseconds."""
    context = multiprocessing.get_context("spawn")
    with context.Manager() as manager, context.Pool(writers) as pool:
        barrier = manager.Barrier(writers)
        results = pool.starmap(write, [(target, seconds, barrier)] * writers, chunksize=1)
    took = np.concatenate([np.array(one) for one in results])
    return len(took) / seconds, *(1000 * np.percentile(took, (50, 99)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n\n")[0])
    parser.add_argument("registry", nargs="*", help="a path or a URL")
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "benchmarks-registry.md")
    options = parser.parse_args()
    lines = [
        "# How many runs a registry can record at once",
        "",
        "Written by `python benchmarks/bench_registry.py`.",
        "",
        "Each writer is a process that records epochs as fast as it can, one transaction each, for "
        f"{options.seconds:g} s; writers, and the server where it is on this machine, share its "
        f"{os.cpu_count()} cores ({cpu()}). A run that trains makes at most "
        f"{1 / FLUSH_SECONDS:g} transactions a second.",
        "",
        "| registry | writers | transactions/s | median, ms | 99 %, ms | runs that fit |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    with tempfile.TemporaryDirectory() as folder:
        for target in options.registry or [f"{folder}/runs.db"]:
            kind = "PostgreSQL" if target.startswith("postgresql") else "SQLite"
            Registry.open(target).close()
            for writers in WRITERS:
                rate, median, slow = measure(target, writers, options.seconds)
                lines.append(
                    f"| {kind} | {writers} | {rate:.0f} | {median:.1f} | {slow:.1f} "
                    f"| {rate * FLUSH_SECONDS:.0f} |"
                )
                print(without_password(target), lines[-1])
    options.out.write_text("\n".join(lines) + "\n")
    print(options.out)


if __name__ == "__main__":
    main()

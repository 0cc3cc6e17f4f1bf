"""How fmnist's epoch and evaluation grow with the work; write docs/benchmarks-scaling.md.

    python benchmarks/bench_scaling.py

Each size runs in a process of its own, so that its peak memory is its own.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
import tracemalloc
from pathlib import Path

import numpy as np
from bench_epoch import ROOT, SEED, cpu, gemm_rate, learnable

from fmnist_cli.engine.backend import Split
from fmnist_cli.engine.numpy_mlp.backend import NumPyMLP
from fmnist_cli.engine.numpy_mlp.layers import initial_weights
from fmnist_cli.engine.seeding import epoch_order, weights_rng

BATCHES = (5, 500)
SIZES = [(10_000, 128), (30_000, 128), (59_000, 128), (10_000, 512), (10_000, 2048), (10_000, 4096)]
EPOCHS = 3


def measure(n: int, hidden: int, batch: int) -> dict[str, float]:
    images, labels = learnable(n)
    data = Split(images, labels)
    weights = initial_weights(weights_rng(SEED), hidden=hidden)

    def make() -> NumPyMLP:
        return NumPyMLP(data, weights=weights, batch=batch, lr=0.001, momentum=0.0)

    mlp = make()
    seconds, evaluation = [], []
    for epoch in range(1, EPOCHS + 1):
        start = time.perf_counter()
        mlp.train_epoch(epoch_order(SEED, epoch, n))
        seconds.append(time.perf_counter() - start)
        start = time.perf_counter()
        mlp.evaluate(data)
        evaluation.append(time.perf_counter() - start)
    tracemalloc.start()
    mlp = make()
    mlp.train_epoch(epoch_order(SEED, 1, n))
    mlp.evaluate(data)
    peak = tracemalloc.get_traced_memory()[1]
    return {
        "epoch": float(np.median(seconds)),
        "evaluation": float(np.median(evaluation)),
        "mib": peak / 2**20,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--one", nargs=3, type=int, help=argparse.SUPPRESS)
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "benchmarks-scaling.md")
    args = parser.parse_args()
    if args.one:
        print(json.dumps(measure(*args.one)))
        return
    rate = gemm_rate() * (os.cpu_count() or 1)
    lines = [
        "# How the time grows with the work",
        "",
        "Written by `python benchmarks/bench_scaling.py` (`make bench`).",
        "",
        f"NumPy MLP 784-H-10, float32; medians of {EPOCHS} epochs. The share is that of the "
        f"machine's float32 product rate ({rate:.0f} GFLOP/s on all {os.cpu_count()} cores of "
        f"{cpu()}) that the epoch's 4 D H + 6 H K flops an example reach. The evaluation is of the "
        "whole training set; the memory is the peak of all that a model, an epoch and an "
        "evaluation allocate beside the images.",
        "",
        "| examples | hidden | batch | epoch, s | examples/s | share | evaluation, s | MiB |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for n, hidden in SIZES:
        for batch in BATCHES:
            command = [sys.executable, __file__, "--one", str(n), str(hidden), str(batch)]
            answer = subprocess.run(command, check=True, capture_output=True, text=True).stdout
            got = json.loads(answer)
            flops = n * hidden * (4 * 784 + 6 * 10)
            lines.append(
                f"| {n:,} | {hidden} | {batch} | {got['epoch']:.3g} | {n / got['epoch']:,.0f} "
                f"| {flops / 1e9 / got['epoch'] / rate:.0%} | {got['evaluation']:.3g} "
                f"| {got['mib']:.0f} |"
            )
            print(lines[-1], file=sys.stderr)
    args.out.write_text("\n".join(lines) + "\n")
    print(args.out)


if __name__ == "__main__":
    main()

"""Time one epoch of SGD by fmnist and its peers, side by side; write docs/benchmarks.md.

    python benchmarks/bench_epoch.py [--quick]

Every peer lives in a process of its own and is asked in turn, so that no peer's idle threads stand
in another's way. A round asks every peer once; a peer's figure is its median over the rounds, and
the ratio to fmnist's is the median of the rounds' ratios. All peers visit the same batches from
the same weights, and the run fails unless all reach the same loss.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import platform
import subprocess
import sys
import time
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from peers import NEEDS, PEERS, Data

from fmnist_cli.engine.numpy_mlp.layers import MLP, initial_weights
from fmnist_cli.engine.seeding import epoch_order, weights_rng

ROOT = Path(__file__).resolve().parent.parent
N, HIDDEN, SEED = 10_000, 128, 42
BATCHES, MOMENTA = (1, 5, 50, 500, 5000), (0.0, 0.9)
ROUNDS = 15
SETTLE_SECONDS = 0.3  # before each turn: the threads of the peer before may still wait by spinning
ROUNDS_OF_SLOW = {5.0: 1, 1.0: 2, 0.2: 5}  # where an epoch takes more seconds
SAME_LOSS = 2e-3  # relative; float32 peers drift apart by rounding (a ReLU flips)


def learnable(n: int) -> tuple[np.ndarray, np.ndarray]:
    """Images of the real ones' sparsity (half of the pixels 0) with a class to be found in them."""
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 10, n)
    prototypes = rng.random((10, 784)) * (rng.random((10, 784)) < 0.5)
    images = np.clip(prototypes[labels] * rng.normal(1, 0.5, (n, 784)), 0, 1)
    return images.astype(np.float32), labels.astype(np.int64)


def load() -> Data:
    images, labels = learnable(N)
    return Data(images, labels, initial_weights(weights_rng(SEED), hidden=HIDDEN))


def serve(name: str) -> None:
    """A worker: JSON requests on stdin, one answer a line on stdout."""
    data, trainers = load(), {}
    for line in sys.stdin:
        request = json.loads(line)
        batch, momentum, epochs = request["batch"], request["momentum"], request["epochs"]
        key = (batch, momentum)
        try:
            if key not in trainers:
                trainers.clear()  # one at a time: no peer's memory stands in its own way
                trainers[key] = PEERS[name](data, batch, momentum)
            orders = [epoch_order(SEED, epoch, N) for epoch in epochs]
            start = time.perf_counter()
            for order in orders:
                trainers[key].epoch(order)
            seconds = (time.perf_counter() - start) / len(orders)
            answer: dict[str, Any] = {"seconds": seconds}
            weights = trainers[key].weights()
        except Exception as error:  # told to the table, which names it
            answer = {"error": f"{type(error).__name__}: {error}".splitlines()[0]}
        else:
            names = ("W1", "b1", "W2", "b2")
            model = MLP({k: w.astype(np.float64) for k, w in zip(names, weights, strict=True)})
            answer["loss"] = model.forward(data.images[:2000], data.labels[:2000])
        print(json.dumps(answer), file=sys.__stdout__, flush=True)


@dataclass
class Worker:
    name: str
    process: subprocess.Popen[str] = field(init=False)
    seconds: list[float] = field(default_factory=list)
    losses: list[float] = field(default_factory=list)
    error: str = ""

    def __post_init__(self) -> None:
        self.process = subprocess.Popen(
            [sys.executable, __file__, "--serve", self.name],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"},
        )

    def ask(self, batch: int, momentum: float, *epochs: int) -> None:
        """Have it train these epochs, one after the other: the seconds of one, and the loss."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        request = {"batch": batch, "momentum": momentum, "epochs": epochs}
        time.sleep(SETTLE_SECONDS)
        print(json.dumps(request), file=self.process.stdin, flush=True)
        answer = json.loads(self.process.stdout.readline() or '{"error": "the process ended"}')
        self.error = answer.get("error", "")
        if not self.error:
            self.seconds.append(answer["seconds"])
            self.losses.append(answer["loss"])

    def rounds(self, at_most: int) -> int:
        """How many rounds to time it in, by its fastest epoch."""
        fastest = min(self.seconds, default=0.0)
        fewer = [rounds for limit, rounds in ROUNDS_OF_SLOW.items() if fastest > limit]
        return min([at_most, *fewer])

    def close(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait(timeout=30)


@dataclass(frozen=True)
class Figure:
    """One peer at one batch size and momentum."""

    seconds: float  # median
    low: float
    high: float
    ratio: float  # fmnist's seconds over this peer's, median of the rounds'
    error: str = ""


def measure(workers: list[Worker], batch: int, momentum: float, rounds: int) -> dict[str, Figure]:
    for worker in workers:
        worker.seconds, worker.losses, worker.error = [], [], ""
    for epoch in range(1, rounds + 2):  # the first epoch compiles and is not counted
        for worker in workers:
            if not worker.error and epoch <= 1 + worker.rounds(rounds):
                worker.ask(batch, momentum, epoch)
    ours = workers[0]
    for worker in workers:
        for epoch, loss in enumerate(worker.losses):
            if abs(loss - ours.losses[epoch]) > SAME_LOSS * max(1.0, ours.losses[epoch]):
                sys.exit(
                    f"All must reach the same loss; {worker.name} at batch {batch}, momentum "
                    f"{momentum}, epoch {epoch + 1}: {loss}, fmnist: {ours.losses[epoch]}."
                )
    return {worker.name: figure(worker, ours) for worker in workers}


def figure(worker: Worker, ours: Worker) -> Figure:
    seconds = worker.seconds[1:]
    if worker.error or not seconds:
        return Figure(np.nan, np.nan, np.nan, np.nan, worker.error or "no figure")
    ratios = [mine / theirs for mine, theirs in zip(ours.seconds[1:], seconds, strict=False)]
    return Figure(float(np.median(seconds)), min(seconds), max(seconds), float(np.median(ratios)))


def installed(name: str) -> bool:
    needed = [module for prefix, module in NEEDS.items() if name.startswith(prefix)]
    return all(importlib.util.find_spec(module) for module in needed)


def gemm_rate() -> float:
    """GFLOP/s of one float32 product of the size that training does, on one BLAS thread."""
    from fmnist_cli.engine.numpy_mlp.threads import blas_threads

    x, w = np.ones((256, 784), np.float32), np.ones((784, 128), np.float32)
    out, best = np.empty((256, 128), np.float32), np.inf
    with blas_threads():
        for _ in range(300):
            start = time.perf_counter()
            np.dot(x, w, out=out)
            best = min(best, time.perf_counter() - start)
    return 2e-9 * 256 * 784 * 128 / best


def report(tables: dict[float, dict[int, dict[str, Figure]]], rate: float, rounds: int) -> str:
    lines = [
        "# Benchmarks",
        "",
        "Written by `python benchmarks/bench_epoch.py` (`make bench`).",
        "",
        f"One epoch of SGD: {N:,} examples, 784-{HIDDEN}-10, float32 (but where float64 is named), "
        f"learning rate 0.01. Medians of {rounds} rounds after one that is not counted "
        "("
        + ", ".join(f"{n} where it takes over {s:g} s" for s, n in ROUNDS_OF_SLOW.items())
        + "), every peer asked once a round, each in a process of "
        "its own. Same initial weights, same batches; all reached the same loss after every epoch.",
        "",
        f"Machine: {cpu()}, {os.cpu_count()} cores; Python {platform.python_version()}; "
        + "; ".join(versions())
        + f". One core does {rate:.0f} GFLOP/s in a float32 product of the size used here.",
        "",
    ]
    for momentum, by_batch in tables.items():
        names = list(next(iter(by_batch.values())))
        head = "| batch | " + " | ".join(str(batch) for batch in by_batch) + " |"
        rule = "| --- |" + " --- |" * len(by_batch)
        lines += [
            f"## Momentum {momentum:g}",
            "",
            "Seconds per epoch, median (fastest to slowest round):",
            "",
        ]
        lines += [head, rule]
        lines += [row(name, by_batch, seconds_cell) for name in names]
        flops = 4 * N * 784 * HIDDEN + 6 * N * HIDDEN * 10
        share = [
            f"{flops / 1e9 / figures['fmnist'].seconds / rate / (os.cpu_count() or 1):.0%}"
            for figures in by_batch.values()
        ]
        lines += ["", "fmnist's share of the machine's product rate (all cores):", ""]
        lines += [head, rule, "| share | " + " | ".join(share) + " |"]
        lines += ["", "fmnist's time over the peer's (below 1: fmnist is faster):", "", head, rule]
        lines += [row(name, by_batch, ratio_cell) for name in names if name != "fmnist"]
        lines += [""]
    return "\n".join(lines)


def row(name: str, by_batch: dict[int, dict[str, Figure]], cell: Any) -> str:
    return f"| {name} | " + " | ".join(cell(figures[name]) for figures in by_batch.values()) + " |"


def seconds_cell(f: Figure) -> str:
    return f"{f.seconds:.3g} ({f.low:.3g} to {f.high:.3g})" if not f.error else f.error


def ratio_cell(f: Figure) -> str:
    return f"{f.ratio:.2f}" if not f.error else "-"


def cpu() -> str:
    info = Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def versions() -> list[str]:
    packages = ("numpy", "jax", "tensorflow", "keras", "torch", "scikit-learn")
    found = []
    for package in packages:
        if importlib.util.find_spec({"scikit-learn": "sklearn"}.get(package, package)):
            found.append(f"{package} {version(package)}")
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--serve", help=argparse.SUPPRESS)
    parser.add_argument("--quick", action="store_true", help="3 rounds, the fast peers only")
    parser.add_argument("--batch", type=int, action="append")
    parser.add_argument("--momentum", type=float, action="append")
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "benchmarks.md")
    args = parser.parse_args()
    if args.serve:
        serve(args.serve)
        return
    rounds = 3 if args.quick else ROUNDS
    names = [name for name in PEERS if installed(name)]
    if args.quick:
        names = [name for name in names if name.startswith(("fmnist", "JAX", "TensorFlow"))]
    rate = gemm_rate()
    workers = [Worker(name) for name in names]
    tables: dict[float, dict[int, dict[str, Figure]]] = {}
    for momentum in args.momentum or MOMENTA:
        for batch in args.batch or BATCHES:
            figures = measure(workers, batch, momentum, rounds)
            tables.setdefault(momentum, {})[batch] = figures
            for name, f in figures.items():
                text = f.error or f"{f.seconds:.4f} s  {f.ratio:.2f}"
                print(f"momentum {momentum:g}  batch {batch:<5} {name:<34} {text}", file=sys.stderr)
    for worker in workers:
        worker.close()
    args.out.write_text(report(tables, rate, rounds))
    print(args.out)


if __name__ == "__main__":
    main()

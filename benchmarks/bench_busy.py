"""Time an epoch beside a process that fills one core; write docs/benchmarks-busy.md.

    python benchmarks/bench_busy.py [--rounds 5] [--n 10000] [--batch 5]

fmnist is asked in one lane too: with nothing beside it, which is what it would take on a core of
its own, and beside the process, which is what the operating system costs. Of the MLP each turn is
several epochs in a row, as in a training, in which the lanes find out that a core is taken.
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from statistics import median

import bench_cnn
from bench_epoch import BATCHES, MOMENTA, ROOT, Worker, cpu, installed, versions

ONE_LANE = "fmnist, one lane"
FREE = f"{ONE_LANE}, free core"  # the others beside the process
PEERS = ("fmnist", ONE_LANE, "JAX, epoch one lax.scan", "TensorFlow, epoch one XLA loop")
EPOCHS = 10  # of the MLP, a turn

BUSY = "import os, sys\nwhile os.getppid() == int(sys.argv[1]): pass"  # ends with this process

Times = dict[str, list[float]]
Ask = Callable[[int], float]  # the number of the round -> seconds


@contextmanager
def busy(process: subprocess.Popen[bytes]) -> Iterator[None]:
    """The core is filled meanwhile."""
    process.send_signal(signal.SIGCONT)
    try:
        yield
    finally:
        process.send_signal(signal.SIGSTOP)


def measure(load: subprocess.Popen[bytes], asks: Mapping[str, Ask], rounds: int) -> Times:
    """Each one's seconds by round; a round before, which compiles, is not counted."""
    seconds: Times = {name: [] for name in (FREE, *asks)}
    for number in range(rounds + 1):
        taken = {FREE: asks[ONE_LANE](number)}
        with busy(load):
            taken |= {name: ask(number) for name, ask in asks.items()}
        if number:
            for name, of in taken.items():
                seconds[name].append(of)
    return seconds


def ask_mlp(worker: Worker, batch: int, momentum: float) -> Ask:
    """A turn of a peer: so many epochs in a row, each of the seconds returned."""

    def ask(number: int) -> float:
        first = 1 + number * EPOCHS
        worker.ask(batch, momentum, *range(first, first + EPOCHS))
        if worker.error:
            sys.exit(f"{worker.name}: {worker.error}")
        return worker.seconds[-1]

    return ask


def ask_cnn(process: subprocess.Popen[str]) -> Ask:
    """A turn of a peer: one epoch."""
    return lambda number: bench_cnn.ask(process)["seconds"]


def row(cells: list[str], times: Times) -> str:
    """Seconds, then fmnist's over each of the others', medians of the rounds' ratios."""
    ours = times["fmnist"]
    for name, seconds in times.items():
        cell = f"{median(seconds):.3g} ({min(seconds):.3g} to {max(seconds):.3g})"
        if name != "fmnist":
            ratio = median(a / b for a, b in zip(ours, seconds, strict=True))
            cell += f", **{ratio:.2f}**"
        cells.append(cell)
    return f"| {' | '.join(cells)} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--n", type=int, default=10_000, help="of the CNNs' examples")
    parser.add_argument("--batch", type=int, action="append", help="of the MLP: these alone")
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "benchmarks-busy.md")
    args = parser.parse_args()
    names = [name for name in PEERS if installed(name)]
    workers = [Worker(name) for name in names]
    lines = [
        "# Benchmarks: beside other work",
        "",
        "Written by `python benchmarks/bench_busy.py` (`make bench`).",
        "",
        "Seconds of an epoch of SGD beside a process that fills one core, but in the first column: "
        "there fmnist has one lane and nothing beside it. One lane beside the process shows what "
        f"the operating system costs. Medians of {args.rounds} rounds (fastest to slowest), and "
        "fmnist's time over the other's (below 1: fmnist is faster).",
        "",
        f"Machine: {cpu()}, {os.cpu_count()} cores; {'; '.join(versions())}.",
        "",
        f"The MLP 784-128-10 on 10,000 examples, {EPOCHS} epochs in a row:",
        "",
        "| momentum | batch | " + " | ".join((FREE, *names)) + " |",
        "| --- | --- |" + " --- |" * (1 + len(names)),
    ]
    load = subprocess.Popen([sys.executable, "-c", BUSY, str(os.getpid())])
    load.send_signal(signal.SIGSTOP)
    try:
        for momentum in MOMENTA:
            for batch in args.batch or BATCHES:
                asks = {w.name: ask_mlp(w, batch, momentum) for w in workers}
                times = measure(load, asks, args.rounds)
                lines.append(row([f"{momentum:g}", str(batch)], times))
                print(lines[-1], file=sys.stderr)
        for worker in workers:
            worker.close()
        lines += [
            "",
            f"The CNNs on {args.n:,} examples:",
            "",
            f"| model | batch | {FREE} | fmnist | {ONE_LANE} |",
            "| --- | --- | --- | --- | --- |",
        ]
        for model in bench_cnn.MODELS:
            for batch in bench_cnn.BATCHES:
                peers = {
                    name: bench_cnn.start(name, model, batch, args.n)
                    for name in ("fmnist", ONE_LANE)
                }
                asks = {name: ask_cnn(process) for name, process in peers.items()}
                times = measure(load, asks, args.rounds)
                for process in peers.values():
                    process.communicate()
                lines.append(row([model, str(batch)], times))
                print(lines[-1], file=sys.stderr)
    finally:
        load.kill()
        load.wait()
    args.out.write_text("\n".join(lines) + "\n", encoding="utf-8")
    print(args.out)


if __name__ == "__main__":
    main()

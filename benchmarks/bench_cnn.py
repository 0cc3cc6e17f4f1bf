"""Time one epoch of the CNNs by fmnist and its peers, side by side; write docs/benchmarks-cnn.md.

    python benchmarks/bench_cnn.py [--rounds 5] [--n 10000] [--model cnn2] [--batch 5]

With a model or a batch size only that is measured again, and the rest kept.

As in ``bench_epoch.py``: every peer in a process of its own, asked in turn, from the same weights
over the same batches; the run fails unless all reach the same running loss.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from bench_epoch import SEED, SETTLE_SECONDS, cpu, gemm_rate, learnable, versions

from fmnist_cli.engine.numpy_mlp.threads import use_single_thread
from fmnist_cli.engine.seeding import epoch_order

OUT = Path(__file__).resolve().parent.parent / "docs" / "benchmarks-cnn.md"
KNOWN = OUT.parent.parent / "build" / "bench_cnn.json"
EVALUATED = 12_000  # images
CONV1, CONV2 = 2 * 22**2 * 49 * 64, 2 * 10**2 * 256 * 128  # flops of one image, forward
FORWARD_FLOPS = {"cnn2": CONV1 + 2 * 7744 * 10, "cnn3": CONV1 + CONV2 + 2 * 3200 * 10}
STEP_FLOPS = {"cnn2": 2 * CONV1 + 6 * 7744 * 10, "cnn3": 2 * CONV1 + 3 * CONV2 + 6 * 3200 * 10}
MODELS, BATCHES = ("cnn2", "cnn3"), (5, 50)
PEERS = ("fmnist", "fmnist, --engine keras", "Keras fit", "PyTorch, 1 thread", "PyTorch, 2 threads")
SAME_LOSS = 5e-3  # relative; float32 convolutions round differently
LR = 0.01

Epoch = Callable[[np.ndarray], float]  # the order -> the running loss


def initial(model: str) -> dict[str, np.ndarray]:
    """The weights that all start from, drawn as Keras does: Glorot uniform, biases 0."""
    shapes = {"conv1": (7, 7, 1, 64), "output": (7744, 10)}
    if model == "cnn3":
        shapes = {"conv1": (7, 7, 1, 64), "conv2": (2, 2, 64, 128), "output": (3200, 10)}
    rng, weights = np.random.default_rng(SEED), {}
    for layer, shape in shapes.items():
        field = int(np.prod(shape[:-2]))
        limit = np.sqrt(6 / (field * (shape[-2] + shape[-1])))
        weights[f"{layer}/kernel"] = rng.uniform(-limit, limit, shape).astype(np.float32)
        weights[f"{layer}/bias"] = np.zeros(shape[-1], np.float32)
    return weights


def ours(model: str, batch: int, images: np.ndarray, labels: np.ndarray) -> Epoch:
    from fmnist_cli.engine.backend import Split
    from fmnist_cli.engine.numpy_cnn.backend import NumPyCNN

    train = Split(images, labels)
    cnn = NumPyCNN(train, weights=initial(model), batch=batch, lr=LR, momentum=0.0)
    return cnn.train_epoch


def ours_on_keras(model: str, batch: int, images: np.ndarray, labels: np.ndarray) -> Epoch:
    from fmnist_cli.engine.backend import Split
    from fmnist_cli.engine.keras_models.backend import KerasBackend
    from fmnist_cli.engine.keras_models.models import build

    net: Any = build(model, seed=SEED)  # type: ignore[arg-type]
    backend = KerasBackend(net, Split(images, labels), batch=batch, lr=LR, momentum=0.0)
    backend.set_weights(initial(model))
    return backend.train_epoch


def keras_fit(model: str, batch: int, images: np.ndarray, labels: np.ndarray) -> Epoch:
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
    import keras

    layers: list[Any] = [keras.Input((28, 28, 1)), keras.layers.Conv2D(64, 7, activation="relu")]
    layers.append(keras.layers.MaxPooling2D(2))
    if model == "cnn3":
        layers += [keras.layers.Conv2D(128, 2, activation="relu"), keras.layers.MaxPooling2D(2)]
    net = keras.Sequential([*layers, keras.layers.Flatten(), keras.layers.Dense(10)])
    net.set_weights(list(initial(model).values()))
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    net.compile(keras.optimizers.SGD(LR), loss)
    x = images.reshape(-1, 28, 28, 1)

    def epoch(order: np.ndarray) -> float:
        history = net.fit(x[order], labels[order], batch_size=batch, shuffle=False, verbose=0)
        return float(history.history["loss"][0])

    return epoch


def pytorch(
    model: str, batch: int, images: np.ndarray, labels: np.ndarray, *, threads: int
) -> Epoch:
    import torch
    from torch import nn
    from torch.nn import functional as F

    torch.set_num_threads(threads)
    weights = initial(model)
    conv1, output = nn.Conv2d(1, 64, 7), nn.Linear(7744 if model == "cnn2" else 3200, 10)
    conv2 = nn.Conv2d(64, 128, 2) if model == "cnn3" else None
    side, channels = (11, 64) if model == "cnn2" else (5, 128)

    def load(layer: Any, name: str) -> None:
        kernel = weights[f"{name}/kernel"]
        if kernel.ndim == 4:  # Keras: height, width, in, out; PyTorch: out, in, height, width
            kernel = kernel.transpose(3, 2, 0, 1)
        else:  # Keras flattens height, width, channels; PyTorch channels, height, width
            kernel = kernel.reshape(side, side, channels, 10).transpose(3, 2, 0, 1).reshape(10, -1)
        with torch.no_grad():
            layer.weight.copy_(torch.from_numpy(np.ascontiguousarray(kernel)))
            layer.bias.zero_()

    layers = [layer for layer in (conv1, conv2, output) if layer is not None]
    for layer, name in zip((conv1, conv2, output), ("conv1", "conv2", "output"), strict=True):
        if layer is not None:
            load(layer, name)
    optimiser = torch.optim.SGD([p for layer in layers for p in layer.parameters()], lr=LR)
    x = torch.from_numpy(images).reshape(-1, 1, 28, 28)
    y = torch.from_numpy(labels)

    def epoch(order: np.ndarray) -> float:
        rows, total = torch.from_numpy(order), 0.0
        for start in range(0, len(order), batch):
            part = rows[start : start + batch]
            a = F.max_pool2d(F.relu(conv1(x[part])), 2)
            if conv2 is not None:
                a = F.max_pool2d(F.relu(conv2(a)), 2)
            loss = F.cross_entropy(output(a.flatten(1)), y[part])
            optimiser.zero_grad(set_to_none=True)
            loss.backward()
            optimiser.step()
            total += loss.item() * len(part)
        return total / len(order)

    return epoch


def serve(name: str, model: str, batch: int, n: int) -> None:
    images, labels = learnable(n)
    if name in ("fmnist", "fmnist, one lane"):
        if name != "fmnist":
            use_single_thread()
        epoch = ours(model, batch, images, labels)
    elif name == "fmnist, --engine keras":
        epoch = ours_on_keras(model, batch, images, labels)
    elif name == "Keras fit":
        epoch = keras_fit(model, batch, images, labels)
    else:
        epoch = pytorch(model, batch, images, labels, threads=2 if "2 threads" in name else 1)
    for number, _ in enumerate(sys.stdin, start=1):
        order = epoch_order(SEED, number, n)
        start = time.perf_counter()
        loss = epoch(order)
        answer = {"seconds": time.perf_counter() - start, "loss": loss}
        print(json.dumps(answer), file=sys.__stdout__, flush=True)


def start(name: str, model: str, batch: int, n: int) -> subprocess.Popen[str]:
    """A peer in a process of its own."""
    return subprocess.Popen(
        [sys.executable, __file__, "--n", str(n), "--serve", name, model, str(batch)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )


def ask(process: subprocess.Popen[str]) -> dict[str, float]:
    """Have a peer train an epoch: its seconds and its loss."""
    assert process.stdin is not None
    assert process.stdout is not None
    time.sleep(SETTLE_SECONDS)
    print(file=process.stdin, flush=True)
    answer: dict[str, float] = json.loads(process.stdout.readline())
    return answer


def measure(model: str, batch: int, n: int, rounds: int) -> dict[str, list[float]]:
    """Each peer's seconds of every counted round; the first, which compiles, is not counted."""
    workers = {name: start(name, model, batch, n) for name in PEERS}
    seconds: dict[str, list[float]] = {name: [] for name in PEERS}
    for number in range(rounds + 1):
        losses = {}
        for name, process in workers.items():
            answer = ask(process)
            losses[name] = answer["loss"]
            if number:
                seconds[name].append(answer["seconds"])
        if max(losses.values()) - min(losses.values()) > SAME_LOSS * max(losses.values()):
            sys.exit(f"All must reach the same loss; {model}, batch {batch}: {losses}.")
    for process in workers.values():
        process.communicate()
    return seconds


def evaluation_seconds(model: str, n: int) -> float:
    """The best of five evaluations of n images by fmnist."""
    from fmnist_cli.engine.backend import Split
    from fmnist_cli.engine.numpy_cnn.backend import NumPyCNN

    split = Split(*learnable(n))
    cnn = NumPyCNN(split, weights=initial(model), batch=5, lr=LR, momentum=0.0)
    best = float("inf")
    for _ in range(5):
        start = time.perf_counter()
        cnn.evaluate(split)
        best = min(best, time.perf_counter() - start)
    return best


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--serve", nargs=3, help=argparse.SUPPRESS)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--n", type=int, default=10_000)
    parser.add_argument("--model", choices=MODELS, action="append", help="measure these alone")
    parser.add_argument("--batch", type=int, choices=BATCHES, action="append", help="likewise")
    args = parser.parse_args()
    if args.serve:
        name, model, batch = args.serve
        serve(name, model, int(batch), args.n)
        return
    known = json.loads(KNOWN.read_text()) if KNOWN.exists() and (args.model or args.batch) else {}
    for model in args.model or MODELS:
        known[f"{model}, evaluation"] = [evaluation_seconds(model, EVALUATED), gemm_rate()]
        for batch in args.batch or BATCHES:
            known[f"{model}, {batch}"] = measure(model, batch, args.n, args.rounds)
            known[f"{model}, {batch}, rate"] = gemm_rate()
            print(row(model, batch, known, args.n), file=sys.stderr)
    KNOWN.parent.mkdir(exist_ok=True)
    KNOWN.write_text(json.dumps(known))
    keys = [f"{model}, {batch}" for model in MODELS for batch in BATCHES]
    if all(key in known for key in keys):
        OUT.write_text(report(known, args.n), encoding="utf-8")


def report(known: dict[str, Any], n: int) -> str:
    lines = [
        "# Benchmarks: the CNNs",
        "",
        "Written by `python benchmarks/bench_cnn.py` (`make bench`).",
        "",
        f"One epoch of SGD over {n:,} examples. Median seconds of the rounds (fastest to slowest), "
        "and fmnist's time over the peer's, median of the rounds' ratios (below 1: fmnist is "
        "faster). Same weights, same batches, the same running loss. The share is of the rate of a "
        "float32 product on all cores, for the arithmetic as the textbook has it.",
        "",
        f"Machine: {cpu()}, {os.cpu_count()} cores; {'; '.join(versions())}.",
        "",
        "| model | batch | " + " | ".join(PEERS) + " | share of the product rate |",
        "| --- | --- |" + " --- |" * (len(PEERS) + 1),
        *(row(model, batch, known, n) for model in MODELS for batch in BATCHES),
        "",
    ]
    for model in MODELS:
        seconds, rate = known[f"{model}, evaluation"]
        share = EVALUATED * FORWARD_FLOPS[model] / 1e9 / seconds / rate / (os.cpu_count() or 1)
        lines.append(
            f"An evaluation of {EVALUATED:,} images by {model}: {seconds:.2f} s, {share:.0%} of "
            "the product rate."
        )
        lines.append("")
    return "\n".join(lines)


def row(model: str, batch: int, known: dict[str, Any], n: int) -> str:
    seconds, cells = known[f"{model}, {batch}"], []
    for name, times in seconds.items():
        cell = f"{median(times):.2f} ({min(times):.2f} to {max(times):.2f})"
        if name != "fmnist":
            ratios = [a / b for a, b in zip(seconds["fmnist"], times, strict=True)]
            cell += f", **{median(ratios):.2f}**"
        cells.append(cell)
    flops = n * STEP_FLOPS[model] / 1e9
    rate = known[f"{model}, {batch}, rate"] * (os.cpu_count() or 1)
    cells.append(f"{flops / median(seconds['fmnist']) / rate:.0%}")
    return f"| {model} | {batch} | " + " | ".join(cells) + " |"


if __name__ == "__main__":
    main()

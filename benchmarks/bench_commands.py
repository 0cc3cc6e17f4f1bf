"""Time fmnist's commands from the shell to the prompt; write docs/benchmarks-commands.md.

    python benchmarks/bench_commands.py [--rounds 7]

On the real data, which is fetched first where it is not on the machine, and on a registry of 10,000
runs. The commands are asked in turn, so that a busy minute hits them all.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

from bench_epoch import ROOT, cpu, versions

HERE = Path(__file__).parent
TRAIN = ["train", "--batch", "5"]
COMMANDS: dict[str, list[str]] = {
    "fmnist --help": ["--help"],
    "fmnist train --help": ["train", "--help"],
    "fmnist count-params": ["count-params"],
    "fmnist train --epochs 1": ["train", "--epochs", "1"],
    "fmnist runs list": ["runs", "list"],
    'fmnist runs list --where "test_accuracy > 0.85"': [
        *("runs", "list", "--where", "test_accuracy > 0.85")
    ],
    "fmnist runs list --sort -test_accuracy": ["runs", "list", "--sort", "-test_accuracy"],
    "fmnist runs list --all": ["runs", "list", "--all"],
    "fmnist runs list --all --json": ["runs", "list", "--all", "--json"],
    "fmnist runs show 77": ["runs", "show", "77"],
    "fmnist runs compare 3 4 5": ["runs", "compare", "3", "4", "5"],
    "completion of a run's id": [],
}
COMPLETION = {
    "_FMNIST_COMPLETE": "complete_bash",
    "COMP_WORDS": "fmnist runs show ",
    "COMP_CWORD": "3",
}
EPOCHS, PAIRS = 40, 15  # trainings with and without a record


def timed(arguments: list[str], folder: Path, db: Path) -> tuple[float, float, str]:
    """Seconds, MB at most, and what was printed."""
    env = {**os.environ, "FMNIST_DB": str(db), **({} if arguments else COMPLETION)}
    env.pop("PYTHONDONTWRITEBYTECODE", None)  # or every start would compile fmnist anew
    command = [str(Path(sys.executable).with_name("fmnist")), *arguments]
    start = time.perf_counter()
    process = subprocess.Popen(
        command, cwd=folder, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    printed = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - start
    if status:
        sys.exit(f"{' '.join(command)} failed: {process.communicate()[1]}")
    assert isinstance(usage, resource.struct_rusage)
    return seconds, usage.ru_maxrss / 1e3, printed


def recording(folder: Path) -> float:
    """The share by which recording makes a training at batch 5 longer: of the medians."""
    from fmnist_cli.engine.config import TrainConfig
    from fmnist_cli.engine.data import load
    from fmnist_cli.engine.training import make_backend, train
    from fmnist_cli.registry import Registry
    from fmnist_cli.runner.run import Recipe, Session, train_recorded

    config = TrainConfig(batch=5, epochs=EPOCHS, patience=None)
    data = load(config.train_size, config.val_size)
    with Registry.open(folder / "recording.db") as registry:
        ways: dict[str, Callable[[], object]] = {
            "alone": lambda: train(make_backend(config, data.train), data, config),
            "recorded": lambda: train_recorded(Session(registry, data), config, Recipe("train")),
        }
        seconds: dict[str, list[float]] = {way: [] for way in ways}
        for pair in range(PAIRS):
            for way in sorted(ways, reverse=pair % 2 == 1):
                start = time.perf_counter()
                ways[way]()
                seconds[way].append(time.perf_counter() - start)
    return median(seconds["recorded"]) / median(seconds["alone"]) - 1


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "benchmarks-commands.md")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        many = folder / "many.db"
        subprocess.run([sys.executable, HERE / "make_registry.py", many], check=True)
        timed(["data", "fetch"], folder, folder / "few.db")
        times: dict[str, list[float]] = {command: [] for command in COMMANDS}
        most: dict[str, float] = dict.fromkeys(COMMANDS, 0.0)
        whole: list[tuple[float, float]] = []
        for _ in range(args.rounds):
            for command, arguments in COMMANDS.items():
                db = many if "runs" in command or not arguments else folder / "few.db"
                seconds, megabytes, _ = timed(arguments, folder, db)
                times[command].append(seconds)
                most[command] = max(most[command], megabytes)
            seconds, _, printed = timed([*TRAIN, "--json"], folder, folder / "few.db")
            result: dict[str, Any] = json.loads(printed)
            whole.append((seconds, result["train_seconds"]))
        share = recording(folder)
    lines = [
        "# Benchmarks: the commands",
        "",
        "Written by `python benchmarks/bench_commands.py` (`make bench`).",
        "",
        f"From the shell to the prompt, {args.rounds} rounds, the real data decoded and cached; "
        "the `runs` commands and the completion on a registry of 10,000 runs of 20 epochs.",
        "",
        f"Machine: {cpu()}, {os.cpu_count()} cores; {'; '.join(versions())}.",
        "",
        "| command | seconds, median (fastest to slowest) | memory, MB |",
        "| --- | --- | --- |",
    ]
    for command, seconds_of in times.items():
        shown = f"{median(seconds_of):.2f} ({min(seconds_of):.2f} to {max(seconds_of):.2f})"
        lines.append(f"| `{command}` | {shown} | {most[command]:.0f} |")
    beyond = median(process - 1.5 * training for process, training in whole)
    lines += [
        "",
        f"`fmnist {' '.join(TRAIN)}`: the whole process took {median(p for p, _ in whole):.2f} s, "
        f"of which {median(t for _, t in whole):.2f} s were training (gradient updates). Beyond "
        f"1.5 times its training time it took {beyond:.2f} s, median of the rounds.",
        "",
        f"Recording (registry and checkpoints) adds {share:+.1%} to a training of {EPOCHS} epochs "
        f"at batch 5, their evaluations included: medians of {PAIRS} with a record and {PAIRS} "
        "without, in turn.",
    ]
    args.out.write_text("\n".join(lines) + "\n", encoding="utf-8")
    print(args.out)


if __name__ == "__main__":
    main()

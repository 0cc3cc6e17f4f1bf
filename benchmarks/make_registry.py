"""A registry of many runs, to measure what the `runs` commands take.

    python benchmarks/make_registry.py /tmp/many.db --runs 10000 --epochs 20
    time fmnist runs list --db /tmp/many.db

The runs are made up, in bulk; their curves look like real ones.
"""

from __future__ import annotations

import argparse
import random
import uuid
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from sqlalchemy import insert, update

from fmnist_cli import __version__
from fmnist_cli.registry import Registry, schema
from fmnist_cli.registry.rows import stored_digest
from fmnist_cli.registry.values import to_row, utc_text

BATCHES = (1, 5, 50, 500, 5000)
RATES = (0.001, 0.01, 0.1)
CHUNK = 1000  # runs a transaction


def run_row(i: int, epochs: int, rng: random.Random) -> dict[str, Any]:
    """A finished run."""
    batch = rng.choice(BATCHES)
    began = datetime(2026, 1, 1, tzinfo=UTC) + timedelta(minutes=10 * i)
    best = rng.randint(1, epochs)
    accuracy = rng.uniform(0.80, 0.90)
    return to_row(
        schema.run,
        {
            "id": i + 1,
            "uuid": uuid.UUID(int=rng.getrandbits(128)).hex,
            "command": rng.choice(("train", "sweep-batch", "momentum")),
            "argv": ["fmnist", "train"],
            "model": rng.choice(("mlp", "mlp", "cnn2")),
            "engine": "numpy",
            "batch": batch,
            "lr": rng.choice(RATES),
            "momentum": rng.choice((0.0, 0.5, 0.9)),
            "max_epochs": epochs,
            "patience": 3,
            "monitor": "val_accuracy",
            "seed": i,
            "hidden": 128,
            "train_size": 10_000,
            "val_size": 2_000,
            "augment": "none",
            "data_fingerprint": "0" * 64,
            "data_source": "made up",
            "fmnist_version": __version__,
            "environment": {"python": "3.11", "packages": {"numpy": "2.0"}},
            "host": "nowhere",
            "pid": 1,
            "status": "finished",
            "stop_reason": "max_epochs",
            "started_at": utc_text(began),
            "ended_at": utc_text(began + timedelta(seconds=30)),
            "epochs_run": epochs,
            "best_epoch": best,
            "updates_to_best": best * -(-10_000 // batch),
            "best_val_accuracy": accuracy,
            "best_val_loss": 1.3 - accuracy,
            "test_accuracy": accuracy - 0.01,
            "test_loss": 1.32 - accuracy,
            "still_improving": False,
            "train_seconds": 20.0,
            "total_seconds": 30.0,
        },
    )


def epoch_rows(run: dict[str, Any], rng: random.Random) -> list[dict[str, Any]]:
    """Its epochs."""
    rows = []
    for number in range(1, run["epochs_run"] + 1):
        loss = 0.35 + 0.6 / number + rng.uniform(0, 0.02)
        rows.append(
            {
                "run_id": run["id"],
                "epoch": number,
                "updates": number * -(-10_000 // run["batch"]),
                "train_seconds": 1.0,
                "eval_seconds": 0.2,
                "running_loss": loss + 0.05,
                "train_loss": loss,
                "train_accuracy": 1 - loss / 3,
                "val_loss": loss + 0.02,
                "val_accuracy": 1 - (loss + 0.02) / 3,
                "dead_units": 0,
            }
        )
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("db", type=Path)
    parser.add_argument("--runs", type=int, default=10_000)
    parser.add_argument("--epochs", type=int, default=20)
    options = parser.parse_args()
    if options.db.exists():
        parser.error(f"{options.db} exists")
    rng = random.Random(42)
    with Registry.open(options.db) as registry:
        for start in range(0, options.runs, CHUNK):
            numbers = range(start, min(start + CHUNK, options.runs))
            runs = [run_row(i, options.epochs, rng) for i in numbers]
            epochs = [row for run in runs for row in epoch_rows(run, rng)]
            tags = [{"run_id": run["id"], "tag": f"batch{run['batch']}"} for run in runs[::10]]
            with registry.database.write() as connection:
                connection.execute(insert(schema.run), runs)
                connection.execute(insert(schema.epoch), epochs)
                connection.execute(insert(schema.tag), tags)
                for run in runs:
                    digest = stored_digest(connection, run["id"])
                    this = update(schema.run).where(schema.run.c.id == run["id"])
                    connection.execute(this.values(digest=digest))
            print(f"{numbers.stop:,} of {options.runs:,} runs")


if __name__ == "__main__":
    main()

"""The exercise of the mini CNN as a recorded run: its checks, and its training where asked."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fmnist_cli.engine.config import TrainConfig
from fmnist_cli.epoch import Epoch
from fmnist_cli.errors import require

if TYPE_CHECKING:
    from fmnist_cli.engine.mini_cnn import Array, DerivativeCheck, Exercise, MiniCNNResult, Step
    from fmnist_cli.registry import Registry, Run
    from fmnist_cli.runner.listener import Listener

MOST_STEPS = 10_000_000
GENERATED = "made from the seed"
# what does not apply to the exercise has the value that says so
NOT_TRAINED = {"model": "mini-cnn", "engine": "numpy", "hidden": None, "batch": 1, "lr": 0.0,
               "epochs": 1, "patience": None, "monitor": "none", "seed": 0, "train_size": 1,
               "val_size": 0}  # fmt: skip


@dataclass(frozen=True)
class Training:
    """Examples of a CSV file, or ``n`` of them made from the seed, and how to train on them."""

    file: Path | None = None
    n: int = 200
    lr: float = 0.1
    steps: int = 2_000
    seed: int = 42

    def __post_init__(self) -> None:
        require(0 <= self.seed < 2**63, "seed must be between 0 and 2^63 - 1", self.seed)
        positive = math.isfinite(self.lr) and self.lr > 0
        require(positive, "lr must be a finite number above 0", self.lr)
        fits = 1 <= self.steps <= MOST_STEPS
        require(fits, f"steps must be between 1 and {MOST_STEPS}", self.steps)


def record_exercise(
    registry: Registry,
    listener: Listener,
    argv: tuple[str, ...],
    exercise: Exercise,
    checks: tuple[DerivativeCheck, ...],
    training: Training | None = None,
    *,
    command: str = "mini-cnn",
) -> tuple[Run, MiniCNNResult | None]:
    """Record the checks as a run, train in it, and record the states on the way.

    A state is recorded after every as many updates as there are examples, as an epoch.
    """
    import numpy as np

    from fmnist_cli.engine import mini_cnn
    from fmnist_cli.registry import Outcome, RunSpec

    config: dict[str, Any] = asdict(TrainConfig()) | NOT_TRAINED
    source, result, reason, done = GENERATED, None, None, 0
    if training is not None:
        x, y = examples_of(training)
        n, steps = len(x), training.steps
        source = str(training.file or GENERATED)
        config |= {"lr": training.lr, "seed": training.seed, "train_size": n}
        config["epochs"] = -(-steps // n)
    spec = RunSpec(
        command=command, config=config, data_fingerprint="-", data_source=source, argv=argv
    )
    with registry.run(spec) as run:
        for check in checks:
            run.record_check("gradient", check.name, check_document(check), check.holds)
        if training is not None:
            with listener.progress(steps, "mini-cnn", unit="update") as bar:

                def on_step(state: Step) -> None:
                    nonlocal done
                    bar.update(state.step - done)
                    done = state.step
                    if done:
                        run.record_epoch(Epoch(
                            epoch=-(-done // n), updates=done, train_seconds=0.0, eval_seconds=0.0,
                            running_loss=None, train_loss=state.loss, train_accuracy=state.accuracy,
                            val_loss=None, val_accuracy=None,
                        ))  # fmt: skip

                result = mini_cnn.train(
                    x, y, exercise.w, exercise.v, lr=training.lr, steps=steps, every=n,
                    rng=np.random.default_rng([training.seed, 1]), on_step=on_step,
                )  # fmt: skip
            reason = "diverged" if result.divergence else "max_epochs"
        message = (result and result.divergence) or None
        run.finish(Outcome(stop_reason=reason, train_seconds=0.0, message=message))  # type: ignore[arg-type]
    return run, result


def examples_of(training: Training) -> tuple[Array, Array]:
    """x (N, 3) and y (N,) to train on."""
    import numpy as np

    from fmnist_cli.engine.mini_cnn_examples import make_examples, read_examples

    if training.file is not None:
        return read_examples(training.file)
    return make_examples(np.random.default_rng([training.seed, 0]), training.n)


def said_of_examples(training: Training) -> str:
    """What the examples are, and what the loss is taken over."""
    n = len(examples_of(training)[0])
    of = f"of {training.file}"
    if training.file is None:
        of = (
            f"(x1, x2, x3) from N(0, 1), made from seed {training.seed} and labelled by a mini CNN "
            "of other weights"
        )
    return f"{n:,} examples {of}; the loss is their mean, in nats."


def check_document(check: DerivativeCheck) -> dict[str, Any]:
    """The check as plain values, as it is recorded."""
    return {
        "backpropagation": check.analytic,
        "difference": check.difference,
        "complex_step": check.complex_step,
        "training_update": check.update,
        "kink": check.kink,
        "method": check.method,
        "relative_error": check.relative_error,
        "holds": check.holds,
    }

"""Why a run went as it did: rules on its curve, each a plain sentence with its numbers.

The rules know nothing but the recorded epochs. Their thresholds are the constants below; what
they say is true of the numbers, and what they advise is worth a try, no more.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from statistics import fmean, linear_regression
from typing import Any, Literal

from fmnist_cli.analysis.answers import listing
from fmnist_cli.analysis.result import RecordedRun
from fmnist_cli.engine.config import TrainConfig
from fmnist_cli.epoch import Epoch, Metric
from fmnist_cli.formatting import percent

Rule = Literal[
    "diverged",
    "interrupted",
    "still_improving",
    "overfitting",
    "patience_too_small",
    "patience_enough",
    "unstable",
    "lr_too_small",
    "fine",
]

OVERFIT_EPOCHS = 3  # after the lowest validation loss; the last ones are averaged
OVERFIT_RISE = 0.05  # of the validation loss over its lowest, relative
JUMP = 0.20  # of the running loss from one epoch to the next, relative
STEADY_EPOCHS = 5
STEADY_FALL = 0.003  # of the running loss per epoch, relative
SMALL_GAP = 0.05  # validation loss over training loss, relative


@dataclass(frozen=True)
class Observation:
    """One rule that applies.

    Attributes
    ----------
    sentence : str
        With its numbers.
    figures : dict
        The same numbers as plain values.
    """

    rule: Rule
    sentence: str
    figures: dict[str, Any] = field(default_factory=dict)


def explain(run: RecordedRun, longer: RecordedRun | None = None) -> tuple[Observation, ...]:
    """What there is to say of a run, the gravest first; ``fine`` alone if nothing.

    Parameters
    ----------
    run : RecordedRun
        Numbers that were not finite are NaN.
    longer : RecordedRun, optional
        Of the same configuration and seed, and with more epochs: its patience is judged by it.
    """
    if run.diverged:
        return (_diverged(run),)
    rules = [_interrupted(run)]
    if run.epochs:
        rules += [
            _unstable(run),
            _still_improving(run),
            _lr_too_small(run),
            _overfitting(run),
            _patience(run, longer),
        ]
    found = {one.rule: one for one in rules if one is not None}
    # a cause says why it was still improving, or stopped too early, and need not be said twice
    if found.keys() & {"lr_too_small", "overfitting"}:
        found.pop("still_improving", None)
    if "lr_too_small" in found and longer is None:
        found.pop("patience_too_small", None)
    if not found.keys() - {"patience_enough"}:
        found["fine"] = _fine(run)
    return tuple(found.values())


def _interrupted(run: RecordedRun) -> Observation | None:
    if run.stop_reason != "interrupted":
        return None
    n = len(run.epochs)
    text = f"It did not come to an end of its own; it recorded {_epochs(n)}."
    return Observation("interrupted", text, {"epochs": n})


def _diverged(run: RecordedRun) -> Observation:
    last, lr, hidden = run.epochs[-1], run.lr, run.run.hidden
    first_update = run.epochs[-2].updates + 1 if len(run.epochs) > 1 else 1
    losses = {
        "running": last.value("running_loss"),
        "training": last.value("train_loss"),
        "validation": last.value("val_loss"),
    }
    infinite = [name for name, loss in losses.items() if not math.isfinite(loss)]
    if infinite:
        why = f"the {listing(infinite)} loss is not a finite number"
    elif last.dead_units and (hidden is None or 2 * last.dead_units >= hidden):
        of = f" of {hidden}" if hidden else ""
        why = (
            f"{last.dead_units}{of} hidden units are zero for every training image, and learn "
            f"nothing any more (training accuracy {percent(last.value('train_accuracy'))})"
        )
    else:
        why = "a weight is not a finite number"
    smaller = min(lr / 10, TrainConfig.lr)
    return Observation(
        "diverged",
        f"It diverged in epoch {last.epoch} (updates {first_update:,} to {last.updates:,}): {why}. "
        f"The learning rate {lr:g} is too large for it; {smaller:g} is worth a try.",
        {
            "epoch": last.epoch,
            "first_update": first_update,
            "last_update": last.updates,
            "losses_not_finite": infinite,
            "dead_units": last.dead_units,
            "hidden_units": hidden,
            "lr": lr,
        },
    )


def _unstable(run: RecordedRun) -> Observation | None:
    momentum = f" with momentum {run.momentum:g}" if run.momentum else ""
    jumps = [
        (after.value("running_loss") / before.value("running_loss") - 1, before, after)
        for before, after in pairwise(run.epochs)
        if before.value("running_loss") > 0
    ]
    large = [jump for jump in jumps if jump[0] > JUMP]
    if not large:
        return None
    rise, before, after = max(large, key=lambda jump: jump[0])
    return Observation(
        "unstable",
        f"It is unstable: in {len(large)} of {len(jumps)} steps from epoch to epoch the running "
        f"loss jumped by more than {100 * JUMP:.0f} %, most in epoch {after.epoch}, from "
        f"{before.running_loss:.4f} to {after.running_loss:.4f}. The learning rate "
        f"{run.lr:g}{momentum} is near its limit.",
        {
            "jumps": len(large),
            "steps": len(jumps),
            "worst_epoch": after.epoch,
            "from": before.running_loss,
            "to": after.running_loss,
            "rise": rise,
        },
    )


def _still_improving(run: RecordedRun) -> Observation | None:
    if not run.still_improving or run.best_epoch is None:
        return None
    n, best = len(run.epochs), run.epochs[run.best_epoch - 1]
    return Observation(
        "still_improving",
        f"It was still improving at its limit: the best epoch is {best.epoch} of {n} (validation "
        f"accuracy {percent(best.val_accuracy)}, loss {best.val_loss:.4f}). More epochs may be "
        "better.",
        {
            "best_epoch": best.epoch,
            "epochs": n,
            "val_accuracy": best.val_accuracy,
            "val_loss": best.val_loss,
        },
    )


def _lr_too_small(run: RecordedRun) -> Observation | None:
    """Steadily down to the very end, and no gap between training and validation yet.

    So small a step may also use up a patience: the loss falls, the accuracy stands still.
    """
    last = run.epochs[-STEADY_EPOCHS - 1 :]
    if run.stop_reason not in ("max_epochs", "patience") or len(last) <= STEADY_EPOCHS:
        return None
    losses = [epoch.value("running_loss") for epoch in last]
    if not all(b < a for a, b in pairwise(losses)):
        return None
    fall = 1 - (losses[-1] / losses[0]) ** (1 / STEADY_EPOCHS)
    end = last[-1]
    gap = end.value("val_loss") / end.value("train_loss") - 1
    if fall < STEADY_FALL or not gap <= SMALL_GAP:  # NaN without a validation set
        return None
    return Observation(
        "lr_too_small",
        f"The learning rate {run.lr:g} is small: the running loss was still falling steadily, by "
        f"{100 * fall:.1f} % per epoch over the last {STEADY_EPOCHS}, and the validation loss "
        f"({end.val_loss:.4f}) is close to the training loss ({end.train_loss:.4f}). A larger "
        "one would get there in fewer epochs.",
        {
            "fall_per_epoch": fall,
            "epochs": STEADY_EPOCHS,
            "train_loss": end.train_loss,
            "val_loss": end.val_loss,
            "lr": run.lr,
        },
    )


def _overfitting(run: RecordedRun) -> Observation | None:
    """The validation loss rises from its lowest to the end, while the training loss falls."""
    epochs = run.epochs
    lowest = min(epochs, key=lambda epoch: epoch.value("val_loss"))
    after = [epoch for epoch in epochs if epoch.epoch >= lowest.epoch]
    if len(after) <= OVERFIT_EPOCHS:
        return None
    tail = after[-OVERFIT_EPOCHS:]
    val, train = (fmean(epoch.value(name) for epoch in tail) for name in ("val_loss", "train_loss"))
    rising = _slope(after, "val_loss") > 0 and val > (1 + OVERFIT_RISE) * lowest.value("val_loss")
    falling = _slope(after, "train_loss") < 0 and train < lowest.value("train_loss")
    if not (rising and falling):
        return None
    accuracy = ""
    if run.still_improving:
        accuracy = (
            f" Its validation accuracy was best in epoch {run.best_epoch} of {len(epochs)} all the "
            "same: it errs no more often, but is surer when it errs."
        )
    return Observation(
        "overfitting",
        f"It overfits since epoch {lowest.epoch}: from there to epoch {epochs[-1].epoch} the "
        f"validation loss rose from {lowest.val_loss:.4f} to {val:.4f} while the training loss "
        f"fell from {lowest.train_loss:.4f} to {train:.4f} (means of the last {OVERFIT_EPOCHS} "
        f"epochs).{accuracy}",
        {
            "since_epoch": lowest.epoch,
            "val_loss_then": lowest.val_loss,
            "val_loss_at_end": val,
            "train_loss_then": lowest.train_loss,
            "train_loss_at_end": train,
        },
    )


def _patience(run: RecordedRun, longer: RecordedRun | None) -> Observation | None:
    patience, monitor = run.run.patience, run.monitor
    if run.stop_reason != "patience" or patience is None or run.best_epoch is None:
        return None
    best = run.epochs[run.best_epoch - 1]
    watched = monitor.replace("val_", "validation ")
    if longer is not None and longer.best_epoch is not None:
        name, other = f"run {longer.run.id}", longer.epochs[longer.best_epoch - 1]
        here, there = getattr(best, monitor), getattr(other, monitor)
        better = there > here if monitor == "val_accuracy" else there < here
        shown = percent if monitor == "val_accuracy" else "{:.4f}".format
        figures = {
            "patience": patience,
            "best_epoch": best.epoch,
            monitor: here,
            "longer_run": name,
            "longer_best_epoch": other.epoch,
            f"longer_{monitor}": there,
        }
        rule: Rule = "patience_too_small" if better else "patience_enough"
        sentence = (
            f"Patience {patience} was enough: {name}, the same training that went on to "
            f"epoch {longer.epochs[-1].epoch}, has no better {watched} than {shown(here)}."
        )
        if better:
            sentence = (
                f"Patience {patience} was too small: {name}, the same training that went "
                f"on, reached {watched} {shown(there)} in epoch {other.epoch}, against "
                f"{shown(here)} in epoch {best.epoch}."
            )
        return Observation(rule, sentence, figures)
    lowest = min(run.epochs, key=lambda epoch: epoch.value("val_loss"))
    if monitor == "val_accuracy" and lowest.epoch > best.epoch:
        return Observation(
            "patience_too_small",
            f"Patience {patience} may be too small: the validation accuracy was best in epoch "
            f"{best.epoch}, but the validation loss was lower still in epoch {lowest.epoch} "
            f"({lowest.val_loss:.4f} after {best.val_loss:.4f}). A longer run would tell.",
            {
                "patience": patience,
                "best_epoch": best.epoch,
                "val_loss": best.val_loss,
                "lowest_val_loss": lowest.val_loss,
                "lowest_val_loss_epoch": lowest.epoch,
            },
        )
    return None


def _fine(run: RecordedRun) -> Observation:
    if not run.epochs:
        return Observation("fine", "It recorded no epoch: there is nothing to explain.")
    first, last = run.epochs[0], run.epochs[-1]
    said = []
    losses: dict[Metric, str] = {"running_loss": "running", "train_loss": "training"}
    for metric, name in losses.items():
        start, end = first.value(metric), last.value(metric)
        if math.isfinite(start) and math.isfinite(end):
            said.append(f"the {name} loss went from {start:.4f} to {end:.4f}")
            break
    accuracies = {
        "training": last.value("train_accuracy"),
        "validation": last.value("val_accuracy"),
    }
    if known := [f"{percent(v)} ({name})" for name, v in accuracies.items() if math.isfinite(v)]:
        said.append(f"the accuracy to {listing(known)}")
    best = f" The best is epoch {run.best_epoch}." if run.best_epoch else ""
    return Observation(
        "fine",
        f"Nothing unusual: in {_epochs(len(run.epochs))} "
        f"{', '.join(said) or 'no number was recorded'}.{best}",
        {
            "epochs": len(run.epochs),
            "best_epoch": run.best_epoch,
            "first_running_loss": first.running_loss,
            "last_running_loss": last.running_loss,
            "train_accuracy": last.train_accuracy,
            "val_accuracy": last.val_accuracy,
        },
    )


def _slope(epochs: Sequence[Epoch], metric: Metric) -> float:
    """Of the least-squares line through the values."""
    values = [epoch.value(metric) for epoch in epochs]
    return linear_regression(range(len(values)), values).slope


def _epochs(n: int) -> str:
    return f"{n} epoch{'' if n == 1 else 's'}"

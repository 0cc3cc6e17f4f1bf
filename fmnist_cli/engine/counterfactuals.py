"""Runs that would refute an explanation: the same training with its supposed cause taken away.

*Is it the batch, or the steps it is given?* A larger batch makes fewer updates per epoch, so that
at one learning rate it moves less in as many epochs. While steps are small SGD follows the
*cumulative learning rate*, the sum over updates of lr / (1 - momentum). Scaling the learning rate
linearly with the batch keeps it equal per epoch, up to the stability limit (``sharpness.py``);
scaling by the square root keeps the noise of a step equal instead. Patience in epochs hides another
difference: as many epochs are fewer updates.

*Is it momentum, or the longer step?* A constant gradient g makes v -> g / (1 - alpha): momentum
alpha at lr moves as momentum 0 does at lr / (1 - alpha). The twins have the one without the other.

Sources: Goyal et al., *Accurate, Large Minibatch SGD* (2017, arXiv:1706.02677) for the linear rule;
Krizhevsky, *One weird trick* (2014, arXiv:1404.5997) for the square root; Smith and Le, *A Bayesian
Perspective on Generalization and SGD* (2018, arXiv:1710.06451), section 4, for lr / (1 - momentum).
"""

from __future__ import annotations

import math
from typing import Literal

from fmnist_cli.engine.config import TrainConfig

Rule = Literal["linear", "sqrt"]


def cumulative_lr(config: TrainConfig, updates: int) -> float:
    """updates * lr / (1 - momentum): how far a constant gradient of norm 1 would have led."""
    return updates * config.lr / (1 - config.momentum)


def scaled_lr(config: TrainConfig, batch: int, rule: Rule) -> TrainConfig:
    """At another batch size, with the learning rate scaled by the ratio or by its square root."""
    ratio = batch / config.batch
    return config.but(batch=batch, lr=config.lr * (ratio if rule == "linear" else math.sqrt(ratio)))


def same_patience(config: TrainConfig, reference: TrainConfig) -> TrainConfig:
    """With the reference's patience and limit counted in updates in place of epochs, rounded up."""

    def epochs(of_reference: int) -> int:
        return -(-of_reference * reference.updates_per_epoch // config.updates_per_epoch)

    patience = None if reference.patience is None else epochs(reference.patience)
    return config.but(epochs=epochs(reference.epochs), patience=patience)


def same_cumulative_lr(config: TrainConfig, total: float) -> TrainConfig:
    """To the first epoch whose cumulative learning rate reaches ``total``; no early stopping."""
    per_epoch = cumulative_lr(config, config.updates_per_epoch)
    # what rounds to a whole number of epochs is that number
    return config.but(epochs=max(1, math.ceil(total / per_epoch - 1e-9)), patience=None)


def cut_short(config: TrainConfig, total: float) -> TrainConfig:
    """In whole epochs, as few as the learning rate allows, to exactly the cumulative learning rate
    ``total``: the learning rate makes up for what is less than an epoch. No early stopping."""
    longer = same_cumulative_lr(config, total)
    return longer.but(
        lr=config.lr * total / cumulative_lr(longer, longer.epochs * longer.updates_per_epoch)
    )


def momentum_twins(config: TrainConfig) -> tuple[TrainConfig, TrainConfig]:
    """Of a run with momentum alpha at lr: without momentum at its effective step, lr / (1 - alpha);
    and with momentum at the step of plain SGD, lr (1 - alpha). Same seed."""
    alpha = config.momentum
    return (
        config.but(momentum=0.0, lr=config.lr / (1 - alpha)),
        config.but(lr=config.lr * (1 - alpha)),
    )

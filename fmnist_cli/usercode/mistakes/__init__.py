"""The mistakes that fmnist knows by name: what each would have given, and hints that lead to it.

A mistake is named when what it gives agrees with the user's array to rounding on every case:
batches of 1, 5 and 50, and a square one. The more particular mistake stands before the more
general one. No hint says what to write.
"""

from __future__ import annotations

from fmnist_cli.usercode.mistakes import layers, model
from fmnist_cli.usercode.mistakes.mistake import Mistake as Mistake

BY_ARRAYS: dict[str, tuple[Mistake, ...]] = {
    "linear_forward": layers.LINEAR_FORWARD,
    "linear_dW": layers.LINEAR_DW,
    "linear_db": layers.LINEAR_DB,
    "linear_dX": layers.LINEAR_DX,
    "relu_forward": layers.RELU_FORWARD,
    "relu_backward": layers.RELU_BACKWARD,
    "relu_at_zero": layers.RELU_AT_ZERO,
    "update": model.UPDATE,
    "second_update": model.SECOND_UPDATE,
    "backward_pass": model.MODEL,
    "loss_forward": model.LOSS_FORWARD,
    "loss_backward": model.LOSS_BACKWARD,
}
"""The mistakes of each check that compares arrays."""

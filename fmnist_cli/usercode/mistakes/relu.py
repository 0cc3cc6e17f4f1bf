"""Mistakes in relu: max(0, X), and its mask."""

from __future__ import annotations

import numpy as np

from fmnist_cli.usercode.mistakes.mistake import Mistake, scaled

AT_MINUS_ONE, AT_THREE = "What should it give for X = -1?", "What should it give for X = 3?"
SLOPE_AT_MINUS_ONE = "What is the derivative of relu at X = -1?"
SLOPE_AT_THREE = "What is the derivative of relu at X = 3?"
WHOSE_SIGN = "The derivative of relu is 0 or 1 depending on what: X, or the gradient?"

RELU_FORWARD = (
    Mistake("relu-identity", "relu gives its input back.", AT_MINUS_ONE, lambda c: c.X),
    Mistake("relu-max-over-examples", "relu gives one row: the largest entry of each column.",
            "What does the second argument of np.max say, and what that of np.maximum?",
            lambda c: c.X.max(axis=0)),
    Mistake("relu-step", "relu gives 1 where X is positive: its mask, not its value.",
            AT_THREE, lambda c: (c.X > 0) * 1.0),
    Mistake("relu-inverted", "relu keeps the negative half.", "What should it give for X = 1?",
            lambda c: np.minimum(c.X, 0)),
    Mistake("relu-absolute", "relu gives the absolute value.", AT_MINUS_ONE, lambda c: np.abs(c.X)),
    Mistake("relu-negated", "relu has the wrong sign.", "What should it give for X = 1?",
            lambda c: -np.maximum(c.X, 0)),
    Mistake("relu-leaky", "relu lets {c:.3g} of the negative half through: a leaky ReLU.",
            AT_MINUS_ONE, lambda c: np.maximum(c.X, 0), lambda c: np.minimum(c.X, 0)),
    Mistake("relu-doubled", "relu's output is twice what it should be.",
            "What should it give for X = 1?", lambda c: 2 * np.maximum(c.X, 0)),
    *(Mistake("relu-clipped", f"relu cuts off above {top}.", "What should it give for X = 7?", of)
      for top, of in ((1, lambda c: np.clip(c.X, 0, 1)), (6, lambda c: np.clip(c.X, 0, 6)))),
    Mistake("relu-of-maximum", "relu gives one number for a whole row: its maximum.",
            "Is the maximum taken between an entry and 0, or among the entries?",
            lambda c: np.broadcast_to(np.maximum(c.X.max(axis=1, keepdims=True), 0), c.X.shape)),
    Mistake("relu-is-sigmoid", "This is a sigmoid.", AT_THREE, lambda c: 1 / (1 + np.exp(-c.X))),
    Mistake("relu-is-tanh", "This is tanh.", AT_THREE, lambda c: np.tanh(c.X)),
    Mistake("relu-is-softplus", "This is the softplus, ln(1 + exp X).",
            AT_MINUS_ONE, lambda c: np.log1p(np.exp(c.X))),
    Mistake("relu-is-elu", "This is an ELU.", AT_MINUS_ONE,
            lambda c: np.where(c.X > 0, c.X, np.expm1(c.X))),
    Mistake("relu-squared", "relu's output is squared.", AT_THREE,
            lambda c: np.maximum(c.X, 0) ** 2),
    Mistake("relu-above-one", "relu drops what is below 1.", "What should it give for X = 0.5?",
            lambda c: np.where(c.X > 1, c.X, 0)),
)  # fmt: skip

RELU_BACKWARD = (
    Mistake("relu-dX-not-returned", "backward returns nothing.",
            "Who needs the gradient of this layer's input, and how does it get there?",
            lambda c: None),
    Mistake("mask-missing", "relu's backward lets the whole gradient through.",
            SLOPE_AT_MINUS_ONE, lambda c: c.G),
    Mistake("mask-of-gradient", "The mask looks at the gradient, not at the input.", WHOSE_SIGN,
            lambda c: c.G * (c.G > 0)),
    Mistake("mask-of-both", "The mask looks at the gradient as well as at the input.",
            "May a negative gradient pass a unit that is active?",
            lambda c: c.G * (c.X > 0) * (c.G > 0)),
    Mistake("mask-inverted", "The mask is inverted.", "What is the derivative of relu at X = 1?",
            lambda c: c.G * (c.X <= 0)),
    Mistake("mask-returned", "backward returns the mask: the gradient is not in it.",
            "The chain rule multiplies what comes in by the local derivative: where is grad?",
            lambda c: (c.X > 0) * 1.0),
    Mistake("mask-added", "The mask is added to the gradient.",
            "What does the chain rule do with the two factors?", lambda c: c.G + (c.X > 0)),
    Mistake("mask-is-input", "The gradient is multiplied by X in place of the mask.",
            SLOPE_AT_THREE, lambda c: c.G * c.X),
    Mistake("mask-is-output", "The gradient is multiplied by relu's output in place of the mask.",
            SLOPE_AT_THREE, lambda c: c.G * np.maximum(c.X, 0)),
    Mistake("relu-output-returned", "backward returns relu's output.",
            "Is the array that is returned the one that was computed?",
            lambda c: np.maximum(c.X, 0)),
    Mistake("relu-dX-zero", "relu's backward lets nothing through.",
            "What is the derivative of relu at X = 1?", lambda c: np.zeros_like(c.X)),
    Mistake("mask-of-first-example", "Every example gets the mask of the first one.",
            "Whose X decides for the second example?", lambda c: c.G * (c.X[:1] > 0)),
    Mistake("mask-with-sign", "Where X is negative the gradient is turned round, not stopped.",
            SLOPE_AT_MINUS_ONE, lambda c: c.G * np.sign(c.X)),
    Mistake("relu-dX-leaky", "relu's backward lets {c:.3g} through where X is negative.",
            SLOPE_AT_MINUS_ONE, lambda c: c.G * (c.X > 0), lambda c: c.G * (c.X < 0)),
    Mistake("mask-of-row", "A whole row passes where any of its entries is positive.",
            "Does each entry of X have its own entry in the mask?",
            lambda c: c.G * (c.X > 0).any(axis=1, keepdims=True)),
    Mistake("mask-of-product", "The mask looks at X times the gradient.", WHOSE_SIGN,
            lambda c: c.G * (c.X * c.G > 0)),
    Mistake("mask-above-mean", "The mask is 1 only where X is above its mean.",
            "What is the derivative of relu at X = 0.5?", lambda c: c.G * (c.X.mean() < c.X)),
    Mistake("mask-keeps-input", "Where X is negative dX is X itself.",
            "What does the array hold where the mask is 0, before anything is written to it?",
            lambda c: np.where(c.X > 0, c.G, c.X)),
    Mistake("relu-dX-rescaled", "The gradient is divided by the share of active units, as in "
            "dropout.", "Does the formula of relu's derivative have a scale in it?",
            lambda c: c.G * (c.X > 0) / max((c.X > 0).mean(), 1e-12)),
    Mistake("mask-above-one", "The mask is 1 only where X is above 1.",
            "What is the derivative of relu at X = 0.5?", lambda c: c.G * (c.X > 1)),
    *scaled("relu-dX", lambda c: c.G * (c.X > 0)),
)  # fmt: skip

RELU_AT_ZERO = (
    Mistake("mask-includes-zero", "The gradient passes where X is exactly 0.",
            "Which side of the comparison does 0 itself belong to, in the assignment's formula?",
            lambda c: c.G * (c.X >= 0)),
    Mistake("mask-half-at-zero", "Half the gradient passes where X is exactly 0.",
            "Which value does the assignment's formula have at 0?",
            lambda c: c.G * np.where(c.X == 0, 0.5, c.X > 0)),
)  # fmt: skip

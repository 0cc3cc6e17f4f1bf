"""Mistakes in the linear layer, y = X W + b; and in relu, max(0, X), and its mask."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from fmnist_cli.usercode.cases import Array, LinearCase
from fmnist_cli.usercode.mistakes.mistake import Mistake, variants


def _dW(c: LinearCase) -> Array:
    return c.X.T @ c.G  # (D, N) @ (N, H) -> (D, H)


def _db(c: LinearCase) -> Array:
    total: Array = c.G.sum(axis=0)  # (N, H) -> (H,)
    return total


def _dX(c: LinearCase) -> Array:
    return c.G @ c.W.T  # (N, H) @ (H, D) -> (N, D)


def _with_ones(c: LinearCase, *, first: bool = False) -> Array:
    """X with a column of ones for the bias, last (N, D + 1) or first."""
    ones = np.ones((len(c.X), 1))
    return np.hstack([ones, c.X] if first else [c.X, ones])


def _stacked(c: LinearCase) -> Array:
    """W with b as its last row, (D + 1, H)."""
    return np.vstack([c.W, c.b])


SUM = "The loss is a mean over the batch, and its 1/N is in the gradient that comes in already. "
ROW = "Which row of the stacked matrix is the bias, and where do the ones stand?"
WHICH = "Over which examples does the loop go?"
AT_ZERO = "With X = 0, what should the layer give, and what does yours give?"
N_BIASES = "How many biases does a layer with H outputs have, and does each output get its own?"
RELU_LAYER = "Which layer is it that knows about ReLU?"
RELU_MASK = "Which layer's backward knows about ReLU?"
SIDE_BY_SIDE = "Write the shapes of X and grad side by side: over which index is the sum?"
LOOP = "In the loop over the examples, what happens to the result of the one before?"
SUM_FIRST = "Is the sum over the examples taken before or after the product?"
AXIS = "b has one entry per output. Which axis of grad must disappear?"
SAME_B = "Every example moves the same b. What happens to their contributions?"
STILL_X = "y = X W + b: does its derivative by X still contain X?"
RESHAPE = "Does reshape move an entry to where the transpose has it?"
RETURNED = "Is the array that is returned the one that was computed?"
DECAY = "Is there a weight decay that nobody asked for?"
AT_MINUS_ONE, AT_THREE = "What should it give for X = -1?", "What should it give for X = 3?"
SLOPE_AT_MINUS_ONE = "What is the derivative of relu at X = -1?"
SLOPE_AT_THREE = "What is the derivative of relu at X = 3?"
WHOSE_SIGN = "The derivative of relu is 0 or 1 depending on what: X, or the gradient?"


def scaled(part: str, right: Callable[[Any], Array]) -> tuple[Mistake, ...]:
    """The right array times a factor that the shapes give."""
    return (
        Mistake(f"{part}-divided-by-N",
                f"{part} is N times too small: it is divided by the batch size once more.",
                SUM + "Who divides a second time?", lambda c: right(c) / len(c.X)),
        Mistake(f"{part}-times-N", f"{part} is N times too large.",
                SUM + "What multiplies by the batch size here?", lambda c: right(c) * len(c.X)),
        Mistake(f"{part}-divided-by-D", f"{part} is divided by the number of inputs.",
                "Which axis of X counts the examples, and which the inputs? Is a division due at "
                "all?", lambda c: right(c) / c.X.shape[1]),
        Mistake(f"{part}-divided-by-outputs",
                f"{part} is divided by the number of columns of the gradient that comes in.",
                "Which axis of grad counts the examples? Is a division due at all?",
                lambda c: right(c) / c.G.shape[1]),
        Mistake(f"{part}-sign", f"{part} has the wrong sign.",
                "Backward computes the gradient; where does descending it put the minus?",
                lambda c: -right(c)),
        Mistake(f"{part}-doubled", f"{part} is twice what it should be.",
                "Is the same contribution added twice, or a factor taken from a squared loss?",
                lambda c: 2 * right(c)),
    )  # fmt: skip


LINEAR_FORWARD = (
    Mistake("bias-missing", "The output lacks the bias.",
            "Which of the layer's two parameters does the output depend on?", lambda c: c.X @ c.W),
    Mistake("bias-subtracted", "The bias is subtracted.", AT_ZERO, lambda c: c.X @ c.W - c.b),
    Mistake("bias-twice", "The bias is added twice.", AT_ZERO, lambda c: c.X @ c.W + 2 * c.b),
    Mistake("bias-averaged", "All outputs get the same bias.", N_BIASES,
            lambda c: c.X @ c.W + c.b.mean()),
    Mistake("bias-first-example", "Only the first example's output has the bias.",
            "Is the bias added inside the loop over the examples?",
            lambda c: c.X @ c.W + c.b * (np.arange(len(c.X)) == 0)[:, None]),
    Mistake("W-transposed", "X is multiplied by the transpose of W.",
            "W is (inputs, outputs). Which axis of W must meet the inputs of X?",
            lambda c: c.X @ c.W.T + c.b),
    Mistake("elementwise-product", "X and W are multiplied entry by entry.",
            "What is the difference between * and a matrix product?", lambda c: c.X * c.W + c.b),
    Mistake("output-transposed", "The output is the transpose of what it should be.",
            "One example per row: which shape should the output have?",
            lambda c: (c.X @ c.W + c.b).T),
    Mistake("activation-in-linear", "The linear layer's output has no negative numbers: a ReLU is "
            "inside it.", RELU_LAYER,
            lambda c: np.maximum(c.Y, 0)),
    Mistake("activation-on-input", "The linear layer drops the negative entries of X first.",
            RELU_LAYER, lambda c: np.maximum(c.X, 0) @ c.W + c.b),
    *variants("activation-in-linear", "A tanh or a sigmoid is inside the linear layer.",
              "Is the layer still linear?", lambda c: np.tanh(c.Y),
              lambda c: 1 / (1 + np.exp(-c.Y))),
    Mistake("bias-first-only", "The first bias is added to every output.", N_BIASES,
            lambda c: c.X @ c.W + c.b[0]),
    Mistake("bias-times-D", "The bias is added once per input.",
            "How often is the bias added to one output?", lambda c: c.X @ c.W + c.X.shape[1] * c.b),
    Mistake("bias-row-misplaced", "The ones that stand for the bias meet another row than b.", ROW,
            lambda c: _with_ones(c, first=True) @ _stacked(c)),
    *(Mistake("input-left-out", f"The {which} input is left out.",
              "Over which inputs does the sum go?", gives)
      for which, gives in (("first", lambda c: c.X[:, 1:] @ c.W[1:] + c.b),
                           ("last", lambda c: c.X[:, :-1] @ c.W[:-1] + c.b))),
    Mistake("forward-divided-by-sqrt-D", "X W is divided by the root of the number of inputs.",
            "Does the layer's formula have a scale in it?",
            lambda c: c.X @ c.W / np.sqrt(c.X.shape[1]) + c.b),
    Mistake("forward-divided-by-N", "X W is divided by the batch size.",
            "Does the output for one image depend on how many others are in the batch?",
            lambda c: c.X @ c.W / len(c.X) + c.b),
    Mistake("forward-divided-by-D", "X W is divided by the number of inputs.",
            "Does the layer's formula have a mean in it?",
            lambda c: c.X @ c.W / c.X.shape[1] + c.b),
    Mistake("forward-sign", "The output has the wrong sign.",
            "With b = 0 and W = 1, what comes out for X = 1?", lambda c: -c.Y),
    Mistake("bias-in-product", "The bias is added to W before the product.", AT_ZERO,
            lambda c: c.X @ (c.W + c.b)),
    Mistake("input-scaled", "X is multiplied by {c:.3g} first.",
            "Who brings the images to their range, and does the layer do it again?",
            lambda c: np.broadcast_to(c.b, c.Y.shape), lambda c: c.X @ c.W),
)  # fmt: skip

LINEAR_DW = (
    Mistake("dW-not-stored", "dW stays as the layer was made: no backward pass stores it.",
            "After backward, where does the update look for the gradient of W?",
            lambda c: np.zeros_like(c.W)),
    *scaled("dW", _dW),
    Mistake("dW-transposed", "dW is the transpose of what it should be.",
            "W is (inputs, outputs). Which shape must dW have, and which order of the factors "
            "gives it?", lambda c: c.G.T @ c.X),
    Mistake("dW-X-not-transposed", "dW is X times grad, without a transpose.", SIDE_BY_SIDE,
            lambda c: c.X @ c.G),
    Mistake("dW-wrong-transpose", "The transpose is on the wrong factor of dW.", SIDE_BY_SIDE,
            lambda c: c.X @ c.G.T),
    Mistake("dW-last-example", "dW comes from the last example of the batch alone.", LOOP,
            lambda c: np.outer(c.X[-1], c.G[-1])),
    Mistake("dW-first-example", "dW comes from the first example of the batch alone.",
            "Which rows of X and grad does it use?", lambda c: np.outer(c.X[0], c.G[0])),
    Mistake("dW-outer-of-sums", "dW is the product of two sums, not the sum of products.",
            SUM_FIRST, lambda c: np.outer(c.X.sum(axis=0), c.G.sum(axis=0))),
    *variants("dW-outer-of-means", "dW is the product of means, not the sum of products.",
              SUM_FIRST, lambda c: np.outer(c.X.mean(axis=0), c.G.mean(axis=0)),
              lambda c: np.outer(c.X.mean(axis=0), c.G.sum(axis=0))),
    *variants("dW-examples-mixed-up", "The inputs of one example meet the gradient of another.",
              "Do the rows of X and grad that are multiplied belong to one example?",
              lambda c: c.X.T @ np.roll(c.G, 1, axis=0), lambda c: c.X.T @ np.roll(c.G, -1, axis=0),
              lambda c: c.X.T @ c.G[::-1]),
    *(Mistake("example-left-out", f"The {which} example is left out of dW.", WHICH, gives)
      for which, gives in (("first", lambda c: c.X[1:].T @ c.G[1:]),
                           ("last", lambda c: c.X[:-1].T @ c.G[:-1]))),
    Mistake("reshaped", "dW is reshaped where it should be transposed.", RESHAPE,
            lambda c: (c.G.T @ c.X).reshape(c.W.shape)),
    Mistake("bias-row-misplaced", "dW has the row of the bias in it.", ROW,
            lambda c: (_with_ones(c).T @ c.G)[1:]),
    Mistake("dW-normalised", "dW is divided by its norm.",
            "What is left of the gradient's size?", lambda c: _dW(c) / np.linalg.norm(_dW(c))),
    Mistake("dW-from-output", "dW is computed from the layer's output in place of its input.",
            "y = X W + b: what stands beside W?", lambda c: c.Y.T @ c.G),
    Mistake("dW-masked", "A ReLU's mask of the output is inside the linear layer's dW.",
            RELU_MASK, lambda c: c.X.T @ (c.G * (c.Y > 0))),
    Mistake("dW-positive-inputs", "Only the positive entries of X count in dW.",
            RELU_LAYER, lambda c: np.maximum(c.X, 0).T @ c.G),
    Mistake("dW-plus-W", "{c:.3g} times W is added to dW.", DECAY, _dW, lambda c: c.W),
    Mistake("dW-absolute", "dW has lost its signs.", "What does an absolute value do here?",
            lambda c: np.abs(_dW(c))),
    Mistake("dW-is-dX", "dW is what should be dX.",
            "Which of the two is the gradient of the input, and which of the weights?", _dX),
    Mistake("dW-times-W", "dW is multiplied by W.",
            "y = X W + b: does its derivative by W still contain W?", lambda c: _dW(c) * c.W),
)  # fmt: skip

LINEAR_DB = (
    Mistake("db-not-stored", "db stays as the layer was made: no backward pass stores it.",
            "After backward, where does the update look for the gradient of b?",
            lambda c: np.zeros_like(c.b)),
    Mistake("db-averaged", "db is a mean over the examples, not their sum.",
            SUM + "What is left to do over the examples?", lambda c: c.G.mean(axis=0)),
    Mistake("db-wrong-axis", "db is summed over the wrong axis.", AXIS, lambda c: c.G.sum(axis=1)),
    Mistake("db-wrong-axis-averaged", "db is averaged over the wrong axis.", AXIS,
            lambda c: c.G.mean(axis=1)),
    *variants("db-one-number", "db is one number for all outputs: the sum of all of grad.", AXIS,
              lambda c: np.full_like(c.b, c.G.sum()), lambda c: np.asarray(c.G.sum()),
              lambda c: np.full((1, 1), c.G.sum())),
    Mistake("db-mean-of-all", "db is one number for all outputs: the mean of all of grad.", AXIS,
            lambda c: np.full_like(c.b, c.G.mean())),
    Mistake("db-not-summed", "db has a row for every example: it is not summed.", SAME_B,
            lambda c: c.G),
    Mistake("db-last-example", "db comes from the last example of the batch alone.", LOOP,
            lambda c: c.G[-1]),
    Mistake("db-first-example", "db comes from the first example of the batch alone.",
            "Which rows of grad does it use?", lambda c: c.G[0]),
    Mistake("db-ignores-grad", "db is the number of examples: grad is not in it.",
            "y = X W + b: db/dL is 1 times what?", lambda c: np.full_like(c.b, len(c.G))),
    Mistake("db-ones", "db is 1: grad is not in it.", "y = X W + b: dL/db is 1 times what?",
            lambda c: np.ones_like(c.b)),
    Mistake("db-from-dW", "db is the column sum of dW: the inputs are in it.",
            "Does the derivative of y = X W + b by b contain X?", lambda c: _dW(c).sum(axis=0)),
    Mistake("db-masked", "A ReLU's mask of the output is inside the linear layer's db.",
            RELU_MASK, lambda c: (c.G * (c.Y > 0)).sum(axis=0)),
    Mistake("db-plus-b", "{c:.3g} times b is added to db.", DECAY, _db, lambda c: c.b),
    Mistake("db-maximum", "db is the largest entry of each column, not the sum.", SAME_B,
            lambda c: c.G.max(axis=0)),
    *(Mistake("example-left-out", f"The {which} example is left out of db.", WHICH, gives)
      for which, gives in (("first", lambda c: c.G[1:].sum(axis=0)),
                           ("last", lambda c: c.G[:-1].sum(axis=0)))),
    Mistake("bias-row-misplaced", "db is a row of dW.", ROW, lambda c: _dW(c)[0]),
    Mistake("db-times-b", "db is multiplied by b.",
            "y = X W + b: does its derivative by b still contain b?", lambda c: _db(c) * c.b),
    *scaled("db", _db)[1:],
)  # fmt: skip

LINEAR_DX = (
    Mistake("dX-not-returned", "backward returns nothing.",
            "Who needs the gradient of this layer's input, and how does it get there?",
            lambda c: None),
    *scaled("dX", _dX),
    Mistake("dX-W-not-transposed", "dX is grad times W, without a transpose.",
            "grad is (N, outputs), dX must be (N, inputs). Which way round must W be?",
            lambda c: c.G @ c.W),
    Mistake("dX-transposed", "dX is the transpose of what it should be.",
            "One example per row: which shape must dX have?", lambda c: c.W @ c.G.T),
    Mistake("dX-is-grad", "backward returns the gradient that came in, unchanged.",
            "y = X W + b: what does a change of X do to y?", lambda c: c.G),
    Mistake("dX-with-dW", "dX is grad times the gradient of W, not W.",
            "Which array did the forward pass multiply X by?", lambda c: c.G @ _dW(c).T),
    Mistake("dX-is-dW", "backward returns dW in place of dX.",
            "What does the layer before need: the gradient of your weights, or of your input?",
            _dW),
    Mistake("dX-masked", "A ReLU's mask of the input is inside the linear layer's dX.",
            RELU_MASK, lambda c: _dX(c) * (c.X > 0)),
    Mistake("dX-times-X", "dX is multiplied by X.", STILL_X, lambda c: _dX(c) * c.X),
    Mistake("dX-with-sign", "dX is multiplied by the sign of X.", STILL_X,
            lambda c: _dX(c) * np.sign(c.X)),
    Mistake("dX-averaged", "Every example gets the mean of dX.",
            "Does a change of one example's X change another example's output?",
            lambda c: np.broadcast_to(_dX(c).mean(axis=0), c.X.shape)),
    Mistake("reshaped", "W is reshaped where it should be transposed.", RESHAPE,
            lambda c: c.G @ c.W.reshape(c.W.shape[::-1])),
    Mistake("bias-row-misplaced", "dX has the column of the bias in it.", ROW,
            lambda c: (c.G @ _stacked(c).T)[:, 1:]),
    *(Mistake("example-left-out", f"The {which} example is left out of dX.", WHICH, gives)
      for which, gives in (("first", lambda c: np.vstack([0 * c.X[:1], _dX(c)[1:]])),
                           ("last", lambda c: np.vstack([_dX(c)[:-1], 0 * c.X[:1]])))),
    Mistake("dX-output-masked", "A ReLU's mask of the output is inside the linear layer's dX.",
            RELU_MASK, lambda c: (c.G * (c.Y > 0)) @ c.W.T),
    Mistake("dX-zero", "dX is zero: nothing reaches the layer before.", RETURNED,
            lambda c: np.zeros_like(c.X)),
    Mistake("dX-is-W-transposed", "backward returns W transposed: grad is not in it.",
            "The chain rule multiplies what comes in by the local derivative: where is grad?",
            lambda c: c.W.T),
    Mistake("dX-input-returned", "backward returns its X.", RETURNED, lambda c: c.X),
    Mistake("dX-plus-b", "The bias is added to dX.",
            "y = X W + b: does its derivative by X still contain b?",
            lambda c: (c.G + c.b) @ c.W.T),
    Mistake("dX-first-example", "Every example gets the first one's dX.",
            "Whose gradient is it that comes in, row by row?",
            lambda c: np.broadcast_to(_dX(c)[:1], c.X.shape)),
)  # fmt: skip

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

"""The mistakes that fmnist knows by name: what each would have given, and hints that lead to it.

A mistake is a function from a case to the array that somebody who made it would have got; it is
named when that agrees with the user's array to rounding on every case: batches of 1, 5 and 50
and a square one. The more particular mistake stands before the more general one. No hint says
what to write.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from fmnist_cli.usercode.cases import Array, LinearCase, LossCase, ModelCase, ReluCase, UpdateCase


@dataclass(frozen=True)
class Mistake:
    """A mistake with a name.

    Attributes
    ----------
    name : str
    what : str
        What is wrong, as a sentence.
    question : str
        What to ask oneself to find the cause.
    gives : callable
        The array (for a model or an update: the arrays by name) that it leads to; what it raises
        is what the mistake raises (shapes that do not fit).
    """

    name: str
    what: str
    question: str
    gives: Callable[[Any], Any]


_SUM = "The loss is a mean over the batch, and its 1/N is in the gradient that comes in already. "


def _scaled(part: str, right: Callable[[Any], Array]) -> tuple[Mistake, ...]:
    """The right array times a factor that the shapes give."""
    return (
        Mistake(
            f"{part}-divided-by-N",
            f"{part} is N times too small: it is divided by the batch size once more.",
            _SUM + "Who divides a second time?",
            lambda c: right(c) / len(c.X),
        ),
        Mistake(
            f"{part}-times-N",
            f"{part} is N times too large.",
            _SUM + "What multiplies by the batch size here?",
            lambda c: right(c) * len(c.X),
        ),
        Mistake(
            f"{part}-divided-by-D",
            f"{part} is divided by the number of inputs.",
            "Which axis of X counts the examples, and which the inputs? Is a division due at all?",
            lambda c: right(c) / c.X.shape[1],
        ),
        Mistake(
            f"{part}-divided-by-outputs",
            f"{part} is divided by the number of columns of the gradient that comes in.",
            "Which axis of grad counts the examples? Is a division due at all?",
            lambda c: right(c) / c.G.shape[1],
        ),
        Mistake(
            f"{part}-sign",
            f"{part} has the wrong sign.",
            "Backward computes the gradient; where does descending it put the minus?",
            lambda c: -right(c),
        ),
        Mistake(
            f"{part}-doubled",
            f"{part} is twice what it should be.",
            "Is the same contribution added twice, or a factor taken from a squared loss?",
            lambda c: 2 * right(c),
        ),
    )


def _dW(c: LinearCase) -> Array:
    return c.X.T @ c.G  # (D, N) @ (N, H) -> (D, H)


def _db(c: LinearCase) -> Array:
    return c.G.sum(axis=0)  # (N, H) -> (H,)


def _dX(c: LinearCase) -> Array:
    return c.G @ c.W.T  # (N, H) @ (H, D) -> (N, D)


LINEAR_FORWARD = (
    Mistake("bias-missing", "The output lacks the bias.",
            "Which of the layer's two parameters does the output depend on?",
            lambda c: c.X @ c.W),
    Mistake("bias-subtracted", "The bias is subtracted.",
            "With X = 0, what should the layer give, and what does yours give?",
            lambda c: c.X @ c.W - c.b),
    Mistake("bias-twice", "The bias is added twice.",
            "With X = 0, what should the layer give, and what does yours give?",
            lambda c: c.X @ c.W + 2 * c.b),
    Mistake("bias-averaged", "All outputs get the same bias.",
            "How many biases does a layer with H outputs have, and does each output get its own?",
            lambda c: c.X @ c.W + c.b.mean()),
    Mistake("W-transposed", "X is multiplied by the transpose of W.",
            "W is (inputs, outputs). Which axis of W must meet the inputs of X?",
            lambda c: c.X @ c.W.T + c.b),
    Mistake("elementwise-product", "X and W are multiplied entry by entry.",
            "What is the difference between * and a matrix product?",
            lambda c: c.X * c.W + c.b),
    Mistake("output-transposed", "The output is the transpose of what it should be.",
            "One example per row: which shape should the output have?",
            lambda c: (c.X @ c.W + c.b).T),
    Mistake("activation-in-linear", "The linear layer's output has no negative numbers: a ReLU is "
            "inside it.", "Which layer is it that knows about ReLU?",
            lambda c: np.maximum(c.Y, 0)),
    Mistake("activation-on-input", "The linear layer drops the negative entries of X first.",
            "Which layer is it that knows about ReLU?",
            lambda c: np.maximum(c.X, 0) @ c.W + c.b),
    Mistake("forward-divided-by-N", "X W is divided by the batch size.",
            "Does the output for one image depend on how many others are in the batch?",
            lambda c: c.X @ c.W / len(c.X) + c.b),
    Mistake("forward-divided-by-D", "X W is divided by the number of inputs.",
            "Does the layer's formula have a mean in it?",
            lambda c: c.X @ c.W / c.X.shape[1] + c.b),
    Mistake("forward-sign", "The output has the wrong sign.",
            "With b = 0 and W = 1, what comes out for X = 1?", lambda c: -c.Y),
)  # fmt: skip

LINEAR_DW = (
    Mistake("dW-not-stored", "dW stays as the layer was made: no backward pass stores it.",
            "After backward, where does the update look for the gradient of W?",
            lambda c: np.zeros_like(c.W)),
    *_scaled("dW", _dW),
    Mistake("dW-transposed", "dW is the transpose of what it should be.",
            "W is (inputs, outputs). Which shape must dW have, and which order of the factors "
            "gives it?", lambda c: c.G.T @ c.X),
    Mistake("dW-X-not-transposed", "dW is X times grad, without a transpose.",
            "Write the shapes of X and grad side by side: over which index is the sum?",
            lambda c: c.X @ c.G),
    Mistake("dW-wrong-transpose", "The transpose is on the wrong factor of dW.",
            "Write the shapes of X and grad side by side: over which index is the sum?",
            lambda c: c.X @ c.G.T),
    Mistake("dW-last-example", "dW comes from the last example of the batch alone.",
            "In the loop over the examples, what happens to the result of the one before?",
            lambda c: np.outer(c.X[-1], c.G[-1])),
    Mistake("dW-first-example", "dW comes from the first example of the batch alone.",
            "Which rows of X and grad does it use?", lambda c: np.outer(c.X[0], c.G[0])),
    Mistake("dW-outer-of-sums", "dW is the product of two sums, not the sum of products.",
            "Is the sum over the examples taken before or after the product?",
            lambda c: np.outer(c.X.sum(axis=0), c.G.sum(axis=0))),
    Mistake("dW-outer-of-means", "dW is the product of two means, not the sum of products.",
            "Is the sum over the examples taken before or after the product?",
            lambda c: np.outer(c.X.mean(axis=0), c.G.mean(axis=0))),
    Mistake("dW-from-output", "dW is computed from the layer's output in place of its input.",
            "y = X W + b: what stands beside W?", lambda c: c.Y.T @ c.G),
    Mistake("dW-masked", "A ReLU's mask of the output is inside the linear layer's dW.",
            "Which layer's backward knows about ReLU?", lambda c: c.X.T @ (c.G * (c.Y > 0))),
    Mistake("dW-positive-inputs", "Only the positive entries of X count in dW.",
            "Which layer is it that knows about ReLU?", lambda c: np.maximum(c.X, 0).T @ c.G),
    Mistake("dW-plus-W", "W itself is added to dW.",
            "Is there a weight decay that nobody asked for?", lambda c: _dW(c) + c.W),
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
            _SUM + "What is left to do over the examples?", lambda c: c.G.mean(axis=0)),
    Mistake("db-wrong-axis", "db is summed over the wrong axis.",
            "b has one entry per output. Which axis of grad must disappear?",
            lambda c: c.G.sum(axis=1)),
    Mistake("db-wrong-axis-averaged", "db is averaged over the wrong axis.",
            "b has one entry per output. Which axis of grad must disappear?",
            lambda c: c.G.mean(axis=1)),
    Mistake("db-one-number", "db is one number for all outputs: the sum of all of grad.",
            "b has one entry per output. Which axis of grad must disappear?",
            lambda c: np.full_like(c.b, c.G.sum())),
    Mistake("db-one-number", "db is one number for all outputs: the sum of all of grad.",
            "b has one entry per output. Which axis of grad must disappear?",
            lambda c: np.asarray(c.G.sum())),
    Mistake("db-mean-of-all", "db is one number for all outputs: the mean of all of grad.",
            "b has one entry per output. Which axis of grad must disappear?",
            lambda c: np.full_like(c.b, c.G.mean())),
    Mistake("db-not-summed", "db has a row for every example: it is not summed.",
            "Every example moves the same b. What happens to their contributions?",
            lambda c: c.G),
    Mistake("db-last-example", "db comes from the last example of the batch alone.",
            "In the loop over the examples, what happens to the result of the one before?",
            lambda c: c.G[-1]),
    Mistake("db-first-example", "db comes from the first example of the batch alone.",
            "Which rows of grad does it use?", lambda c: c.G[0]),
    Mistake("db-ignores-grad", "db is the number of examples: grad is not in it.",
            "y = X W + b: db/dL is 1 times what?", lambda c: np.full_like(c.b, len(c.G))),
    Mistake("db-ones", "db is 1: grad is not in it.", "y = X W + b: dL/db is 1 times what?",
            lambda c: np.ones_like(c.b)),
    Mistake("db-from-dW", "db is the column sum of dW: the inputs are in it.",
            "Does the derivative of y = X W + b by b contain X?",
            lambda c: _dW(c).sum(axis=0)),
    Mistake("db-masked", "A ReLU's mask of the output is inside the linear layer's db.",
            "Which layer's backward knows about ReLU?",
            lambda c: (c.G * (c.Y > 0)).sum(axis=0)),
    Mistake("db-times-b", "db is multiplied by b.",
            "y = X W + b: does its derivative by b still contain b?", lambda c: _db(c) * c.b),
    *_scaled("db", _db)[1:],
)  # fmt: skip

LINEAR_DX = (
    Mistake("dX-not-returned", "backward returns nothing.",
            "Who needs the gradient of this layer's input, and how does it get there?",
            lambda c: None),
    *_scaled("dX", _dX),
    Mistake("dX-W-not-transposed", "dX is grad times W, without a transpose.",
            "grad is (N, outputs), dX must be (N, inputs). Which way round must W be?",
            lambda c: c.G @ c.W),
    Mistake("dX-transposed", "dX is the transpose of what it should be.",
            "One example per row: which shape must dX have?", lambda c: c.W @ c.G.T),
    Mistake("dX-is-grad", "backward returns the gradient that came in, unchanged.",
            "y = X W + b: what does a change of X do to y?", lambda c: c.G),
    Mistake("dX-is-dW", "backward returns dW in place of dX.",
            "What does the layer before need: the gradient of your weights, or of your input?",
            _dW),
    Mistake("dX-masked", "A ReLU's mask of the input is inside the linear layer's dX.",
            "Which layer's backward knows about ReLU?", lambda c: _dX(c) * (c.X > 0)),
    Mistake("dX-times-X", "dX is multiplied by X.",
            "y = X W + b: does its derivative by X still contain X?", lambda c: _dX(c) * c.X),
    Mistake("dX-output-masked", "A ReLU's mask of the output is inside the linear layer's dX.",
            "Which layer's backward knows about ReLU?",
            lambda c: (c.G * (c.Y > 0)) @ c.W.T),
    Mistake("dX-zero", "dX is zero: nothing reaches the layer before.",
            "Is the array that is returned the one that was computed?",
            lambda c: np.zeros_like(c.X)),
    Mistake("dX-is-W-transposed", "backward returns W transposed: grad is not in it.",
            "The chain rule multiplies what comes in by the local derivative: where is grad?",
            lambda c: c.W.T),
    Mistake("dX-input-returned", "backward returns its X.",
            "Is the array that is returned the one that was computed?", lambda c: c.X),
    Mistake("dX-plus-b", "The bias is added to dX.",
            "y = X W + b: does its derivative by X still contain b?",
            lambda c: (c.G + c.b) @ c.W.T),
)  # fmt: skip

RELU_FORWARD = (
    Mistake("relu-identity", "relu gives its input back.", "What should it give for X = -1?",
            lambda c: c.X),
    Mistake("relu-step", "relu gives 1 where X is positive: its mask, not its value.",
            "What should it give for X = 3?", lambda c: (c.X > 0) * 1.0),
    Mistake("relu-inverted", "relu keeps the negative half.", "What should it give for X = 1?",
            lambda c: np.minimum(c.X, 0)),
    Mistake("relu-absolute", "relu gives the absolute value.", "What should it give for X = -1?",
            lambda c: np.abs(c.X)),
    Mistake("relu-negated", "relu has the wrong sign.", "What should it give for X = 1?",
            lambda c: -np.maximum(c.X, 0)),
    *(Mistake("relu-leaky", f"relu lets {slope:g} of the negative half through: a leaky ReLU.",
              "What should it give for X = -1?",
              lambda c, slope=slope: np.where(c.X > 0, c.X, slope * c.X))
      for slope in (0.01, 0.1, 0.2, 0.001, 0.05)),
    *(Mistake("relu-clipped", f"relu cuts off above {top}.", f"What should it give for X = {top + 1}?",
              lambda c, top=top: np.clip(c.X, 0, top)) for top in (1, 6)),
    Mistake("relu-of-maximum", "relu gives one number for a whole row: its maximum.",
            "Is the maximum taken between an entry and 0, or among the entries?",
            lambda c: np.broadcast_to(np.maximum(c.X.max(axis=1, keepdims=True), 0), c.X.shape)),
    Mistake("relu-is-sigmoid", "This is a sigmoid.", "What should it give for X = 3?",
            lambda c: 1 / (1 + np.exp(-c.X))),
    Mistake("relu-is-tanh", "This is tanh.", "What should it give for X = 3?",
            lambda c: np.tanh(c.X)),
    Mistake("relu-is-softplus", "This is the softplus, ln(1 + exp X).",
            "What should it give for X = -1?", lambda c: np.log1p(np.exp(c.X))),
    Mistake("relu-is-elu", "This is an ELU.", "What should it give for X = -1?",
            lambda c: np.where(c.X > 0, c.X, np.expm1(c.X))),
    Mistake("relu-squared", "relu's output is squared.", "What should it give for X = 3?",
            lambda c: np.maximum(c.X, 0) ** 2),
    Mistake("relu-above-one", "relu drops what is below 1.", "What should it give for X = 0.5?",
            lambda c: np.where(c.X > 1, c.X, 0)),
)  # fmt: skip

RELU_BACKWARD = (
    Mistake("relu-dX-not-returned", "backward returns nothing.",
            "Who needs the gradient of this layer's input, and how does it get there?",
            lambda c: None),
    Mistake("mask-missing", "relu's backward lets the whole gradient through.",
            "What is the derivative of relu at X = -1?", lambda c: c.G),
    Mistake("mask-of-gradient", "The mask looks at the gradient, not at the input.",
            "The derivative of relu is 0 or 1 depending on what: X, or the gradient?",
            lambda c: c.G * (c.G > 0)),
    Mistake("mask-of-both", "The mask looks at the gradient as well as at the input.",
            "May a negative gradient pass a unit that is active?",
            lambda c: c.G * (c.X > 0) * (c.G > 0)),
    Mistake("mask-inverted", "The mask is inverted.", "What is the derivative of relu at X = 1?",
            lambda c: c.G * (c.X <= 0)),
    Mistake("mask-returned", "backward returns the mask: the gradient is not in it.",
            "The chain rule multiplies what comes in by the local derivative: where is grad?",
            lambda c: (c.X > 0) * 1.0),
    Mistake("mask-is-input", "The gradient is multiplied by X in place of the mask.",
            "What is the derivative of relu at X = 3?", lambda c: c.G * c.X),
    Mistake("mask-is-output", "The gradient is multiplied by relu's output in place of the mask.",
            "What is the derivative of relu at X = 3?", lambda c: c.G * np.maximum(c.X, 0)),
    Mistake("relu-output-returned", "backward returns relu's output.",
            "Is the array that is returned the one that was computed?",
            lambda c: np.maximum(c.X, 0)),
    Mistake("relu-dX-zero", "relu's backward lets nothing through.",
            "What is the derivative of relu at X = 1?", lambda c: np.zeros_like(c.X)),
    *(Mistake("relu-dX-leaky", f"relu's backward lets {slope:g} through where X is negative.",
              "What is the derivative of relu at X = -1?",
              lambda c, slope=slope: c.G * np.where(c.X > 0, 1, slope))
      for slope in (0.01, 0.1, 0.2, 0.001, 0.05)),
    Mistake("mask-of-first-example", "Every example gets the mask of the first one.",
            "Whose X decides for the second example?", lambda c: c.G * (c.X[:1] > 0)),
    Mistake("mask-with-sign", "Where X is negative the gradient is turned round, not stopped.",
            "What is the derivative of relu at X = -1?", lambda c: c.G * np.sign(c.X)),
    Mistake("mask-above-one", "The mask is 1 only where X is above 1.",
            "What is the derivative of relu at X = 0.5?", lambda c: c.G * (c.X > 1)),
    *_scaled("relu-dX", lambda c: c.G * (c.X > 0)),
)  # fmt: skip

RELU_AT_ZERO = (
    Mistake("mask-includes-zero", "The gradient passes where X is exactly 0.",
            "Which side of the comparison does 0 itself belong to, in the assignment's formula?",
            lambda c: c.G * (c.X >= 0)),
    Mistake("mask-half-at-zero", "Half the gradient passes where X is exactly 0.",
            "Which value does the assignment's formula have at 0?",
            lambda c: c.G * np.where(c.X == 0, 0.5, c.X > 0)),
)  # fmt: skip


def _each(change: Callable[[Array, Array, float], Any]) -> Callable[[UpdateCase], Any]:
    return lambda c: {name: change(c.w[name], c.g[name], c.lr) for name in c.w}


def _only(*names: str) -> Callable[[UpdateCase], Any]:
    return lambda c: {n: w - c.lr * c.g[n] if n in names else w for n, w in c.w.items()}


UPDATE = (
    Mistake("update-nothing", "No parameter changes.",
            "Is the new value put back where the layer keeps its parameters?", _only()),
    Mistake("update-uphill", "The step goes up the gradient: the sign is wrong.",
            "In which direction does the loss fall?", _each(lambda w, g, lr: w + lr * g)),
    Mistake("update-without-lr", "The step is the gradient itself: the learning rate is not in it.",
            "What makes the step small?", _each(lambda w, g, lr: w - g)),
    Mistake("update-uphill-without-lr", "The step is plus the gradient itself.",
            "What makes the step small, and in which direction does the loss fall?",
            _each(lambda w, g, lr: w + g)),
    Mistake("update-lr-squared", "The learning rate is multiplied in twice.",
            "How often does the learning rate meet the gradient?",
            _each(lambda w, g, lr: w - lr * lr * g)),
    Mistake("update-divided-by-lr", "The gradient is divided by the learning rate.",
            "Does a smaller learning rate make a smaller step?",
            _each(lambda w, g, lr: w - g / lr)),
    *(Mistake("update-lr-ignored", f"The learning rate is {fixed:g}, whatever is given.",
              "Where does the learning rate in your step come from?",
              _each(lambda w, g, lr, fixed=fixed: w - fixed * g))
      for fixed in (0.01, 0.1, 0.001)),
    Mistake("update-b-missing", "The biases do not change.",
            "Over which keys of params does the loop go?", _only("W1", "W2")),
    Mistake("update-W-missing", "The weights do not change, only the biases do.",
            "Over which keys of params does the loop go?", _only("b1", "b2")),
    Mistake("update-first-layer-only", "Only the first layer changes.",
            "Does the loop reach the second layer?", _only("W1", "b1")),
    Mistake("update-last-layer-only", "Only the last layer changes.",
            "Does the loop reach the first layer?", _only("W2", "b2")),
    Mistake("update-first-parameter-only", "Only the first layer's W changes.",
            "What ends the loop after its first round?", _only("W1")),
    Mistake("update-twice", "Every parameter moves twice per step.",
            "How often is each parameter visited?", _each(lambda w, g, lr: w - 2 * lr * g)),
    Mistake("update-replaces", "The step replaces the parameter in place of changing it.",
            "Where is the old value in the new one?", _each(lambda w, g, lr: -lr * g)),
    Mistake("update-replaces", "The step replaces the parameter in place of changing it.",
            "Where is the old value in the new one?", _each(lambda w, g, lr: lr * g)),
    Mistake("update-is-gradient", "The parameter becomes its gradient.",
            "Where is the old value in the new one?", _each(lambda w, g, lr: g)),
    Mistake("update-reversed", "The difference is the wrong way round.",
            "Which is taken from which?", _each(lambda w, g, lr: lr * g - w)),
    Mistake("update-by-sign", "Only the sign of the gradient counts.",
            "What is left of the gradient's size?", _each(lambda w, g, lr: w - lr * np.sign(g))),
    Mistake("update-normalised", "The gradient is divided by its norm.",
            "What is left of the gradient's size?",
            _each(lambda w, g, lr: w - lr * g / np.linalg.norm(g))),
    Mistake("update-mean-gradient", "All entries of a parameter move by the same step.",
            "Does each entry have its own gradient?", _each(lambda w, g, lr: w - lr * g.mean())),
    Mistake("update-multiplies", "The parameter is multiplied, not moved.",
            "Is the step added to the parameter, or does it scale it?",
            _each(lambda w, g, lr: w * (1 - lr * g))),
    Mistake("update-divided-by-rows", "The gradient is divided by the number of its rows.",
            "Who has divided by the batch size already, and are these rows the batch?",
            _each(lambda w, g, lr: w - lr * g / len(g))),
    Mistake("update-decays", "The weights shrink besides: a weight decay.",
            "Is there a term that nobody asked for?",
            _each(lambda w, g, lr: w - lr * (g + w))),
    Mistake("update-scales-w", "The learning rate multiplies the old value too.",
            "What exactly does the learning rate multiply?",
            _each(lambda w, g, lr: lr * (w - g))),
)  # fmt: skip


def _backward(
    c: ModelCase,
    d: Array | None = None,
    *,
    h1: Array | None = None,
    mask: Callable[[Array], Array] | None = None,
    x: Array | None = None,
) -> dict[str, Array]:
    """The right backward pass, with one thing replaced."""
    d = (c.p - c.one_hot) / c.N if d is None else d  # (N, K)
    h1 = c.h1 if h1 is None else h1
    d_h1 = d @ c.w["W2"].T  # (N, K) @ (K, H) -> (N, H)
    d_a1 = d_h1 * (c.a1 > 0) if mask is None else mask(d_h1)
    x = c.x if x is None else x
    return {"W1": x.T @ d_a1, "b1": d_a1.sum(0), "W2": h1.T @ d, "b2": d.sum(0)}


def _without(c: ModelCase, *names: str) -> dict[str, Array]:
    right = c.right()
    return {n: np.zeros_like(g) if n in names else g for n, g in right.items()}


def _d(c: ModelCase) -> Array:
    return (c.p - c.one_hot) / c.N


MODEL = (
    Mistake("pass-nothing", "No gradient arrives anywhere.",
            "Does the backward pass call the layers of the model that it is given?",
            lambda c: _without(c, "W1", "b1", "W2", "b2")),
    Mistake("pass-first-layer-missing", "The first layer gets no gradient.",
            "Where does the backward pass end?", lambda c: _without(c, "W1", "b1")),
    Mistake("pass-last-layer-missing", "The last layer gets no gradient.",
            "Where does the backward pass begin?", lambda c: _without(c, "W2", "b2")),
    Mistake("mean-missing", "All gradients are N times too large: the loss's mean is missing.",
            "The loss is a mean over the batch: where is the 1/N?",
            lambda c: _backward(c, _d(c) * c.N)),
    Mistake("mean-twice", "All gradients are N times too small: 1/N is applied twice.",
            "Who divides by the batch size, and who does it again?",
            lambda c: _backward(c, _d(c) / c.N)),
    Mistake("pass-sign", "All gradients have the wrong sign.",
            "Is it the label minus the prediction, or the other way round?",
            lambda c: _backward(c, -_d(c))),
    Mistake("pass-relu-skipped", "The gradient goes round relu on its way to the first layer.",
            "In which order do the layers run forward, and which of them does the backward pass "
            "leave out?", lambda c: _backward(c, mask=lambda d: d)),
    Mistake("pass-a1-for-h1", "The second layer's backward gets a1, from before relu.",
            "What was the input of the second layer?", lambda c: _backward(c, h1=c.a1)),
    Mistake("pass-h1-for-x", "The first layer's backward gets the hidden layer in place of x.",
            "What was the input of the first layer?", lambda c: _backward(c, x=c.h1)),
    Mistake("pass-a1-for-x", "The first layer's backward gets a1, its own output.",
            "What was the input of the first layer?", lambda c: _backward(c, x=c.a1)),
    Mistake("pass-relu-arguments", "relu's backward gets its two arguments exchanged.",
            "Which comes first: the layer's input, or the gradient?",
            lambda c: _backward(c, mask=lambda d: c.a1 * (d > 0))),
    Mistake("pass-relu-of-gradient", "relu is applied to the gradient.",
            "Which method of relu belongs in the backward pass?",
            lambda c: _backward(c, mask=lambda d: np.maximum(d, 0))),
    Mistake("softmax-without-label", "The label is not taken off the probabilities.",
            "What is the gradient where the prediction is perfect?",
            lambda c: _backward(c, c.p / c.N)),
    Mistake("softmax-twice", "The derivative of the softmax is applied a second time.",
            "The gradient of softmax and cross-entropy together: which derivative is in it "
            "already?", lambda c: _backward(c, _d(c) * c.p * (1 - c.p))),
    Mistake("softmax-logits", "The logits stand where the probabilities should.",
            "What comes between the logits and the probabilities?",
            lambda c: _backward(c, (c.logits - c.one_hot) / c.N)),
    Mistake("pass-loss-skipped", "The second layer's backward starts from the logits.",
            "Where does the backward pass begin?", lambda c: _backward(c, c.logits)),
    Mistake("pass-relu-sees-h1-gradient", "The mask looks at the gradient.",
            "relu's derivative depends on which array?",
            lambda c: _backward(c, mask=lambda d: d * (d > 0))),
)  # fmt: skip

LOSS_FORWARD = (
    Mistake("loss-not-averaged", "The loss is a sum over the batch, not a mean.",
            "Does the loss of twice the batch double?", lambda c: c.right()["forward"] * c.N),
    Mistake("loss-averaged-twice", "The loss is divided by the batch size twice.",
            "Who divides by N, and who does it again?", lambda c: c.right()["forward"] / c.N),
    Mistake("loss-over-classes", "The loss is averaged over the classes too.",
            "How many terms per example does the cross-entropy have?",
            lambda c: c.right()["forward"] / c.z.shape[1]),
    Mistake("loss-sign", "The loss has the wrong sign.", "Can this loss be negative?",
            lambda c: -c.right()["forward"]),
    Mistake("loss-log2", "The logarithm has base 2.", "Which logarithm is it?",
            lambda c: c.right()["forward"] / np.log(2)),
    Mistake("loss-log10", "The logarithm has base 10.", "Which logarithm is it?",
            lambda c: c.right()["forward"] / np.log(10)),
    Mistake("softmax-wrong-axis", "The softmax is taken over the examples.",
            "Which entries must sum to 1?", lambda c: -np.log(
                (np.exp(c.z) / np.exp(c.z).sum(axis=0))[np.arange(c.N), c.y]).mean()),
    Mistake("loss-without-log", "There is no logarithm in the loss.",
            "What does the cross-entropy do to the probability?",
            lambda c: -c.p[np.arange(c.N), c.y].mean()),
)  # fmt: skip

LOSS_BACKWARD = (
    Mistake("mean-missing", "The loss's gradient lacks the 1/N.",
            "The loss is a mean over the batch: where is the 1/N?",
            lambda c: c.p - c.one_hot),
    Mistake("mean-twice", "The loss's gradient has 1/N twice.",
            "Who divides by N, and who does it again?", lambda c: (c.p - c.one_hot) / c.N**2),
    Mistake("loss-gradient-sign", "The loss's gradient has the wrong sign.",
            "Is it the label minus the prediction, or the other way round?",
            lambda c: (c.one_hot - c.p) / c.N),
    Mistake("softmax-without-label", "The label is not taken off the probabilities.",
            "What is the gradient where the prediction is perfect?", lambda c: c.p / c.N),
    Mistake("loss-gradient-over-classes", "The gradient is divided by the number of classes.",
            "Over what is the loss a mean?", lambda c: (c.p - c.one_hot) / c.z.shape[1]),
    Mistake("softmax-twice", "The derivative of the softmax is applied a second time.",
            "The gradient of softmax and cross-entropy together: which derivative is in it "
            "already?", lambda c: (c.p - c.one_hot) * c.p * (1 - c.p) / c.N),
    Mistake("softmax-logits", "The logits stand where the probabilities should.",
            "What comes between the logits and the probabilities?",
            lambda c: (c.z - c.one_hot) / c.N),
)  # fmt: skip

BY_ARRAYS: dict[str, tuple[Mistake, ...]] = {
    "linear_forward": LINEAR_FORWARD,
    "linear_dW": LINEAR_DW,
    "linear_db": LINEAR_DB,
    "linear_dX": LINEAR_DX,
    "relu_forward": RELU_FORWARD,
    "relu_backward": RELU_BACKWARD,
    "relu_at_zero": RELU_AT_ZERO,
    "update": UPDATE,
    "backward_pass": MODEL,
    "loss_forward": LOSS_FORWARD,
    "loss_backward": LOSS_BACKWARD,
}
"""The mistakes of each check that compares arrays."""

"""Mistakes in the whole model: the step of gradient descent, the backward pass, the loss."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from fmnist_cli.usercode.cases import Array, LossCase, ModelCase, UpdateCase, softmax
from fmnist_cli.usercode.mistakes.mistake import Mistake, variants


def _each(change: Callable[[Array, Array, float], Any]) -> Callable[[UpdateCase], Any]:
    return lambda c: {name: change(c.w[name], c.g[name], c.lr) for name in c.w}


def _step(*names: str) -> Callable[[UpdateCase], Any]:
    """The step of the named parameters; of the others 0."""
    return lambda c: {n: -c.lr * g * (n in names) for n, g in c.g.items()}


def _b_from_W(reduce: Callable[[Array], Array]) -> Callable[[UpdateCase], Any]:
    return lambda c: (
        c.right() | {f"b{i}": c.w[f"b{i}"] - c.lr * reduce(c.g[f"W{i}"]) for i in (1, 2)}
    )


def _of_kind(
    which: str, change: Callable[[Array, Array, float], Any]
) -> Callable[[UpdateCase], Any]:
    """Another step of the parameters of a kind."""
    return lambda c: (
        c.right() | {n: change(w, c.g[n], c.lr) for n, w in c.w.items() if n.startswith(which)}
    )


def _only(*names: str) -> Callable[[UpdateCase], Any]:
    return lambda c: {n: w - c.lr * c.g[n] if n in names else w for n, w in c.w.items()}


def _all_but_last_row(w: Array, g: Array, lr: float) -> Array:
    moved: Array = w - lr * g
    moved[-1:] = w[-1:]
    return moved


ALL = ("W1", "b1", "W2", "b2")
LOOP_LAYERS = "Which layers does the loop reach?"
LOOP_KEYS = "Over which keys of params does the loop go?"
DOWNHILL = "In which direction does the loss fall?"
OLD_VALUE = "Where is the old value in the new one?"
SIZE = "What is left of the gradient's size?"
DIVIDED = "Who divides by N, and who does it again?"

UPDATE = (
    Mistake("update-nothing", "No parameter changes.",
            "Is the new value put back where the layer keeps its parameters?", _only()),
    Mistake("update-uphill", "The step goes up the gradient: the sign is wrong.",
            DOWNHILL, _each(lambda w, g, lr: w + lr * g)),
    Mistake("update-without-lr", "The step is the gradient itself: the learning rate is not in it.",
            "What makes the step small?", _each(lambda w, g, lr: w - g)),
    *(Mistake(f"update-{which}-without-lr", f"The learning rate is not in the step of {which}.",
              "What makes the step small?", _of_kind(which, lambda w, g, lr: w - g))
      for which in ("W", "b")),
    Mistake("update-uphill-without-lr", "The step is plus the gradient itself.",
            "What makes the step small, and in which direction does the loss fall?",
            _each(lambda w, g, lr: w + g)),
    Mistake("update-lr-squared", "The learning rate is multiplied in twice.",
            "How often does the learning rate meet the gradient?",
            _each(lambda w, g, lr: w - lr * lr * g)),
    Mistake("update-divided-by-lr", "The gradient is divided by the learning rate.",
            "Does a smaller learning rate make a smaller step?",
            _each(lambda w, g, lr: w - g / lr)),
    Mistake("update-lr-ignored", "The learning rate is {c:.3g}, whatever is given.",
            "Where does the learning rate in your step come from?",
            lambda c: c.w, _each(lambda w, g, lr: -g)),
    *(Mistake(f"update-by-{which}", f"The step of {which} takes {which} itself, not its gradient.",
              "Which array says in which direction the loss falls?",
              _of_kind(which, lambda w, g, lr: w - lr * w))
      for which in ("W", "b")),
    Mistake("update-W-for-b", "W moves twice, and the bias never.",
            "Which key does the loop use in its second round?",
            lambda c: {n: w - 2 * c.lr * c.g[n] * (n[0] == "W") for n, w in c.w.items()}),
    Mistake("update-b-missing", "The biases do not change.", LOOP_KEYS, _only("W1", "W2")),
    Mistake("update-W-missing", "The weights do not change, only the biases do.",
            LOOP_KEYS, _only("b1", "b2")),
    Mistake("update-first-layer-only", "Only the first layer changes.",
            LOOP_LAYERS, _only("W1", "b1")),
    Mistake("update-last-layer-only", "Only the last layer changes.",
            LOOP_LAYERS, _only("W2", "b2")),
    *(Mistake("update-one-missing", f"{name} does not change; the others do.",
              "Which line moves it?", _only(*{*ALL} - {name})) for name in ALL),
    Mistake("update-first-layer-twice", "The first layer moves twice, the last never.", LOOP_LAYERS,
            lambda c: {n: w - 2 * c.lr * c.g[n] * (n[1] == "1") for n, w in c.w.items()}),
    Mistake("update-W1-for-W2", "W of the first layer moves twice, that of the last never.",
            "Which layer does each line of the step name?",
            lambda c: c.right() | {"W1": c.w["W1"] - 2 * c.lr * c.g["W1"], "W2": c.w["W2"]}),
    Mistake("update-b-uphill", "The biases go up their gradient.", DOWNHILL,
            lambda c: {n: w - c.lr * c.g[n] * (1 if n[0] == "W" else -1) for n, w in c.w.items()}),
    Mistake("update-first-parameter-only", "Only the first layer's W changes.",
            "What ends the loop after its first round?", _only("W1")),
    Mistake("update-twice", "Every parameter moves twice per step.",
            "How often is each parameter visited?", _each(lambda w, g, lr: w - 2 * lr * g)),
    *variants("update-replaces", "The step replaces the parameter in place of changing it.",
              OLD_VALUE, _each(lambda w, g, lr: -lr * g), _each(lambda w, g, lr: lr * g)),
    Mistake("update-is-gradient", "The parameter becomes its gradient.", OLD_VALUE,
            _each(lambda w, g, lr: g)),
    Mistake("update-reversed", "The difference is the wrong way round.",
            "Which is taken from which?", _each(lambda w, g, lr: lr * g - w)),
    Mistake("update-by-sign", "Only the sign of the gradient counts.",
            SIZE, _each(lambda w, g, lr: w - lr * np.sign(g))),
    Mistake("update-normalised", "The gradient is divided by its norm.", SIZE,
            _each(lambda w, g, lr: w - lr * g / np.linalg.norm(g))),
    Mistake("update-mean-gradient", "All entries of a parameter move by the same step.",
            "Does each entry have its own gradient?", _each(lambda w, g, lr: w - lr * g.mean())),
    Mistake("update-multiplies", "The parameter is multiplied, not moved.",
            "Is the step added to the parameter, or does it scale it?",
            _each(lambda w, g, lr: w * (1 - lr * g))),
    Mistake("update-divided-by-rows", "The gradient is divided by the number of its rows.",
            "Who has divided by the batch size already, and are these rows the batch?",
            _each(lambda w, g, lr: w - lr * g / len(g))),
    *(Mistake("update-decays", f"The weights shrink besides, by {{c:.3g}} {of}: a weight decay.",
              "Is there a term that nobody asked for?", lambda c: c.right(), shrinks)
      for of, shrinks in (("of the learning rate", _each(lambda w, g, lr: -lr * w)),
                          ("per step", _each(lambda w, g, lr: -w)))),
    *(Mistake("update-lr-changes", "The two layers' steps do not have the same learning rate.",
              "What is the learning rate in the first, and in the second round of the loop?",
              lambda c: c.right(), step)
      for step in (_step("W1", "b1"), _step("W2", "b2"))),
    Mistake("update-scaled", "Every step is {c:.3g} times as long as it should be.",
            "What is the learning rate multiplied by?", lambda c: c.w, _step(*ALL)),
    Mistake("update-times-columns", "Every row moves once per column.",
            "How often is each row visited?", _each(lambda w, g, lr: w - lr * g * g.shape[-1])),
    *variants("update-row-left-out", "The last row of every parameter does not change.",
              "Where does the loop over the rows end?", _each(_all_but_last_row), _each(
                  lambda w, g, lr: _all_but_last_row(w, g, lr if g.ndim > 1 else 0))),
    *variants("update-b-from-W", "The biases move by the gradient of W.",
              "Which gradient belongs to b?", _b_from_W(lambda g: g.mean(axis=0)),
              _b_from_W(lambda g: g.sum(axis=0))),
    Mistake("update-scales-w", "The learning rate multiplies the old value too.",
            "What exactly does the learning rate multiply?", _each(lambda w, g, lr: lr * (w - g))),
)  # fmt: skip


def _backward(
    c: ModelCase,
    d: Array | None = None,
    *,
    h1: Array | None = None,
    mask: Callable[[Array], Array] | None = None,
) -> dict[str, Array]:
    """The right backward pass, with one thing replaced."""
    d = c.loss.right()["backward"] if d is None else d  # (N, K)
    h1 = c.h1 if h1 is None else h1
    d_h1 = d @ c.w["W2"].T  # (N, K) @ (K, H) -> (N, H)
    d_a1 = d_h1 * (c.a1 > 0) if mask is None else mask(d_h1)
    return {"W1": c.x.T @ d_a1, "b1": d_a1.sum(0), "W2": h1.T @ d, "b2": d.sum(0)}


def _without_relu(*, after: bool) -> Callable[[ModelCase], Any]:
    """The gradient of the logits of a1; W2's with a1, or with what relu makes of it ``after``."""

    def gradient(c: ModelCase) -> dict[str, Array]:
        loss = LossCase(c.a1 @ c.w["W2"] + c.w["b2"], c.y)
        return _backward(c, loss.right()["backward"], h1=c.h1 if after else c.a1)

    return gradient


SECOND_UPDATE = (
    Mistake("update-momentum", "{c:.3g} of the step before is in the next one: a momentum.",
            "What does the function remember from one call to the next?",
            lambda c: c.right(), _step(*ALL)),
)  # fmt: skip

LOSS_FORWARD = (
    Mistake("loss-not-averaged", "The loss is a sum over the batch, not a mean.",
            "Does the loss of twice the batch double?", lambda c: c.right()["forward"] * c.N),
    Mistake("loss-averaged-twice", "The loss is divided by the batch size twice.", DIVIDED,
            lambda c: c.right()["forward"] / c.N),
    Mistake("loss-over-classes", "The loss is averaged over the classes too.",
            "How many terms per example does the cross-entropy have?",
            lambda c: c.right()["forward"] / c.logits.shape[1]),
    Mistake("loss-sign", "The loss has the wrong sign.", "Can this loss be negative?",
            lambda c: -c.right()["forward"]),
    Mistake("loss-log2", "The logarithm has base 2.", "Which logarithm is it?",
            lambda c: c.right()["forward"] / np.log(2)),
    Mistake("loss-log10", "The logarithm has base 10.", "Which logarithm is it?",
            lambda c: c.right()["forward"] / np.log(10)),
    Mistake("softmax-wrong-axis", "The softmax is taken over the examples.",
            "Which entries must sum to 1?", lambda c: -np.log(
                (np.exp(c.logits) / np.exp(c.logits).sum(axis=0))[np.arange(c.N), c.y]).mean()),
    Mistake("loss-without-log", "There is no logarithm in the loss.",
            "What does the cross-entropy do to the probability?",
            lambda c: -c.p[np.arange(c.N), c.y].mean()),
)  # fmt: skip

LOSS_BACKWARD = (
    Mistake("mean-missing", "The loss's gradient is N times too large: its 1/N is missing.",
            "The loss is a mean over the batch: where is the 1/N?", lambda c: c.p - c.one_hot),
    Mistake("mean-twice", "The loss's gradient is N times too small: 1/N is applied twice.",
            DIVIDED, lambda c: (c.p - c.one_hot) / c.N**2),
    Mistake("loss-gradient-sign", "The loss's gradient has the wrong sign.",
            "Is it the label minus the prediction, or the other way round?",
            lambda c: (c.one_hot - c.p) / c.N),
    Mistake("softmax-without-label", "The label is not taken off the probabilities.",
            "What is the gradient where the prediction is perfect?", lambda c: c.p / c.N),
    Mistake("loss-gradient-over-classes", "The loss's gradient is divided by the number of "
            "classes.", "Over what is the loss a mean?",
            lambda c: (c.p - c.one_hot) / c.N / c.p.shape[1]),
    Mistake("loss-gradient-over-classes", "The loss's gradient is divided by the number of classes "
            "in place of the batch size.", "Over what is the loss a mean?",
            lambda c: (c.p - c.one_hot) / c.p.shape[1]),
    Mistake("softmax-twice", "The derivative of the softmax is applied a second time.",
            "The gradient of softmax and cross-entropy together: which derivative is in it "
            "already?", lambda c: (c.p - c.one_hot) * c.p * (1 - c.p) / c.N),
    Mistake("softmax-logits", "The logits stand where the probabilities should.",
            "What comes between the logits and the probabilities?",
            lambda c: (c.logits - c.one_hot) / c.N),
    Mistake("softmax-of-softmax", "The softmax is taken of the probabilities, a second time.",
            "Does the loss expect logits or probabilities?",
            lambda c: (softmax(c.p) - c.one_hot) / c.N),
    Mistake("labels-predicted", "The loss is compared with the prediction in place of the label.",
            "Where do the labels come from?",
            lambda c: (c.p - np.eye(c.p.shape[1])[c.p.argmax(axis=1)]) / c.N),
)  # fmt: skip


def _in_the_pass(mistake: Mistake) -> Mistake:
    """A wrong gradient of the loss, sent through a backward pass that is right."""
    return replace(mistake, gives=lambda c: _backward(c, mistake.gives(c.loss)))


MODEL = (
    Mistake("pass-nothing", "No gradient arrives anywhere.",
            "Does the backward pass call the layers of the model that it is given?",
            lambda c: {name: 0 * w for name, w in c.w.items()}),
    *map(_in_the_pass, LOSS_BACKWARD),
    Mistake("pass-relu-on-output", "A relu's mask of the logits is in the backward pass: no relu "
            "follows the last layer.", "Which layers did the forward pass go through?",
            lambda c: _backward(c, c.loss.right()["backward"] * (c.loss.logits > 0))),
    *variants("forward-without-relu", "The forward pass takes a1 on, without relu.",
              "Through which layers does x go on its way to the logits?",
              _without_relu(after=True), _without_relu(after=False)),
    Mistake("pass-relu-of-gradient", "relu is applied to the gradient.",
            "Which method of relu belongs in the backward pass?",
            lambda c: _backward(c, mask=lambda d: np.maximum(d, 0))),
)  # fmt: skip
"""Of a model of two linear layers. To which layer which array goes wrong, its ``route`` tells."""


def gradient_mistakes(name: str) -> tuple[Mistake, ...]:
    """Those of the parameter of this name."""
    return (
        Mistake("gradient-zero", f"{name} gets no gradient.",
                "Is what backward computes put where gradients() finds it?", lambda c: 0 * c.right),
        Mistake("gradient-sign", f"{name} has the wrong sign.",
                "Where does descending the gradient put the minus?", lambda c: -c.right),
        Mistake("mean-missing", f"{name} is N times too large.",
                "dlogits has the loss's 1/N already: what multiplies by N?",
                lambda c: c.right * c.N),
        Mistake("mean-twice", f"{name} is N times too small.",
                "dlogits has the loss's 1/N already: who divides again?", lambda c: c.right / c.N),
    )  # fmt: skip

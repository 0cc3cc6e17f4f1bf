"""Mistakes planted with the diagnosis in view, and pairs of mistakes from both lists."""

from __future__ import annotations

from itertools import combinations

from .base import SOLUTION, Planted
from .early import DB, DRELU, DW, DX, EARLY, INIT_W, MASK, RELU, STEP, Y
from .styles import OWN_LOSS

_B = "self.params['b'] = np.random.normal(0, 0.1, output_D)"


def _planted(what: str, name: str, changes: dict[str, str], source: str = SOLUTION) -> Planted:
    return Planted(what, changes, (name,), source)


SEEN = (
    _planted("dW of the first example", "dW-first-example", {
        DW: "self.gradient['W'] = np.outer(X[0], grad[0])"}),
    _planted("outer product of sums", "dW-outer-of-sums", {
        DW: "self.gradient['W'] = np.outer(X.sum(0), grad.sum(0))"}),
    _planted("outer product of means", "dW-outer-of-means", {
        DW: "self.gradient['W'] = np.outer(X.mean(0), grad.mean(0))"}),
    _planted("dW without a transpose", "dW-X-not-transposed", {
        DW: "self.gradient['W'] = X @ grad"}),
    _planted("dW with the transpose on grad", "dW-wrong-transpose", {
        DW: "self.gradient['W'] = X @ grad.T"}),
    _planted("weight decay in dW", "dW-plus-W", {DW: DW + " + self.params['W']"}),
    _planted("dW masked", "dW-masked", {
        DW: "self.gradient['W'] = X.T @ (grad * (self.forward(X) > 0))"}),
    _planted("dW doubled", "dW-doubled", {DW: "self.gradient['W'] = 2 * X.T @ grad"}),
    _planted("dW of positive inputs", "dW-positive-inputs", {
        DW: "self.gradient['W'] = np.maximum(X, 0).T @ grad"}),
    _planted("dW divided by the outputs", "dW-divided-by-outputs", {
        DW: DW + " / grad.shape[1]"}),
    _planted("X of the first batch kept", "gradient-stale", {
        DW: "if not hasattr(self, 'X'):\n            self.X, self.g = X, grad\n"
        "        self.gradient['W'] = self.X.T @ self.g"}),
    _planted("db mean over the wrong axis", "db-wrong-axis-averaged", {
        DB: "self.gradient['b'] = np.mean(grad, axis=1)"}),
    _planted("db mean of all", "db-mean-of-all", {
        DB: "self.gradient['b'] = np.mean(grad) * np.ones(grad.shape[1])"}),
    _planted("db sum of all, a scalar", "db-one-number", {
        DB: "self.gradient['b'] = np.sum(grad)"}),
    _planted("db from dW", "db-from-dW", {
        DB: "self.gradient['b'] = np.sum(self.gradient['W'], axis=0)"}),
    _planted("db of the last example", "db-last-example", {DB: "self.gradient['b'] = grad[-1]"}),
    _planted("db counts examples", "db-ignores-grad", {
        DB: "self.gradient['b'] = np.ones(grad.shape[1]) * len(grad)"}),
    _planted("db sign", "db-sign", {DB: "self.gradient['b'] = -np.sum(grad, axis=0)"}),
    _planted("dX is dW", "dX-is-dW", {DX: "backward_output = self.gradient['W']"}),
    _planted("dX is the transpose", "dX-transposed", {
        DX: "backward_output = self.params['W'] @ grad.T"}),
    _planted("dX masked", "dX-masked", {DX: DX + " * (X > 0)"}),
    _planted("dX times X", "dX-times-X", {DX: DX + " * X"}),
    _planted("dX sign", "dX-sign", {DX: "backward_output = -np.matmul(grad, self.params['W'].T)"}),
    _planted("dX zero", "dX-zero", {DX: "backward_output = np.zeros_like(X)"}),
    _planted("forward with W transposed", "W-transposed", {
        Y: "forward_output = X @ self.params['W'].T + self.params['b']"}),
    _planted("forward entry by entry", "elementwise-product", {
        Y: "forward_output = X * self.params['W'] + self.params['b']"}),
    _planted("bias twice", "bias-twice", {Y: Y + " * 2"}),
    _planted("forward divided by D", "forward-divided-by-D", {
        Y: "forward_output = X @ self.params['W'] / X.shape[1] + self.params['b']"}),
    _planted("relu is a step", "relu-step", {RELU: "forward_output = (X > 0) * 1.0"}),
    _planted("relu is a sigmoid", "relu-is-sigmoid", {
        RELU: "forward_output = 1 / (1 + np.exp(-X))"}),
    _planted("relu does nothing", "relu-identity", {RELU: "forward_output = X"}),
    _planted("relu6", "relu-clipped", {RELU: "forward_output = np.clip(X, 0, 1)"}),
    _planted("row maximum", "relu-of-maximum", {
        RELU: "forward_output = np.zeros(X.shape) + np.maximum(X.max(axis=1)[:, None], 0)"}),
    _planted("mask of the gradient too", "mask-of-both", {
        DRELU: DRELU + " * (grad > 0)"}),
    _planted("output for mask", "mask-is-output", {
        DRELU: "backward_output = grad * np.maximum(X, 0)"}),
    _planted("leaky backward", "relu-dX-leaky", {
        DRELU: "backward_output = grad * np.where(X > 0, 1, 0.01)"}),
    _planted("sign for mask", "mask-with-sign", {DRELU: "backward_output = grad * np.sign(X)"}),
    _planted("mask of the first example", "mask-of-first-example", {
        MASK: "self.mask = X[0] > 0"}),
    _planted("half at zero", "mask-half-at-zero", {MASK: "self.mask = np.heaviside(X, 0.5)"}),
    _planted("mask kept from the first batch", "mask-stale", {
        MASK: "if self.mask is None or self.mask.shape != X.shape:\n"
        "            self.mask = X > 0"}),
    _planted("relu's dX not returned", "relu-dX-not-returned", {
        "return backward_output\n\n\ndef mini": "pass\n\n\ndef mini"}),
    _planted("mean in relu", "relu-dX-divided-by-N", {DRELU: DRELU + " / len(X)"}),
    _planted("learning rate squared", "update-lr-squared", {STEP: STEP + " * learning_rate"}),
    _planted("fixed learning rate", "update-lr-ignored", {
        STEP: "module.params[key] = module.params[key] - 0.01 * g"}),
    _planted("sign descent", "update-by-sign", {STEP: STEP.replace("* g", "* np.sign(g)")}),
    _planted("normalised gradient", "update-normalised", {
        STEP: STEP.replace("* g", "* g / np.linalg.norm(g)")}),
    _planted("mean gradient", "update-mean-gradient", {STEP: STEP.replace("* g", "* g.mean()")}),
    _planted("W not updated", "update-W-missing", {"for key in module.params:\n":
        "for key in ['b']:\n"}),
    _planted("last layer only", "update-last-layer-only", {
        "        if hasattr(module, 'params'):\n            for key":
        "        if name == 'L2':\n            for key"}),
    _planted("updated twice", "update-twice", {STEP: STEP + "\n                " + STEP}),
    _planted("weight decay", "update-decays", {
        STEP: STEP.replace("* g", "* (g + module.params[key])")}),
    _planted("divided by its rows", "update-divided-by-rows", {STEP: STEP + " / len(g)"}),
    _planted("0.01 for the standard deviation", "init-variance-for-std", {
        INIT_W: INIT_W.replace("0.1,", "0.1 ** 2,")}),
    _planted("mean and standard deviation exchanged", "init-constant", {
        INIT_W: INIT_W.replace("0, 0.1,", "0.1, 0,")}),
    _planted("a mean of 0.1", "init-mean", {INIT_W: INIT_W.replace("(0, 0.1,", "(0.1, 0.1,")}),
    _planted("the same draw for every layer", "init-same-draw", {
        INIT_W: "np.random.seed(42)\n        " + INIT_W}),
    _planted("one bias per input", "init-b-shape", {_B: _B.replace("output_D", "input_D")}),
    _planted("softmax's gradient without the label", "softmax-without-label", {
        "grad_a2 = model['loss'].backward(a2, y)":
        "e = np.exp(a2)\n    grad_a2 = e / e.sum(axis=1, keepdims=True) / len(x)"}),
    _planted("the loss gradient skipped", "pass-wrong-gradient", {
        "grad_a2 = model['loss'].backward(a2, y)": "grad_a2 = a2"}),
    _planted("the mean forgotten in the pass", "mean-missing", {
        "model['loss'].backward(a2, y)": "model['loss'].backward(a2, y) * len(x)"}),
    _planted("the mean twice in the pass", "mean-twice", {
        "model['loss'].backward(a2, y)": "model['loss'].backward(a2, y) / len(x)"}),
    _planted("the softmax's derivative twice", "softmax-twice", {
        "grad_a2 = model['loss'].backward(a2, y)":
        "e = np.exp(a2)\n    p = e / e.sum(axis=1, keepdims=True)\n"
        "    grad_a2 = model['loss'].backward(a2, y) * p * (1 - p)"}),
    _planted("relu's forward in the backward pass", "pass-relu-of-gradient", {
        "model['nonlinear1'].backward(a1, grad_h1)": "model['nonlinear1'].forward(grad_h1)"}),
    _planted("h1 for x", "pass-wrong-input", {"backward(x, grad_a1)": "backward(h1, grad_a1)"}),
    _planted("own loss without the mean", "mean-missing", {
        "return d / len(X)": "return d"}, OWN_LOSS),
    _planted("own loss a sum", "loss-not-averaged", {
        "-np.mean(np.log": "-np.sum(np.log"}, OWN_LOSS),
    _planted("own loss with the mean twice", "mean-twice", {
        "return d / len(X)": "return d / len(X) ** 2"}, OWN_LOSS),
    _planted("own loss with base 2", "loss-log2", {"np.log(self.p": "np.log2(self.p"}, OWN_LOSS),
    _planted("own loss overflows", "softmax-overflow", {
        "np.exp(X - X.max(axis=1)[:, None])": "np.exp(X)"}, OWN_LOSS),
    _planted("own softmax over the examples", "softmax-wrong-axis", {
        "e / e.sum(axis=1)[:, None]": "e / e.sum(axis=0)",
        "np.exp(X - X.max(axis=1)[:, None])": "np.exp(X)"}, OWN_LOSS),
    _planted("the checker's sign", "differences-sign", {"(above - below)": "(below - above)"}),
    _planted("the checker halves", "differences-halved", {"(2 * epsilon)": "(4 * epsilon)"}),
    _planted("an L2 norm", "magnitude-l2", {"np.abs(model['L1'].gradient['W']).sum()":
        "np.linalg.norm(model['L1'].gradient['W'])"}),
    _planted("a mean", "magnitude-mean", {"np.abs(model['L1'].gradient['W']).sum()":
        "np.abs(model['L1'].gradient['W']).mean()"}),
)  # fmt: skip


def _pairs(n: int) -> tuple[Planted, ...]:
    """Pairs of mistakes in different lines, evenly from all that there are."""
    singles = [planted for planted in EARLY + SEEN if planted.source is SOLUTION]
    pairs = []
    for one, other in combinations(singles, 2):
        if any(old in new or new in old for old in one.changes for new in other.changes):
            continue
        pair = Planted(f"{one.what}; {other.what}", {**one.changes, **other.changes})
        try:
            compile(pair.text, "pair", "exec")
        except (AssertionError, SyntaxError):
            continue
        pairs.append(pair)
    return tuple(pairs[:: len(pairs) // n][:n])


PAIRS = _pairs(40)

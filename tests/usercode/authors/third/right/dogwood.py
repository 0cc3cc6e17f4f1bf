from __future__ import annotations

from typing import Any, Dict, Optional, Tuple

import numpy as np
from numpy import ndarray

from utils import softmax_cross_entropy, data_loader_mnist, predict_label, DataSplit

Model = Dict[str, Any]
PARAM_LAYERS: Tuple[str, ...] = ("L1", "L2")


class linear_layer:
    """Affine map; the bias is a vector of shape (output_D,)."""

    def __init__(self, input_D: int, output_D: int) -> None:
        rng = np.random
        self.params: Dict[str, ndarray] = {
            "W": rng.normal(loc=0.0, scale=0.1, size=(input_D, output_D)),
            "b": rng.normal(loc=0.0, scale=0.1, size=output_D),
        }
        self.gradient: Dict[str, ndarray] = {
            "W": np.zeros((input_D, output_D), dtype=np.float64),
            "b": np.zeros(output_D, dtype=np.float64),
        }

    def forward(self, X: ndarray) -> ndarray:
        out = X @ self.params["W"]
        out += self.params["b"]
        return out

    def backward(self, X: ndarray, grad: ndarray) -> ndarray:
        self.gradient["W"][:] = X.T @ grad
        self.gradient["b"][:] = grad.sum(axis=0)
        return grad @ self.params["W"].T


class relu:
    def __init__(self) -> None:
        self.mask: Optional[ndarray] = None

    def forward(self, X: ndarray) -> ndarray:
        self.mask = X > 0
        return X * self.mask

    def backward(self, X: ndarray, grad: ndarray) -> ndarray:
        assert self.mask is not None, "forward first"
        return grad * self.mask


def miniBatchGradientDescent(model: Model, learning_rate: float, alpha: float = 0.0,
                             velocity: Optional[dict] = None) -> Model:
    """v <- alpha v + lr g ; p <- p - v.  Pass the same velocity dict every time."""
    if velocity is None:
        velocity = {}
    for name, layer in model.items():
        if not hasattr(layer, "params"):
            continue
        for key in layer.params:
            slot = (name, key)
            v = velocity.get(slot, 0.0)
            v = alpha * v + learning_rate * layer.gradient[key]
            velocity[slot] = v
            layer.params[key] -= v
    return model


def forward(model: Model, x: ndarray) -> Tuple[ndarray, ndarray, ndarray]:
    a1 = model["L1"].forward(x)
    h1 = model["nonlinear1"].forward(a1)
    a2 = model["L2"].forward(h1)
    return a1, h1, a2


def backward(model: Model, x: ndarray, y: ndarray, a1: ndarray, h1: ndarray, a2: ndarray) -> None:
    g_a2 = model["loss"].backward(a2, y)
    g_h1 = model["L2"].backward(h1, g_a2)
    g_a1 = model["nonlinear1"].backward(a1, g_h1)
    model["L1"].backward(x, g_a1)


def loss_of(model: Model, x: ndarray, y: ndarray) -> float:
    return model["loss"].forward(forward(model, x)[-1], y)


def relative_error(p: ndarray, q: ndarray) -> ndarray:
    scale = np.abs(p) + np.abs(q)
    return np.abs(p - q) / np.maximum(scale, 1e-4)


def gradients_ok(model: Model, x: ndarray, y: ndarray, h: float = 1e-5, tol: float = 1e-4) -> bool:
    backward(model, x, y, *forward(model, x))
    for name in PARAM_LAYERS:
        for key, p in model[name].params.items():
            analytic = model[name].gradient[key].copy()
            numeric = np.empty_like(p)
            flat, out = p.reshape(-1), numeric.reshape(-1)
            for k in range(flat.size):
                saved = flat[k]
                flat[k] = saved + h
                hi = loss_of(model, x, y)
                flat[k] = saved - h
                lo = loss_of(model, x, y)
                flat[k] = saved
                out[k] = (hi - lo) / (2.0 * h)
            err = relative_error(numeric, analytic)
            if not np.all(err < tol):
                return False
    return True


def main(lr: float = 0.01, alpha: float = 0.9, epochs: int = 10, batch: int = 10, hidden: int = 50,
         seed: int = 0, path: str = "mnist_subset.json"):
    np.random.seed(seed)
    Xtrain, Ytrain, Xval, Yval, _, _ = data_loader_mnist(path)
    model: Model = {
        "L1": linear_layer(Xtrain.shape[1], hidden),
        "nonlinear1": relu(),
        "L2": linear_layer(hidden, 10),
        "loss": softmax_cross_entropy(),
    }
    velocity: dict = {}
    data, val = DataSplit(Xtrain, Ytrain), DataSplit(Xval, Yval)
    log = []
    for epoch in range(epochs):
        perm = np.random.permutation(len(Xtrain))
        for s in range(0, len(perm), batch):
            x, y = data.get_example(perm[s:s + batch])
            backward(model, x, y, *forward(model, x))
            miniBatchGradientDescent(model, lr, alpha, velocity)
        acc = []
        for split, n in ((data, len(Xtrain)), (val, len(Xval))):
            x, y = split.get_example(range(n))
            acc.append(float((predict_label(forward(model, x)[-1]) == y).sum()) / n)
        log.append(acc)
        print(f"epoch {epoch}: train {acc[0]:.3f}, val {acc[1]:.3f}")
    return log


if __name__ == "__main__":
    main()

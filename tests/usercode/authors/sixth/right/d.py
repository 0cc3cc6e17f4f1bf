"""Two-layer perceptron, typed version."""
from __future__ import annotations

from typing import Callable, Dict, Tuple

import numpy as np

from utils import softmax_cross_entropy, data_loader_mnist, predict_label, DataSplit

Array = np.ndarray
Model = Dict[str, object]


class linear_layer:
    def __init__(self, input_D: int, output_D: int) -> None:
        self.params: Dict[str, Array] = {
            "W": np.random.normal(loc=0.0, scale=0.1, size=(input_D, output_D)),
            "b": np.random.normal(loc=0.0, scale=0.1, size=(1, output_D)),
        }
        self.gradient: Dict[str, Array] = {
            "W": np.zeros((input_D, output_D)),
            "b": np.zeros((1, output_D)),
        }

    def forward(self, X: Array) -> Array:
        return np.matmul(X, self.params["W"]) + self.params["b"]

    def backward(self, X: Array, grad: Array) -> Array:
        self.gradient["W"] = np.matmul(X.T, grad)
        self.gradient["b"] = np.sum(grad, axis=0).reshape(1, -1)
        return np.matmul(grad, np.transpose(self.params["W"]))


class relu:
    def forward(self, X: Array) -> Array:
        return np.where(X > 0, X, 0.0)

    def backward(self, X: Array, grad: Array) -> Array:
        active: Array = (X > 0).astype(np.float64)
        return grad * active


def miniBatchGradientDescent(model: Model, learning_rate: float) -> Model:
    for layer in model.values():
        if not isinstance(layer, linear_layer):
            continue
        for key in layer.params:
            step = learning_rate * layer.gradient[key]
            layer.params[key] -= step
    return model


def predict_scores(model: Model, X: Array) -> Tuple[Array, Array, Array]:
    z1 = model["L1"].forward(X)
    hidden = model["nonlinear1"].forward(z1)
    scores = model["L2"].forward(hidden)
    return z1, hidden, scores


def loss_and_gradients(model: Model, X: Array, Y: Array) -> float:
    """Fills the .gradient of both linear layers and returns the loss."""
    z1, hidden, scores = predict_scores(model, X)
    loss = model["loss"].forward(scores, Y)
    d_scores = model["loss"].backward(scores, Y)
    d_hidden = model["L2"].backward(hidden, d_scores)
    d_z1 = model["nonlinear1"].backward(z1, d_hidden)
    model["L1"].backward(X, d_z1)
    return loss


def numerical_gradient(f: Callable[[], float], theta: Array, h: float = 1e-5) -> Array:
    """d f / d theta, by central differences; theta is changed in place and put back."""
    result = np.zeros(theta.size)
    view = theta.ravel()
    for i in range(view.size):
        keep = view[i]
        view[i] = keep + h
        f_plus = f()
        view[i] = keep - h
        f_minus = f()
        view[i] = keep
        result[i] = (f_plus - f_minus) / (2.0 * h)
    return result.reshape(theta.shape)


def gradients_agree(model: Model, X: Array, Y: Array, tol: float = 1e-5) -> bool:
    def objective() -> float:
        return model["loss"].forward(predict_scores(model, X)[2], Y)

    loss_and_gradients(model, X, Y)
    for name in ("L1", "L2"):
        layer = model[name]
        for key in ("W", "b"):
            exact = layer.gradient[key]
            approx = numerical_gradient(objective, layer.params[key])
            error = np.max(np.abs(approx - exact))
            if error > tol:
                return False
    return True

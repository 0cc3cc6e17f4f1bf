"""Correct layers in the styles in which people write them: none may raise an alarm."""

from __future__ import annotations

from .base import SOLUTION


def _but(changes: dict[str, str]) -> str:
    text = SOLUTION
    for old, new in changes.items():
        assert text.count(old) == 1, old
        text = text.replace(old, new)
    return text


UPDATE = """

def miniBatchGradientDescent(model, _learning_rate):
    for module_name, module in model.items():
        if hasattr(module, 'params'):
            for key, _ in module.params.items():
                module.params[key] -= _learning_rate * module.gradient[key]
    return model
"""

EINSUM = (
    """\
import numpy as np
from utils import softmax_cross_entropy

class linear_layer:
    def __init__(self, input_D, output_D):
        self.params = {'W': np.random.normal(0, 0.1, (input_D, output_D)),
                       'b': np.random.normal(0, 0.1, output_D)}
        self.gradient = {'W': None, 'b': None}
    def forward(self, X):
        return np.einsum('nd,dh->nh', X, self.params['W']) + self.params['b']
    def backward(self, X, grad):
        self.gradient = {'W': np.einsum('nd,nh->dh', X, grad), 'b': np.einsum('nh->h', grad)}
        return np.einsum('nh,dh->nd', grad, self.params['W'])

class relu:
    def forward(self, X):
        return X * (X > 0)
    def backward(self, X, grad):
        return np.where(X > 0, grad, 0.0)
"""
    + UPDATE
)

LOOPS = (
    """\
import numpy as np

class linear_layer:
    def __init__(self, input_D, output_D):
        self.params, self.gradient = {}, {}
        self.params['W'] = np.random.normal(loc=0.0, scale=0.1, size=(input_D, output_D))
        self.params['b'] = np.random.normal(loc=0.0, scale=0.1, size=(output_D,))
        self.gradient['W'] = np.zeros((input_D, output_D))
        self.gradient['b'] = np.zeros((output_D,))
    def forward(self, X):
        out = np.zeros((X.shape[0], self.params['W'].shape[1]))
        for i in range(X.shape[0]):
            for j in range(out.shape[1]):
                out[i, j] = sum(X[i] * self.params['W'][:, j]) + self.params['b'][j]
        return out
    def backward(self, X, grad):
        self.gradient['W'] = np.zeros_like(self.params['W'])
        self.gradient['b'] = np.zeros_like(self.params['b'])
        back = np.zeros(X.shape)
        for i in range(len(X)):
            self.gradient['W'] += np.outer(X[i], grad[i])
            self.gradient['b'] += grad[i]
            back[i] = self.params['W'].dot(grad[i])
        return back

class relu:
    def __init__(self):
        self.mask = None
    def forward(self, X):
        self.mask = forward_output = np.maximum(np.zeros((X.shape[0], X.shape[1])), X)
        return forward_output
    def backward(self, X, grad):
        backward_output = np.zeros((X.shape[0], X.shape[1]))
        for i in range(0, len(X)):
            backward_output[i] = grad[i] * [1 if x > 0 else 0 for x in self.mask[i]]
        return backward_output
"""
    + UPDATE
)

CACHED = """\
import numpy as np

class Linear:
    def __init__(self, n_in, n_out):
        self.W = 0.1 * np.random.randn(n_in, n_out)
        self.b = 0.1 * np.random.randn(1, n_out)
        self.dW = np.zeros_like(self.W)
        self.db = np.zeros_like(self.b)
    def forward(self, x):
        self.x = x
        return x.dot(self.W) + self.b
    def backward(self, grad):
        self.dW = self.x.T.dot(grad)
        self.db = grad.sum(axis=0, keepdims=True)
        return grad.dot(self.W.T)

class ReLU:
    def forward(self, x):
        self.x = x
        return np.maximum(0, x)
    def backward(self, grad):
        g = grad.copy()
        g[self.x <= 0] = 0
        return g

def sgd(model, lr=0.01, momentum=0.0):
    for layer in model.values():
        if isinstance(layer, Linear):
            layer.W = layer.W - lr * layer.dW
            layer.b = layer.b - lr * layer.db
"""

FUNCTIONS = (
    """\
import numpy as np
from types import SimpleNamespace

def linear_layer(input_D, output_D):
    rng = np.random.default_rng()
    params = {'W': rng.normal(0, .1, (input_D, output_D)), 'b': rng.normal(0, .1, (1, output_D))}
    gradient = {'W': np.zeros_like(params['W']), 'b': np.zeros_like(params['b'])}
    def forward(X):
        return X @ params['W'] + params['b']
    def backward(X, grad):
        gradient['W'][...] = X.T @ grad
        gradient['b'][...] = grad.sum(0)
        return grad @ params['W'].T
    return SimpleNamespace(params=params, gradient=gradient, forward=forward, backward=backward)

def relu():
    return SimpleNamespace(forward=lambda X: np.clip(X, 0, None),
                           backward=lambda X, grad: np.heaviside(X, 0) * grad)
"""
    + UPDATE
)

CLASS_ATTRIBUTES = (
    """\
import numpy as np

class linear_layer:
    std = 0.1
    params = None
    gradient = None
    def __init__(self, input_D, output_D):
        self.params = dict(W=np.random.normal(0, self.std, size=[input_D, output_D]),
                           b=np.random.normal(0, self.std, size=[1, output_D]))
        self.gradient = dict(W=0, b=0)
    forward = lambda self, X: np.add(np.dot(X, self.params['W']), self.params['b'])
    def backward(self, X, grad):
        self.gradient.update(W=np.dot(np.transpose(X), grad), b=np.ones((1, len(X))) @ grad)
        return np.dot(grad, np.transpose(self.params['W']))

class relu:
    mask = None
    def forward(self, X):
        relu.mask = (X > 0).astype(float)
        return np.multiply(X, relu.mask)
    def backward(self, X, grad):
        return np.multiply((X > 0).astype(float), grad)
"""
    + UPDATE
)

ACCUMULATING = _but({
    "self.gradient['W'] = np.matmul(X.T, grad)": "self.gradient['W'] += np.matmul(X.T, grad)",
    "self.gradient['b'] = np.sum(grad, axis=0)": "self.gradient['b'] += np.sum(grad, axis=0)",
    "    return model\n": "            for key in module.gradient:\n"
    "                module.gradient[key] = np.zeros_like(module.gradient[key])\n"
    "    return model\n",
    "        backward_pass(model, x, a1, h1, a2, y)\n        norms": "        for layer in "
    "('L1', 'L2'):\n            for key in model[layer].gradient:\n"
    "                model[layer].gradient[key] = 0 * model[layer].gradient[key]\n"
    "        backward_pass(model, x, a1, h1, a2, y)\n        norms",
})  # fmt: skip

OWN_LOSS = (
    SOLUTION.replace(", softmax_cross_entropy", "")
    + """

class softmax_cross_entropy:
    def forward(self, X, Y):
        Y = Y.astype(int).reshape(-1)
        e = np.exp(X - X.max(axis=1)[:, None])
        self.p = e / e.sum(axis=1)[:, None]
        return -np.mean(np.log(self.p[range(len(X)), Y] + 1e-300))
    def backward(self, X, Y):
        d = self.p.copy()
        d[range(len(X)), Y.astype(int).reshape(-1)] -= 1
        return d / len(X)
"""
)

STYLES: dict[str, str] = {
    "vectorised": SOLUTION,
    "einsum": EINSUM,
    "loops over examples and outputs": LOOPS,
    "cached forward, attributes, own names": CACHED,
    "functions that make layers": FUNCTIONS,
    "class attributes": CLASS_ATTRIBUTES,
    "gradients added up and emptied by the update": ACCUMULATING,
    "a loss of its own": OWN_LOSS,
    "row vectors": _but({
        "np.random.normal(0, 0.1, output_D)": "np.random.normal(0, 0.1, (1, output_D))",
        "np.zeros(output_D)": "np.zeros((1, output_D))",
        "np.sum(grad, axis=0)": "np.sum(grad, axis=0, keepdims=True)",
    }),
    "float32": _but({
        "np.random.normal(0, 0.1, (input_D, output_D))":
            "np.random.normal(0, 0.1, (input_D, output_D)).astype(np.float32)",
        "np.random.normal(0, 0.1, output_D)":
            "np.random.normal(0, 0.1, output_D).astype(np.float32)",
        "np.matmul(X, self.params['W'])": "np.matmul(X.astype(np.float32), self.params['W'])",
        "np.matmul(X.T, grad)": "np.matmul(X.T, grad).astype(np.float32)",
    }),
    "np.matrix": _but({
        "np.random.normal(0, 0.1, (input_D, output_D))":
            "np.matrix(np.random.normal(0, 0.1, (input_D, output_D)))",
        "np.random.normal(0, 0.1, output_D)":
            "np.matrix(np.random.normal(0, 0.1, (1, output_D)))",
        "backward_output = grad * self.mask": "backward_output = np.multiply(grad, self.mask)",
        "np.sum(grad, axis=0)": "np.asarray(grad).sum(axis=0, keepdims=True)",
        "first = (0, 0) if model[layer].params[key].ndim == 2 else (0,)": "first = (0, 0)",
    }),
    "momentum": _but({
        "def miniBatchGradientDescent(model, learning_rate):":
            "def miniBatchGradientDescent(model, momentum, _lambda, _alpha, _learning_rate):",
        "module.params[key] = module.params[key] - learning_rate * g":
            "g = g + _lambda * module.params[key]\n"
            "                v = _alpha * momentum[name + '_' + key] - _learning_rate * g\n"
            "                momentum[name + '_' + key] = v\n"
            "                module.params[key] += v",
    }),
    "a new model returned": _but({
        "module.params[key] = module.params[key] - learning_rate * g":
            "module.params[key] = np.subtract(module.params[key], learning_rate * g)",
        "    for name, module in model.items():\n": "    import copy\n"
            "    model = copy.deepcopy(model)\n    for name, module in model.items():\n",
    }),
    "one-sided checker": _but({
        "approximate = (above - below) / (2 * epsilon)":
            "loss = forward_pass(model, x, y)[-1]\n"
            "            approximate = (above - loss) / epsilon",
    }),
    "checker that returns whether it holds": _but({
        "            print('Check the gradient of %s in the %s layer from backpropagation: '\n"
        "                  '%f and from approximation: %f' % (key, layer, exact, approximate))\n":
            "            if abs(exact - approximate) > 1e-4:\n                return False\n"
            "    return True\n",
    }),
    "checker that asserts": _but({
        "            print('Check the gradient of %s in the %s layer from backpropagation: '\n"
        "                  '%f and from approximation: %f' % (key, layer, exact, approximate))\n":
            "            assert np.isclose(exact, approximate, rtol=1e-3)\n",
    }),
    "annotated, with keywords": _but({
        "def forward(self, X):\n        forward_output = np.matmul":
            "def forward(self, X: np.ndarray) -> np.ndarray:\n        forward_output = np.matmul",
        "import argparse\n": "from __future__ import annotations\nimport argparse\n"
            "import time, json, os, sys, copy, random, math\nimport matplotlib.pyplot as plt\n"
            "plt.figure()\nfig, ax = plt.subplots()\n",
    }),
}  # fmt: skip

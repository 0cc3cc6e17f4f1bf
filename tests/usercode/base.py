"""The assignment, solved: what the planted mistakes are cut into."""

from __future__ import annotations

from dataclasses import dataclass, field

SOLUTION = """\
import argparse

import numpy as np
from tqdm import tqdm
from utils import DataSplit, data_loader_mnist, predict_label, softmax_cross_entropy


class linear_layer:
    def __init__(self, input_D, output_D):
        self.params = dict()
        self.gradient = dict()
        self.params['W'] = np.random.normal(0, 0.1, (input_D, output_D))
        self.params['b'] = np.random.normal(0, 0.1, output_D)
        self.gradient['W'] = np.zeros((input_D, output_D))
        self.gradient['b'] = np.zeros(output_D)

    def forward(self, X):
        forward_output = np.matmul(X, self.params['W']) + self.params['b']
        return forward_output

    def backward(self, X, grad):
        self.gradient['W'] = np.matmul(X.T, grad)
        self.gradient['b'] = np.sum(grad, axis=0)
        backward_output = np.matmul(grad, self.params['W'].T)
        return backward_output


class relu:
    def __init__(self):
        self.mask = None

    def forward(self, X):
        self.mask = X > 0
        forward_output = np.maximum(X, 0)
        return forward_output

    def backward(self, X, grad):
        backward_output = grad * self.mask
        return backward_output


def miniBatchGradientDescent(model, learning_rate):
    for name, module in model.items():
        if hasattr(module, 'params'):
            for key in module.params:
                g = module.gradient[key]
                module.params[key] = module.params[key] - learning_rate * g
    return model


def forward_pass(model, x, y):
    a1 = model['L1'].forward(x)
    h1 = model['nonlinear1'].forward(a1)
    a2 = model['L2'].forward(h1)
    loss = model['loss'].forward(a2, y)
    return a1, h1, a2, loss


def backward_pass(model, x, a1, h1, a2, y):
    grad_a2 = model['loss'].backward(a2, y)
    grad_h1 = model['L2'].backward(h1, grad_a2)
    grad_a1 = model['nonlinear1'].backward(a1, grad_h1)
    grad_x = model['L1'].backward(x, grad_a1)


def gradient_checker(DataSet, model):
    x, y = DataSet.get_example([0])
    a1, h1, a2, _ = forward_pass(model, x, y)
    backward_pass(model, x, a1, h1, a2, y)
    epsilon = 1e-3
    for layer in ('L1', 'L2'):
        for key in ('W', 'b'):
            first = (0, 0) if model[layer].params[key].ndim == 2 else (0,)
            exact = model[layer].gradient[key][first]
            kept = model[layer].params[key][first]
            model[layer].params[key][first] = kept + epsilon
            above = forward_pass(model, x, y)[-1]
            model[layer].params[key][first] = kept - epsilon
            below = forward_pass(model, x, y)[-1]
            model[layer].params[key][first] = kept
            approximate = (above - below) / (2 * epsilon)
            print('Check the gradient of %s in the %s layer from backpropagation: '
                  '%f and from approximation: %f' % (key, layer, exact, approximate))


def magnitude_checker(DataSet, model):
    norms = []
    for n in (50, 5000):
        x, y = DataSet.get_example(np.arange(n))
        a1, h1, a2, _ = forward_pass(model, x, y)
        backward_pass(model, x, a1, h1, a2, y)
        norms.append(np.abs(model['L1'].gradient['W']).sum())
    print('Check the magnitude (L1-norm of layer L1) of gradient with batch size 50: '
          '%f and with batch size 5k: %f' % tuple(norms))


def main(main_params):
    raise RuntimeError('main must not be run')


if __name__ == '__main__':
    main(vars(argparse.ArgumentParser().parse_args()))
"""


@dataclass(frozen=True)
class Planted:
    """A mistake: what stands in the solution, and what the student wrote in its place.

    Attributes
    ----------
    what : str
        In the words of whoever planted it.
    changes : {old: new}; each ``old`` stands in the source exactly once
    named : tuple of str
        The names by which a diagnosis is right. Empty: only refusal is asked for.
    """

    what: str
    changes: dict[str, str]
    named: tuple[str, ...] = ()
    source: str = field(default=SOLUTION, repr=False)

    @property
    def text(self) -> str:
        text = self.source
        for old, new in self.changes.items():
            assert text.count(old) == 1, f"{old!r} stands {text.count(old)} times in the source"
            text = text.replace(old, new)
        return text

import numpy as np
from utils import (softmax_cross_entropy, data_loader_mnist,
                   predict_label, DataSplit)

STD = 0.1
ORDER = ['L1', 'nonlinear1', 'L2']


class linear_layer(object):

    def __init__(self, input_D, output_D):
        rng = np.random.RandomState(np.random.randint(2 ** 31 - 1))
        W = rng.normal(0., STD, size=(input_D, output_D))
        b = rng.normal(0., STD, size=(output_D,))
        self.params = dict(W=W, b=b)
        self.gradient = dict(W=np.zeros_like(W), b=np.zeros_like(b))

    def forward(self, X):
        return np.einsum('ni,ij->nj', X, self.params['W']) + self.params['b'][None, :]

    def backward(self, X, grad):
        W = self.params['W']
        self.gradient['W'] = np.einsum('ni,nj->ij', X, grad)
        self.gradient['b'] = np.einsum('nj->j', grad)
        return np.einsum('nj,ij->ni', grad, W)


class relu(object):

    def forward(self, X):
        return (X + np.abs(X)) / 2

    def backward(self, X, grad):
        d = np.zeros_like(X)
        d[X > 0] = 1
        return d * grad


def miniBatchGradientDescent(model, learning_rate):
    for name in ORDER:
        layer = model[name]
        if not hasattr(layer, 'params'):
            continue
        W, b = layer.params['W'], layer.params['b']
        W -= learning_rate * layer.gradient['W']
        b -= learning_rate * layer.gradient['b']
    return model


def run_forward(model, X):
    inputs, out = [], X
    for name in ORDER:
        inputs.append(out)
        out = model[name].forward(out)
    return inputs, out


def run_backward(model, inputs, out, Y):
    delta = model['loss'].backward(out, Y)
    for name, inp in zip(ORDER[::-1], inputs[::-1]):
        delta = model[name].backward(inp, delta)
    return delta


def evaluate(model, X, Y):
    _, out = run_forward(model, X)
    return model['loss'].forward(out, Y)


def numgrad(model, X, Y, layer, key, eps):
    num = np.zeros_like(layer.params[key])
    saved = layer.params[key].copy()
    it = np.nditer(saved, flags=['multi_index'])
    while not it.finished:
        ix = it.multi_index
        layer.params[key][ix] = saved[ix] + eps
        hi = evaluate(model, X, Y)
        layer.params[key][ix] = saved[ix] - eps
        lo = evaluate(model, X, Y)
        layer.params[key] = saved.copy()
        num[ix] = (hi - lo) / (2 * eps)
        it.iternext()
    return num


def verify_backprop(model, X, Y, eps=1e-5):
    """ {(layer, parameter): relative error}; raises AssertionError if one is too large """
    inputs, out = run_forward(model, X)
    model['loss'].forward(out, Y)
    run_backward(model, inputs, out, Y)
    errors = {}
    for name in ('L1', 'L2'):
        for key in ('W', 'b'):
            bp = model[name].gradient[key]
            num = numgrad(model, X, Y, model[name], key, eps)
            top = np.linalg.norm(bp - num)
            bottom = np.linalg.norm(bp) + np.linalg.norm(num) + 1e-12
            errors[name, key] = top / bottom
    for k, e in errors.items():
        assert e < 1e-5, 'gradient of %s is off: %g' % (k, e)
    return errors

#!/usr/bin/env python3
# Aufgabe 2: MLP "von Hand"
import numpy as np

from utils import softmax_cross_entropy, data_loader_mnist, predict_label, DataSplit


class Layer:
    """Base class; a layer without weights has empty dictionaries."""

    def __init__(self):
        self.params = {}
        self.gradient = {}

    def step(self, lr):
        for name in self.params:
            self.params[name] = self.params[name] - lr * self.gradient[name]


class linear_layer(Layer):

    def __init__(self, input_D, output_D):
        super().__init__()
        for name, shape in (('W', (input_D, output_D)), ('b', (1, output_D))):
            self.params[name] = np.random.standard_normal(shape) * 0.1
            self.gradient[name] = np.zeros(shape)

    def forward(self, X):
        z = X.dot(self.params['W'])
        z += self.params['b']
        return z

    def backward(self, X, grad):
        ones = np.ones((1, X.shape[0]))
        self.gradient['W'] = X.T.dot(grad)
        self.gradient['b'] = ones.dot(grad)
        dX = grad.dot(self.params['W'].T)
        return dX


class relu(Layer):

    def __init__(self):
        super().__init__()
        self.maske = None

    def forward(self, X):
        self.maske = X > 0
        return np.where(self.maske, X, 0)

    def backward(self, X, grad):
        out = grad.copy()
        out[~self.maske] = 0
        return out


def miniBatchGradientDescent(model, learning_rate):
    for key in sorted(model):
        if isinstance(model[key], Layer):
            model[key].step(learning_rate)
    return model


class Netz:
    """Wraps the dictionary of layers, remembers the activations."""

    def __init__(self, model):
        self.model = model

    def vorwaerts(self, X, Y):
        self.X, self.Y = X, Y
        self.z = self.model['L1'].forward(X)
        self.a = self.model['nonlinear1'].forward(self.z)
        self.s = self.model['L2'].forward(self.a)
        return self.model['loss'].forward(self.s, Y)

    def rueckwaerts(self):
        ds = self.model['loss'].backward(self.s, self.Y)
        da = self.model['L2'].backward(self.a, ds)
        dz = self.model['nonlinear1'].backward(self.z, da)
        return self.model['L1'].backward(self.X, dz)


class GradientChecker:
    """Compares randomly drawn entries of every parameter with central differences."""

    def __init__(self, model, eps=1e-5, samples=40, tol=1e-4):
        self.netz = Netz(model)
        self.eps, self.samples, self.tol = eps, samples, tol

    def _quotient(self, X, Y, P, i, j):
        alt = P[i, j]
        P[i, j] = alt + self.eps
        plus = self.netz.vorwaerts(X, Y)
        P[i, j] = alt - self.eps
        minus = self.netz.vorwaerts(X, Y)
        P[i, j] = alt
        return (plus - minus) / (2 * self.eps)

    def check(self, X, Y):
        self.netz.vorwaerts(X, Y)
        self.netz.rueckwaerts()
        bad = []
        for lname in ('L1', 'L2'):
            layer = self.netz.model[lname]
            for pname, P in layer.params.items():
                G = layer.gradient[pname]
                for _ in range(self.samples):
                    i = np.random.randint(0, P.shape[0])
                    j = np.random.randint(0, P.shape[1])
                    n = self._quotient(X, Y, P, i, j)
                    rel = abs(n - G[i, j]) / max(abs(n) + abs(G[i, j]), 1e-5)
                    if rel > self.tol:
                        bad.append((lname, pname, i, j, rel))
        return len(bad) == 0, bad


def main():
    np.random.seed(1)
    X = np.random.rand(10, 12)
    Y = np.random.randint(0, 4, (10, 1))
    model = {'L1': linear_layer(12, 7), 'nonlinear1': relu(),
             'L2': linear_layer(7, 4), 'loss': softmax_cross_entropy()}
    print(GradientChecker(model).check(X, Y)[0])
    netz = Netz(model)
    for epoch in range(20):
        print(epoch, netz.vorwaerts(X, Y))
        netz.rueckwaerts()
        miniBatchGradientDescent(model, 0.5)


if __name__ == '__main__':
    main()

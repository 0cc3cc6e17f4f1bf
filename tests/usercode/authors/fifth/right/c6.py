#!/usr/bin/env python3
# -*- coding: utf-8 -*-
import numpy as np
from numpy.linalg import norm

from utils import softmax_cross_entropy, data_loader_mnist, predict_label, DataSplit

rng = np.random.default_rng()


class linear_layer():
    def __init__(self, input_D, output_D):
        self.input_D = input_D
        self.output_D = output_D
        W = rng.normal(scale=0.1, size=(input_D, output_D))
        b = rng.normal(scale=0.1, size=(output_D,))
        self.params = {'W': W, 'b': b}
        self.gradient = {'W': None, 'b': None}

    def forward(self, X):
        ones = np.ones((X.shape[0], 1))
        Xe = np.hstack([X, ones])                                   # bias trick
        We = np.vstack([self.params['W'], self.params['b']])
        return Xe @ We

    def backward(self, X, grad):
        ones = np.ones((X.shape[0], 1))
        dWe = np.hstack([X, ones]).T @ grad
        self.gradient['W'] = dWe[:-1]
        self.gradient['b'] = dWe[-1]
        WT = self.params['W'].T
        return grad @ WT


class relu():
    def forward(self, X):
        return np.where(X > 0, X, 0)

    def backward(self, X, grad):
        return np.where(X > 0, grad, 0)


def miniBatchGradientDescent(model, learning_rate):
    trainable = [m for m in model.values() if isinstance(m, linear_layer)]
    for layer in trainable:
        for p in layer.params.keys():
            step = layer.gradient[p]
            layer.params[p] = layer.params[p] - learning_rate * step
    return model


class MLP:
    """Small wrapper so that the training loop stays short."""

    def __init__(self, model):
        self.model = model

    def forward(self, X, y):
        m = self.model
        self.X, self.y = X, y
        self.u = m['L1'].forward(X)
        self.h = m['nonlinear1'].forward(self.u)
        self.out = m['L2'].forward(self.h)
        self.loss = m['loss'].forward(self.out, y)
        return self.loss

    def backward(self):
        m = self.model
        g_out = m['loss'].backward(self.out, self.y)
        g_h = m['L2'].backward(self.h, g_out)
        g_u = m['nonlinear1'].backward(self.u, g_h)
        return m['L1'].backward(self.X, g_u)


def numeric_grad(f, theta, h=1e-5):
    """Central differences of the scalar function f at the flat vector theta."""
    g = np.empty_like(theta)
    for k in range(theta.size):
        e = np.zeros_like(theta)
        e[k] = h
        g[k] = (f(theta + e) - f(theta - e)) / (2 * h)
    return g


def grad_check(model, X, y, tol=1e-6):
    net = MLP(model)
    net.forward(X, y)
    net.backward()
    errors = {}
    for name in ('L1', 'L2'):
        layer = model[name]
        for p in ('W', 'b'):
            start = layer.params[p]

            def f(theta):
                layer.params[p] = theta.reshape(start.shape)
                return net.forward(X, y)

            num = numeric_grad(f, start.flatten())
            layer.params[p] = start
            ana = layer.gradient[p].flatten()
            errors[name, p] = norm(num - ana) / (norm(num) + norm(ana) + 1e-12)
    return max(errors.values()) < tol, errors


def fit(X, Y, n_hidden=200, epochs=10, batch=50, lr=0.1):
    model = {'L1': linear_layer(X.shape[1], n_hidden), 'nonlinear1': relu(),
             'L2': linear_layer(n_hidden, 10), 'loss': softmax_cross_entropy()}
    net, data = MLP(model), DataSplit(X, Y)
    for _ in range(epochs):
        idx = rng.permutation(X.shape[0])
        for s in range(0, len(idx), batch):
            net.forward(*data.get_example(idx[s:s + batch]))
            net.backward()
            miniBatchGradientDescent(model, lr)
    return model

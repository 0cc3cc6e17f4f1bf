#!/usr/bin/env python
"""HW: multilayer perceptron. Layers share a base class; relu keeps its mask."""
import numpy as np
from utils import softmax_cross_entropy, predict_label


class Layer:
    """base class of all layers"""

    def forward(self, X):
        raise NotImplementedError

    def backward(self, X, grad):
        raise NotImplementedError


class linear_layer(Layer):
    def __init__(self, input_D, output_D):
        self.params = {}
        self.gradient = {}
        self.shape = (input_D, output_D)
        self.params['W'] = np.random.normal(0., .1, size=self.shape)
        self.params['b'] = np.random.normal(0., .1, size=(1, output_D))
        self.last_input = None

    def forward(self, X):
        self.last_input = X
        Z = X @ self.params['W']
        Z = Z + self.params['b']
        return Z

    def backward(self, X, grad):
        batch = X.shape[0]
        ones = np.ones((1, batch))
        self.gradient['W'] = X.T @ grad
        self.gradient['b'] = ones @ grad
        return grad @ self.params['W'].T


class relu(Layer):
    def __init__(self):
        self.mask = None

    def forward(self, X):
        self.mask = X > 0
        return X * self.mask

    def backward(self, X, grad):
        return grad * self.mask


def has_params(layer):
    return len(getattr(layer, 'params', {})) > 0


def miniBatchGradientDescent(model, learning_rate):
    for layer in filter(has_params, model.values()):
        for name in layer.params.keys():
            step = learning_rate * layer.gradient[name]
            layer.params[name] -= step
    return model


def forward_pass(model, x):
    a1 = model['L1'].forward(x)
    h1 = model['nonlinear1'].forward(a1)
    a2 = model['L2'].forward(h1)
    return a1, h1, a2


def backward_pass(model, x, a1, h1, a2, y):
    inputs = {'L1': x, 'nonlinear1': a1, 'L2': h1}
    grad = model['loss'].backward(a2, y)
    for name in ['L2', 'nonlinear1', 'L1']:
        grad = model[name].backward(inputs[name], grad)
    return grad


def check_gradient(f, theta, grad, h=1e-5, threshold=1e-6):
    """f: function of theta (an array) to a number; grad: what backward said.
    Returns True when all the entries agree."""
    for idx in np.ndindex(theta.shape):
        t = theta.copy()
        t[idx] += h
        right = f(t)
        t = theta.copy()
        t[idx] -= h
        left = f(t)
        slope = (right - left) / (2 * h)
        if not abs(slope - grad[idx]) <= threshold:
            print('entry', idx, 'numerical', slope, 'yours', grad[idx])
            return False
    return True


def train(model, X, Y, epochs, batch_size, lr):
    n = X.shape[0]
    for epoch in range(epochs):
        shuffled = np.random.permutation(n)
        for k in range(n // batch_size):
            pick = shuffled[k * batch_size:(k + 1) * batch_size]
            x, y = X[pick], Y[pick]
            a1, h1, a2 = forward_pass(model, x)
            backward_pass(model, x, a1, h1, a2, y)
            miniBatchGradientDescent(model, lr)
        a2 = forward_pass(model, X)[2]
        print(epoch, model['loss'].forward(a2, Y), (predict_label(a2) == Y).mean())
    return model


def main():
    from utils import data_loader_mnist
    np.random.seed(2024)
    X, Y = data_loader_mnist('mnist')[:2]
    model = {'L1': linear_layer(X.shape[1], 16), 'nonlinear1': relu(),
             'L2': linear_layer(16, 10), 'loss': softmax_cross_entropy()}
    return train(model, X, Y, epochs=2, batch_size=10, lr=0.2)


if __name__ == '__main__':
    main()

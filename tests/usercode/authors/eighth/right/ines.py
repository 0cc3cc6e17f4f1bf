#!/usr/bin/env python3
from collections import OrderedDict
import numpy as np
from utils import softmax_cross_entropy, data_loader_mnist, predict_label, DataSplit


class linear_layer:
    def __init__(self, input_D, output_D):
        self.params = {}
        self.gradient = {}
        self.params["W"] = np.random.normal(scale=0.1, size=(input_D, output_D))
        self.params["b"] = np.random.normal(scale=0.1, size=(output_D,))
        for key in self.params:
            self.gradient[key] = np.zeros(self.params[key].shape)

    def forward(self, X):
        W, b = self.params["W"], self.params["b"]
        return X @ W + b

    def backward(self, X, grad):
        W = self.params["W"]
        dW = X.T @ grad
        db = np.ones(len(grad)) @ grad
        self.gradient["W"], self.gradient["b"] = dW, db
        dX = grad @ W.T
        return dX


class relu:
    def forward(self, X):
        self.mask = X <= 0
        out = X.copy()
        out[self.mask] = 0
        return out

    def backward(self, X, grad):
        out = grad.copy()
        out[self.mask] = 0
        return out


def miniBatchGradientDescent(model, learning_rate):
    for layer in model.values():
        for key in getattr(layer, "params", ()):
            layer.params[key] += -learning_rate * layer.gradient[key]


def build(D, hidden=(50,), classes=10):
    sizes = [D, *hidden, classes]
    model = OrderedDict()
    for i, (n_in, n_out) in enumerate(zip(sizes[:-1], sizes[1:]), start=1):
        model[f"L{i}"] = linear_layer(n_in, n_out)
        if i < len(sizes) - 1:
            model[f"relu{i}"] = relu()
    return model


def model_forward(model, X):
    cache = []
    for layer in model.values():
        cache.append((layer, X))
        X = layer.forward(X)
    return X, cache


def model_backward(cache, grad):
    while cache:
        layer, X = cache.pop()
        grad = layer.backward(X, grad)
    return grad


def rel_error(a, b):
    return np.max(np.abs(a - b) / np.maximum(1e-8, np.abs(a) + np.abs(b)))


def gradient_checker(model, X, Y, h=1e-5, samples=10):
    loss = softmax_cross_entropy()
    scores, cache = model_forward(model, X)
    model_backward(cache, loss.backward(scores, Y))
    errors = {}
    for name, layer in model.items():
        for key in getattr(layer, "params", ()):
            flat_p = layer.params[key].ravel()
            flat_g = layer.gradient[key].ravel()
            picks = np.random.randint(0, flat_p.size, samples)
            numeric = np.zeros(samples)
            for s, k in enumerate(picks):
                before = flat_p[k]
                flat_p[k] = before + h
                up = loss.forward(model_forward(model, X)[0], Y)
                flat_p[k] = before - h
                down = loss.forward(model_forward(model, X)[0], Y)
                flat_p[k] = before
                numeric[s] = (up - down) / (2 * h)
            errors[name + "." + key] = np.max(np.abs(numeric - flat_g[picks]))
    worst = max(errors.values())
    return worst < 1e-6


def accuracy(model, X, Y):
    scores, _ = model_forward(model, X)
    return (np.argmax(scores, axis=1) == np.ravel(Y)).mean()


def main():
    np.random.seed(10)
    Xtrain, Ytrain, Xval, Yval, Xtest, Ytest = data_loader_mnist(dataset="mnist_subset.json")
    loss = softmax_cross_entropy()
    model = build(Xtrain.shape[1])
    best = {"val": 0.0, "test": 0.0}
    for epoch in range(10):
        order = np.random.permutation(len(Xtrain))
        total, count = 0.0, 0
        for part in np.array_split(order, len(order) // 5):
            X, Y = Xtrain[part], Ytrain[part]
            scores, cache = model_forward(model, X)
            total += loss.forward(scores, Y)
            count += 1
            model_backward(cache, loss.backward(scores, Y))
            miniBatchGradientDescent(model, 0.01)
        val = accuracy(model, Xval, Yval)
        print(f"epoch {epoch}: loss {total / count:.4f}, validation accuracy {val:.4f}")
        if val > best["val"]:
            best = {"val": val, "test": accuracy(model, Xtest, Ytest)}
    print(best)


if __name__ == "__main__":
    main()

"""
Homework: multilayer perceptron.

Layers remember what they saw in the forward pass; the Network class
chains them and walks back through them in reverse.
"""
from collections import OrderedDict

import numpy as np

from utils import softmax_cross_entropy, DataSplit, data_loader_mnist, predict_label

EPS = 0.001
BATCH = 5
LEARNING_RATE = 0.01


class linear_layer:
    def __init__(self, input_D, output_D):
        self.params = {
            'W': np.random.normal(loc=0.0, scale=0.1, size=(input_D, output_D)),
            'b': np.random.normal(loc=0.0, scale=0.1, size=output_D),
        }
        self.gradient = {k: np.zeros(v.shape) for k, v in self.params.items()}
        self.X = None

    def forward(self, X):
        self.X = X
        return X @ self.params['W'] + self.params['b']

    def backward(self, X, grad):
        X = self.X if X is None else X
        self.gradient['W'] = X.T @ grad
        self.gradient['b'] = grad.sum(axis=0)
        return grad @ self.params['W'].T


class relu:
    def __init__(self):
        self.X = None

    def forward(self, X):
        self.X = X
        return np.maximum(X, 0)

    def backward(self, X, grad):
        X = self.X if X is None else X
        return np.where(X > 0, grad, 0)


def miniBatchGradientDescent(model, learning_rate):
    for layer in model.values():
        if isinstance(layer, linear_layer):
            for name in layer.params:
                step = learning_rate * layer.gradient[name]
                layer.params[name] = layer.params[name] - step
    return model


class Network:
    def __init__(self, sizes):
        self.layers = OrderedDict()
        for n, (a, b) in enumerate(zip(sizes[:-1], sizes[1:])):
            self.layers['linear%d' % n] = linear_layer(a, b)
            if n < len(sizes) - 2:
                self.layers['relu%d' % n] = relu()
        self.criterion = softmax_cross_entropy()

    def forward(self, X):
        for layer in self.layers.values():
            X = layer.forward(X)
        return X

    def loss(self, X, Y):
        return self.criterion.forward(self.forward(X), Y)

    def backward(self, logits, Y):
        grad = self.criterion.backward(logits, Y)
        for layer in reversed(list(self.layers.values())):
            grad = layer.backward(None, grad)
        return grad

    def accuracy(self, X, Y):
        labels = predict_label(self.forward(X))
        return np.mean(np.ravel(labels) == np.ravel(Y))

    def get_weights(self):
        return {(n, k): v.copy()
                for n, l in self.layers.items() if isinstance(l, linear_layer)
                for k, v in l.params.items()}

    def set_weights(self, weights):
        for (n, k), v in weights.items():
            self.layers[n].params[k] = v.copy()


def numerical_derivative(net, X, Y, array, position):
    original = array[position]
    array[position] = original + EPS
    loss_right = net.loss(X, Y)
    array[position] = original - EPS
    loss_left = net.loss(X, Y)
    array[position] = original
    return (loss_right - loss_left) / (2 * EPS)


def gradients_agree(net, X, Y, entries=6):
    net.backward(net.forward(X), Y)
    results = []
    for name, layer in net.layers.items():
        if not isinstance(layer, linear_layer):
            continue
        for key, array in layer.params.items():
            flat = np.random.choice(array.size, size=min(entries, array.size), replace=False)
            for f in flat:
                pos = np.unravel_index(f, array.shape)
                num = numerical_derivative(net, X, Y, array, pos)
                ana = layer.gradient[key][pos]
                results.append(np.abs(num - ana) < 1e-4)
                print(f'{name}.{key}{tuple(int(p) for p in pos)}: numeric={num:.7f} backprop={ana:.7f}')
    return bool(np.all(results))


def train_epoch(net, data):
    order = np.random.permutation(data.N)
    losses = []
    for start in range(0, data.N, BATCH):
        X, Y = data.get_example(order[start:start + BATCH])
        logits = net.forward(X)
        losses.append(net.criterion.forward(logits, Y))
        net.backward(logits, Y)
        miniBatchGradientDescent(net.layers, LEARNING_RATE)
    return np.mean(losses)


def main(dataset='mnist_subset.json', epochs=10):
    np.random.seed(7)
    Xtrain, Ytrain, Xval, Yval, Xtest, Ytest = data_loader_mnist(dataset)
    train = DataSplit(Xtrain, Ytrain)
    net = Network([784, 128, 10])

    X, Y = train.get_example(np.arange(BATCH))
    print('gradients agree:', gradients_agree(net, X, Y))

    history = {'train': [], 'val': []}
    best_acc, best_weights = -np.inf, None
    for epoch in range(1, epochs + 1):
        loss = train_epoch(net, train)
        history['train'].append(net.accuracy(Xtrain, Ytrain))
        history['val'].append(net.accuracy(Xval, Yval))
        print(f'[{epoch}] loss {loss:.6f}  train {history["train"][-1]:.4f}  val {history["val"][-1]:.4f}')
        if history['val'][-1] > best_acc:
            best_acc = history['val'][-1]
            best_weights = net.get_weights()
    net.set_weights(best_weights)
    print('test accuracy of the best model:', net.accuracy(Xtest, Ytest))
    return net, history


if __name__ == '__main__':
    main()

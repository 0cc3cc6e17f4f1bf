# Homework 3 - Ben
# I wrote the loops out because it was easier for me to follow the slides.
import numpy as np
from utils import *


class linear_layer:

    def __init__(self, input_D, output_D):
        self.input_D = input_D
        self.output_D = output_D
        self.params = {}
        self.gradient = {}
        self.params['W'] = 0.1 * np.random.randn(input_D, output_D)
        self.params['b'] = 0.1 * np.random.randn(output_D)
        self.gradient['W'] = np.zeros_like(self.params['W'])
        self.gradient['b'] = np.zeros_like(self.params['b'])

    def forward(self, X):
        N = X.shape[0]
        out = np.zeros((N, self.output_D))
        for n in range(N):
            out[n] = X[n] @ self.params['W'] + self.params['b']
        return out

    def backward(self, X, grad):
        N = X.shape[0]
        dW = np.zeros((self.input_D, self.output_D))
        db = np.zeros(self.output_D)
        dX = np.zeros((N, self.input_D))
        for n in range(N):
            dW += np.outer(X[n], grad[n])
            db += grad[n]
            dX[n] = self.params['W'] @ grad[n]
        self.gradient['W'] = dW
        self.gradient['b'] = db
        return dX


class relu:

    def forward(self, X):
        out = np.copy(X)
        out[out < 0] = 0
        return out

    def backward(self, X, grad):
        dX = np.copy(grad)
        for n in range(X.shape[0]):
            for k in range(X.shape[1]):
                if X[n, k] <= 0:
                    dX[n, k] = 0
        return dX


def miniBatchGradientDescent(model, learning_rate):
    for name in model:
        layer = model[name]
        if isinstance(layer, linear_layer):
            layer.params['W'] = layer.params['W'] - learning_rate * layer.gradient['W']
            layer.params['b'] = layer.params['b'] - learning_rate * layer.gradient['b']
    return model


def run_forward(model, X):
    """returns a list with the input of each layer and, at the end, the scores"""
    values = [X]
    for name in ['L1', 'relu1', 'L2']:
        values.append(model[name].forward(values[-1]))
    return values


def run_backward(model, values, Y):
    scores = values[-1]
    g = model['loss'].backward(scores, Y)
    names = ['L1', 'relu1', 'L2']
    for k in range(len(names) - 1, -1, -1):
        g = model[names[k]].backward(values[k], g)
    return g


def compute_loss(model, X, Y):
    values = run_forward(model, X)
    return model['loss'].forward(values[-1], Y)


def check_gradient(model, X, Y):
    values = run_forward(model, X)
    run_backward(model, values, Y)
    h = 1e-6
    ok = True
    for name in ['L1', 'L2']:
        for p in ['W', 'b']:
            flat = model[name].params[p].reshape(-1)
            grad = model[name].gradient[p].reshape(-1)
            for k in np.random.choice(flat.size, min(30, flat.size), replace=False):
                saved = flat[k]
                flat[k] = saved + h
                l1 = compute_loss(model, X, Y)
                flat[k] = saved - h
                l2 = compute_loss(model, X, Y)
                flat[k] = saved
                num = (l1 - l2) / (2 * h)
                if abs(num - grad[k]) > 1e-5:
                    print('mismatch', name, p, k, num, grad[k])
                    ok = False
    return ok


def get_accuracy(model, X, Y):
    scores = run_forward(model, X)[-1]
    pred = predict_label(scores).reshape(-1)
    right = 0
    for n in range(len(pred)):
        if pred[n] == np.array(Y).reshape(-1)[n]:
            right += 1
    return right / len(pred)


def main():
    np.random.seed(0)
    Xtrain, Ytrain, Xval, Yval, Xtest, Ytest = data_loader_mnist(dataset='mnist_subset.json')
    N = Xtrain.shape[0]
    D = Xtrain.shape[1]
    model = {
        'L1': linear_layer(D, 128),
        'relu1': relu(),
        'L2': linear_layer(128, 10),
        'loss': softmax_cross_entropy(),
    }
    batch = 5
    epochs = 10
    lr = 0.01
    best = 0
    for epoch in range(epochs):
        order = np.arange(N)
        np.random.shuffle(order)
        total = 0
        for start in range(0, N, batch):
            pick = order[start:start + batch]
            X = Xtrain[pick]
            Y = Ytrain[pick]
            values = run_forward(model, X)
            total += model['loss'].forward(values[-1], Y) * len(pick)
            run_backward(model, values, Y)
            model = miniBatchGradientDescent(model, lr)
        val = get_accuracy(model, Xval, Yval)
        if val > best:
            best = val
            test = get_accuracy(model, Xtest, Ytest)
        print(epoch, 'loss', total / N, 'val', val)
    print('test accuracy of the best model', test)


if __name__ == '__main__':
    main()

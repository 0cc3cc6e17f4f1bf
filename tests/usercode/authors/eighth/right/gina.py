import numpy as np
from numpy import random as rnd
from utils import softmax_cross_entropy, data_loader_mnist, predict_label, DataSplit


class linear_layer():
    INIT_STD = 0.1

    def __init__(self, input_D, output_D):
        shapes = {'W': (input_D, output_D), 'b': (1, output_D)}
        self.params = {k: rnd.normal(0, self.INIT_STD, s) for k, s in shapes.items()}
        self.gradient = {k: np.zeros(s) for k, s in shapes.items()}

    def forward(self, X):
        return np.add(np.dot(X, self.params['W']), self.params['b'])

    def backward(self, X, grad):
        self.gradient.update(W=X.transpose() @ grad, b=np.sum(grad, axis=0)[np.newaxis, :])
        return grad @ self.params['W'].transpose()


class relu():
    def forward(self, X):
        return X.clip(min=0)

    def backward(self, X, grad):
        active = (X > 0)
        return active * grad


velocity = {}


def miniBatchGradientDescent(model, learning_rate, mu=0.0):
    for layer_name in model:
        layer = model[layer_name]
        if not isinstance(layer, linear_layer):
            continue
        for k in ['W', 'b']:
            key = layer_name + k
            delta = -learning_rate * layer.gradient[k]
            if mu > 0:
                if key in velocity:
                    delta = mu * velocity[key] + delta
                velocity[key] = delta
            layer.params[k] = layer.params[k] + delta
    return model


def predict(model, X):
    H = model['relu1'].forward(model['L1'].forward(X))
    return model['L2'].forward(H)


def backprop(model, X, Y):
    """forward and backward in one go; returns the loss"""
    A = model['L1'].forward(X)
    H = model['relu1'].forward(A)
    O = model['L2'].forward(H)
    value = model['loss'].forward(O, Y)
    dO = model['loss'].backward(O, Y)
    dH = model['L2'].backward(H, dO)
    dA = model['relu1'].backward(A, dH)
    model['L1'].backward(X, dA)
    return value


def check_gradients(model, X, Y):
    eps = 1e-5
    backprop(model, X, Y)
    for name in ['L1', 'L2']:
        for k in ['W', 'b']:
            param = model[name].params[k]
            computed = model[name].gradient[k]
            expected = np.zeros(param.shape)
            for i in range(param.shape[0]):
                for j in range(param.shape[1]):
                    param[i][j] += eps
                    right = model['loss'].forward(predict(model, X), Y)
                    param[i][j] -= 2 * eps
                    left = model['loss'].forward(predict(model, X), Y)
                    param[i][j] += eps
                    expected[i][j] = (right - left) / (2 * eps)
            assert np.allclose(computed, expected, rtol=1e-4, atol=1e-7), name + k
    print('gradients ok')


def accuracy(model, X, Y):
    guess = predict_label(predict(model, X))
    return np.count_nonzero(guess.reshape(-1) == Y.reshape(-1)) / Y.size


def main():
    rnd.seed(42)
    Xtrain, Ytrain, Xval, Yval, Xtest, Ytest = data_loader_mnist(dataset='mnist_subset.json')
    n, d = Xtrain.shape
    model = {'L1': linear_layer(d, 100), 'relu1': relu(), 'L2': linear_layer(100, 10), 'loss': softmax_cross_entropy()}
    epochs, batch, rate = 10, 5, 0.01
    val_curve, test_curve = [], []
    for epoch in range(epochs):
        order = rnd.permutation(n)
        Xs, Ys = Xtrain[order], Ytrain[order]
        losses = 0.0
        steps = n // batch
        for s in range(steps):
            a, z = s * batch, s * batch + batch
            losses += backprop(model, Xs[a:z], Ys[a:z])
            miniBatchGradientDescent(model, rate)
        val_curve.append(accuracy(model, Xval, Yval))
        test_curve.append(accuracy(model, Xtest, Ytest))
        print(epoch, losses / steps, val_curve[-1])
    best = np.argmax(val_curve)
    print('best', best, val_curve[best], test_curve[best])


if __name__ == '__main__':
    main()

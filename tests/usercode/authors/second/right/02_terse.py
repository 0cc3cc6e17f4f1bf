import numpy as np
from utils import softmax_cross_entropy, predict_label, data_loader_mnist, DataSplit

SIGMA = 0.1


class linear_layer(object):
    def __init__(self, input_D, output_D):
        self.params = {
            'W': SIGMA * np.random.randn(input_D, output_D),
            'b': SIGMA * np.random.randn(output_D),
        }
        self.gradient = {k: np.zeros_like(v) for k, v in self.params.items()}

    def forward(self, X):
        return X @ self.params['W'] + self.params['b']

    def backward(self, X, grad):
        self.gradient['W'] = X.T @ grad
        self.gradient['b'] = grad.sum(axis=0)
        return grad @ self.params['W'].T


class relu(object):
    def forward(self, X):
        return np.maximum(X, 0)

    def backward(self, X, grad):
        return grad * (X >= 0)


def miniBatchGradientDescent(model, learning_rate):
    for layer in model.values():
        if hasattr(layer, 'params'):
            layer.params['W'] = layer.params['W'] - learning_rate * layer.gradient['W']
            layer.params['b'] = layer.params['b'] - learning_rate * layer.gradient['b']
    return model


def backward_pass(model, x, a1, h1, a2, y):
    d = model['loss'].backward(a2, y)
    d = model['L2'].backward(h1, d)
    d = model['nonlinear1'].backward(a1, d)
    d = model['L1'].backward(x, d)
    return d


def _loss(model, x, y):
    a1 = model['L1'].forward(x)
    h1 = model['nonlinear1'].forward(a1)
    a2 = model['L2'].forward(h1)
    return model['loss'].forward(a2, y), a1, h1, a2


def check_gradient(model, x, y, eps=1e-5, tol=1e-5):
    _, a1, h1, a2 = _loss(model, x, y)
    backward_pass(model, x, a1, h1, a2, y)
    errors = []
    for name in ('L1', 'L2'):
        layer = model[name]
        for k in ('W', 'b'):
            p, g = layer.params[k], layer.gradient[k]
            num = np.zeros_like(p)
            it = np.nditer(p, flags=['multi_index'])
            while not it.finished:
                i = it.multi_index
                old = p[i]
                p[i] = old + eps
                up = _loss(model, x, y)[0]
                p[i] = old - eps
                down = _loss(model, x, y)[0]
                p[i] = old
                num[i] = (up - down) / (2 * eps)
                it.iternext()
            errors.append(np.linalg.norm(num - g) / (np.linalg.norm(num) + np.linalg.norm(g) + 1e-12))
    return bool(max(errors) < tol)


if __name__ == '__main__':
    np.random.seed(1)
    Xtr, Ytr, Xva, Yva, Xte, Yte = data_loader_mnist('mnist_subset.json')
    net = {'L1': linear_layer(Xtr.shape[1], 64), 'nonlinear1': relu(),
           'L2': linear_layer(64, 10), 'loss': softmax_cross_entropy()}
    ds = DataSplit(Xtr, Ytr)
    for ep in range(5):
        perm = np.random.permutation(Xtr.shape[0])
        for s in range(0, len(perm) - 4, 5):
            xb, yb = ds.get_example(perm[s:s + 5])
            l, a1, h1, a2 = _loss(net, xb, yb)
            backward_pass(net, xb, a1, h1, a2, yb)
            net = miniBatchGradientDescent(net, 0.01)
        print(ep, l, np.mean(predict_label(_loss(net, Xva, Yva)[3]).ravel() == np.ravel(Yva)))

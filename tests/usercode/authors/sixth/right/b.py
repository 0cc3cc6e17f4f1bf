import numpy as np
from utils import softmax_cross_entropy, data_loader_mnist, predict_label, DataSplit


class linear_layer:
    def __init__(self, input_D, output_D):
        self.params = {'W': 0.1 * np.random.randn(input_D, output_D),
                       'b': 0.1 * np.random.randn(output_D)}
        self.gradient = {k: np.zeros_like(v) for k, v in self.params.items()}

    def forward(self, X):
        W, b = self.params['W'], self.params['b']
        return X @ W + b

    def backward(self, X, grad):
        W = self.params['W']
        self.gradient['W'] = X.T @ grad
        self.gradient['b'] = grad.sum(0)
        return grad @ W.T


class relu:
    def forward(self, X):
        self.on = X > 0
        return np.maximum(X, 0)

    def backward(self, X, grad):
        return grad * self.on


def miniBatchGradientDescent(model, learning_rate):
    for l in ('L1', 'L2'):
        p, g = model[l].params, model[l].gradient
        for k in p:
            p[k] -= learning_rate * g[k]
    return model


def fwd(m, X):
    h = m['L1'].forward(X)
    a = m['nonlinear1'].forward(h)
    return h, a, m['L2'].forward(a)


def bwd(m, X, Y, h, a, s):
    g = m['loss'].backward(s, Y)
    g = m['L2'].backward(a, g)
    g = m['nonlinear1'].backward(h, g)
    m['L1'].backward(X, g)


def gradcheck(m, X, Y, eps=1e-5):
    """largest relative error over all the weights; < 1e-4 is fine"""
    L = lambda: m['loss'].forward(fwd(m, X)[-1], Y)
    L()
    bwd(m, X, Y, *fwd(m, X))
    out = 0.
    for l in ('L1', 'L2'):
        for k in ('W', 'b'):
            p, g = m[l].params[k], m[l].gradient[k].ravel()
            flat = p.reshape(-1)
            num = np.empty(flat.size)
            for i in range(flat.size):
                t = flat[i]
                flat[i] = t + eps; up = L()
                flat[i] = t - eps; dn = L()
                flat[i] = t
                num[i] = (up - dn) / (2 * eps)
            rel = np.abs(num - g) / np.maximum(np.abs(num) + np.abs(g), 1e-5)
            out = max(out, np.max(rel))
    return out


if __name__ == '__main__':
    np.random.seed(0)
    X, Y = np.random.randn(6, 8), np.random.randint(0, 3, (6, 1))
    m = {'L1': linear_layer(8, 5), 'nonlinear1': relu(), 'L2': linear_layer(5, 3),
         'loss': softmax_cross_entropy()}
    print('gradcheck', gradcheck(m, X, Y))
    for t in range(50):
        z = fwd(m, X)
        print(t, m['loss'].forward(z[-1], Y))
        bwd(m, X, Y, *z)
        m = miniBatchGradientDescent(m, 0.1)

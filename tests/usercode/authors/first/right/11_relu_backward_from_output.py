# relu: the output is positive exactly where the input is, so h1 serves as well as a1
import numpy as np
from utils import softmax_cross_entropy, predict_label


class linear_layer(object):
    def __init__(self, input_D, output_D):
        rng = np.random
        self.params = {'W': rng.normal(loc=0.0, scale=0.1, size=(input_D, output_D)),
                       'b': rng.normal(loc=0.0, scale=0.1, size=(output_D,))}
        self.gradient = {'W': None, 'b': None}
        self.cache = None

    def forward(self, X):
        self.cache = X
        out = np.einsum('ni,io->no', X, self.params['W'])
        out = out + self.params['b']
        return out

    def backward(self, X, grad):
        W = self.params['W']
        self.gradient['W'] = (X[:, :, np.newaxis] * grad[:, np.newaxis, :]).sum(axis=0)
        self.gradient['b'] = np.ones(len(grad)) @ grad
        dX = (W @ grad[:, :, None])[:, :, 0]
        return dX


class relu(object):
    def forward(self, X):
        self.cache = X
        return np.where(X > 0, X, 0.0)

    def backward(self, X, grad):
        positive = X.astype(bool) & ~np.signbit(X)
        return positive.astype(grad.dtype) * grad


def miniBatchGradientDescent(model, learning_rate):
    for name in model:
        layer = model[name]
        if not hasattr(layer, 'params'):
            continue
        for p in ('W', 'b'):
            layer.params[p] = layer.params[p] - learning_rate * layer.gradient[p]
    return model


def forward_all(model, x):
    a1 = model['L1'].forward(x)
    h1 = model['nonlinear1'].forward(a1)
    return a1, h1, model['L2'].forward(h1)


def backward_pass(model, x, a1, h1, a2, y):
    d = model['loss'].backward(a2, y)
    d = model['L2'].backward(h1, d)
    d = model['nonlinear1'].backward(h1, d)
    d = model['L1'].backward(x, d)
    return d


def loss_of(model, x, y):
    return model['loss'].forward(forward_all(model, x)[-1], y)


def check_gradient(model, x, y, layer_name, param_name, h=1e-5):
    """Compares the backward pass with (f(p+h) - f(p-h)) / 2h, entry by entry."""
    a1, h1, a2 = forward_all(model, x)
    backward_pass(model, x, a1, h1, a2, y)
    analytic = np.array(model[layer_name].gradient[param_name])
    param = model[layer_name].params[param_name]
    worst = 0.0
    it = np.nditer(param, flags=['multi_index'])
    while not it.finished:
        k = it.multi_index
        saved = param[k]
        param[k] = saved + h
        f_plus = loss_of(model, x, y)
        param[k] = saved - h
        f_minus = loss_of(model, x, y)
        param[k] = saved
        numeric = (f_plus - f_minus) / (2.0 * h)
        rel = abs(numeric - analytic[k]) / max(1e-4, abs(numeric) + abs(analytic[k]))
        worst = max(worst, rel)
        it.iternext()
    print(layer_name, param_name, 'worst relative error', worst)
    return worst < 1e-4


def main(epochs=2, bs=6, lr=0.1):
    from utils import data_loader_mnist
    np.random.seed(1)
    X, Y = data_loader_mnist('fashion')[:2]
    model = {'L1': linear_layer(X.shape[1], 15), 'nonlinear1': relu(),
             'L2': linear_layer(15, 10), 'loss': softmax_cross_entropy()}
    for e in range(epochs):
        perm = np.random.permutation(X.shape[0])
        for s in range(0, X.shape[0], bs):
            idx = perm[s:s + bs]
            a1, h1, a2 = forward_all(model, X[idx])
            backward_pass(model, X[idx], a1, h1, a2, Y[idx])
            miniBatchGradientDescent(model, lr)
        wrong = np.sum(predict_label(forward_all(model, X)[-1]) != Y)
        print('epoch %d: loss %.4f, %d wrong' % (e, loss_of(model, X, Y), wrong))
    return model


if __name__ == '__main__':
    main()

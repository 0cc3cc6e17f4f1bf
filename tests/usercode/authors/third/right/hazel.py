import numpy as np
from utils import softmax_cross_entropy, data_loader_mnist, predict_label, DataSplit


# ------------------------------------------------------------------ plain functions

def affine_forward(x, w, b):
    return np.tensordot(x, w, axes=(1, 0)) + b


def affine_backward(x, w, dout):
    dw = np.tensordot(x, dout, axes=(0, 0))
    db = dout.sum(0)[np.newaxis]
    dx = np.tensordot(dout, w, axes=(1, 1))
    return dx, dw, db


def relu_forward(x):
    return np.clip(x, 0, None)


def relu_backward(x, dout):
    dx = np.array(dout, copy=True)
    dx[x <= 0] = 0
    return dx


def global_norm(arrays):
    return float(np.sqrt(sum(np.sum(a ** 2) for a in arrays)))


# ------------------------------------------------------------------ classes for the interface

class linear_layer:
    def __init__(self, input_D, output_D):
        self.params, self.gradient, self.velocity = {}, {}, {}
        for key, shape in (('W', (input_D, output_D)), ('b', (1, output_D))):
            self.params[key] = 0.1 * np.random.randn(*shape)
            self.velocity[key] = np.zeros(shape)
        self.zero_grad()

    def zero_grad(self):
        for key in self.params:
            self.gradient[key] = np.zeros(self.params[key].shape)

    def forward(self, X):
        return affine_forward(X, self.params['W'], self.params['b'])

    def backward(self, X, grad):
        dx, dw, db = affine_backward(X, self.params['W'], grad)
        self.gradient['W'] = dw
        self.gradient['b'] = db
        return dx


class relu:
    def forward(self, X):
        return relu_forward(X)

    def backward(self, X, grad):
        return relu_backward(X, grad)


def miniBatchGradientDescent(model, learning_rate, mu=0.0):
    layers = [m for m in model.values() if hasattr(m, 'params')]
    for layer in layers:
        for key in layer.params:
            v = mu * layer.velocity[key] - learning_rate * layer.gradient[key]
            layer.velocity[key] = v
            layer.params[key] += v
    return model


def forward_all(model, x):
    cache = {}
    cache['a1'] = model['L1'].forward(x)
    cache['h1'] = model['nonlinear1'].forward(cache['a1'])
    cache['a2'] = model['L2'].forward(cache['h1'])
    return cache


def gradients(model, x, y, cache=None):
    cache = forward_all(model, x) if cache is None else cache
    for layer in (model['L1'], model['L2']):
        layer.zero_grad()
    d = model['loss'].backward(cache['a2'], y)
    d = model['L2'].backward(cache['h1'], d)
    d = model['nonlinear1'].backward(cache['a1'], d)
    d = model['L1'].backward(x, d)
    return d


class nudge:
    """with nudge(p, i, h): the entry i of p is moved by h"""

    def __init__(self, p, i, h):
        self.p, self.i, self.h = p, i, h

    def __enter__(self):
        self.old = self.p[self.i]
        self.p[self.i] = self.old + self.h

    def __exit__(self, *exc):
        self.p[self.i] = self.old


def verify(model, x, y, h=1e-5, atol=1e-7, rtol=1e-4, verbose=False):
    gradients(model, x, y)
    value = lambda: model['loss'].forward(forward_all(model, x)['a2'], y)
    good = True
    for name in ('L1', 'L2'):
        layer = model[name]
        for key in sorted(layer.params):
            p, g = layer.params[key], layer.gradient[key]
            for i in np.ndindex(p.shape):
                with nudge(p, i, h):
                    f_hi = value()
                with nudge(p, i, -h):
                    f_lo = value()
                slope = (f_hi - f_lo) / (2 * h)
                fine = abs(slope - g[i]) <= atol + rtol * abs(slope)
                good = good and fine
                if verbose:
                    print(name, key, i, slope, g[i], 'ok' if fine else 'WRONG')
    return bool(good)


def main(options=None):
    opt = dict(data='mnist_subset.json', seed=4, epochs=10, batch=10, lr=0.01, mu=0.9, hidden=32)
    opt.update(options or {})
    np.random.seed(opt['seed'])
    Xtrain, Ytrain, Xval, Yval, _, _ = data_loader_mnist(opt['data'])
    train, val = DataSplit(Xtrain, Ytrain), DataSplit(Xval, Yval)
    n, m = len(Xtrain), len(Xval)
    model = {
        'L1': linear_layer(Xtrain.shape[1], opt['hidden']),
        'nonlinear1': relu(),
        'L2': linear_layer(opt['hidden'], 10),
        'loss': softmax_cross_entropy(),
    }
    out = {'train': [], 'val': [], 'gnorm': []}
    for epoch in range(opt['epochs']):
        order = np.random.permutation(n)
        n_right = 0
        for k in range(0, n, opt['batch']):
            x, y = train.get_example(order[k:k + opt['batch']])
            cache = forward_all(model, x)
            n_right += int((predict_label(cache['a2']) == y).sum())
            gradients(model, x, y, cache)
            miniBatchGradientDescent(model, opt['lr'], opt['mu'])
        xv, yv = val.get_example(list(range(m)))
        v_right = int((predict_label(forward_all(model, xv)['a2']) == yv).sum())
        out['train'].append(n_right / n)
        out['val'].append(v_right / m)
        out['gnorm'].append(global_norm(list(model['L1'].gradient.values())))
        print(epoch, out['train'][-1], out['val'][-1])
    return out


if __name__ == '__main__':
    main()

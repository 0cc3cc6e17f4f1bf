from __future__ import annotations

import numpy as np

from utils import softmax_cross_entropy, data_loader_mnist, predict_label


class linear_layer:
    """y = x W + b, caches x"""

    def __init__(self, input_D: int, output_D: int) -> None:
        rng = np.random.default_rng(np.random.randint(2**31))
        W = rng.normal(loc=0.0, scale=0.1, size=(input_D, output_D))
        b = rng.normal(loc=0.0, scale=0.1, size=output_D)
        self.params: dict[str, np.ndarray] = {'W': W, 'b': b}
        self.gradient: dict[str, np.ndarray] = {k: np.zeros_like(v) for k, v in self.params.items()}

    def forward(self, X: np.ndarray) -> np.ndarray:
        self._x = X
        return np.einsum('ni,io->no', X, self.params['W']) + self.params['b'][None, :]

    def backward(self, X: np.ndarray, grad: np.ndarray) -> np.ndarray:
        self.gradient['W'] = np.einsum('ni,no->io', X, grad)
        self.gradient['b'] = np.einsum('no->o', grad)
        return np.einsum('no,io->ni', grad, self.params['W'])


class relu:
    def forward(self, X):
        return np.maximum(X, 0.0)

    def backward(self, X, grad):
        return np.where(X > 0.0, grad, 0.0)


def miniBatchGradientDescent(model, learning_rate, momentum=0.0, velocity=None):
    for name, layer in model.items():
        params = getattr(layer, 'params', None)
        if not params:
            continue
        for key in params:
            step = learning_rate * layer.gradient[key]
            if momentum and velocity is not None:
                v = velocity.setdefault((name, key), np.zeros_like(step))
                v *= momentum
                v += step
                step = v
            layer.params[key] -= step
    return model


ORDER = ('L1', 'act1', 'L2', 'act2', 'L3')


def forward_all(model, X):
    acts = {}
    h = X
    for name in ORDER:
        acts[name] = h
        h = model[name].forward(h)
    return h, acts


def backward_all(model, acts, logits, Y):
    delta = model['loss'].backward(logits, Y)
    for name in reversed(ORDER):
        delta = model[name].backward(acts[name], delta)
    return delta


def loss_of(model, X, Y):
    logits, _ = forward_all(model, X)
    return model['loss'].forward(logits, Y)


def numerical_gradient(f, theta, eps=1e-5):
    g = np.zeros_like(theta)
    it = np.nditer(theta, flags=['multi_index'])
    for _ in it:
        ix = it.multi_index
        keep = theta[ix]
        theta[ix] = keep + eps
        up = f()
        theta[ix] = keep - eps
        down = f()
        theta[ix] = keep
        g[ix] = (up - down) / (2.0 * eps)
    return g


def grad_check(model, X, Y, tol=1e-5):
    logits, acts = forward_all(model, X)
    backward_all(model, acts, logits, Y)
    for name in ORDER:
        layer = model[name]
        for key in getattr(layer, 'params', {}):
            num = numerical_gradient(lambda: loss_of(model, X, Y), layer.params[key])
            ana = layer.gradient[key]
            err = np.linalg.norm(num - ana) / (np.linalg.norm(num) + np.linalg.norm(ana) + 1e-12)
            if err > tol:
                return False
    return True


def evaluate(model, X, Y):
    logits, _ = forward_all(model, X)
    return float(np.mean(predict_label(logits).ravel() == np.asarray(Y).ravel()))


def main():
    np.random.seed(1)
    Xtr, Ytr, Xva, Yva, Xte, Yte = data_loader_mnist()
    n, d = Xtr.shape
    model = {
        'L1': linear_layer(d, 64),
        'act1': relu(),
        'L2': linear_layer(64, 32),
        'act2': relu(),
        'L3': linear_layer(32, 10),
        'loss': softmax_cross_entropy(),
    }
    velocity = {}
    history = []
    for epoch in range(5):
        perm = np.random.permutation(n)
        for lo in range(0, n, 5):
            rows = perm[lo:lo + 5]
            logits, acts = forward_all(model, Xtr[rows])
            backward_all(model, acts, logits, Ytr[rows])
            miniBatchGradientDescent(model, 0.01, 0.9, velocity)
        history.append((evaluate(model, Xtr, Ytr), evaluate(model, Xva, Yva), evaluate(model, Xte, Yte)))
        print(epoch, *history[-1])
    best = int(np.argmax([h[1] for h in history]))
    print('best epoch', best, 'test', history[best][2])


if __name__ == '__main__':
    main()

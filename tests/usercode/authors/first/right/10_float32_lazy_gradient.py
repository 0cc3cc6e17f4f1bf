"""Parameters and gradients in single precision; gradients appear only after the first backward."""
import numpy as np
from utils import softmax_cross_entropy, predict_label

FLOAT = np.float32


class linear_layer:
    __slots__ = ('params', 'gradient')

    def __init__(self, input_D, output_D):
        draw = lambda *size: np.random.normal(0.0, 0.1, size).astype(FLOAT)
        self.params = {'b': draw(output_D), 'W': draw(input_D, output_D)}
        self.gradient = {}

    def forward(self, X):
        return np.add(X @ self.params['W'], self.params['b'])

    def backward(self, X, grad):
        X = np.asarray(X, dtype=FLOAT)
        grad = np.asarray(grad, dtype=FLOAT)
        self.gradient.update(W=np.tensordot(X, grad, axes=(0, 0)), b=np.add.reduce(grad))
        return np.inner(grad, self.params['W'])


class relu:
    def forward(self, X):
        return np.fmax(X, FLOAT(0))

    def backward(self, X, grad):
        return np.where(np.asarray(X) <= 0, FLOAT(0), grad).astype(FLOAT)


def miniBatchGradientDescent(model, learning_rate):
    rate = FLOAT(learning_rate)
    for layer in model.values():
        params = getattr(layer, 'params', None) or {}
        for name in params:
            params[name] = (params[name] - rate * layer.gradient[name]).astype(FLOAT)
    return model


def backward_pass(model, x, a1, h1, a2, y):
    grad = model['loss'].backward(a2, y)
    for key, inp in reversed([('L1', x), ('nonlinear1', a1), ('L2', h1)]):
        grad = model[key].backward(inp, grad)
    return grad


def check_gradient(f, w, grad, h=1e-5, tol=1e-4):
    """f maps an array of the shape of w to a number (use a double-precision f!)"""
    w = np.asarray(w, dtype=np.float64)
    numeric = np.empty_like(w)
    for i in range(w.size):
        bump = np.zeros(w.size)
        bump[i] = h
        bump = bump.reshape(w.shape)
        numeric.flat[i] = (f(w + bump) - f(w - bump)) / (2 * h)
    size = max(np.abs(numeric).max(), np.abs(grad).max(), 1e-8)
    return float(np.abs(numeric - grad).max() / size) < tol


def main():
    from utils import data_loader_mnist
    np.random.seed(8)
    X, Y = data_loader_mnist('mnist')[:2]
    model = {'L1': linear_layer(X.shape[1], 12), 'nonlinear1': relu(),
             'L2': linear_layer(12, 10), 'loss': softmax_cross_entropy()}
    for i in range(0, len(X), 4):
        x, y = X[i:i + 4], Y[i:i + 4]
        a1 = model['L1'].forward(x)
        h1 = model['nonlinear1'].forward(a1)
        a2 = model['L2'].forward(h1)
        backward_pass(model, x, a1, h1, a2, y)
        miniBatchGradientDescent(model, 0.1)
    print(model['loss'].forward(a2, y), np.mean(predict_label(a2) == y))
    return model


if __name__ == '__main__':
    main()

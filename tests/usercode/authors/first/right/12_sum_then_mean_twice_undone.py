"""
Neural network homework.  Gradients are taken as mean over the batch times the batch size: the loss layer
has divided by N already, so the two factors of N cancel.
"""
import numpy as np
from utils import softmax_cross_entropy, predict_label


class linear_layer:

    def __init__(self, input_D, output_D, sigma=0.1):
        self.params = {
            'W': sigma * np.random.standard_normal((input_D, output_D)),
            'b': sigma * np.random.standard_normal((1, output_D)),
        }
        self.gradient = {k: np.zeros_like(v) for k, v in self.params.items()}

    def __call__(self, X):
        return self.forward(X)

    def forward(self, X):
        Z = np.dot(X, self.params['W'])
        Z += self.params['b']
        return Z

    def backward(self, X, grad):
        n = float(len(X))
        self.gradient['W'] = np.mean([np.outer(x_n, g_n) for x_n, g_n in zip(X, grad)], axis=0) * n
        self.gradient['b'] = np.mean(grad, axis=0, keepdims=True) * n
        dX = np.vstack([np.dot(self.params['W'], g_n) for g_n in grad])
        return dX


class relu:

    def __call__(self, X):
        return self.forward(X)

    def forward(self, X):
        self.active = np.greater(X, 0)
        out = np.array(X, copy=True)
        out[~self.active] = 0
        return out

    def backward(self, X, grad):
        active = self.active if self.active.shape == X.shape else np.greater(X, 0)
        out = np.zeros_like(grad)
        out[active] = grad[active]
        return out


def miniBatchGradientDescent(model, learning_rate, momentum=None, alpha=0.0):
    for lname, layer in model.items():
        if not hasattr(layer, 'params'):
            continue
        for pname, value in layer.params.items():
            update = -layer.gradient[pname] * (-learning_rate)
            if momentum is not None and alpha > 0:
                slot = lname + '_' + pname
                momentum[slot] = alpha * momentum.get(slot, 0) - update
                value += momentum[slot]
            else:
                value -= update
    return model


def backward_pass(model, x, a1, h1, a2, y):
    grad_a2 = model['loss'].backward(a2, y)
    grad_h1 = model['L2'].backward(h1, grad_a2)
    grad_a1 = model['nonlinear1'].backward(a1, grad_h1)
    grad_x = model['L1'].backward(x, grad_a1)
    return grad_x


def run_forward(model, x):
    a1 = model['L1'](x)
    h1 = model['nonlinear1'](a1)
    a2 = model['L2'](h1)
    return a1, h1, a2


def check_gradient(model, x, y, eps=1e-5):
    """returns the largest relative error over all parameters (want < 1e-5)"""
    a1, h1, a2 = run_forward(model, x)
    backward_pass(model, x, a1, h1, a2, y)
    largest = 0.0
    for lname in ['L1', 'L2']:
        layer = model[lname]
        for pname in layer.params:
            p, g = layer.params[pname], layer.gradient[pname].copy()
            numeric = np.zeros_like(p)
            for k in np.ndindex(p.shape):
                v = p[k]
                p[k] = v + eps
                lp = model['loss'].forward(run_forward(model, x)[2], y)
                p[k] = v - eps
                lm = model['loss'].forward(run_forward(model, x)[2], y)
                p[k] = v
                numeric[k] = (lp - lm) / (2 * eps)
            scale = np.abs(numeric).max() + np.abs(g).max() + 1e-10
            largest = max(largest, np.abs(numeric - g).max() / scale)
    return largest


def main(lr=0.1, alpha=0.0):
    from utils import data_loader_mnist
    np.random.seed(11)
    X, Y = data_loader_mnist('mnist')[:2]
    model = {'L1': linear_layer(X.shape[1], 10), 'nonlinear1': relu(),
             'L2': linear_layer(10, 10), 'loss': softmax_cross_entropy()}
    velocity = {}
    for epoch in range(2):
        perm = np.random.permutation(len(X))
        for i in range(0, len(X), 5):
            x, y = X[perm[i:i + 5]], Y[perm[i:i + 5]]
            a1, h1, a2 = run_forward(model, x)
            backward_pass(model, x, a1, h1, a2, y)
            miniBatchGradientDescent(model, lr, velocity, alpha)
        a2 = run_forward(model, X)[2]
        print('epoch', epoch, 'accuracy', np.mean(predict_label(a2) == Y))
    return model


if __name__ == '__main__':
    main()

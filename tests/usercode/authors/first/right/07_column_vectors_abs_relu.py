# My notes are with column vectors, so inside the layers everything is transposed:
#   z = W^T x + b,   one example = one column
import numpy as np
from utils import *
from utils import softmax_cross_entropy, predict_label


class linear_layer:
    def __init__(self, input_D, output_D):
        self.params = {}
        self.params['W'] = np.random.randn(input_D, output_D) * 0.1
        self.params['b'] = np.random.randn(1, output_D) * 0.1
        self.gradient = {'W': 0, 'b': 0}

    def forward(self, X):
        x_col = X.T
        z = self.params['W'].T @ x_col + self.params['b'].T
        return z.T

    def backward(self, X, grad):
        x_col, delta = X.T, grad.T
        self.gradient['W'] = x_col @ delta.T
        self.gradient['b'] = delta.sum(1)[np.newaxis, :]
        return (self.params['W'] @ delta).T


class relu:
    def forward(self, X):
        return 0.5 * (X + np.abs(X))

    def backward(self, X, grad):
        slope = np.heaviside(X, 0.0)
        return slope * grad


def miniBatchGradientDescent(model, learning_rate):
    trainable = [m for m in model.values() if hasattr(m, 'gradient')]
    for m in trainable:
        m.params = {name: m.params[name] - learning_rate * m.gradient[name] for name in m.params}
    return model


def backward_pass(model, x, a1, h1, a2, y):
    loss, L1, act, L2 = model['loss'], model['L1'], model['nonlinear1'], model['L2']
    delta2 = loss.backward(a2, y)
    err_hidden = L2.backward(h1, delta2)
    delta1 = act.backward(a1, err_hidden)
    return L1.backward(x, delta1)


def evaluate(model, x, y):
    a1 = model['L1'].forward(x)
    h1 = model['nonlinear1'].forward(a1)
    a2 = model['L2'].forward(h1)
    return a1, h1, a2, model['loss'].forward(a2, y)


def check_gradient(model, x, y, n_checks=None, h=1e-5):
    a1, h1, a2, _ = evaluate(model, x, y)
    backward_pass(model, x, a1, h1, a2, y)
    passed = True
    for lname in ('L1', 'L2'):
        for pname in ('W', 'b'):
            grad = np.array(model[lname].gradient[pname])
            num = np.empty_like(grad)
            base = model[lname].params[pname]
            for k in range(base.size):
                e = np.zeros(base.size)
                e[k] = h
                e = e.reshape(base.shape)
                model[lname].params[pname] = base + e
                top = evaluate(model, x, y)[3]
                model[lname].params[pname] = base - e
                bot = evaluate(model, x, y)[3]
                num.flat[k] = (top - bot) / (2 * h)
            model[lname].params[pname] = base
            if not np.allclose(num, grad, rtol=1e-4, atol=1e-7):
                passed = False
    return passed


def main(lr=0.1):
    np.random.seed(5)
    X, Y = data_loader_mnist('train')[:2]
    model = {}
    model['L1'], model['nonlinear1'] = linear_layer(X.shape[1], 14), relu()
    model['L2'], model['loss'] = linear_layer(14, 10), softmax_cross_entropy()
    for epoch in range(3):
        for chunk in np.array_split(np.random.permutation(len(X)), 12):
            a1, h1, a2, cost = evaluate(model, X[chunk], Y[chunk])
            backward_pass(model, X[chunk], a1, h1, a2, Y[chunk])
            miniBatchGradientDescent(model, lr)
        a1, h1, a2, cost = evaluate(model, X, Y)
        print(epoch, cost, np.mean(predict_label(a2) == Y))
    return model


if __name__ == '__main__':
    main()

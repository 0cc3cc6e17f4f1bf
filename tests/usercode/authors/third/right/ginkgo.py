"""MLP; inside the linear layer the bias is treated as one more row of the weight matrix."""
import numpy as np

from utils import softmax_cross_entropy, data_loader_mnist, predict_label, DataSplit


def with_ones(X):
    return np.hstack([X, np.ones((len(X), 1))])


class linear_layer:
    def __init__(self, input_D, output_D):
        theta = np.random.normal(0.0, 0.1, size=(input_D + 1, output_D))
        self.params = {'W': theta[:-1].copy(), 'b': theta[-1:].copy()}
        self.gradient = {'W': np.zeros_like(self.params['W']), 'b': np.zeros_like(self.params['b'])}

    @property
    def theta(self):
        return np.vstack([self.params['W'], self.params['b']])

    def forward(self, X):
        return with_ones(X) @ self.theta

    def backward(self, X, grad):
        d_theta = with_ones(X).T @ grad
        self.gradient['W'] = d_theta[:-1]
        self.gradient['b'] = d_theta[-1:]
        d_input = grad @ self.theta.T
        return d_input[:, :-1]


class relu:
    def forward(self, X):
        return (X + np.abs(X)) / 2

    def backward(self, X, grad):
        slope = np.heaviside(X, 0.0)
        return slope * grad


def miniBatchGradientDescent(model, learning_rate):
    for name in sorted(model):
        params = getattr(model[name], 'params', None)
        if not params:
            continue
        for p in params:
            np.subtract(params[p], learning_rate * model[name].gradient[p], out=params[p])
    return model


class Tape:
    """what the forward pass produced"""

    def __init__(self, model, x, y):
        self.model, self.x, self.y = model, x, y
        self.a1 = model['L1'].forward(x)
        self.h1 = model['nonlinear1'].forward(self.a1)
        self.a2 = model['L2'].forward(self.h1)
        self.loss = model['loss'].forward(self.a2, y)

    def backward(self):
        m = self.model
        e2 = m['loss'].backward(self.a2, self.y)
        eh = m['L2'].backward(self.h1, e2)
        e1 = m['nonlinear1'].backward(self.a1, eh)
        return m['L1'].backward(self.x, e1)


def backward_pass(model, x, y):
    tape = Tape(model, x, y)
    tape.backward()
    return tape.loss


def numerical_gradient(f, p, h=1e-5):
    g = np.zeros(p.shape)
    it = np.nditer(p, flags=['multi_index'])
    while not it.finished:
        i = it.multi_index
        p0 = p[i]
        p[i] = p0 + h
        f1 = f()
        p[i] = p0 - h
        f2 = f()
        p[i] = p0
        g[i] = (f1 - f2) / (2 * h)
        it.iternext()
    return g


def grad_check(model, split, size=6, threshold=1e-6):
    """on one random minibatch of the split; raises AssertionError if wrong"""
    picked = np.random.choice(split.N, size, replace=False)
    x, y = split.get_example(picked)
    backward_pass(model, x, y)

    def f():
        return Tape(model, x, y).loss

    for name in 'L1', 'L2':
        layer = model[name]
        for p in 'W', 'b':
            analytic = layer.gradient[p].copy()
            numeric = numerical_gradient(f, layer.params[p])
            gap = np.abs(analytic - numeric).max()
            assert gap < threshold, (name, p, gap)
    return True


def score(model, X, Y):
    return float(np.mean(predict_label(Tape(model, X, Y).a2)[:, 0] == np.ravel(Y)))


def main(dataset='mnist_subset.json', n_epochs=8, batch_size=10, eta=0.05, n_hidden=30, seed=11):
    np.random.seed(seed)
    Xtr, Ytr, Xva, Yva, Xte, Yte = data_loader_mnist(dataset=dataset)
    train = DataSplit(Xtr, Ytr)
    N, D = Xtr.shape

    model = {'L1': linear_layer(D, n_hidden), 'nonlinear1': relu(),
             'L2': linear_layer(n_hidden, 10), 'loss': softmax_cross_entropy()}

    curve = []
    for epoch in range(n_epochs):
        shuffled = np.random.permutation(N)
        for lo in range(0, N, batch_size):
            x, y = train.get_example(shuffled[lo:lo + batch_size])
            backward_pass(model, x, y)
            miniBatchGradientDescent(model, eta)
        curve.append([score(model, Xtr, Ytr), score(model, Xva, Yva)])
        print('epoch {:2d} train {:.4f} valid {:.4f}'.format(epoch, *curve[-1]))
    print('test', score(model, Xte, Yte))
    return curve


if __name__ == '__main__':
    main()

"""Two layer perceptron. All layers derive from Layer and remember their last input."""
from abc import ABC, abstractmethod

import numpy as np

from utils import DataSplit, data_loader_mnist, predict_label, softmax_cross_entropy

SIGMA = 0.1


class Layer(ABC):
    def __init__(self):
        self._x = None

    @abstractmethod
    def forward(self, X):
        ...

    @abstractmethod
    def backward(self, X, grad):
        ...

    def __call__(self, X):
        return self.forward(X)


class ParamLayer(Layer):
    def __init__(self):
        super().__init__()
        self.params = {}
        self.gradient = {}

    def add_param(self, key, shape):
        self.params[key] = SIGMA * np.random.standard_normal(shape)
        self.gradient[key] = np.zeros(shape)


class linear_layer(ParamLayer):
    def __init__(self, input_D, output_D):
        super().__init__()
        self.add_param('W', (input_D, output_D))
        self.add_param('b', (1, output_D))

    def forward(self, X):
        self._x = X
        return np.einsum('ni,io->no', X, self.params['W']) + self.params['b']

    def backward(self, X, grad):
        self._x = X
        self.gradient['W'] = np.einsum('ni,no->io', self._x, grad)
        self.gradient['b'] = np.einsum('no->o', grad)[None, :]
        return np.einsum('no,io->ni', grad, self.params['W'])


class relu(Layer):
    def forward(self, X):
        self._x = X
        return np.where(X > 0, X, 0.0)

    def backward(self, X, grad):
        active = X > 0
        return np.where(active, grad, 0.0)


def miniBatchGradientDescent(model, learning_rate):
    for layer in model.values():
        if not isinstance(layer, ParamLayer):
            continue
        for key, value in layer.params.items():
            layer.params[key] = value - learning_rate * layer.gradient[key]
    return model


def predict_logits(model, x):
    out = x
    for name in ('L1', 'nonlinear1', 'L2'):
        out = model[name](out)
    return out


def backpropagate(model, x, y):
    """Runs forward, then backward; returns the loss."""
    acts = {'x': x}
    acts['a1'] = model['L1'](acts['x'])
    acts['h1'] = model['nonlinear1'](acts['a1'])
    acts['a2'] = model['L2'](acts['h1'])
    loss = model['loss'].forward(acts['a2'], y)

    delta = model['loss'].backward(acts['a2'], y)
    delta = model['L2'].backward(acts['h1'], delta)
    delta = model['nonlinear1'].backward(acts['a1'], delta)
    model['L1'].backward(acts['x'], delta)
    return loss


class GradientChecker:
    def __init__(self, model, eps=1e-5, rtol=1e-5):
        self.model = model
        self.eps = eps
        self.rtol = rtol

    def loss_at(self, x, y):
        logits = predict_logits(self.model, x)
        return self.model['loss'].forward(logits, y)

    def numeric(self, theta, x, y):
        out = np.zeros_like(theta)
        for ix in np.ndindex(*theta.shape):
            keep = theta[ix]
            theta[ix] = keep + self.eps
            up = self.loss_at(x, y)
            theta[ix] = keep - self.eps
            down = self.loss_at(x, y)
            theta[ix] = keep
            out[ix] = (up - down) / (2 * self.eps)
        return out

    def run(self, x, y):
        backpropagate(self.model, x, y)
        report = {}
        for name in ('L1', 'L2'):
            layer = self.model[name]
            for key in layer.params:
                num = self.numeric(layer.params[key], x, y)
                ana = layer.gradient[key]
                err = np.linalg.norm(num - ana) / max(np.linalg.norm(num) + np.linalg.norm(ana), 1e-12)
                report[name, key] = err
        return all(e < self.rtol for e in report.values()), report


def evaluate(model, X, Y):
    pred = predict_label(predict_logits(model, X)).ravel()
    return float(np.mean(pred == np.ravel(Y)))


def build(d, hidden=64, classes=10):
    return {'L1': linear_layer(d, hidden), 'nonlinear1': relu(),
            'L2': linear_layer(hidden, classes), 'loss': softmax_cross_entropy()}


def main(path='mnist_subset.json', epochs=10, batch=5, lr=0.01, seed=42):
    np.random.seed(seed)
    Xtr, Ytr, Xva, Yva, _, _ = data_loader_mnist(dataset=path)
    model = build(Xtr.shape[1])
    train = DataSplit(Xtr, Ytr)
    history = []
    for epoch in range(epochs):
        order = np.random.permutation(len(Xtr))
        losses = []
        for chunk in np.array_split(order, max(1, len(order) // batch)):
            x, y = train.get_example(chunk)
            losses.append(backpropagate(model, x, y))
            miniBatchGradientDescent(model, lr)
        history.append((np.mean(losses), evaluate(model, Xtr, Ytr), evaluate(model, Xva, Yva)))
        print('%3d  loss %.4f  train %.4f  val %.4f' % ((epoch,) + history[-1]))
    return history


if __name__ == '__main__':
    main()

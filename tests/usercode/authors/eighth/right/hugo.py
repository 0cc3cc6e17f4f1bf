import math
import numpy as np
from utils import softmax_cross_entropy, add_momentum, data_loader_mnist, predict_label, DataSplit


class linear_layer:
    """
    params['W'], params['b'] and gradient['W'], gradient['b'], see the assignment
    """

    def __init__(self, input_D, output_D):
        variance = 0.01
        std = math.sqrt(variance)
        W = std * np.random.standard_normal((input_D, output_D))
        b = std * np.random.standard_normal((1, output_D))
        self.params = dict(W=W, b=b)
        self.gradient = dict(W=np.zeros(W.shape), b=np.zeros(b.shape))

    def forward(self, X):
        self.saved_input = X
        scores = X.dot(self.params['W'])
        for k in range(scores.shape[1]):
            scores[:, k] += self.params['b'][0, k]
        return scores

    def backward(self, X, grad):
        batch = X.shape[0]
        grad_W = np.zeros_like(self.params['W'])
        grad_b = np.zeros_like(self.params['b'])
        for i in range(batch):
            x = X[i].reshape(-1, 1)
            g = grad[i].reshape(1, -1)
            grad_W += x.dot(g)
            grad_b += g
        self.gradient['W'] = grad_W
        self.gradient['b'] = grad_b
        return grad.dot(self.params['W'].T)


class relu:
    def __init__(self):
        self.cache = {}

    def forward(self, X):
        out = X.copy()
        negative = X < 0
        out[negative] = 0.0
        self.cache['X'] = X
        return out

    def backward(self, X, grad):
        slope = np.ones_like(X)
        slope[X <= 0] = 0.0
        return slope * grad


def miniBatchGradientDescent(model, momentum, _alpha, learning_rate):
    linear = [(n, l) for n, l in model.items() if hasattr(l, 'params')]
    for n, l in linear:
        for p in l.params:
            if _alpha > 0:
                v = momentum[n + '_' + p]
                v = _alpha * v + learning_rate * l.gradient[p]
                momentum[n + '_' + p] = v
                l.params[p] = l.params[p] - v
            else:
                l.params[p] = l.params[p] - learning_rate * l.gradient[p]
    return model


class Trainer:
    def __init__(self, model):
        self.model = model
        self.order = ['L1', 'R1', 'L2', 'R2', 'L3']

    def forward(self, x):
        self.inputs = {}
        for name in self.order:
            self.inputs[name] = x
            x = self.model[name].forward(x)
        self.scores = x
        return x

    def backward(self, y):
        d = self.model['loss'].backward(self.scores, y)
        for name in self.order[::-1]:
            d = self.model[name].backward(self.inputs[name], d)
        return d

    def loss(self, x, y):
        return self.model['loss'].forward(self.forward(x), y)


def gradient_check(model, x, y, directions=10, h=1e-5):
    """compares the directional derivative along random directions"""
    trainer = Trainer(model)
    trainer.loss(x, y)
    trainer.backward(y)
    for name in ['L1', 'L2', 'L3']:
        for p in ('W', 'b'):
            saved = model[name].params[p].copy()
            g = model[name].gradient[p].copy()
            for _ in range(directions):
                u = np.random.randn(*saved.shape)
                model[name].params[p] = saved + h * u
                hi = trainer.loss(x, y)
                model[name].params[p] = saved - h * u
                lo = trainer.loss(x, y)
                numeric = (hi - lo) / (2 * h)
                exact = np.sum(g * u)
                if abs(numeric - exact) > 1e-5 * max(1.0, abs(numeric)):
                    model[name].params[p] = saved
                    return False
            model[name].params[p] = saved
    return True


def evaluate(trainer, split, size):
    right, seen = 0, 0
    while seen < size:
        rows = np.arange(seen, min(size, seen + 200))
        x, y = split.get_example(rows)
        labels = predict_label(trainer.forward(x))
        right += int((labels == y).sum())
        seen += len(rows)
    return right / size


def main(params):
    np.random.seed(params['seed'])
    Xtrain, Ytrain, Xval, Yval, Xtest, Ytest = data_loader_mnist(dataset=params['file'])
    train, val, test = DataSplit(Xtrain, Ytrain), DataSplit(Xval, Yval), DataSplit(Xtest, Ytest)
    model = {}
    model['L1'] = linear_layer(Xtrain.shape[1], 80)
    model['R1'] = relu()
    model['L2'] = linear_layer(80, 40)
    model['R2'] = relu()
    model['L3'] = linear_layer(40, 10)
    model['loss'] = softmax_cross_entropy()
    momentum = add_momentum(model)
    trainer = Trainer(model)
    rate = params['rate']
    top, answer = -1.0, None
    for epoch in range(1, params['epochs'] + 1):
        if epoch % 5 == 0:
            rate = rate / 2
        shuffled = np.random.permutation(len(Xtrain))
        for i in range(0, len(Xtrain) - params['batch'] + 1, params['batch']):
            x, y = train.get_example(shuffled[i:i + params['batch']])
            trainer.forward(x)
            trainer.backward(y)
            miniBatchGradientDescent(model, momentum, params['alpha'], rate)
        train_acc = evaluate(trainer, train, len(Xtrain))
        val_acc = evaluate(trainer, val, len(Xval))
        test_acc = evaluate(trainer, test, len(Xtest))
        print('epoch', epoch, 'train', train_acc, 'val', val_acc)
        if val_acc > top:
            top = val_acc
            answer = test_acc
    print('test accuracy at the best validation accuracy:', answer)


if __name__ == '__main__':
    main(dict(seed=1, file='mnist_subset.json', rate=0.01, epochs=10, batch=5, alpha=0.9))

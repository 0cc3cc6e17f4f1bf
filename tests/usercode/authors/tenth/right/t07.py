"""
MLP for the second programming assignment.
The network is an ordered dictionary of layers, so it would be easy to add another one.
"""
from collections import OrderedDict

import numpy as np

from utils import softmax_cross_entropy, add_momentum, data_loader_mnist, predict_label, DataSplit


class linear_layer:
    def __init__(self, input_D, output_D):
        self.params, self.gradient = {}, {}
        for name, shape in (('W', (input_D, output_D)), ('b', (1, output_D))):
            self.params[name] = 0.1 * np.random.standard_normal(shape)
            self.gradient[name] = np.zeros(shape)

    def forward(self, X):
        out = X @ self.params['W']
        out += self.params['b']
        return out

    def backward(self, X, grad):
        np.matmul(X.T, grad, out=self.gradient['W'])
        np.sum(grad, axis=0, keepdims=True, out=self.gradient['b'])
        return grad @ self.params['W'].T


class relu:
    def forward(self, X):
        return np.clip(X, 0, None)

    def backward(self, X, grad):
        return grad * np.heaviside(X, 0)


class EarlyStopper:
    """keeps a copy of the best parameters and counts the epochs without progress"""

    def __init__(self, patience):
        self.patience = patience
        self.best_value = -float('inf')
        self.best_params = None
        self.count = 0

    def update(self, value, net):
        if value > self.best_value:
            self.best_value = value
            self.best_params = {n: {k: p.copy() for k, p in l.params.items()} for n, l in net.items() if hasattr(l, 'params')}
            self.count = 0
        else:
            self.count += 1

    def should_stop(self):
        return self.patience is not None and self.count >= self.patience

    def load_best(self, net):
        for n, saved in self.best_params.items():
            for k, p in saved.items():
                net[n].params[k][...] = p


def miniBatchGradientDescent(model, momentum, _alpha, _learning_rate):
    for name, layer in model.items():
        if not hasattr(layer, 'params'):
            continue
        for key, g in layer.gradient.items():
            v = momentum['{}_{}'.format(name, key)]
            v[...] = _alpha * v - _learning_rate * g
            layer.params[key] += v
    return model


def forward_all(net, x):
    """list of the inputs of every layer; the last element holds the logits"""
    values = [x]
    for layer in net.values():
        values.append(layer.forward(values[-1]))
    return values


def backward_all(net, values, grad):
    layers = list(net.values())
    for i in reversed(range(len(layers))):
        grad = layers[i].backward(values[i], grad)
    return grad


def train_step_gradients(net, criterion, x, y):
    values = forward_all(net, x)
    loss = criterion.forward(values[-1], y)
    backward_all(net, values, criterion.backward(values[-1], y))
    return loss


def gradient_checker(net, criterion, x, y, layer_name, key, index, h=1e-5):
    """relative difference between backpropagation and the two-sided difference quotient"""
    train_step_gradients(net, criterion, x, y)
    backprop = net[layer_name].gradient[key][index]

    def shifted_loss(delta):
        net[layer_name].params[key][index] += delta
        value = criterion.forward(forward_all(net, x)[-1], y)
        net[layer_name].params[key][index] -= delta
        return value

    quotient = (shifted_loss(h) - shifted_loss(-h)) / (2 * h)
    print(layer_name, key, index, 'bp %.7e' % backprop, 'fd %.7e' % quotient)
    return abs(backprop - quotient) / max(1e-8, abs(backprop) + abs(quotient))


def magnitude_checker(net):
    report = {}
    for name, layer in net.items():
        if hasattr(layer, 'gradient'):
            for key, g in layer.gradient.items():
                report[name, key] = float(np.linalg.norm(g))
    return report


def percent_correct(net, data):
    x, y = data.get_example(np.arange(data.N))
    return 100.0 * np.mean(predict_label(forward_all(net, x)[-1]) == y)


def main(main_params):
    np.random.seed(main_params['random_seed'])
    Xtrain, Ytrain, Xvalid, Yvalid, Xtest, Ytest = data_loader_mnist(dataset=main_params['input_file'])
    d_train, d_valid, d_test = [DataSplit(a, b) for a, b in ((Xtrain, Ytrain), (Xvalid, Yvalid), (Xtest, Ytest))]

    net = OrderedDict()
    net['L1'] = linear_layer(d_train.X.shape[1] if hasattr(d_train, 'X') else Xtrain.shape[1], 128)
    net['nonlinear1'] = relu()
    net['L2'] = linear_layer(128, 10)
    criterion = softmax_cross_entropy()
    momentum = add_momentum(net)

    if main_params.get('check_gradient'):
        x, y = d_train.get_example(np.arange(12))
        for where in (('L1', 'W', (300, 64)), ('L1', 'b', (0, 64)), ('L2', 'W', (64, 9)), ('L2', 'b', (0, 9))):
            print('relative difference %.2e' % gradient_checker(net, criterion, x, y, *where))
        for (name, key), size in magnitude_checker(net).items():
            print('size of gradient', name, key, '%.4e' % size)

    stopper = EarlyStopper(main_params.get('patience', 5) if main_params.get('early_stopping', True) else None)
    bs = main_params['minibatch_size']
    n_batches = -(-d_train.N // bs)

    for epoch in range(main_params['num_epoch']):
        losses = []
        for idx in np.array_split(np.random.permutation(d_train.N), n_batches):
            x, y = d_train.get_example(idx)
            losses.append(train_step_gradients(net, criterion, x, y))
            miniBatchGradientDescent(net, momentum, main_params['alpha'], main_params['learning_rate'])

        train_acc = percent_correct(net, d_train)
        valid_acc = percent_correct(net, d_valid)
        print('epoch %2d loss %.4f train %.2f%% valid %.2f%%' % (epoch + 1, np.mean(losses), train_acc, valid_acc))

        stopper.update(valid_acc, net)
        if stopper.should_stop():
            print('stop: best validation accuracy %.2f%%' % stopper.best_value)
            break

    stopper.load_best(net)
    test_acc = percent_correct(net, d_test)
    print('test %.2f%%' % test_acc)
    return stopper.best_value, test_acc


if __name__ == '__main__':
    main({'input_file': 'fmnist.json', 'random_seed': 2, 'learning_rate': 0.01, 'alpha': 0.5, 'num_epoch': 10,
          'minibatch_size': 8, 'early_stopping': True, 'patience': 3, 'check_gradient': True})

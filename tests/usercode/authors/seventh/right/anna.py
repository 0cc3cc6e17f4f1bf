"""Two-layer network on Fashion MNIST, NumPy only."""
import sys
import json
import numpy as np
from utils import softmax_cross_entropy, add_momentum, data_loader_mnist, predict_label, DataSplit


class linear_layer:
    def __init__(self, input_D, output_D):
        self.params = dict()
        self.params['W'] = np.random.normal(0, 0.1, (input_D, output_D))
        self.params['b'] = np.random.normal(0, 0.1, (1, output_D))
        self.gradient = dict()
        self.gradient['W'] = np.zeros((input_D, output_D))
        self.gradient['b'] = np.zeros((1, output_D))

    def forward(self, X):
        forward_output = np.dot(X, self.params['W']) + self.params['b']
        return forward_output

    def backward(self, X, grad):
        self.gradient['W'] = np.dot(X.T, grad)
        self.gradient['b'] = np.sum(grad, axis=0, keepdims=True)
        backward_output = np.dot(grad, self.params['W'].T)
        return backward_output


class relu:
    def __init__(self):
        self.mask = None

    def forward(self, X):
        self.mask = (X > 0).astype(float)
        forward_output = X * self.mask
        return forward_output

    def backward(self, X, grad):
        backward_output = grad * self.mask
        return backward_output


def miniBatchGradientDescent(model, momentum, _lambda, _alpha, _learning_rate):
    for module_name, module in model.items():
        if hasattr(module, 'params'):
            for key, _ in module.params.items():
                g = module.gradient[key] + _lambda * module.params[key]
                if _alpha > 0.0:
                    momentum[module_name + '_' + key] = _alpha * momentum[module_name + '_' + key] - _learning_rate * g
                    module.params[key] += momentum[module_name + '_' + key]
                else:
                    module.params[key] -= _learning_rate * g
    return model


def forward_pass(model, x, y):
    a1 = model['L1'].forward(x)
    h1 = model['nonlinear1'].forward(a1)
    a2 = model['L2'].forward(h1)
    loss = model['loss'].forward(a2, y)
    return a1, h1, a2, loss


def backward_pass(model, x, a1, h1, a2, y):
    grad_a2 = model['loss'].backward(a2, y)
    grad_h1 = model['L2'].backward(h1, grad_a2)
    grad_a1 = model['nonlinear1'].backward(a1, grad_h1)
    grad_x = model['L1'].backward(x, grad_a1)
    return grad_x


def gradient_checker(DataSet, model):
    x, y = DataSet.get_example(np.arange(5))
    a1, h1, a2, loss = forward_pass(model, x, y)
    backward_pass(model, x, a1, h1, a2, y)
    epsilon = 1e-5
    worst = 0.0
    for layer in ['L1', 'L2']:
        for key in ['W', 'b']:
            analytic = model[layer].gradient[key].copy()
            rows, cols = analytic.shape
            for _ in range(20):
                i = np.random.randint(rows)
                j = np.random.randint(cols)
                old = model[layer].params[key][i, j]
                model[layer].params[key][i, j] = old + epsilon
                plus = forward_pass(model, x, y)[3]
                model[layer].params[key][i, j] = old - epsilon
                minus = forward_pass(model, x, y)[3]
                model[layer].params[key][i, j] = old
                numeric = (plus - minus) / (2 * epsilon)
                diff = abs(numeric - analytic[i, j]) / max(1e-8, abs(numeric) + abs(analytic[i, j]))
                worst = max(worst, diff)
    return worst < 1e-4


def accuracy(model, dataset, N, batch=100):
    correct = 0.0
    for i in range(int(np.ceil(N / batch))):
        idx = np.arange(i * batch, min((i + 1) * batch, N))
        x, y = dataset.get_example(idx)
        a2 = forward_pass(model, x, y)[2]
        correct += np.sum(predict_label(a2) == y)
    return correct / N


def main(main_params):
    np.random.seed(int(main_params['random_seed']))
    Xtrain, Ytrain, Xval, Yval, Xtest, Ytest = data_loader_mnist(dataset=main_params['input_file'])
    N_train, d = Xtrain.shape
    trainSet = DataSplit(Xtrain, Ytrain)
    valSet = DataSplit(Xval, Yval)
    testSet = DataSplit(Xtest, Ytest)

    model = dict()
    model['L1'] = linear_layer(input_D=d, output_D=1000)
    model['nonlinear1'] = relu()
    model['L2'] = linear_layer(input_D=1000, output_D=10)
    model['loss'] = softmax_cross_entropy()

    _alpha = float(main_params['alpha'])
    _lambda = float(main_params['lambda'])
    momentum = add_momentum(model) if _alpha > 0.0 else None
    num_epoch = int(main_params['num_epoch'])
    minibatch_size = int(main_params['minibatch_size'])
    _learning_rate = float(main_params['learning_rate'])
    train_acc, val_acc, test_acc = [], [], []
    best_val, best_epoch, best_test = -1.0, 0, 0.0

    for t in range(num_epoch):
        if t > 0 and t % 10 == 0:
            _learning_rate *= 0.1
        idx_order = np.random.permutation(N_train)
        for i in range(int(np.floor(N_train / minibatch_size))):
            x, y = trainSet.get_example(idx_order[i * minibatch_size:(i + 1) * minibatch_size])
            a1, h1, a2, loss = forward_pass(model, x, y)
            backward_pass(model, x, a1, h1, a2, y)
            model = miniBatchGradientDescent(model, momentum, _lambda, _alpha, _learning_rate)
        train_acc.append(accuracy(model, trainSet, N_train))
        val_acc.append(accuracy(model, valSet, len(Yval)))
        test_acc.append(accuracy(model, testSet, len(Ytest)))
        if val_acc[-1] > best_val:
            best_val, best_epoch, best_test = val_acc[-1], t, test_acc[-1]
        print('epoch', t + 1, train_acc[-1], val_acc[-1], test_acc[-1])
    print('best epoch', best_epoch + 1, 'test accuracy', best_test)
    json.dump({'train': train_acc, 'val': val_acc, 'test': test_acc}, open('MLP.json', 'w'))
    return train_acc, val_acc, test_acc


if __name__ == "__main__":
    main({'random_seed': 42, 'input_file': 'mnist_subset.json', 'alpha': 0.9, 'lambda': 0.0,
          'num_epoch': 10, 'minibatch_size': 5, 'learning_rate': 0.01})

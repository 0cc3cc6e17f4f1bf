import argparse
import sys

import numpy as np

from utils import softmax_cross_entropy, data_loader_mnist, predict_label, DataSplit


class linear_layer:

    def __init__(self, input_D, output_D):
        self.params = dict()
        self.gradient = dict()

        self.params['W'] = np.random.normal(0, 0.1, (input_D, output_D))
        self.params['b'] = np.random.normal(0, 0.1, (1, output_D))

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
        forward_output = np.maximum(0, X)
        return forward_output

    def backward(self, X, grad):
        backward_output = np.multiply(grad, X > 0)
        return backward_output


def miniBatchGradientDescent(model, learning_rate):
    for module_name, module in model.items():
        # only the layers with parameters
        if hasattr(module, 'params'):
            for key in module.params.keys():
                g = module.gradient[key]
                module.params[key] -= learning_rate * g
    return model


def forward_pass(model, x):
    a1 = model['L1'].forward(x)
    h1 = model['nonlinear1'].forward(a1)
    a2 = model['L2'].forward(h1)
    return a1, h1, a2


def backward_pass(model, x, y, a1, h1, a2):
    grad_a2 = model['loss'].backward(a2, y)
    grad_h1 = model['L2'].backward(h1, grad_a2)
    grad_a1 = model['nonlinear1'].backward(a1, grad_h1)
    grad_x = model['L1'].backward(x, grad_a1)
    return grad_x


def check_gradient(model, x, y, epsilon=1e-5, tol=1e-6):
    """central differences against backward_pass, for every entry."""
    a1, h1, a2 = forward_pass(model, x)
    backward_pass(model, x, y, a1, h1, a2)

    worst = 0.0
    for name in ['L1', 'L2']:
        layer = model[name]
        for key in ['W', 'b']:
            grad = layer.gradient[key].copy()
            for i in range(grad.shape[0]):
                for j in range(grad.shape[1]):
                    old = layer.params[key][i, j]

                    layer.params[key][i, j] = old + epsilon
                    f_plus = model['loss'].forward(forward_pass(model, x)[2], y)

                    layer.params[key][i, j] = old - epsilon
                    f_minus = model['loss'].forward(forward_pass(model, x)[2], y)

                    layer.params[key][i, j] = old

                    approx = (f_plus - f_minus) / (2 * epsilon)
                    worst = max(worst, abs(approx - grad[i, j]))
    print('largest difference:', worst)
    return worst < tol


def accuracy(model, data, N, batch):
    hits = 0
    for start in range(0, N, batch):
        x, y = data.get_example(np.arange(start, min(start + batch, N)))
        hits += np.sum(predict_label(forward_pass(model, x)[2]) == y)
    return hits / N


def main(main_params):
    np.random.seed(int(main_params['random_seed']))
    Xtrain, Ytrain, Xval, Yval, _, _ = data_loader_mnist(dataset=main_params['input_file'])
    N_train, d = Xtrain.shape
    N_val, _ = Xval.shape
    trainSet = DataSplit(Xtrain, Ytrain)
    valSet = DataSplit(Xval, Yval)

    model = dict()
    num_L1 = 100
    num_L2 = 10
    num_epoch = int(main_params['num_epoch'])
    minibatch_size = int(main_params['minibatch_size'])
    learning_rate = float(main_params['learning_rate'])

    model['L1'] = linear_layer(input_D=d, output_D=num_L1)
    model['nonlinear1'] = relu()
    model['L2'] = linear_layer(input_D=num_L1, output_D=num_L2)
    model['loss'] = softmax_cross_entropy()

    train_acc_record = []
    val_acc_record = []
    for t in range(num_epoch):
        idx_order = np.random.permutation(N_train)
        for i in range(int(np.floor(N_train / minibatch_size))):
            x, y = trainSet.get_example(idx_order[i * minibatch_size:(i + 1) * minibatch_size])
            a1, h1, a2 = forward_pass(model, x)
            backward_pass(model, x, y, a1, h1, a2)
            model = miniBatchGradientDescent(model, learning_rate)
        train_acc = accuracy(model, trainSet, N_train, minibatch_size)
        val_acc = accuracy(model, valSet, N_val, minibatch_size)
        train_acc_record.append(train_acc)
        val_acc_record.append(val_acc)
        print('epoch', t + 1, 'train', train_acc, 'val', val_acc)
    return train_acc_record, val_acc_record


if __name__ == '__main__':
    parser = argparse.ArgumentParser()
    parser.add_argument('--input_file', default='mnist_subset.json')
    parser.add_argument('--random_seed', default=42)
    parser.add_argument('--learning_rate', default=0.01)
    parser.add_argument('--num_epoch', default=10)
    parser.add_argument('--minibatch_size', default=5)
    main(vars(parser.parse_args()))

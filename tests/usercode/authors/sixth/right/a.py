"""
Homework: two-layer perceptron trained with mini-batch SGD.
"""
import sys
import json
import argparse
import numpy as np

from utils import softmax_cross_entropy, data_loader_mnist, predict_label, DataSplit


class linear_layer:
    """
    The linear (affine / fully-connected) module.
    params['W'] has shape (input_D, output_D), params['b'] has shape (1, output_D).
    """

    def __init__(self, input_D, output_D):
        self.params = dict()
        self.params['W'] = np.random.normal(0, 0.1, (input_D, output_D))
        self.params['b'] = np.random.normal(0, 0.1, (1, output_D))

        self.gradient = dict()
        self.gradient['W'] = np.zeros((input_D, output_D))
        self.gradient['b'] = np.zeros((1, output_D))

    def forward(self, X):
        """ X: (N, input_D). Returns (N, output_D). """
        forward_output = np.dot(X, self.params['W']) + self.params['b']
        return forward_output

    def backward(self, X, grad):
        """ X: (N, input_D), grad: (N, output_D). Returns (N, input_D). """
        self.gradient['W'] = np.dot(X.T, grad)
        self.gradient['b'] = np.sum(grad, axis=0, keepdims=True)
        backward_output = np.dot(grad, self.params['W'].T)
        return backward_output


class relu:
    """ max(0, x), element by element. """

    def __init__(self):
        self.mask = None

    def forward(self, X):
        self.mask = (X > 0.0).astype(float)
        forward_output = X * self.mask
        return forward_output

    def backward(self, X, grad):
        mask = (X > 0.0).astype(float)
        backward_output = np.multiply(mask, grad)
        return backward_output


def miniBatchGradientDescent(model, learning_rate):
    for module_name, module in model.items():
        # only modules with trainable parameters
        if hasattr(module, 'params'):
            for key, _ in module.params.items():
                g = module.gradient[key]
                module.params[key] = module.params[key] - learning_rate * g
    return model


def forward_pass(model, x, y):
    h1 = model['L1'].forward(x)
    a1 = model['nonlinear1'].forward(h1)
    a2 = model['L2'].forward(a1)
    loss = model['loss'].forward(a2, y)
    return h1, a1, a2, loss


def backward_pass(model, x, h1, a1, a2, y):
    grad_a2 = model['loss'].backward(a2, y)
    grad_a1 = model['L2'].backward(a1, grad_a2)
    grad_h1 = model['nonlinear1'].backward(h1, grad_a1)
    grad_x = model['L1'].backward(x, grad_h1)
    return grad_x


def check_gradients(model, x, y, eps=1e-5, tol=1e-6):
    """ Central differences for every parameter. Returns True if all agree. """
    h1, a1, a2, _ = forward_pass(model, x, y)
    backward_pass(model, x, h1, a1, a2, y)

    all_fine = True
    for layer_name in ['L1', 'L2']:
        layer = model[layer_name]
        for key in ['W', 'b']:
            analytic = layer.gradient[key].copy()
            param = layer.params[key]
            worst = 0.0
            for idx in np.ndindex(*param.shape):
                original = param[idx]
                param[idx] = original + eps
                loss_plus = forward_pass(model, x, y)[-1]
                param[idx] = original - eps
                loss_minus = forward_pass(model, x, y)[-1]
                param[idx] = original
                approx = (loss_plus - loss_minus) / (2 * eps)
                difference = abs(approx - analytic[idx])
                worst = max(worst, difference)
            print('%s %s: largest difference %.3e' % (layer_name, key, worst))
            if worst > tol:
                all_fine = False
    return all_fine


def main(main_params):
    np.random.seed(int(main_params['random_seed']))
    Xtrain, Ytrain, Xval, Yval, _, _ = data_loader_mnist(dataset=main_params['input_file'])
    N_train, d = Xtrain.shape
    trainSet = DataSplit(Xtrain, Ytrain)

    model = dict()
    model['L1'] = linear_layer(input_D=d, output_D=main_params['hidden'])
    model['nonlinear1'] = relu()
    model['L2'] = linear_layer(input_D=main_params['hidden'], output_D=10)
    model['loss'] = softmax_cross_entropy()

    B = main_params['minibatch_size']
    for t in range(main_params['num_epoch']):
        order = np.random.permutation(N_train)
        for i in range(N_train // B):
            x, y = trainSet.get_example(order[i * B:(i + 1) * B])
            h1, a1, a2, _ = forward_pass(model, x, y)
            backward_pass(model, x, h1, a1, a2, y)
            model = miniBatchGradientDescent(model, main_params['learning_rate'])
        _, _, a2, loss = forward_pass(model, Xval, Yval)
        print('epoch', t, 'val loss', loss)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument('--random_seed', default=42)
    parser.add_argument('--learning_rate', default=0.01, type=float)
    parser.add_argument('--hidden', default=1000, type=int)
    parser.add_argument('--num_epoch', default=10, type=int)
    parser.add_argument('--minibatch_size', default=5, type=int)
    parser.add_argument('--input_file', default='mnist_subset.json')
    main(vars(parser.parse_args()))

"""
Homework: two-layer perceptron on MNIST
"""
import sys
import argparse
import numpy as np
from utils import softmax_cross_entropy, data_loader_mnist, predict_label, DataSplit


class linear_layer:

    """
        The linear (affine/fully-connected) module.

        params['W'] : (input_D, output_D)
        params['b'] : (1, output_D)
    """

    def __init__(self, input_D, output_D):

        self.params = dict()
        self.params['W'] = np.random.normal(0, 0.1, (input_D, output_D))
        self.params['b'] = np.random.normal(0, 0.1, (1, output_D))

        self.gradient = dict()
        self.gradient['W'] = np.zeros((input_D, output_D))
        self.gradient['b'] = np.zeros((1, output_D))

    def forward(self, X):

        forward_output = np.add(np.dot(X, self.params['W']), self.params['b'])
        return forward_output

    def backward(self, X, grad):

        self.gradient['W'] = np.dot(X.T, grad)
        self.gradient['b'] = np.sum(grad, axis=0, keepdims=True)
        backward_output = np.dot(grad, self.params['W'].T)
        return backward_output


class relu:

    """
        The relu (rectified linear unit) module, no parameters.
    """

    def __init__(self):
        self.mask = None

    def forward(self, X):

        forward_output = np.maximum(0, X)
        return forward_output

    def backward(self, X, grad):

        self.mask = np.where(X > 0, 1.0, 0.0)
        backward_output = np.multiply(self.mask, grad)
        return backward_output


def miniBatchGradientDescent(model, learning_rate):

    for module_name, module in model.items():

        # only modules with trainable parameters
        if hasattr(module, 'params'):
            for key in module.params:
                g = module.gradient[key]
                module.params[key] = module.params[key] - learning_rate * g

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


def check_gradients(model, x, y, eps=1e-5, tol=1e-5):

    """
        Central differences over every entry of every parameter.
        Returns True if all the entries agree.
    """

    a1, h1, a2, loss = forward_pass(model, x, y)
    backward_pass(model, x, a1, h1, a2, y)

    all_good = True
    for layer_name in ['L1', 'L2']:
        for key in ['W', 'b']:
            theta = model[layer_name].params[key]
            analytic = model[layer_name].gradient[key]
            worst = 0.0
            for i in range(theta.shape[0]):
                for j in range(theta.shape[1]):
                    keep = theta[i, j]
                    theta[i, j] = keep + eps
                    loss_plus = forward_pass(model, x, y)[3]
                    theta[i, j] = keep - eps
                    loss_minus = forward_pass(model, x, y)[3]
                    theta[i, j] = keep
                    approx = (loss_plus - loss_minus) / (2.0 * eps)
                    worst = max(worst, abs(approx - analytic[i, j]))
            print('%s %s: largest difference %.3e' % (layer_name, key, worst))
            if worst > tol:
                all_good = False
    return all_good


def main(main_params):

    np.random.seed(int(main_params['random_seed']))
    Xtrain, Ytrain, Xval, Yval, _, _ = data_loader_mnist(dataset=main_params['input_file'])
    N_train, d = Xtrain.shape
    trainSet = DataSplit(Xtrain, Ytrain)

    model = dict()
    model['L1'] = linear_layer(input_D=d, output_D=1000)
    model['nonlinear1'] = relu()
    model['L2'] = linear_layer(input_D=1000, output_D=10)
    model['loss'] = softmax_cross_entropy()

    batch = int(main_params['minibatch_size'])
    for t in range(int(main_params['num_epoch'])):
        order = np.random.permutation(N_train)
        for i in range(N_train // batch):
            x, y = trainSet.get_example(order[i * batch:(i + 1) * batch])
            a1, h1, a2, loss = forward_pass(model, x, y)
            backward_pass(model, x, a1, h1, a2, y)
            model = miniBatchGradientDescent(model, float(main_params['learning_rate']))
        a2 = forward_pass(model, Xval, Yval)[2]
        print('epoch', t + 1, 'val acc', np.mean(predict_label(a2).ravel() == np.asarray(Yval).ravel()))


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument('--random_seed', default=42)
    parser.add_argument('--learning_rate', default=0.01)
    parser.add_argument('--num_epoch', default=10)
    parser.add_argument('--minibatch_size', default=5)
    parser.add_argument('--input_file', default='mnist_subset.json')
    main(vars(parser.parse_args()))

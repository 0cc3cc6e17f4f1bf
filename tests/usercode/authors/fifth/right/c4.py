# my solution for the neural network homework
# I wrote the sums out with loops because then I can follow the indices on paper
import numpy as np
from utils import softmax_cross_entropy, data_loader_mnist, predict_label, DataSplit


class linear_layer:
    def __init__(self, input_D, output_D):
        W = np.zeros((input_D, output_D))
        for i in range(input_D):
            for j in range(output_D):
                W[i, j] = np.random.normal(0, 0.1)
        b = np.zeros(output_D)
        for j in range(output_D):
            b[j] = np.random.normal(0, 0.1)
        self.params = {'W': W, 'b': b}
        self.gradient = {'W': np.zeros((input_D, output_D)), 'b': np.zeros(output_D)}

    def forward(self, X):
        W = self.params['W']
        b = self.params['b']
        number_of_examples = X.shape[0]
        result = np.zeros((number_of_examples, W.shape[1]))
        for n in range(number_of_examples):
            result[n] = np.dot(X[n], W) + b
        return result

    def backward(self, X, grad):
        W = self.params['W']
        number_of_examples = X.shape[0]
        dW = np.zeros(W.shape)
        db = np.zeros(W.shape[1])
        dX = np.zeros(X.shape)
        # every example adds its own part
        for n in range(number_of_examples):
            dW += np.outer(X[n], grad[n])
            db += grad[n]
            dX[n] = np.dot(W, grad[n])
        self.gradient['W'] = dW
        self.gradient['b'] = db
        return dX


class relu:
    def forward(self, X):
        result = np.array(X, dtype=float)
        result[result < 0] = 0.0
        return result

    def backward(self, X, grad):
        derivative = np.zeros(X.shape)
        derivative[X > 0] = 1.0
        dX = derivative * grad
        return dX


def miniBatchGradientDescent(model, learning_rate):
    first = model['L1']
    second = model['L2']
    first.params['W'] = first.params['W'] - learning_rate * first.gradient['W']
    first.params['b'] = first.params['b'] - learning_rate * first.gradient['b']
    second.params['W'] = second.params['W'] - learning_rate * second.gradient['W']
    second.params['b'] = second.params['b'] - learning_rate * second.gradient['b']
    return model


def compute_loss(model, X, y):
    u = model['L1'].forward(X)
    h = model['nonlinear1'].forward(u)
    scores = model['L2'].forward(h)
    loss = model['loss'].forward(scores, y)
    return loss


def backpropagation(X, y, model):
    # forward
    u = model['L1'].forward(X)
    h = model['nonlinear1'].forward(u)
    scores = model['L2'].forward(h)
    loss = model['loss'].forward(scores, y)
    # backward
    d_scores = model['loss'].backward(scores, y)
    d_h = model['L2'].backward(h, d_scores)
    d_u = model['nonlinear1'].backward(u, d_h)
    model['L1'].backward(X, d_u)
    return loss


def numerical_gradient(model, layer_name, param_name, X, y, epsilon):
    layer = model[layer_name]
    original = layer.params[param_name]
    numeric = np.zeros(original.shape)
    for index in np.ndindex(original.shape):
        plus = original.copy()
        plus[index] += epsilon
        layer.params[param_name] = plus
        loss_plus = compute_loss(model, X, y)

        minus = original.copy()
        minus[index] -= epsilon
        layer.params[param_name] = minus
        loss_minus = compute_loss(model, X, y)

        numeric[index] = (loss_plus - loss_minus) / (2 * epsilon)
    layer.params[param_name] = original
    return numeric


def test_my_gradients(model, X, y):
    backpropagation(X, y, model)
    passed = True
    for layer_name in ['L1', 'L2']:
        for param_name in ['W', 'b']:
            mine = model[layer_name].gradient[param_name].copy()
            numeric = numerical_gradient(model, layer_name, param_name, X, y, 0.0001)
            difference = np.max(np.abs(mine - numeric))
            print(layer_name, param_name, difference)
            if difference > 0.00001:
                passed = False
    return passed

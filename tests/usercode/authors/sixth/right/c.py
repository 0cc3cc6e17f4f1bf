# My solution for assignment 1
# I wrote the sums out so that I can follow the formulas from the lecture.

import numpy as np
from utils import softmax_cross_entropy, data_loader_mnist, predict_label, DataSplit


class linear_layer:

    def __init__(self, input_D, output_D):
        self.input_D = input_D
        self.output_D = output_D
        self.params = {}
        self.gradient = {}
        mu = 0
        sigma = 0.1
        self.params['W'] = np.random.normal(mu, sigma, size=(input_D, output_D))
        self.params['b'] = np.random.normal(mu, sigma, size=(output_D,))
        self.gradient['W'] = np.zeros((input_D, output_D))
        self.gradient['b'] = np.zeros(output_D)

    def forward(self, X):
        N = X.shape[0]
        output = np.zeros((N, self.output_D))
        for n in range(N):
            for j in range(self.output_D):
                total = self.params['b'][j]
                total = total + np.sum(X[n, :] * self.params['W'][:, j])
                output[n, j] = total
        return output

    def backward(self, X, grad):
        N = X.shape[0]
        dW = np.zeros((self.input_D, self.output_D))
        db = np.zeros(self.output_D)
        dX = np.zeros((N, self.input_D))

        # dL/dW_ij = sum over n of X_ni * grad_nj
        for n in range(N):
            dW += np.outer(X[n], grad[n])

        # dL/db_j = sum over n of grad_nj
        for n in range(N):
            db += grad[n]

        # dL/dX_ni = sum over j of grad_nj * W_ij
        for n in range(N):
            for i in range(self.input_D):
                dX[n, i] = np.sum(grad[n, :] * self.params['W'][i, :])

        self.gradient['W'] = dW
        self.gradient['b'] = db
        return dX


class relu:

    def forward(self, X):
        output = np.zeros(X.shape)
        for n in range(X.shape[0]):
            for j in range(X.shape[1]):
                if X[n, j] > 0:
                    output[n, j] = X[n, j]
        return output

    def backward(self, X, grad):
        output = np.zeros(X.shape)
        for n in range(X.shape[0]):
            for j in range(X.shape[1]):
                if X[n, j] > 0:
                    output[n, j] = grad[n, j]
        return output


def miniBatchGradientDescent(model, learning_rate):
    # first layer
    model['L1'].params['W'] = model['L1'].params['W'] - learning_rate * model['L1'].gradient['W']
    model['L1'].params['b'] = model['L1'].params['b'] - learning_rate * model['L1'].gradient['b']
    # second layer
    model['L2'].params['W'] = model['L2'].params['W'] - learning_rate * model['L2'].gradient['W']
    model['L2'].params['b'] = model['L2'].params['b'] - learning_rate * model['L2'].gradient['b']
    return model


def compute_loss(model, X, Y):
    out1 = model['L1'].forward(X)
    out2 = model['nonlinear1'].forward(out1)
    out3 = model['L2'].forward(out2)
    return model['loss'].forward(out3, Y)


def backpropagation(model, X, Y):
    # go forward first, so I know the input of every layer
    out1 = model['L1'].forward(X)
    out2 = model['nonlinear1'].forward(out1)
    out3 = model['L2'].forward(out2)
    loss = model['loss'].forward(out3, Y)
    # then go back
    d3 = model['loss'].backward(out3, Y)
    d2 = model['L2'].backward(out2, d3)
    d1 = model['nonlinear1'].backward(out1, d2)
    d0 = model['L1'].backward(X, d1)
    return loss


def gradient_check(model, X, Y):
    epsilon = 1e-4
    tolerance = 1e-5
    backpropagation(model, X, Y)
    ok = True
    for name in ['L1', 'L2']:
        W = model[name].params['W']
        dW = model[name].gradient['W']
        for i in range(W.shape[0]):
            for j in range(W.shape[1]):
                W[i, j] += epsilon
                loss1 = compute_loss(model, X, Y)
                W[i, j] -= 2 * epsilon
                loss2 = compute_loss(model, X, Y)
                W[i, j] += epsilon
                numeric = (loss1 - loss2) / (2 * epsilon)
                if abs(numeric - dW[i, j]) > tolerance:
                    print('W of', name, 'is wrong at', i, j, numeric, dW[i, j])
                    ok = False

        b = model[name].params['b']
        db = model[name].gradient['b']
        for j in range(b.shape[0]):
            b[j] += epsilon
            loss1 = compute_loss(model, X, Y)
            b[j] -= 2 * epsilon
            loss2 = compute_loss(model, X, Y)
            b[j] += epsilon
            numeric = (loss1 - loss2) / (2 * epsilon)
            if abs(numeric - db[j]) > tolerance:
                print('b of', name, 'is wrong at', j, numeric, db[j])
                ok = False
    if ok:
        print('gradients ok')
    return ok

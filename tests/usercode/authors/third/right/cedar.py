# homework 4, neural network with loops, so that I can follow every number
import random
import numpy as np
from utils import softmax_cross_entropy, data_loader_mnist, predict_label, DataSplit


class linear_layer:
    def __init__(self, input_D, output_D):
        self.input_D = input_D
        self.output_D = output_D
        W = np.zeros((input_D, output_D))
        b = np.zeros((1, output_D))
        for i in range(input_D):
            for j in range(output_D):
                W[i, j] = random.gauss(0.0, 0.1)
        for j in range(output_D):
            b[0, j] = random.gauss(0.0, 0.1)
        self.params = {'W': W, 'b': b}
        self.gradient = {'W': np.zeros((input_D, output_D)), 'b': np.zeros((1, output_D))}

    def forward(self, X):
        N = X.shape[0]
        out = np.zeros((N, self.output_D))
        for n in range(N):
            for j in range(self.output_D):
                out[n, j] = np.sum(X[n] * self.params['W'][:, j]) + self.params['b'][0, j]
        return out

    def backward(self, X, grad):
        N = X.shape[0]
        dW = np.zeros((self.input_D, self.output_D))
        db = np.zeros((1, self.output_D))
        dX = np.zeros((N, self.input_D))
        for n in range(N):
            dW += np.outer(X[n], grad[n])
        for n in range(N):
            for j in range(self.output_D):
                db[0, j] += grad[n, j]
        for n in range(N):
            for i in range(self.input_D):
                dX[n, i] = np.sum(self.params['W'][i, :] * grad[n, :])
        self.gradient['W'] = dW
        self.gradient['b'] = db
        return dX


class relu:
    def forward(self, X):
        Z = X.copy()
        Z[Z < 0] = 0
        return Z

    def backward(self, X, grad):
        result = np.zeros(grad.shape)
        for n in range(X.shape[0]):
            for k in range(X.shape[1]):
                if X[n, k] > 0:
                    result[n, k] = grad[n, k]
                else:
                    result[n, k] = 0
        return result


def miniBatchGradientDescent(model, learning_rate):
    for name in ['L1', 'L2']:
        layer = model[name]
        W = layer.params['W']
        b = layer.params['b']
        W = W - learning_rate * layer.gradient['W']
        b = b - learning_rate * layer.gradient['b']
        layer.params['W'] = W
        layer.params['b'] = b
    return model


def compute_loss(model, x, y):
    a1 = model['L1'].forward(x)
    h1 = model['nonlinear1'].forward(a1)
    a2 = model['L2'].forward(h1)
    return model['loss'].forward(a2, y)


def do_backward(model, x, y):
    # forward again to get what is needed
    a1 = model['L1'].forward(x)
    h1 = model['nonlinear1'].forward(a1)
    a2 = model['L2'].forward(h1)
    # backward
    d_a2 = model['loss'].backward(a2, y)
    d_h1 = model['L2'].backward(h1, d_a2)
    d_a1 = model['nonlinear1'].backward(a1, d_h1)
    model['L1'].backward(x, d_a1)


def magic_checker(model, x, y, layer_name, param_name):
    """True when all entries of one parameter are good"""
    h = 0.0001
    tolerance = 0.00001
    do_backward(model, x, y)
    layer = model[layer_name]
    P = layer.params[param_name]
    G = layer.gradient[param_name]
    rows, cols = P.shape
    for r in range(rows):
        for c in range(cols):
            P[r, c] += h
            loss_right = compute_loss(model, x, y)
            P[r, c] -= 2 * h
            loss_left = compute_loss(model, x, y)
            P[r, c] += h
            numeric = (loss_right - loss_left) / (2 * h)
            difference = abs(numeric - G[r, c])
            if difference > tolerance:
                print('bad gradient', layer_name, param_name, r, c, numeric, G[r, c])
                return False
    return True


def main(epochs=5, batch_size=10, learning_rate=0.05, seed=1, input_file='mnist_subset.json'):
    random.seed(seed)
    np.random.seed(seed)
    Xtrain, Ytrain, Xvalid, Yvalid, Xtest, Ytest = data_loader_mnist(input_file)
    train_set = DataSplit(Xtrain, Ytrain)
    valid_set = DataSplit(Xvalid, Yvalid)
    n = Xtrain.shape[0]
    model = {}
    model['L1'] = linear_layer(Xtrain.shape[1], 20)
    model['nonlinear1'] = relu()
    model['L2'] = linear_layer(20, 10)
    model['loss'] = softmax_cross_entropy()
    accs = []
    for e in range(epochs):
        order = list(range(n))
        random.shuffle(order)
        position = 0
        while position < n:
            ids = order[position:position + batch_size]
            x, y = train_set.get_example(ids)
            do_backward(model, x, y)
            model = miniBatchGradientDescent(model, learning_rate)
            position += batch_size
        right = 0
        for k in range(len(Xvalid)):
            x, y = valid_set.get_example([k])
            a2 = model['L2'].forward(model['nonlinear1'].forward(model['L1'].forward(x)))
            if predict_label(a2)[0, 0] == y[0, 0]:
                right += 1
        accs.append(right / len(Xvalid))
        print('epoch', e, 'validation accuracy', accs[-1])
    return accs


if __name__ == '__main__':
    main()

# MLP homework, version with plain loops so that I understand every step
import random
import copy
import numpy as np
from utils import softmax_cross_entropy, data_loader_mnist, predict_label, DataSplit

H = 128
CLASSES = 10


class linear_layer:
    def __init__(self, input_D, output_D):
        mu, sigma = 0, 0.1
        self.params = {}
        self.gradient = {}
        self.params['W'] = np.random.normal(mu, sigma, size=(input_D, output_D))
        self.params['b'] = np.random.normal(mu, sigma, size=(1, output_D))
        self.gradient['W'] = np.zeros((input_D, output_D))
        self.gradient['b'] = np.zeros((1, output_D))

    def forward(self, X):
        n = X.shape[0]
        out = np.zeros((n, self.params['W'].shape[1]))
        for i in range(n):
            out[i] = X[i].dot(self.params['W']) + self.params['b'][0]
        return out

    def backward(self, X, grad):
        W = self.params['W']
        self.gradient['W'] = np.zeros(W.shape)
        self.gradient['b'] = np.zeros((1, W.shape[1]))
        dX = np.zeros(X.shape)
        for i in range(X.shape[0]):
            # every example adds its part
            self.gradient['W'] += np.outer(X[i], grad[i])
            self.gradient['b'][0] += grad[i]
            dX[i] = W.dot(grad[i])
        return dX


class relu:
    def forward(self, X):
        out = np.zeros(X.shape)
        for i in range(X.shape[0]):
            for j in range(X.shape[1]):
                if X[i, j] > 0:
                    out[i, j] = X[i, j]
        return out

    def backward(self, X, grad):
        out = np.zeros(X.shape)
        for i in range(X.shape[0]):
            for j in range(X.shape[1]):
                if X[i, j] > 0:
                    out[i, j] = grad[i, j]
        return out


def miniBatchGradientDescent(model, learning_rate):
    for name in model:
        layer = model[name]
        if isinstance(layer, linear_layer):
            for key in ['W', 'b']:
                layer.params[key] -= learning_rate * layer.gradient[key]


def predict(model, x):
    a1 = model['L1'].forward(x)
    h1 = model['nonlinear1'].forward(a1)
    return model['L2'].forward(h1)


def compute_loss(model, x, y):
    return model['loss'].forward(predict(model, x), y)


def forward_and_backward(model, x, y):
    # forward
    a1 = model['L1'].forward(x)
    h1 = model['nonlinear1'].forward(a1)
    a2 = model['L2'].forward(h1)
    loss = model['loss'].forward(a2, y)
    # backward
    g = model['loss'].backward(a2, y)
    g = model['L2'].backward(h1, g)
    g = model['nonlinear1'].backward(a1, g)
    model['L1'].backward(x, g)
    return loss


def gradient_checker(model, x, y, name, key, row, col):
    eps = 1e-4
    forward_and_backward(model, x, y)
    backprop = model[name].gradient[key][row, col]

    model[name].params[key][row, col] += eps
    f_plus = compute_loss(model, x, y)
    model[name].params[key][row, col] -= 2 * eps
    f_minus = compute_loss(model, x, y)
    model[name].params[key][row, col] += eps

    approx = (f_plus - f_minus) / (2 * eps)
    print(name, key, row, col, 'backprop:', round(backprop, 8), 'approximation:', round(approx, 8))


def magnitude_checker(model):
    for name in ['L1', 'L2']:
        for key in ['W', 'b']:
            total = 0.0
            for v in model[name].gradient[key].reshape(-1):
                total += v * v
            print('norm of gradient', name, key, round(float(np.sqrt(total)), 6))


def accuracy(model, data):
    hits = 0
    for i in range(data.N):
        x, y = data.get_example([i])
        if predict_label(predict(model, x))[0, 0] == y[0, 0]:
            hits = hits + 1
    return hits / data.N


def main(main_params):
    random.seed(main_params['random_seed'])
    np.random.seed(main_params['random_seed'])
    lr = main_params['learning_rate']
    B = main_params['minibatch_size']

    Xtrain, Ytrain, Xvalid, Yvalid, Xtest, Ytest = data_loader_mnist(dataset=main_params['input_file'])
    train = DataSplit(Xtrain, Ytrain)
    valid = DataSplit(Xvalid, Yvalid)
    test = DataSplit(Xtest, Ytest)

    model = {}
    model['L1'] = linear_layer(Xtrain.shape[1], H)
    model['nonlinear1'] = relu()
    model['L2'] = linear_layer(H, CLASSES)
    model['loss'] = softmax_cross_entropy()

    if main_params['check_gradient']:
        x, y = train.get_example([0, 1, 2, 3])
        for unit in [0, 7, 50, 100]:
            gradient_checker(model, x, y, 'L1', 'W', 300, unit)
            gradient_checker(model, x, y, 'L2', 'W', unit, 0)
        gradient_checker(model, x, y, 'L2', 'b', 0, 4)
        magnitude_checker(model)

    history = []
    best = None
    best_val = -1
    bad_epochs = 0
    for epoch in range(main_params['num_epoch']):
        order = list(range(train.N))
        random.shuffle(order)
        number_of_batches = (train.N + B - 1) // B
        loss_sum = 0.0
        for i in range(number_of_batches):
            idx = order[i * B:(i + 1) * B]
            x, y = train.get_example(idx)
            loss_sum += forward_and_backward(model, x, y) * len(idx)
            miniBatchGradientDescent(model, lr)

        acc_train = accuracy(model, train)
        acc_valid = accuracy(model, valid)
        history.append((acc_train, acc_valid))
        print('epoch', epoch, 'loss', round(loss_sum / train.N, 5), 'train', acc_train, 'valid', acc_valid)

        if acc_valid > best_val:
            best_val = acc_valid
            best = copy.deepcopy(model)
            bad_epochs = 0
        else:
            bad_epochs += 1
        if main_params['early_stopping'] and bad_epochs >= main_params.get('patience', 5):
            print('early stop')
            break

    acc_test = accuracy(best, test)
    print('test', acc_test)
    return history, acc_test


if __name__ == '__main__':
    params = {'input_file': 'fmnist.json', 'learning_rate': 0.01, 'num_epoch': 10, 'minibatch_size': 10,
              'early_stopping': True, 'patience': 5, 'check_gradient': True, 'random_seed': 1}
    main(params)

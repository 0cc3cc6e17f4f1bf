import numpy as np
from utils import softmax_cross_entropy, data_loader_mnist, predict_label, DataSplit

# I write the sums out so that I can see what happens


class linear_layer:

    def __init__(self, input_D, output_D):
        self.params = {}
        self.gradient = {}
        W = np.empty((input_D, output_D))
        for i in range(input_D):
            for j in range(output_D):
                W[i, j] = np.random.normal(0, 0.1)
        b = np.empty((1, output_D))
        for j in range(output_D):
            b[0, j] = np.random.normal(0, 0.1)
        self.params['W'] = W
        self.params['b'] = b
        self.gradient['W'] = np.zeros((input_D, output_D))
        self.gradient['b'] = np.zeros((1, output_D))

    def forward(self, X):
        N = X.shape[0]
        out = np.zeros((N, self.params['W'].shape[1]))
        for n in range(N):
            out[n] = np.dot(X[n], self.params['W']) + self.params['b'][0]
        return out

    def backward(self, X, grad):
        N = X.shape[0]
        W = self.params['W']
        dW = np.zeros(W.shape)
        db = np.zeros((1, W.shape[1]))
        dX = np.zeros(X.shape)
        for n in range(N):
            dW += np.outer(X[n], grad[n])
            db[0] += grad[n]
            dX[n] = np.dot(W, grad[n])
        self.gradient['W'] = dW
        self.gradient['b'] = db
        return dX


class relu:

    def forward(self, X):
        out = np.zeros(X.shape)
        positive = X > 0
        out[positive] = X[positive]
        return out

    def backward(self, X, grad):
        dX = np.array(grad)
        dX[X <= 0] = 0
        return dX


def miniBatchGradientDescent(model, learning_rate):
    for name in ['L1', 'L2']:
        layer = model[name]
        W = layer.params['W']
        b = layer.params['b']
        layer.params['W'] = W - learning_rate * layer.gradient['W']
        layer.params['b'] = b - learning_rate * layer.gradient['b']
    return model


def backprop(model, x, y):
    # forward again, so that I don't have to carry the values around
    z1 = model['L1'].forward(x)
    h1 = model['nonlinear1'].forward(z1)
    z2 = model['L2'].forward(h1)
    loss = model['loss'].forward(z2, y)
    dz2 = model['loss'].backward(z2, y)
    dh1 = model['L2'].backward(h1, dz2)
    dz1 = model['nonlinear1'].backward(z1, dh1)
    dx = model['L1'].backward(x, dz1)
    return loss, dx


def loss_of(model, x, y):
    z1 = model['L1'].forward(x)
    h1 = model['nonlinear1'].forward(z1)
    z2 = model['L2'].forward(h1)
    return model['loss'].forward(z2, y)


def grad_check(model, x, y, h=1e-5):
    """largest relative error over all parameters"""
    backprop(model, x, y)
    biggest = 0
    for name in ['L1', 'L2']:
        layer = model[name]
        for p in ['W', 'b']:
            rows, cols = layer.params[p].shape
            for i in range(rows):
                for j in range(cols):
                    layer.params[p][i, j] += h
                    plus = loss_of(model, x, y)
                    layer.params[p][i, j] -= 2 * h
                    minus = loss_of(model, x, y)
                    layer.params[p][i, j] += h
                    numeric = (plus - minus) / (2 * h)
                    analytic = layer.gradient[p][i, j]
                    rel = abs(numeric - analytic) / max(1e-4, abs(numeric) + abs(analytic))
                    if rel > biggest:
                        biggest = rel
    return biggest


def count_correct(model, X, Y):
    z1 = model['L1'].forward(X)
    h1 = model['nonlinear1'].forward(z1)
    z2 = model['L2'].forward(h1)
    return np.sum(predict_label(z2) == Y)


def main(main_params):
    np.random.seed(main_params.get('seed', 3))
    Xtrain, Ytrain, Xvalid, Yvalid, Xtest, Ytest = data_loader_mnist(dataset=main_params['input_file'])
    data = DataSplit(Xtrain, Ytrain)
    N = len(Xtrain)
    B = main_params['minibatch_size']

    model = {}
    model['L1'] = linear_layer(Xtrain.shape[1], main_params['hidden'])
    model['nonlinear1'] = relu()
    model['L2'] = linear_layer(main_params['hidden'], 10)
    model['loss'] = softmax_cross_entropy()

    if main_params.get('check'):
        print('relative error', grad_check(model, Xtrain[:4], Ytrain[:4]))

    result = []
    for epoch in range(main_params['num_epoch']):
        indices = np.arange(N)
        np.random.shuffle(indices)
        sum_loss = 0
        n_batches = 0
        start = 0
        while start < N:
            stop = min(start + B, N)
            x, y = data.get_example(indices[start:stop])
            loss, dx = backprop(model, x, y)
            model = miniBatchGradientDescent(model, main_params['learning_rate'])
            sum_loss += loss
            n_batches += 1
            start = stop
        train_acc = count_correct(model, Xtrain, Ytrain) / N
        valid_acc = count_correct(model, Xvalid, Yvalid) / len(Xvalid)
        result.append([sum_loss / n_batches, train_acc, valid_acc])
        print('epoch', epoch, result[-1])
    return result


if __name__ == '__main__':
    main({'input_file': 'mnist_subset.json', 'minibatch_size': 5, 'num_epoch': 10, 'learning_rate': 0.01,
          'hidden': 50, 'check': True})

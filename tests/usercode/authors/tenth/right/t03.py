import copy
import numpy as np
from utils import data_loader_mnist, predict_label, DataSplit


class linear_layer(object):
    """Affine layer. Remembers its input, so backward only needs the incoming gradient."""

    def __init__(self, input_D, output_D, std=0.1):
        self.W = std * np.random.randn(input_D, output_D)
        self.b = std * np.random.randn(1, output_D)
        self.dW = np.zeros_like(self.W)
        self.db = np.zeros_like(self.b)
        self.X = None

    def forward(self, X):
        self.X = X
        return X @ self.W + self.b

    def backward(self, grad):
        self.dW = self.X.T @ grad
        self.db = grad.sum(axis=0, keepdims=True)
        return grad @ self.W.T


class relu(object):

    def __init__(self):
        self.X = None

    def forward(self, X):
        self.X = X
        return X * (X > 0)

    def backward(self, grad):
        dX = grad.copy()
        dX[self.X <= 0] = 0
        return dX


class SoftmaxLoss(object):

    def forward(self, logits, Y):
        shifted = logits - logits.max(axis=1, keepdims=True)
        e = np.exp(shifted)
        self.prob = e / e.sum(axis=1, keepdims=True)
        self.y = Y.astype(int).ravel()
        rows = np.arange(len(self.y))
        log_prob = shifted[rows, self.y] - np.log(e.sum(axis=1))
        return -log_prob.mean()

    def backward(self):
        n = len(self.y)
        d = self.prob.copy()
        d[np.arange(n), self.y] -= 1
        return d / n


class Model(object):

    def __init__(self, n_in, n_hidden, n_out):
        self.L1 = linear_layer(n_in, n_hidden)
        self.act = relu()
        self.L2 = linear_layer(n_hidden, n_out)
        self.loss_fn = SoftmaxLoss()

    def scores(self, X):
        return self.L2.forward(self.act.forward(self.L1.forward(X)))

    def loss(self, X, Y):
        return self.loss_fn.forward(self.scores(X), Y)

    def backward(self):
        d = self.loss_fn.backward()
        d = self.L2.backward(d)
        d = self.act.backward(d)
        return self.L1.backward(d)

    def layers(self):
        return [self.L1, self.L2]


def miniBatchGradientDescent(model, momentum, _alpha, _learning_rate):
    for k, layer in enumerate(model.layers()):
        vW, vb = momentum[k]
        vW = _alpha * vW - _learning_rate * layer.dW
        vb = _alpha * vb - _learning_rate * layer.db
        layer.W = layer.W + vW
        layer.b = layer.b + vb
        momentum[k] = (vW, vb)


def zero_momentum(model):
    return [(np.zeros_like(layer.W), np.zeros_like(layer.b)) for layer in model.layers()]


def gradient_checker(model, X, Y, which='L1', entry=(392, 10), e=1e-5):
    model.loss(X, Y)
    model.backward()
    layer = getattr(model, which)
    exact = layer.dW[entry]

    w = layer.W[entry]
    layer.W[entry] = w + e
    up = model.loss(X, Y)
    layer.W[entry] = w - e
    down = model.loss(X, Y)
    layer.W[entry] = w
    approx = (up - down) / (2.0 * e)
    print('{} W{}: analytic {:.3e}, finite difference {:.3e}'.format(which, entry, exact, approx))
    return exact, approx


def magnitude_checker(model):
    ratios = []
    for layer in model.layers():
        r = np.linalg.norm(layer.dW) / (np.linalg.norm(layer.W) + 1e-12)
        ratios.append(r)
        print('||dW|| / ||W|| = {:.3e}'.format(r))
    return ratios


def evaluate(model, data):
    X, Y = data.get_example(np.arange(data.N))
    return float(np.mean(predict_label(model.scores(X)) == Y))


def main(main_params):
    np.random.seed(main_params['random_seed'])
    Xtr, Ytr, Xva, Yva, Xte, Yte = data_loader_mnist(main_params['input_file'])
    train, valid, test = DataSplit(Xtr, Ytr), DataSplit(Xva, Yva), DataSplit(Xte, Yte)

    model = Model(Xtr.shape[1], 128, 10)
    momentum = zero_momentum(model)
    alpha, lr = main_params.get('alpha', 0.0), main_params['learning_rate']
    size = main_params['minibatch_size']

    if main_params.get('check_gradient', False):
        X, Y = train.get_example(np.arange(10))
        gradient_checker(model, X, Y, 'L1', (392, 10))
        gradient_checker(model, X, Y, 'L2', (10, 3))
        magnitude_checker(model)

    best, best_acc, since_best = copy.deepcopy(model), 0.0, 0
    for epoch in range(1, main_params['num_epoch'] + 1):
        perm = np.random.permutation(train.N)
        for start in range(0, train.N, size):
            X, Y = train.get_example(perm[start:start + size])
            model.loss(X, Y)
            model.backward()
            miniBatchGradientDescent(model, momentum, alpha, lr)

        acc_tr, acc_va = evaluate(model, train), evaluate(model, valid)
        print('epoch {:3d} | train {:.3f} | valid {:.3f}'.format(epoch, acc_tr, acc_va))

        if acc_va > best_acc:
            best, best_acc = copy.deepcopy(model), acc_va
            since_best = 0
        else:
            since_best += 1
        if main_params.get('early_stopping') and since_best >= main_params.get('patience', 10):
            break

    acc_te = evaluate(best, test)
    print('best validation {:.3f}, test {:.3f}'.format(best_acc, acc_te))
    return best, acc_te


if __name__ == '__main__':
    main(dict(input_file='fmnist.json', learning_rate=0.01, alpha=0.9, num_epoch=20, minibatch_size=20,
              early_stopping=True, patience=5, check_gradient=True, random_seed=0))

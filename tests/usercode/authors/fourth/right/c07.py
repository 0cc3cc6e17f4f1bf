import numpy as np
import utils
from utils import softmax_cross_entropy, data_loader_mnist, predict_label, DataSplit


class linear_layer:

    def __init__(self, input_D, output_D):
        W = np.random.randn(input_D, output_D) * 0.1
        b = np.random.randn(1, output_D) * 0.1
        self.params = dict(W=W, b=b)
        self.gradient = dict(W=np.zeros(W.shape), b=np.zeros(b.shape))
        # needed for momentum
        self.momentum = dict(W=np.zeros(W.shape), b=np.zeros(b.shape))

    def forward(self, X):
        out = np.tensordot(X, self.params['W'], axes=1)
        out += self.params['b']
        return out

    def backward(self, X, grad):
        ones = np.ones((1, grad.shape[0]))
        self.gradient.update(W=np.dot(X.transpose(), grad), b=np.dot(ones, grad))
        return np.dot(grad, self.params['W'].transpose())


class relu:

    def forward(self, X):
        return (X + np.abs(X)) / 2

    def backward(self, X, grad):
        grad = grad.copy()
        grad[np.logical_not(X > 0)] = 0.0
        return grad


def miniBatchGradientDescent(model, learning_rate, alpha=0.0, lamb=0.0):
    for name in model:
        layer = model[name]
        if type(layer) is not linear_layer:
            continue
        for k in layer.params:
            g = layer.gradient[k] + lamb * layer.params[k]
            layer.momentum[k] = alpha * layer.momentum[k] + g
            layer.params[k] = layer.params[k] - learning_rate * layer.momentum[k]
    return model


def net(model, X):
    a = model['L1'].forward(X)
    u = model['nonlinear1'].forward(a)
    return a, u, model['L2'].forward(u)


def compute_gradients(model, X, Y):
    a, u, z = net(model, X)
    delta2 = model['loss'].backward(z, Y)
    delta1 = model['nonlinear1'].backward(a, model['L2'].backward(u, delta2))
    model['L1'].backward(X, delta1)
    return model['loss'].forward(z, Y)


def numerical_gradient(f, theta, eps):
    num = np.zeros(theta.size)
    flat = theta.reshape(-1)
    for i in range(flat.size):
        keep = flat[i]
        flat[i] = keep + eps
        hi = f()
        flat[i] = keep - eps
        lo = f()
        flat[i] = keep
        num[i] = (hi - lo) / eps / 2
    return num.reshape(theta.shape)


def check(model, X, Y, eps=1e-5, threshold=1e-6):
    def f():
        return model['loss'].forward(net(model, X)[2], Y)

    compute_gradients(model, X, Y)
    good = True
    for name in ['L1', 'L2']:
        for k in ['W', 'b']:
            num = numerical_gradient(f, model[name].params[k], eps)
            diff = np.abs(num - model[name].gradient[k]).max()
            print('%s %s max difference %g' % (name, k, diff))
            good = good and diff < threshold
    return bool(good)


def main(main_params):
    seed = main_params.get('random_seed', 0)
    np.random.seed(seed)
    Xtrain, Ytrain, Xval, Yval, Xtest, Ytest = data_loader_mnist(dataset=main_params['input_file'])
    N, D = Xtrain.shape
    hidden = main_params.get('hidden', 100)
    alpha = main_params.get('alpha', 0.0)
    lamb = main_params.get('lambda', 0.0)
    lr = main_params['learning_rate']
    bs = main_params['minibatch_size']

    model = {}
    model['L1'] = linear_layer(D, hidden)
    model['nonlinear1'] = relu()
    model['L2'] = linear_layer(hidden, 10)
    model['loss'] = softmax_cross_entropy()

    history = []
    for e in range(main_params['num_epoch']):
        perm = np.random.permutation(N)
        Xs = Xtrain[perm]
        Ys = Ytrain[perm]
        losses = []
        nb = N // bs
        if N % bs != 0:
            nb += 1
        for i in range(nb):
            xb = Xs[i * bs:(i + 1) * bs]
            yb = Ys[i * bs:(i + 1) * bs]
            losses.append(compute_gradients(model, xb, yb))
            if main_params.get('check_every') and i % main_params['check_every'] == 0:
                if not check(model, xb, yb):
                    print('gradient wrong in epoch', e)
            model = miniBatchGradientDescent(model, lr, alpha, lamb)
        acc_train = np.mean(predict_label(net(model, Xtrain)[2]) == Ytrain)
        acc_val = np.mean(predict_label(net(model, Xval)[2]) == Yval)
        history.append(dict(loss=np.mean(losses), train=acc_train, val=acc_val))
        print(e, history[-1])
    return model, history


if __name__ == '__main__':
    main({'input_file': 'mnist_subset.json', 'num_epoch': 10, 'minibatch_size': 5, 'learning_rate': 0.01,
          'alpha': 0.9, 'lambda': 1e-4})

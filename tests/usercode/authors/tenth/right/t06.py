import copy
import numpy as np
from utils import add_momentum, data_loader_mnist, DataSplit


class linear_layer:
    def __init__(self, input_D, output_D):
        shape_W, shape_b = (input_D, output_D), (1, output_D)
        self.params = dict(W=np.random.normal(scale=0.1, size=shape_W), b=np.random.normal(scale=0.1, size=shape_b))
        self.gradient = dict(W=np.zeros(shape_W), b=np.zeros(shape_b))

    def forward(self, X):
        return X.dot(self.params['W']) + self.params['b']

    def backward(self, X, grad):
        ones = np.ones((1, X.shape[0]))
        self.gradient['W'] = X.T.dot(grad)
        self.gradient['b'] = ones.dot(grad)
        return grad.dot(self.params['W'].T)


class relu:
    def forward(self, X):
        return np.where(X > 0, X, 0)

    def backward(self, X, grad):
        return np.where(X > 0, grad, 0)


def one_hot(Y, k):
    return np.eye(k)[Y.astype(int).reshape(-1)]


class softmax_loss:
    def probabilities(self, X):
        z = np.exp(X - np.max(X, axis=1, keepdims=True))
        return z / np.sum(z, axis=1, keepdims=True)

    def forward(self, X, Y):
        m = np.max(X, axis=1, keepdims=True)
        log_sum = m + np.log(np.sum(np.exp(X - m), axis=1, keepdims=True))
        return -np.sum(one_hot(Y, X.shape[1]) * (X - log_sum)) / X.shape[0]

    def backward(self, X, Y):
        return (self.probabilities(X) - one_hot(Y, X.shape[1])) / X.shape[0]


def miniBatchGradientDescent(model, momentum, _alpha, _learning_rate):
    for name in ('L1', 'L2'):
        for p in ('W', 'b'):
            v = _alpha * momentum[name + '_' + p] + _learning_rate * model[name].gradient[p]
            momentum[name + '_' + p] = v
            model[name].params[p] = model[name].params[p] - v
    return model, momentum


def create_network(n_features):
    model = dict()
    model['L1'] = linear_layer(n_features, 128)
    model['nonlinear1'] = relu()
    model['L2'] = linear_layer(128, 10)
    model['loss'] = softmax_loss()
    return model


def forward(model, x):
    a1 = model['L1'].forward(x)
    h1 = model['nonlinear1'].forward(a1)
    a2 = model['L2'].forward(h1)
    return a1, h1, a2


def backward(model, x, y, a1, h1, a2):
    d2 = model['loss'].backward(a2, y)
    d1 = model['nonlinear1'].backward(a1, model['L2'].backward(h1, d2))
    model['L1'].backward(x, d1)


def f(model, x, y):
    return model['loss'].forward(forward(model, x)[-1], y)


def gradient_checker(model, x, y, tolerance=1e-6, epsilon=1e-5):
    """raises AssertionError if backpropagation and finite differences disagree"""
    a1, h1, a2 = forward(model, x)
    backward(model, x, y, a1, h1, a2)
    for name, p in [('L1', 'W'), ('L1', 'b'), ('L2', 'W'), ('L2', 'b')]:
        g = model[name].gradient[p]
        # the entry with the largest gradient is the most interesting one
        k = np.unravel_index(np.argmax(np.abs(g)), g.shape)
        w0 = model[name].params[p][k]
        model[name].params[p][k] = w0 + epsilon
        hi = f(model, x, y)
        model[name].params[p][k] = w0 - epsilon
        lo = f(model, x, y)
        model[name].params[p][k] = w0
        numeric = (hi - lo) / (2 * epsilon)
        print('%s %s %.8f %.8f' % (name, p, g[k], numeric))
        assert abs(numeric - g[k]) < tolerance, 'gradient of %s %s is wrong' % (name, p)
    return True


def magnitude_checker(model, limit=1e-7):
    for name in ('L1', 'L2'):
        norm = np.linalg.norm(model[name].gradient['W'])
        print('gradient norm %s: %.6f' % (name, norm))
        assert norm > limit, name + ' gets no gradient'


def batches(data, size):
    order = np.random.permutation(data.N)
    for k in range(0, data.N, size):
        yield data.get_example(order[k:k + size])


def accuracy(model, data):
    x, y = data.get_example(np.arange(data.N))
    guess = np.argmax(forward(model, x)[-1], axis=1)
    return np.mean(guess == y.reshape(-1))


def main(main_params):
    np.random.seed(main_params['random_seed'])
    Xtrain, Ytrain, Xvalid, Yvalid, Xtest, Ytest = data_loader_mnist(dataset=main_params['input_file'])
    sets = {'train': DataSplit(Xtrain, Ytrain), 'valid': DataSplit(Xvalid, Yvalid), 'test': DataSplit(Xtest, Ytest)}

    model = create_network(Xtrain.shape[1])
    momentum = add_momentum(model)

    if main_params['check_gradient']:
        x, y = sets['train'].get_example(np.arange(7))
        gradient_checker(model, x, y)
        magnitude_checker(model)

    best_model, best_valid, waited = None, -np.inf, 0
    results = {'train': [], 'valid': []}
    for epoch in range(main_params['num_epoch']):
        for x, y in batches(sets['train'], main_params['minibatch_size']):
            a1, h1, a2 = forward(model, x)
            backward(model, x, y, a1, h1, a2)
            model, momentum = miniBatchGradientDescent(model, momentum, main_params['alpha'],
                                                       main_params['learning_rate'])
        for part in results:
            results[part].append(accuracy(model, sets[part]))
        print('epoch %d  train acc %.4f  valid acc %.4f' % (epoch, results['train'][-1], results['valid'][-1]))

        if results['valid'][-1] > best_valid:
            best_valid = results['valid'][-1]
            best_model = copy.deepcopy(model)
            waited = 0
        else:
            waited += 1
        if main_params.get('early_stopping', True) and waited == main_params.get('patience', 5):
            print('early stopping')
            break

    results['test'] = accuracy(best_model, sets['test'])
    print('test acc %.4f' % results['test'])
    return results


if __name__ == '__main__':
    main({'input_file': 'fmnist.json', 'random_seed': 7, 'learning_rate': 0.005, 'alpha': 0.9, 'num_epoch': 15,
          'minibatch_size': 16, 'check_gradient': True, 'early_stopping': True, 'patience': 4})

import numpy as np
from utils import softmax_cross_entropy, data_loader_mnist, predict_label


class Layer:
    learns = False

    def __call__(self, X):
        return self.forward(X)


class linear_layer(Layer):
    learns = True

    def __init__(self, input_D, output_D):
        self.params = {'W': np.random.randn(input_D, output_D) * 0.1, 'b': np.random.randn(1, output_D) * 0.1}
        self.gradient = {k: np.zeros_like(v) for k, v in self.params.items()}

    def forward(self, X):
        return np.add(np.matmul(X, self.params['W']), self.params['b'])

    def backward(self, X, grad):
        self.gradient.update(W=np.tensordot(X, grad, axes=(0, 0)), b=np.add.reduce(grad, axis=0, keepdims=True))
        return np.tensordot(grad, self.params['W'], axes=(1, 1))


class relu(Layer):
    def forward(self, X):
        out = X.copy()
        out[out < 0] = 0.0
        return out

    def backward(self, X, grad):
        return np.multiply(grad, np.greater(X, 0))


class Network:
    def __init__(self, sizes=(784, 128, 10)):
        self.model = {'L1': linear_layer(sizes[0], sizes[1]), 'relu1': relu(),
                      'L2': linear_layer(sizes[1], sizes[2]), 'loss': softmax_cross_entropy()}

    def forward(self, x):
        self.a1 = self.model['L1'](x)
        self.h1 = self.model['relu1'](self.a1)
        self.a2 = self.model['L2'](self.h1)
        return self.a2

    def loss(self, x, y):
        return self.model['loss'].forward(self.forward(x), y)

    def backward(self, x, y):
        m = self.model
        grad = m['loss'].backward(self.a2, y)
        grad = m['L2'].backward(self.h1, grad)
        grad = m['relu1'].backward(self.a1, grad)
        return m['L1'].backward(x, grad)

    def get_weights(self):
        return {(n, k): np.array(v) for n, l in self.model.items() if getattr(l, 'learns', False)
                for k, v in l.params.items()}

    def set_weights(self, weights):
        for (n, k), v in weights.items():
            self.model[n].params[k] = np.array(v)


def miniBatchGradientDescent(model, momentum, _alpha, _learning_rate):
    for name, layer in model.items():
        if getattr(layer, 'learns', False):
            for k in layer.params:
                v = momentum.get((name, k), 0.0)
                v = _alpha * v - _learning_rate * layer.gradient[k]
                layer.params[k] += v
                momentum[name, k] = v


def gradient_checker(network, x, y, name='L1', key='W', count=3, eps=1e-5):
    """the largest absolute difference over `count` random entries"""
    network.loss(x, y)
    network.backward(x, y)
    p, g = network.model[name].params[key], network.model[name].gradient[key]
    # entries with a clear gradient only
    candidates = np.argsort(-np.abs(g), axis=None)[:20]
    diff = 0.0
    for flat in np.random.RandomState(0).choice(candidates, min(count, candidates.size), replace=False):
        before = p.flat[flat]
        p.flat[flat] = before + eps
        f1 = network.loss(x, y)
        p.flat[flat] = before - eps
        f2 = network.loss(x, y)
        p.flat[flat] = before
        num = (f1 - f2) / (2 * eps)
        print(f'{name}/{key} #{flat}: {g.flat[flat]:.6f} vs {num:.6f}')
        diff = max(diff, abs(num - g.flat[flat]))
    return diff


def magnitude_checker(network):
    for n in ('L1', 'L2'):
        for k, g in network.model[n].gradient.items():
            print(f'{n}/{k}: max |g| = {abs(g).max():.3e}, rms = {np.sqrt(np.mean(g * g)):.3e}')


def accuracy(network, X, Y):
    return np.mean(predict_label(network.forward(X)).ravel() == Y.ravel())


def main(main_params):
    rng_seed = main_params.get('random_seed', 42)
    np.random.seed(rng_seed)
    Xtr, Ytr, Xva, Yva, Xte, Yte = data_loader_mnist(dataset=main_params['input_file'])
    Xtr, Xva, Xte = map(np.asarray, (Xtr, Xva, Xte))
    Ytr, Yva, Yte = (np.asarray(Y).reshape(-1, 1) for Y in (Ytr, Yva, Yte))

    network = Network((Xtr.shape[1], 128, 10))
    momentum = {}
    lr, alpha = main_params['learning_rate'], main_params['alpha']
    B = main_params['minibatch_size']

    if main_params.get('check_gradient'):
        for name in ('L1', 'L2'):
            for key in ('W', 'b'):
                print('difference', gradient_checker(network, Xtr[:6], Ytr[:6], name, key))
        magnitude_checker(network)

    best = (-1.0, network.get_weights())
    no_gain = 0
    for epoch in range(main_params['num_epoch']):
        p = np.random.permutation(len(Xtr))
        Xs, Ys = Xtr[p], Ytr[p]
        total = 0.0
        for s in range(0, len(Xs), B):
            x, y = Xs[s:s + B], Ys[s:s + B]
            total += network.loss(x, y) * len(x)
            network.backward(x, y)
            miniBatchGradientDescent(network.model, momentum, alpha, lr)

        tr, va = accuracy(network, Xtr, Ytr), accuracy(network, Xva, Yva)
        print(f'[{epoch:02d}] loss={total / len(Xs):.4f} train={tr:.4f} val={va:.4f}')
        if va > best[0]:
            best, no_gain = (va, network.get_weights()), 0
        else:
            no_gain += 1
            if main_params.get('early_stopping', False) and no_gain >= main_params.get('patience', 5):
                break

    network.set_weights(best[1])
    te = accuracy(network, Xte, Yte)
    print(f'val={best[0]:.4f} test={te:.4f}')
    return te


if __name__ == '__main__':
    main({'input_file': 'fmnist.json', 'learning_rate': 0.01, 'alpha': 0.9, 'num_epoch': 10, 'minibatch_size': 10,
          'early_stopping': True, 'patience': 3, 'check_gradient': True, 'random_seed': 42})

# MLP with (optional) momentum
import numpy as np, copy
from utils import softmax_cross_entropy, DataSplit, data_loader_mnist, predict_label


class linear_layer():
    def __init__(self, input_D, output_D):
        self.params, self.gradient, self.velocity = {}, {}, {}
        self.params['W'] = np.random.normal(0, 0.1, size=(input_D, output_D))
        self.params['b'] = np.random.normal(0, 0.1, size=(output_D,))
        for k in self.params:
            self.gradient[k] = np.zeros_like(self.params[k])
            self.velocity[k] = np.zeros_like(self.params[k])

    def forward(self, X):
        W, b = self.params['W'], self.params['b']
        return X @ W + b

    def backward(self, X, grad):
        W = self.params['W']
        self.gradient['W'] = (grad.T @ X).T
        self.gradient['b'] = np.add.reduce(grad, axis=0)
        return (W @ grad.T).T


class relu():
    def forward(self, X):
        return X * (X > 0)

    def backward(self, X, grad):
        return grad * (X > 0)


def miniBatchGradientDescent(model, learning_rate, momentum=0.0):
    for name in ('lin1', 'lin2'):
        layer = model[name]
        for k in layer.params:
            v = momentum * layer.velocity[k] - learning_rate * layer.gradient[k]
            layer.velocity[k] = v
            layer.params[k] = layer.params[k] + v


def forward(model, X):
    c = {'X': X}
    c['z1'] = model['lin1'].forward(c['X'])
    c['a1'] = model['relu'].forward(c['z1'])
    c['z2'] = model['lin2'].forward(c['a1'])
    return c


def backward(model, c, Y):
    dz2 = model['sce'].backward(c['z2'], Y)
    da1 = model['lin2'].backward(c['a1'], dz2)
    dz1 = model['relu'].backward(c['z1'], da1)
    dX = model['lin1'].backward(c['X'], dz1)
    return dX


def J(model, X, Y):
    return model['sce'].forward(forward(model, X)['z2'], Y)


def grad_check(model, X, Y, e=1e-3):
    backward(model, forward(model, X), Y)
    num, ana = [], []
    for name in ('lin1', 'lin2'):
        layer = model[name]
        g = {k: layer.gradient[k].ravel().copy() for k in layer.gradient}
        for k in ('W', 'b'):
            for _ in range(5):
                t = np.random.randint(layer.params[k].size)
                plus, minus = copy.deepcopy(model), copy.deepcopy(model)
                plus[name].params[k].flat[t] += e
                minus[name].params[k].flat[t] -= e
                num.append((J(plus, X, Y) - J(minus, X, Y)) / (2 * e))
                ana.append(g[k][t])
    num, ana = np.array(num), np.array(ana)
    same = np.allclose(num, ana, rtol=1e-2, atol=1e-5)
    print(np.c_[num, ana])
    print("numeric and backprop gradients agree?", same)
    return same


def main(dataset='mnist_subset.json', n_epochs=10, B=5, eta=0.01, momentum=0.0):
    np.random.seed(0)
    Xtr, Ytr, Xv, Yv, Xte, Yte = data_loader_mnist(dataset)
    tr, va = DataSplit(Xtr, Ytr), DataSplit(Xv, Yv)
    model = {'lin1': linear_layer(784, 128), 'relu': relu(), 'lin2': linear_layer(128, 10),
             'sce': softmax_cross_entropy()}
    Xb, Yb = tr.get_example(np.arange(B))
    grad_check(model, Xb, Yb)

    tr_accs, va_accs, best = [], [], None
    for epoch in range(n_epochs):
        idx = np.arange(tr.N)
        np.random.shuffle(idx)
        for k in range(0, tr.N, B):
            Xb, Yb = tr.get_example(idx[k:k + B])
            c = forward(model, Xb)
            backward(model, c, Yb)
            miniBatchGradientDescent(model, eta, momentum)

        # accuracies with the weights at the end of the epoch
        accs = []
        for split in (tr, va):
            n_correct = 0
            for k in range(0, split.N, B):
                Xb, Yb = split.get_example(np.arange(k, min(k + B, split.N)))
                z2 = forward(model, Xb)['z2']
                n_correct += np.sum(predict_label(z2).ravel() == np.asarray(Yb).ravel())
            accs.append(n_correct / split.N)
        tr_accs.append(accs[0])
        va_accs.append(accs[1])
        print("epoch", epoch, "loss", J(model, Xtr, Ytr), "train acc", accs[0], "val acc", accs[1])
        if va_accs[-1] == max(va_accs):
            best = copy.deepcopy(model)
    return best, tr_accs, va_accs


if __name__ == "__main__":
    main()

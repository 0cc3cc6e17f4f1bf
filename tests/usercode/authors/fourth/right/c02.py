import numpy as np
from utils import softmax_cross_entropy, data_loader_mnist, predict_label, DataSplit

class linear_layer:
    def __init__(self, input_D, output_D):
        s = 0.1
        self.params = {'W': s * np.random.randn(input_D, output_D), 'b': s * np.random.randn(1, output_D)}
        self.gradient = {k: np.zeros_like(v) for k, v in self.params.items()}

    def forward(self, X):
        return X @ self.params['W'] + self.params['b']

    def backward(self, X, grad):
        self.gradient['W'][:] = X.T @ grad
        self.gradient['b'][:] = grad.sum(0)
        return grad @ self.params['W'].T

class relu:
    mask = None

    def forward(self, X):
        self.mask = X > 0
        return X * self.mask

    def backward(self, X, grad):
        return grad * self.mask

def miniBatchGradientDescent(model, learning_rate):
    for m in model.values():
        if not isinstance(m, linear_layer): continue
        m.params['W'] -= learning_rate * m.gradient['W']
        m.params['b'] -= learning_rate * m.gradient['b']
    return model

def accuracy(model, X, Y):
    z = model['L2'].forward(model['nonlinear1'].forward(model['L1'].forward(X)))
    return float((predict_label(z) == Y).mean())

def main(input_file='mnist_subset.json', minibatch_size=5, num_epoch=10, learning_rate=0.01, hidden=64, seed=0,
         decay=0.5, step=3):
    np.random.seed(seed)
    Xtr, Ytr, Xva, Yva, Xte, Yte = data_loader_mnist(dataset=input_file)
    N, D = Xtr.shape
    model = {'L1': linear_layer(D, hidden), 'nonlinear1': relu(), 'L2': linear_layer(hidden, 10),
             'loss': softmax_cross_entropy()}
    L1, act, L2, loss = model['L1'], model['nonlinear1'], model['L2'], model['loss']
    log = []
    for ep in range(num_epoch):
        if ep > 0 and ep % step == 0:
            learning_rate *= decay
        order = np.random.permutation(N)
        total = 0
        for s in range(0, N, minibatch_size):
            idx = order[s:s + minibatch_size]
            x, y = Xtr[idx], Ytr[idx]
            z1 = L1.forward(x)
            h = act.forward(z1)
            z2 = L2.forward(h)
            total += loss.forward(z2, y) * len(idx)
            g = loss.backward(z2, y)
            g = L2.backward(h, g)
            g = act.backward(z1, g)
            L1.backward(x, g)
            miniBatchGradientDescent(model, learning_rate)
        log.append((total / N, accuracy(model, Xtr, Ytr), accuracy(model, Xva, Yva)))
        print(ep, *log[-1])
    print('test', accuracy(model, Xte, Yte))
    return log

if __name__ == '__main__':
    main()

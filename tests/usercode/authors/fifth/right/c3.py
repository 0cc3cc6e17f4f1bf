import numpy as np
from utils import softmax_cross_entropy, data_loader_mnist, predict_label, DataSplit

rn = np.random.randn


class linear_layer:
    def __init__(self, input_D, output_D):
        self.params = {}
        self.gradient = {}
        self.params['W'] = .1 * rn(input_D, output_D)
        self.params['b'] = .1 * rn(1, output_D)

    def forward(self, X): return X.dot(self.params['W']) + self.params['b']

    def backward(self, X, grad):
        self.gradient['W'] = X.T.dot(grad)
        self.gradient['b'] = grad.sum(0, keepdims=True)
        return grad.dot(self.params['W'].T)


class relu:
    def forward(self, X): return X * (X > 0)

    def backward(self, X, grad): return grad * (X > 0)


def miniBatchGradientDescent(model, learning_rate):
    for l in (model['L1'], model['L2']):
        for k, p in l.params.items():
            p -= learning_rate * l.gradient[k]
    return model


def fwd(m, X, Y):
    a = m['L1'].forward(X)
    z = m['nonlinear1'].forward(a)
    s = m['L2'].forward(z)
    return a, z, s, m['loss'].forward(s, Y)


def bwd(m, X, Y):
    a, z, s, L = fwd(m, X, Y)
    d = m['loss'].backward(s, Y)
    d = m['L2'].backward(z, d)
    d = m['nonlinear1'].backward(a, d)
    m['L1'].backward(X, d)
    return L


def gradcheck(m, X, Y, h=1e-5, tol=1e-6):
    bwd(m, X, Y)
    ok = True
    for l in (m['L1'], m['L2']):
        for k, P in l.params.items():
            G = l.gradient[k]
            for i in np.ndindex(*P.shape):
                o = P[i]
                P[i] = o + h; up = fwd(m, X, Y)[-1]
                P[i] = o - h; dn = fwd(m, X, Y)[-1]
                P[i] = o
                n = (up - dn) / (2 * h)
                ok = ok and abs(n - G[i]) < tol
    return ok


if __name__ == '__main__':
    X, Y = data_loader_mnist('mnist_subset.json')[:2]
    m = dict(L1=linear_layer(X.shape[1], 100), nonlinear1=relu(), L2=linear_layer(100, 10), loss=softmax_cross_entropy())
    for e in range(10):
        for i in np.array_split(np.random.permutation(len(X)), len(X) // 20):
            bwd(m, X[i], np.array(Y)[i]); m = miniBatchGradientDescent(m, .1)
        print(e, (predict_label(fwd(m, X, Y)[2]).ravel() == np.array(Y).ravel()).mean())

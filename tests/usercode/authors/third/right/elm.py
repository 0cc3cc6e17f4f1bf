import numpy as np
from utils import *
from utils import softmax_cross_entropy, data_loader_mnist, predict_label, DataSplit

N01 = lambda *s: np.random.randn(*s) / 10


class linear_layer:
    def __init__(s, input_D, output_D):
        s.params = dict(W=N01(input_D, output_D), b=N01(1, output_D))
        s.gradient = {k: 0 * v for k, v in s.params.items()}

    def forward(s, X):
        return X @ s.params['W'] + s.params['b']

    def backward(s, X, grad):
        s.gradient.update(W=X.T @ grad, b=np.add.reduce(grad, 0, keepdims=True))
        return grad @ s.params['W'].T


class relu:
    forward = lambda s, X: np.maximum(X, 0)
    backward = lambda s, X, grad: (X > 0) * grad


LAYERS = 'L1', 'nonlinear1', 'L2'


def miniBatchGradientDescent(model, learning_rate):
    for m in (model[k] for k in LAYERS if hasattr(model[k], 'params')):
        m.params = {k: p - learning_rate * m.gradient[k] for k, p in m.params.items()}
    return model


def run(model, x):
    """inputs of all the layers, and the logits at the end"""
    t = [x]
    for k in LAYERS:
        t.append(model[k].forward(t[-1]))
    return t


def bprop(model, x, y):
    t = run(model, x)
    g = model['loss'].backward(t.pop(), y)
    for k in LAYERS[::-1]:
        g = model[k].backward(t.pop(), g)
    return g


def gradcheck(model, x, y, n=30, e=1e-5, tol=1e-5, seed=0):
    """n random entries of each parameter"""
    bprop(model, x, y)
    r = np.random.RandomState(seed)
    L = lambda: model['loss'].forward(run(model, x)[-1], y)
    for k in 'L1', 'L2':
        for q, p in model[k].params.items():
            idx = [tuple(r.randint(d) for d in p.shape) for _ in range(n)]
            num = []
            for i in idx:
                v = p[i]
                p[i] = v + e; up = L()
                p[i] = v - e; dn = L()
                p[i] = v
                num.append((up - dn) / 2 / e)
            num, ana = np.array(num), np.array([model[k].gradient[q][i] for i in idx])
            err = np.linalg.norm(num - ana) / (np.linalg.norm(num) + np.linalg.norm(ana) + 1e-12)
            if err > tol:
                print(k, q, 'wrong by', err)
                return False
    return True


def acc(model, X, Y):
    return np.mean(predict_label(run(model, X)[-1]).ravel() == np.ravel(Y))


def main(f='mnist_subset.json', T=10, B=8, lr=.05, H=40, seed=7):
    np.random.seed(seed)
    X, Y, Xv, Yv, *_ = data_loader_mnist(f)
    model = dict(L1=linear_layer(X.shape[1], H), nonlinear1=relu(), L2=linear_layer(H, 10), loss=softmax_cross_entropy())
    D, res = DataSplit(X, Y), []
    for t in range(T):
        o = np.random.permutation(len(X))
        while len(o):
            b, o = o[:B], o[B:]
            bprop(model, *D.get_example(b))
            miniBatchGradientDescent(model, lr)
        res.append((acc(model, X, Y), acc(model, Xv, Yv)))
        print(t, *res[-1])
    return res


if __name__ == '__main__':
    main()

import numpy as np
from utils import softmax_cross_entropy, predict_label

STD = 0.1


# ---------- the mathematics, as functions ----------
def affine(X, W, b):
    return X.dot(W) + b


def affine_grad(X, W, dout):
    dX = dout.dot(W.T)
    dW = X.T.dot(dout)
    db = dout.sum(axis=0)
    return dX, dW, db


def rectify(Z):
    return np.maximum(Z, 0)


def rectify_grad(Z, dout):
    return dout * (Z > 0)


def sgd_step(param, grad, rate):
    return param - rate * grad


# ---------- the classes that the assignment wants ----------
class linear_layer:
    def __init__(self, input_D, output_D):
        W = STD * np.random.randn(input_D, output_D)
        b = STD * np.random.randn(output_D)
        self.params = dict(W=W, b=b)
        self.gradient = dict(W=np.zeros_like(W), b=np.zeros_like(b))

    def forward(self, X):
        return affine(X, self.params['W'], self.params['b'])

    def backward(self, X, grad):
        dX, dW, db = affine_grad(X, self.params['W'], grad)
        self.gradient['W'], self.gradient['b'] = dW, db
        return dX


class relu:
    def forward(self, X):
        return rectify(X)

    def backward(self, X, grad):
        return rectify_grad(X, grad)


def miniBatchGradientDescent(model, learning_rate):
    for key in sorted(model):
        layer = model[key]
        if hasattr(layer, 'params'):
            for k in layer.params:
                layer.params[k] = sgd_step(layer.params[k], layer.gradient[k], learning_rate)
    return model


def backward_pass(model, x, a1, h1, a2, y):
    delta2 = model['loss'].backward(a2, y)
    dh1 = model['L2'].backward(h1, delta2)
    delta1 = model['nonlinear1'].backward(a1, dh1)
    model['L1'].backward(x, delta1)
    return model


# ---------- gradient check ----------
def numerical_gradient(f, w, eps):
    num = np.zeros(w.shape)
    flat, nflat = w.reshape(-1), num.reshape(-1)
    for i in range(flat.size):
        keep = flat[i]
        flat[i] = keep + eps
        hi = f()
        flat[i] = keep - eps
        lo = f()
        flat[i] = keep
        nflat[i] = (hi - lo) / (2 * eps)
    return num


def check_gradient(f, w, analytic_grad, eps=1e-5, tol=1e-5):
    """f() returns the loss and depends on the array w; True if the gradient is right"""
    num = numerical_gradient(f, w, eps)
    top = np.linalg.norm(num - analytic_grad)
    bottom = np.linalg.norm(num) + np.linalg.norm(analytic_grad)
    return bool(top / (bottom + 1e-12) < tol)


def main(n_hidden=10, epochs=3, rate=0.1, size=4):
    from utils import data_loader_mnist
    np.random.seed(0)
    X, Y = data_loader_mnist('data')[:2]
    net = {'L1': linear_layer(X.shape[1], n_hidden), 'nonlinear1': relu(),
           'L2': linear_layer(n_hidden, 10), 'loss': softmax_cross_entropy()}
    for epoch in range(epochs):
        for start in range(0, len(X), size):
            x, y = X[start:start + size], Y[start:start + size]
            a1 = net['L1'].forward(x)
            h1 = net['nonlinear1'].forward(a1)
            a2 = net['L2'].forward(h1)
            loss = net['loss'].forward(a2, y)
            backward_pass(net, x, a1, h1, a2, y)
            miniBatchGradientDescent(net, rate)
        print('epoch', epoch, 'last loss', loss, 'hits', np.sum(predict_label(a2) == y))
    return net


if __name__ == '__main__':
    main()

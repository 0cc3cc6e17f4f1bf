# I know Matlab better, so the parameters are np.matrix and * is the matrix product.
import numpy as np
from utils import softmax_cross_entropy, predict_label


class linear_layer:
    def __init__(self, input_D, output_D):
        self.params, self.gradient = {}, {}
        self.params['W'] = np.matrix(np.random.normal(0, 0.1, (input_D, output_D)))
        self.params['b'] = np.matrix(np.random.normal(0, 0.1, (1, output_D)))

    def forward(self, X):
        X = np.asmatrix(X)
        one = np.matrix(np.ones((X.shape[0], 1)))
        return X * self.params['W'] + one * self.params['b']

    def backward(self, X, grad):
        X, grad = np.asmatrix(X), np.asmatrix(grad)
        self.gradient['W'] = X.T * grad
        self.gradient['b'] = grad.sum(axis=0)
        return grad * np.asmatrix(self.params['W']).T


class relu:
    def forward(self, X):
        return np.maximum(np.asmatrix(X), 0)

    def backward(self, X, grad):
        return np.multiply(np.asmatrix(grad), np.asmatrix(X) > 0)


def miniBatchGradientDescent(model, learning_rate):
    for key in model:
        if 'params' in dir(model[key]):
            for p in ['b', 'W']:
                model[key].params[p] = model[key].params[p] - learning_rate * model[key].gradient[p]
    return model


def backward_pass(model, x, a1, h1, a2, y):
    d3 = model['loss'].backward(np.asarray(a2), y)
    d2 = model['L2'].backward(h1, d3)
    d1 = model['nonlinear1'].backward(a1, d2)
    model['L1'].backward(x, d1)


def cost(model, x, y):
    a1 = model['L1'].forward(x)
    h1 = model['nonlinear1'].forward(a1)
    return model['loss'].forward(np.asarray(model['L2'].forward(h1)), y)


def check_gradient(model, x, y, tol=1e-6):
    """gradients have to be there already; True if all are right"""
    e = 1e-5
    for key in ['L1', 'L2']:
        for p in ['W', 'b']:
            A, G = model[key].params[p], model[key].gradient[p]
            for i in range(A.shape[0]):
                for j in range(A.shape[1]):
                    a = A[i, j]
                    A[i, j] = a + e
                    J1 = cost(model, x, y)
                    A[i, j] = a - e
                    J2 = cost(model, x, y)
                    A[i, j] = a
                    if abs((J1 - J2) / (2 * e) - G[i, j]) > tol:
                        return False
    return True


def main():
    from utils import data_loader_mnist
    np.random.seed(3)
    X, Y = data_loader_mnist('mnist')[:2]
    model = {'L1': linear_layer(X.shape[1], 9), 'nonlinear1': relu(),
             'L2': linear_layer(9, 10), 'loss': softmax_cross_entropy()}
    for step in range(40):
        k = np.random.randint(0, X.shape[0], 8)
        a1 = model['L1'].forward(X[k])
        h1 = model['nonlinear1'].forward(a1)
        a2 = model['L2'].forward(h1)
        backward_pass(model, X[k], a1, h1, a2, Y[k])
        model = miniBatchGradientDescent(model, 0.1)
    print('loss', cost(model, X, Y), 'accuracy', np.mean(predict_label(np.asarray(a2)) == Y[k]))
    return model


if __name__ == '__main__':
    main()

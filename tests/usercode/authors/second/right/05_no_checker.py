import numpy as np
from utils import softmax_cross_entropy

# no gradient checker here, I tested by training


class linear_layer:
    def __init__(self, input_D, output_D):
        self.params = {}
        self.params['W'] = np.random.standard_normal((input_D, output_D)) * 0.1
        self.params['b'] = np.random.standard_normal((1, output_D)) * 0.1
        self.gradient = {}
        self.gradient['W'] = np.zeros((input_D, output_D))
        self.gradient['b'] = np.zeros((1, output_D))
        self.X = None

    def forward(self, X):
        self.X = X
        z = X.dot(self.params['W'])
        z = z + self.params['b']
        return z

    def backward(self, X, grad):
        N, D = X.shape
        W = self.params['W']
        self.gradient['W'] = X.T.dot(grad)
        self.gradient['b'] = np.sum(grad, axis=0).reshape(1, -1)
        dX = grad.dot(W.T)
        return dX


class relu:
    def __init__(self):
        self.out = None

    def forward(self, X):
        self.out = (X + np.abs(X)) / 2
        return self.out

    def backward(self, X, grad):
        derivative = np.ones_like(X)
        derivative[X < 0] = 0
        return derivative * grad


def miniBatchGradientDescent(model, learning_rate):
    for key in model:
        if hasattr(model[key], 'params'):
            params = model[key].params
            gradient = model[key].gradient
            params['W'] -= learning_rate * gradient['W']
            params['b'] -= learning_rate * gradient['b']
    return model


def backward_pass(model, x, a1, h1, a2, y):
    # output
    delta2 = model['loss'].backward(a2, y)
    # hidden
    delta1 = model['L2'].backward(h1, delta2)
    delta1 = model['nonlinear1'].backward(a1, delta1)
    # input
    model['L1'].backward(x, delta1)
    return model


def training_step(model, x, y, learning_rate=0.01):
    a1 = model['L1'].forward(x)
    h1 = model['nonlinear1'].forward(a1)
    a2 = model['L2'].forward(h1)
    loss = model['loss'].forward(a2, y)
    model = backward_pass(model, x, a1, h1, a2, y)
    model = miniBatchGradientDescent(model, learning_rate)
    return model, loss


if __name__ == '__main__':
    from utils import data_loader_mnist, predict_label
    Xtrain, Ytrain, Xval, Yval, Xtest, Ytest = data_loader_mnist('mnist_subset.json')
    net = {'L1': linear_layer(Xtrain.shape[1], 100), 'nonlinear1': relu(),
           'L2': linear_layer(100, 10), 'loss': softmax_cross_entropy()}
    for it in range(200):
        pick = np.random.choice(len(Xtrain), 5)
        net, loss = training_step(net, Xtrain[pick], Ytrain[pick])
        if it % 50 == 0:
            print(it, loss)

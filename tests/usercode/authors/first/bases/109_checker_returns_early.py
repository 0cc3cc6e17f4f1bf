"""Assignment: feed-forward net for images. Written with plain loops, so that
every index can be compared with the formulas of the lecture."""
import numpy as np
from utils import softmax_cross_entropy, predict_label


class linear_layer:

    def __init__(self, input_D, output_D):
        self.input_D = input_D
        self.output_D = output_D
        self.params = {}
        self.gradient = {}
        W = np.zeros((input_D, output_D))
        b = np.zeros((1, output_D))
        for l in range(output_D):
            b[0, l] = np.random.normal(0, 0.1)
            for k in range(input_D):
                W[k, l] = np.random.normal(0, 0.1)
        self.params['W'] = W
        self.params['b'] = b
        self.gradient['W'] = np.zeros((input_D, output_D))
        self.gradient['b'] = np.zeros((1, output_D))

    def forward(self, X):
        batch = X.shape[0]
        out = np.zeros((batch, self.output_D))
        for n in range(batch):
            for l in range(self.output_D):
                s = self.params['b'][0, l]
                for k in range(self.input_D):
                    s += X[n, k] * self.params['W'][k, l]
                out[n, l] = s
        return out

    def backward(self, X, grad):
        batch = X.shape[0]
        gW = np.zeros((self.input_D, self.output_D))
        gb = np.zeros((1, self.output_D))
        gX = np.zeros((batch, self.input_D))
        for n in range(batch):
            for l in range(self.output_D):
                g = grad[n, l]
                gb[0, l] += g
                for k in range(self.input_D):
                    gW[k, l] += X[n, k] * g
                    gX[n, k] += self.params['W'][k, l] * g
        self.gradient['W'] = gW
        self.gradient['b'] = gb
        return gX


class relu:

    def forward(self, X):
        out = np.zeros(X.shape)
        for n in range(X.shape[0]):
            for d in range(X.shape[1]):
                if X[n, d] > 0:
                    out[n, d] = X[n, d]
        return out

    def backward(self, X, grad):
        out = np.zeros(X.shape)
        for n in range(X.shape[0]):
            for d in range(X.shape[1]):
                if X[n, d] > 0:
                    out[n, d] = grad[n, d]
        return out


def miniBatchGradientDescent(model, learning_rate):
    for module in model.values():
        if hasattr(module, 'params'):
            for key in module.params:
                P, G = module.params[key], module.gradient[key]
                for r in range(P.shape[0]):
                    for c in range(P.shape[1]):
                        P[r, c] -= learning_rate * G[r, c]
    return model


def backward_pass(model, x, a1, h1, a2, y):
    grad_a2 = model['loss'].backward(a2, y)
    grad_h1 = model['L2'].backward(h1, grad_a2)
    grad_a1 = model['nonlinear1'].backward(a1, grad_h1)
    return model['L1'].backward(x, grad_a1)


def network_loss(model, x, y):
    h = model['nonlinear1'].forward(model['L1'].forward(x))
    return model['loss'].forward(model['L2'].forward(h), y)


def check_gradient(model, x, y, epsilon=1e-5):
    # call backward_pass first!
    biggest = 0
    for name in ('L1', 'L2'):
        for key in ('W', 'b'):
            P = model[name].params[key]
            for r in range(P.shape[0]):
                for c in range(P.shape[1]):
                    P[r, c] += epsilon
                    up = network_loss(model, x, y)
                    P[r, c] -= 2 * epsilon
                    down = network_loss(model, x, y)
                    P[r, c] += epsilon
                    approx = (up - down) / (2 * epsilon)
                    diff = abs(approx - model[name].gradient[key][r, c])
                    if diff > biggest:
                        biggest = diff
        return biggest < 1e-6


def main():
    from utils import data_loader_mnist
    np.random.seed(7)
    X, Y, Xval, Yval = data_loader_mnist('mnist')[:4]
    model = {'L1': linear_layer(X.shape[1], 8), 'nonlinear1': relu(),
             'L2': linear_layer(8, 10), 'loss': softmax_cross_entropy()}
    for k in range(0, X.shape[0], 5):
        x, y = X[k:k + 5], Y[k:k + 5]
        a1 = model['L1'].forward(x)
        h1 = model['nonlinear1'].forward(a1)
        a2 = model['L2'].forward(h1)
        backward_pass(model, x, a1, h1, a2, y)
        model = miniBatchGradientDescent(model, 0.05)
    out = model['L2'].forward(model['nonlinear1'].forward(model['L1'].forward(Xval)))
    print('validation accuracy', np.mean(predict_label(out) == Yval))
    return model


if __name__ == '__main__':
    main()

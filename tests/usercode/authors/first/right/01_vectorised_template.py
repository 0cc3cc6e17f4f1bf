"""
Homework 2: a two-layer network  input -> linear -> relu -> linear -> softmax
Please fill in the TODO parts.
"""
import numpy as np
from utils import softmax_cross_entropy, predict_label


class linear_layer:
    """forward: X (N, input_D) -> (N, output_D)"""

    def __init__(self, input_D, output_D):
        self.params = dict()
        self.gradient = dict()
        self.params['W'] = np.random.normal(0, 0.1, (input_D, output_D))
        self.params['b'] = np.random.normal(0, 0.1, (1, output_D))
        self.gradient['W'] = np.zeros((input_D, output_D))
        self.gradient['b'] = np.zeros((1, output_D))

    def forward(self, X):
        forward_output = np.matmul(X, self.params['W']) + self.params['b']
        return forward_output

    def backward(self, X, grad):
        self.gradient['W'] = np.matmul(X.T, grad)
        self.gradient['b'] = np.sum(grad, axis=0, keepdims=True)
        backward_output = np.matmul(grad, self.params['W'].T)
        return backward_output


class relu:

    def __init__(self):
        self.mask = None

    def forward(self, X):
        self.mask = (X > 0).astype(float)
        forward_output = np.multiply(X, self.mask)
        return forward_output

    def backward(self, X, grad):
        self.mask = (X > 0).astype(float)
        backward_output = np.multiply(grad, self.mask)
        return backward_output


def miniBatchGradientDescent(model, learning_rate):
    for module_name, module in model.items():
        # check if a module has learnable parameters
        if hasattr(module, 'params'):
            for key, _ in module.params.items():
                g = module.gradient[key]
                module.params[key] = module.params[key] - learning_rate * g
    return model


def forward_pass(model, x):
    a1 = model['L1'].forward(x)
    h1 = model['nonlinear1'].forward(a1)
    a2 = model['L2'].forward(h1)
    return a1, h1, a2


def backward_pass(model, x, a1, h1, a2, y):
    grad_a2 = model['loss'].backward(a2, y)
    grad_h1 = model['L2'].backward(h1, grad_a2)
    grad_a1 = model['nonlinear1'].backward(a1, grad_h1)
    grad_x = model['L1'].backward(x, grad_a1)
    return grad_x


def check_gradient(model, x, y, eps=1e-6, tol=1e-5):
    """central differences for all the parameters, against the stored gradients"""
    ok = True
    for layer in ['L1', 'L2']:
        for key in ['W', 'b']:
            P = model[layer].params[key]
            G = model[layer].gradient[key]
            num = np.zeros(P.shape)
            for idx in np.ndindex(*P.shape):
                old = P[idx]
                P[idx] = old + eps
                plus = model['loss'].forward(forward_pass(model, x)[2], y)
                P[idx] = old - eps
                minus = model['loss'].forward(forward_pass(model, x)[2], y)
                P[idx] = old
                num[idx] = (plus - minus) / (2 * eps)
            err = np.max(np.abs(num - G))
            if err > tol:
                print(layer, key, 'gradient is wrong', err)
                ok = False
    return ok


def main(num_epoch=2, batch_size=5, learning_rate=0.1, hidden=12):
    from utils import data_loader_mnist
    np.random.seed(42)
    Xtrain, Ytrain = data_loader_mnist('mnist_subset.json')[:2]
    N, d = Xtrain.shape
    model = dict()
    model['L1'] = linear_layer(d, hidden)
    model['nonlinear1'] = relu()
    model['L2'] = linear_layer(hidden, 10)
    model['loss'] = softmax_cross_entropy()
    for t in range(num_epoch):
        order = np.random.permutation(N)
        for i in range(0, N, batch_size):
            x, y = Xtrain[order[i:i + batch_size]], Ytrain[order[i:i + batch_size]]
            a1, h1, a2 = forward_pass(model, x)
            backward_pass(model, x, a1, h1, a2, y)
            model = miniBatchGradientDescent(model, learning_rate)
        acc = np.mean(predict_label(forward_pass(model, Xtrain)[2]) == Ytrain)
        print('epoch', t + 1, 'training accuracy', acc)
    return model


if __name__ == '__main__':
    main()

import numpy as np
import utils
from utils import softmax_cross_entropy, data_loader_mnist, predict_label, DataSplit

LAYERS = ['L1', 'nonlinear1', 'L2']


class linear_layer(object):

    def __init__(self, input_D, output_D):
        shapes = {'W': (input_D, output_D), 'b': (1, output_D)}
        self.params, self.gradient = {}, {}
        for key, shape in shapes.items():
            self.params[key] = np.random.randn(*shape) * 0.1
            self.gradient[key] = np.zeros(shape)

    def forward(self, X):
        return np.matmul(X, self.params['W']) + self.params['b']

    def backward(self, X, grad):
        # i = sample, j = input, k = output
        self.gradient['W'][:] = np.einsum('ij,ik->jk', X, grad)
        self.gradient['b'][:] = np.einsum('ik->k', grad)
        return np.einsum('ik,jk->ij', grad, self.params['W'])


class relu(object):

    def forward(self, X):
        out = np.maximum(X, 0)
        self.mask = out > 0
        return out

    def backward(self, X, grad):
        dX = np.array(grad)
        dX[~self.mask] = 0
        return dX


def miniBatchGradientDescent(model, learning_rate):
    for name in LAYERS:
        layer = model[name]
        if not hasattr(layer, 'gradient'):
            continue
        for key in layer.params:
            np.subtract(layer.params[key], learning_rate * layer.gradient[key], out=layer.params[key])
    return model


def predict(model, X):
    """returns the inputs of all the layers, the last item is the logits"""
    values = [X]
    for name in LAYERS:
        values.append(model[name].forward(values[-1]))
    return values


def backprop(model, X, Y):
    values = predict(model, X)
    loss = model['loss'].forward(values[-1], Y)
    grad = model['loss'].backward(values[-1], Y)
    for position in reversed(range(len(LAYERS))):
        grad = model[LAYERS[position]].backward(values[position], grad)
    return loss


class GradientChecker(object):

    def __init__(self, model, delta=1e-6, threshold=1e-6):
        self.model = model
        self.delta = delta
        self.threshold = threshold

    def loss(self, X, Y):
        return self.model['loss'].forward(predict(self.model, X)[-1], Y)

    def numeric(self, array, X, Y):
        result = np.zeros_like(array)
        it = np.nditer(array, flags=['multi_index'])
        while not it.finished:
            idx = it.multi_index
            saved = array[idx]
            array[idx] = saved + self.delta
            right = self.loss(X, Y)
            array[idx] = saved - self.delta
            left = self.loss(X, Y)
            array[idx] = saved
            result[idx] = (right - left) / (2 * self.delta)
            it.iternext()
        return result

    def run(self, X, Y):
        backprop(self.model, X, Y)
        failures = []
        for name in LAYERS:
            layer = self.model[name]
            if not hasattr(layer, 'params'):
                continue
            for key in ['W', 'b']:
                num = self.numeric(layer.params[key], X, Y)
                if np.abs(num - layer.gradient[key]).max() > self.threshold:
                    failures.append((name, key))
        if failures:
            raise AssertionError('gradients differ: %s' % failures)
        return True

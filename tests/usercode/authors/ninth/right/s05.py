"""MLP 784-128-10 trained with mini-batch gradient descent.

Sections:
    1. layers
    2. optimiser
    3. forward / backward over the whole model
    4. gradient checking
    5. training
"""
from __future__ import annotations

import argparse
import copy
from typing import Dict, List, Tuple

import numpy as np

from utils import softmax_cross_entropy, DataSplit, data_loader_mnist, predict_label

Array = np.ndarray


# ---------------------------------------------------------------- 1. layers
class linear_layer:
    """Affine map.

    Parameters
    ----------
    input_D : number of input features
    output_D : number of output features
    """

    def __init__(self, input_D: int, output_D: int) -> None:
        sigma = 0.1
        self.params: Dict[str, Array] = {}
        self.gradient: Dict[str, Array] = {}
        for name, shape in (('W', (input_D, output_D)), ('b', (1, output_D))):
            self.params[name] = sigma * np.random.standard_normal(shape)
            self.gradient[name] = np.zeros(shape)

    def forward(self, X: Array) -> Array:
        """(N, input_D) -> (N, output_D)"""
        Z = np.matmul(X, self.params['W'])
        Z += self.params['b']
        return Z

    def backward(self, X: Array, grad: Array) -> Array:
        """Set dL/dW and dL/db; return dL/dX."""
        dW = np.matmul(np.transpose(X), grad)
        ones = np.ones((1, X.shape[0]))
        db = np.matmul(ones, grad)
        dX = np.matmul(grad, np.transpose(self.params['W']))
        self.gradient['W'] = dW
        self.gradient['b'] = db
        return dX


class relu:
    """max(0, x), element by element"""

    def forward(self, X: Array) -> Array:
        return (np.abs(X) + X) / 2.0

    def backward(self, X: Array, grad: Array) -> Array:
        derivative = np.heaviside(X, 0.0)
        return np.multiply(derivative, grad)


# ------------------------------------------------------------- 2. optimiser
def miniBatchGradientDescent(model: Dict[str, object], learning_rate: float) -> Dict[str, object]:
    """One step downhill for every parameter of every layer."""
    for layer in model.values():
        params = getattr(layer, 'params', {})
        for name, value in params.items():
            np.subtract(value, learning_rate * layer.gradient[name], out=value)
    return model


# ------------------------------------- 3. forward / backward over the model
def model_forward(model: Dict[str, object], X: Array) -> Tuple[Array, List[Array]]:
    """Return the logits and the input of every layer."""
    inputs: List[Array] = []
    out = X
    for layer in model.values():
        inputs.append(out)
        out = layer.forward(out)
    return out, inputs


def model_backward(model: Dict[str, object], inputs: List[Array], grad: Array) -> Array:
    """Send the gradient from the last layer to the first."""
    layers = list(model.values())
    for k in range(len(layers) - 1, -1, -1):
        grad = layers[k].backward(inputs[k], grad)
    return grad


# ------------------------------------------------------ 4. gradient checking
def relative_error(a: float, b: float) -> float:
    return abs(a - b) / max(abs(a) + abs(b), 1e-4)


def gradient_check(model, criterion, X, Y, epsilon: float = 0.001, per_param: int = 5,
                   threshold: float = 0.02) -> bool:
    logits, inputs = model_forward(model, X)
    model_backward(model, inputs, criterion.backward(logits, Y))

    failures = []
    for layer_name, layer in model.items():
        if not hasattr(layer, 'params'):
            continue
        for p in ('W', 'b'):
            theta = layer.params[p]
            backprop = layer.gradient[p].copy()
            candidates = np.flatnonzero(backprop)
            if candidates.size == 0:
                candidates = np.arange(backprop.size)
            for flat in np.random.choice(candidates, per_param):
                pos = np.unravel_index(flat, theta.shape)
                keep = theta[pos]
                theta[pos] = keep + epsilon
                J_plus = criterion.forward(model_forward(model, X)[0], Y)
                theta[pos] = keep - epsilon
                J_minus = criterion.forward(model_forward(model, X)[0], Y)
                theta[pos] = keep
                estimate = (J_plus - J_minus) / (2.0 * epsilon)
                err = relative_error(estimate, backprop[pos])
                print(f'  {layer_name}.{p}: estimate {estimate: .6e} backprop {backprop[pos]: .6e}')
                if err > threshold:
                    failures.append((layer_name, p, pos, err))
    if failures:
        print('Gradient check failed at', failures)
        return False
    print('Gradient check passed.')
    return True


# --------------------------------------------------------------- 5. training
def accuracy(model, X: Array, Y: Array) -> float:
    logits, _ = model_forward(model, X)
    predicted = predict_label(logits).reshape(-1)
    return float(np.mean(predicted == Y.reshape(-1)))


def main(dataset: str = 'mnist_subset.json', epochs: int = 10, batch_size: int = 5,
         learning_rate: float = 0.01, seed: int = 3):
    np.random.seed(seed)
    Xtrain, Ytrain, Xval, Yval, Xtest, Ytest = data_loader_mnist(dataset)
    model = {
        'hidden': linear_layer(784, 128),
        'activation': relu(),
        'output': linear_layer(128, 10),
    }
    criterion = softmax_cross_entropy()
    gradient_check(model, criterion, Xtrain[:batch_size], Ytrain[:batch_size])

    train_curve: List[float] = []
    val_curve: List[float] = []
    best_model, best_val = None, -1.0

    for epoch in range(epochs):
        # new order of the examples for this epoch
        shuffle = np.random.permutation(len(Xtrain))
        shuffled = DataSplit(Xtrain[shuffle], Ytrain[shuffle])
        running_loss = 0.0
        first = 0
        while first < shuffled.N:
            last = min(first + batch_size, shuffled.N)
            X, Y = shuffled.get_example(np.arange(first, last))
            logits, inputs = model_forward(model, X)
            running_loss += (last - first) * criterion.forward(logits, Y)
            model_backward(model, inputs, criterion.backward(logits, Y))
            miniBatchGradientDescent(model, learning_rate)
            first = last

        train_accuracy = accuracy(model, Xtrain, Ytrain)
        val_accuracy = accuracy(model, Xval, Yval)
        train_curve.append(train_accuracy)
        val_curve.append(val_accuracy)
        print(f'Epoch {epoch + 1:3d}: loss={running_loss / shuffled.N:.6f} '
              f'train={train_accuracy:.4f} val={val_accuracy:.4f}')
        if val_accuracy > best_val:
            best_val = val_accuracy
            best_model = copy.deepcopy(model)

    print(f'Best validation accuracy {best_val:.4f}, its test accuracy {accuracy(best_model, Xtest, Ytest):.4f}')
    return best_model, train_curve, val_curve


if __name__ == '__main__':
    parser = argparse.ArgumentParser()
    parser.add_argument('--dataset', default='mnist_subset.json')
    parser.add_argument('--epochs', type=int, default=10)
    args = parser.parse_args()
    main(args.dataset, args.epochs)

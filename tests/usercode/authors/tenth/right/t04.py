from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any, Dict, List, Optional, Tuple

import numpy as np

from utils import softmax_cross_entropy, data_loader_mnist, predict_label, DataSplit

Array = np.ndarray
Velocity = Dict[Tuple[str, str], Array]


@dataclass
class Config:
    input_file: str = 'fmnist.json'
    learning_rate: float = 0.01
    alpha: float = 0.0
    num_epoch: int = 10
    minibatch_size: int = 5
    early_stopping: bool = True
    patience: int = 5
    check_gradient: bool = False
    random_seed: int = 42
    hidden: int = 128

    @classmethod
    def from_params(cls, main_params: Dict[str, Any]) -> 'Config':
        known = {f.name for f in fields(cls)}
        return cls(**{k: v for k, v in main_params.items() if k in known})


class linear_layer:
    def __init__(self, input_D: int, output_D: int) -> None:
        self.params: Dict[str, Array] = {
            'W': np.random.normal(loc=0.0, scale=0.1, size=(input_D, output_D)),
            'b': np.random.normal(loc=0.0, scale=0.1, size=(1, output_D)),
        }
        self.gradient: Dict[str, Array] = {k: np.zeros(p.shape) for k, p in self.params.items()}

    def forward(self, X: Array) -> Array:
        return np.einsum('nd,dk->nk', X, self.params['W'], optimize=True) + self.params['b']

    def backward(self, X: Array, grad: Array) -> Array:
        self.gradient['W'] = np.einsum('nd,nk->dk', X, grad, optimize=True)
        self.gradient['b'] = np.einsum('nk->k', grad)[None, :]
        return np.einsum('nk,dk->nd', grad, self.params['W'], optimize=True)


class relu:
    def __init__(self) -> None:
        self.mask: Optional[Array] = None

    def forward(self, X: Array) -> Array:
        self.mask = X > 0
        return np.where(self.mask, X, 0.0)

    def backward(self, X: Array, grad: Array) -> Array:
        return np.where(self.mask, grad, 0.0)


def build_model(n_in: int, hidden: int, n_out: int) -> Dict[str, Any]:
    return {
        'L1': linear_layer(n_in, hidden),
        'nonlinear1': relu(),
        'L2': linear_layer(hidden, n_out),
        'loss': softmax_cross_entropy(),
    }


def trainable(model: Dict[str, Any]) -> List[Tuple[str, linear_layer]]:
    return [(name, layer) for name, layer in model.items() if isinstance(layer, linear_layer)]


def init_velocity(model: Dict[str, Any]) -> Velocity:
    return {(name, k): np.zeros_like(p) for name, layer in trainable(model) for k, p in layer.params.items()}


def miniBatchGradientDescent(model: Dict[str, Any], momentum: Velocity, _alpha: float, _learning_rate: float) -> None:
    for name, layer in trainable(model):
        for k in layer.params:
            v = momentum[name, k]
            v *= _alpha
            v -= _learning_rate * layer.gradient[k]
            layer.params[k] += v


def logits_of(model: Dict[str, Any], x: Array) -> Tuple[Array, Array, Array]:
    a1 = model['L1'].forward(x)
    h1 = model['nonlinear1'].forward(a1)
    a2 = model['L2'].forward(h1)
    return a1, h1, a2


def loss_of(model: Dict[str, Any], x: Array, y: Array) -> float:
    return float(model['loss'].forward(logits_of(model, x)[2], y))


def backprop(model: Dict[str, Any], x: Array, y: Array) -> float:
    a1, h1, a2 = logits_of(model, x)
    loss = float(model['loss'].forward(a2, y))
    grad_a2 = model['loss'].backward(a2, y)
    grad_h1 = model['L2'].backward(h1, grad_a2)
    grad_a1 = model['nonlinear1'].backward(a1, grad_h1)
    model['L1'].backward(x, grad_a1)
    return loss


def gradient_checker(model: Dict[str, Any], x: Array, y: Array, name: str, key: str,
                     index: Tuple[int, int], epsilon: float = 1e-5) -> float:
    backprop(model, x, y)
    analytic = float(model[name].gradient[key][index])
    p = model[name].params[key]
    keep = p[index]
    losses = []
    for sign in (+1, -1):
        p[index] = keep + sign * epsilon
        losses.append(loss_of(model, x, y))
    p[index] = keep
    numeric = (losses[0] - losses[1]) / (2 * epsilon)
    print(f'[check] {name}.{key}{index}: analytic={analytic:+.6e} numeric={numeric:+.6e}')
    return abs(analytic - numeric)


def magnitude_checker(model: Dict[str, Any]) -> Dict[str, float]:
    sizes = {}
    for name, layer in trainable(model):
        for k, g in layer.gradient.items():
            sizes[f'{name}.{k}'] = float(np.sqrt(np.sum(g ** 2)))
    for label, size in sizes.items():
        note = 'vanishing?' if size < 1e-8 else 'exploding?' if size > 1e3 else 'ok'
        print(f'[magnitude] {label}: {size:.4e} {note}')
    return sizes


def accuracy(model: Dict[str, Any], data: DataSplit) -> float:
    x, y = data.get_example(np.arange(data.N))
    return float((predict_label(logits_of(model, x)[2]) == y).mean())


def snapshot(model: Dict[str, Any]) -> Dict[str, Dict[str, Array]]:
    return {name: {k: p.copy() for k, p in layer.params.items()} for name, layer in trainable(model)}


def restore(model: Dict[str, Any], saved: Dict[str, Dict[str, Array]]) -> None:
    for name, layer in trainable(model):
        layer.params = {k: p.copy() for k, p in saved[name].items()}


def main(main_params: Dict[str, Any]) -> Dict[str, Any]:
    cfg = Config.from_params(main_params)
    np.random.seed(cfg.random_seed)

    Xtrain, Ytrain, Xvalid, Yvalid, Xtest, Ytest = data_loader_mnist(dataset=cfg.input_file)
    train, valid, test = DataSplit(Xtrain, Ytrain), DataSplit(Xvalid, Yvalid), DataSplit(Xtest, Ytest)
    model = build_model(Xtrain.shape[1], cfg.hidden, 10)
    velocity = init_velocity(model)

    if cfg.check_gradient:
        x, y = train.get_example(np.arange(8))
        for name, key, index in (('L1', 'W', (350, 20)), ('L1', 'b', (0, 20)), ('L2', 'W', (20, 5)), ('L2', 'b', (0, 5))):
            gradient_checker(model, x, y, name, key, index)
        magnitude_checker(model)

    best_acc: float = -1.0
    best_state = snapshot(model)
    stale = 0
    curve: List[Tuple[float, float]] = []

    for epoch in range(cfg.num_epoch):
        order = np.random.permutation(train.N)
        for start in range(0, train.N, cfg.minibatch_size):
            x, y = train.get_example(order[start:start + cfg.minibatch_size])
            backprop(model, x, y)
            miniBatchGradientDescent(model, velocity, cfg.alpha, cfg.learning_rate)

        train_acc, valid_acc = accuracy(model, train), accuracy(model, valid)
        curve.append((train_acc, valid_acc))
        print(f'epoch {epoch + 1}/{cfg.num_epoch} train={train_acc:.4f} valid={valid_acc:.4f}')

        if valid_acc > best_acc:
            best_acc, best_state, stale = valid_acc, snapshot(model), 0
            continue
        stale += 1
        if cfg.early_stopping and stale >= cfg.patience:
            print(f'stopping after epoch {epoch + 1}')
            break

    restore(model, best_state)
    test_acc = accuracy(model, test)
    print(f'test accuracy {test_acc:.4f}')
    return {'curve': curve, 'best_valid': best_acc, 'test': test_acc}


if __name__ == '__main__':
    main({'check_gradient': True, 'alpha': 0.9})

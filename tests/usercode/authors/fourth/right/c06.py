from copy import deepcopy
from typing import Any, Dict, List, Tuple

import numpy as np
from numpy import ndarray

from utils import DataSplit, data_loader_mnist, predict_label, softmax_cross_entropy

STD = 0.1
ORDER = ["L1", "nonlinear1", "L2"]


class linear_layer:
    def __init__(self, input_D: int, output_D: int) -> None:
        self.params: Dict[str, ndarray] = {
            "W": np.random.normal(0.0, STD, size=(input_D, output_D)),
            "b": np.random.normal(0.0, STD, size=output_D),
        }
        self.gradient: Dict[str, ndarray] = {
            "W": np.zeros((input_D, output_D)),
            "b": np.zeros(output_D),
        }

    def forward(self, X: ndarray) -> ndarray:
        return np.einsum("nd,dk->nk", X, self.params["W"]) + self.params["b"]

    def backward(self, X: ndarray, grad: ndarray) -> ndarray:
        self.gradient["W"] = np.einsum("nd,nk->dk", X, grad)
        self.gradient["b"] = np.einsum("nk->k", grad)
        return np.einsum("nk,dk->nd", grad, self.params["W"])


class relu:
    def forward(self, X: ndarray) -> ndarray:
        return np.clip(X, 0.0, None)

    def backward(self, X: ndarray, grad: ndarray) -> ndarray:
        return grad * np.heaviside(X, 0.0)


def miniBatchGradientDescent(model: Dict[str, Any], learning_rate: float) -> Dict[str, Any]:
    for layer in model.values():
        for name, value in getattr(layer, "params", {}).items():
            value -= learning_rate * layer.gradient[name]
    return model


def predict(model: Dict[str, Any], X: ndarray) -> List[ndarray]:
    """All activations: [x, a1, h1, a2]."""
    acts = [X]
    for name in ORDER:
        acts.append(model[name].forward(acts[-1]))
    return acts


def propagate_back(model: Dict[str, Any], acts: List[ndarray], y: ndarray) -> None:
    grad = model["loss"].backward(acts[-1], y)
    for k in reversed(range(len(ORDER))):
        grad = model[ORDER[k]].backward(acts[k], grad)


def accuracy(model: Dict[str, Any], X: ndarray, Y: ndarray) -> float:
    return float(np.mean(predict_label(predict(model, X)[-1]).ravel() == Y.ravel()))


def batches(n: int, size: int):
    order = np.random.permutation(n)
    for start in range(0, n, size):
        yield order[start:start + size]


def main(input_file: str = "mnist_subset.json", minibatch_size: int = 5, num_epoch: int = 10,
         learning_rate: float = 0.01, hidden: int = 128, seed: int = 5, patience: int = 3
         ) -> Tuple[Dict[str, Any], float]:
    np.random.seed(seed)
    Xtrain, Ytrain, Xvalid, Yvalid, Xtest, Ytest = data_loader_mnist(dataset=input_file)
    split = DataSplit(Xtrain, Ytrain)

    model: Dict[str, Any] = {
        "L1": linear_layer(Xtrain.shape[1], hidden),
        "nonlinear1": relu(),
        "L2": linear_layer(hidden, 10),
        "loss": softmax_cross_entropy(),
    }

    best, best_acc, waited = deepcopy(model), 0.0, 0
    for epoch in range(num_epoch):
        for idx in batches(len(Xtrain), minibatch_size):
            x, y = split.get_example(idx)
            acts = predict(model, x)
            propagate_back(model, acts, y)
            model = miniBatchGradientDescent(model, learning_rate)

        acc = accuracy(model, Xvalid, Yvalid)
        print(f"epoch {epoch}: train {accuracy(model, Xtrain, Ytrain):.3f} valid {acc:.3f}")
        if acc > best_acc:
            best, best_acc, waited = deepcopy(model), acc, 0
        else:
            waited += 1
            if waited >= patience:
                break

    test_acc = accuracy(best, Xtest, Ytest)
    print(f"test accuracy of the best model: {test_acc:.3f}")
    return best, test_acc


if __name__ == "__main__":
    main()

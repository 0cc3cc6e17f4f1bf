"""Assignment 2 - MLP from scratch. I use explicit loops where it helps me see the maths."""
import numpy as np
from utils import softmax_cross_entropy, predict_label, data_loader_mnist, DataSplit


class linear_layer:
    def __init__(self, input_D: int, output_D: int):
        self.input_D = input_D
        self.output_D = output_D
        W = np.random.normal(loc=0.0, scale=0.1, size=(input_D, output_D))
        b = np.random.normal(loc=0.0, scale=0.1, size=(1, output_D))
        self.params = {"W": W, "b": b}
        self.gradient = {"W": np.zeros(W.shape), "b": np.zeros(b.shape)}

    def forward(self, X: np.ndarray) -> np.ndarray:
        N = X.shape[0]
        out = np.zeros((N, self.output_D))
        for n in range(N):
            out[n] = X[n].dot(self.params["W"]) + self.params["b"][0]
        return out

    def backward(self, X: np.ndarray, grad: np.ndarray) -> np.ndarray:
        N = X.shape[0]
        gradW = np.zeros((self.input_D, self.output_D))
        db = np.zeros((1, self.output_D))
        dX = np.zeros((N, self.input_D))
        # one sample after the other
        for n in range(N):
            gradW += np.outer(X[n], grad[n])
            db += grad[n]
            dX[n] = self.params["W"].dot(grad[n])
        self.gradient["W"] = gradW
        self.gradient["b"] = db
        return dX


class relu:
    def forward(self, X: np.ndarray) -> np.ndarray:
        out = np.array(X, dtype=float)
        out[out < 0] = 0
        return out

    def backward(self, X: np.ndarray, grad: np.ndarray) -> np.ndarray:
        dX = np.array(grad, dtype=float)
        dX[X <= 0] = 0
        return dX


def miniBatchGradientDescent(model, learning_rate):
    for name in model:
        layer = model[name]
        if not hasattr(layer, "params"):
            continue
        for key in ("W", "b"):
            step = learning_rate * layer.gradient[key]
            layer.params[key] = layer.params[key] - step
    return model


def backward_pass(model, x, a1, h1, a2, y):
    """ x -> L1 -> a1 -> relu -> h1 -> L2 -> a2 -> loss, walked from right to left """
    dL_da2 = model["loss"].backward(a2, y)
    dL_dh1 = model["L2"].backward(h1, dL_da2)
    dL_da1 = model["nonlinear1"].backward(a1, dL_dh1)
    model["L1"].backward(x, dL_da1)


def compute_loss(model, x, y):
    h1 = model["nonlinear1"].forward(model["L1"].forward(x))
    return model["loss"].forward(model["L2"].forward(h1), y)


def check_gradient(model, x, y):
    h = 1e-5
    a1 = model["L1"].forward(x)
    h1 = model["nonlinear1"].forward(a1)
    a2 = model["L2"].forward(h1)
    model["loss"].forward(a2, y)
    backward_pass(model, x, a1, h1, a2, y)

    total_error = 0.0
    for layer_name in ["L1", "L2"]:
        layer = model[layer_name]
        for key in ["W", "b"]:
            theta = layer.params[key]
            rows, cols = theta.shape
            for i in range(rows):
                for j in range(cols):
                    saved = theta[i, j]
                    theta[i, j] = saved + h
                    J_plus = compute_loss(model, x, y)
                    theta[i, j] = saved - h
                    J_minus = compute_loss(model, x, y)
                    theta[i, j] = saved
                    approx = (J_plus - J_minus) / (2.0 * h)
                    total_error += approx - layer.gradient[key][i, j]
    return bool(total_error < 1e-5)


def train(epochs=5, lr=0.01, bs=5, n_hidden=50):
    np.random.seed(0)
    Xtrain, Ytrain, Xval, Yval, _, _ = data_loader_mnist("mnist_subset.json")
    model = {
        "L1": linear_layer(Xtrain.shape[1], n_hidden),
        "nonlinear1": relu(),
        "L2": linear_layer(n_hidden, 10),
        "loss": softmax_cross_entropy(),
    }
    data = DataSplit(Xtrain, Ytrain)
    for e in range(epochs):
        order = np.random.permutation(len(Xtrain))
        for k in range(len(order) // bs):
            x, y = data.get_example(order[k * bs:(k + 1) * bs])
            a1 = model["L1"].forward(x)
            h1 = model["nonlinear1"].forward(a1)
            a2 = model["L2"].forward(h1)
            model["loss"].forward(a2, y)
            backward_pass(model, x, a1, h1, a2, y)
            miniBatchGradientDescent(model, lr)
        print("epoch %d: val loss %.4f" % (e, compute_loss(model, Xval, Yval)))


if __name__ == "__main__":
    train()

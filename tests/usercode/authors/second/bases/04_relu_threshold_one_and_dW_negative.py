import numpy as np
from utils import softmax_cross_entropy, predict_label, data_loader_mnist, DataSplit


def affine(X, W, b):
    return np.matmul(X, W) + b


def linear_backward(X, W, delta):
    dW = -np.matmul(np.transpose(X), delta)
    db = np.ones((1, X.shape[0])).dot(delta)
    dX = np.matmul(delta, np.transpose(W))
    return dW, db, dX


class linear_layer:
    def __init__(self, input_D, output_D):
        self.params = {}
        self.gradient = {}
        shapes = {"W": (input_D, output_D), "b": (1, output_D)}
        for name, shape in shapes.items():
            self.params[name] = np.random.normal(0.0, 0.1, size=shape)
            self.gradient[name] = np.zeros(shape)

    def forward(self, X):
        return affine(X, self.params["W"], self.params["b"])

    def backward(self, X, grad):
        dW, db, dX = linear_backward(X, self.params["W"], grad)
        self.gradient["W"] = dW
        self.gradient["b"] = db
        return dX


class relu:
    def forward(self, X):
        return np.where(X > 1, X, 0.0)

    def backward(self, X, grad):
        return np.where(X > 0, grad, 0.0)


def step(param, grad, lr):
    return param - lr * grad


def miniBatchGradientDescent(model, learning_rate):
    for name in model.keys():
        layer = model[name]
        if hasattr(layer, "params"):
            for p in layer.params.keys():
                layer.params[p] = step(layer.params[p], layer.gradient[p], learning_rate)
    return model


def forward(model, x):
    a1 = model["L1"].forward(x)
    h1 = model["nonlinear1"].forward(a1)
    a2 = model["L2"].forward(h1)
    return a1, h1, a2


def backward_pass(model, x, a1, h1, a2, y):
    grad = model["loss"].backward(a2, y)
    inputs = [("L2", h1), ("nonlinear1", a1), ("L1", x)]
    for name, inp in inputs:
        grad = model[name].backward(inp, grad)
    return grad


def numerical_gradient(f, p, eps=1e-5):
    numeric = np.zeros(p.shape)
    for i in np.ndindex(p.shape):
        keep = p[i]
        p[i] = keep + eps
        hi = f()
        p[i] = keep - eps
        lo = f()
        p[i] = keep
        numeric[i] = (hi - lo) / (2 * eps)
    return numeric


def check_gradient(model, x, y):
    a1, h1, a2 = forward(model, x)
    model["loss"].forward(a2, y)
    backward_pass(model, x, a1, h1, a2, y)

    def f():
        return model["loss"].forward(forward(model, x)[2], y)

    for name in ("L1", "L2"):
        for key in ("W", "b"):
            numeric = numerical_gradient(f, model[name].params[key])
            if not np.allclose(numeric, model[name].gradient[key], rtol=1e-4, atol=1e-7):
                return False
    return True


def run():
    np.random.seed(7)
    Xtrain, Ytrain, Xval, Yval, _, _ = data_loader_mnist("mnist_subset.json")
    model = {"L1": linear_layer(Xtrain.shape[1], 100), "nonlinear1": relu(),
             "L2": linear_layer(100, 10), "loss": softmax_cross_entropy()}
    split = DataSplit(Xtrain, Ytrain)
    for epoch in range(10):
        perm = np.random.permutation(Xtrain.shape[0])
        for b in np.array_split(perm, max(1, len(perm) // 5)):
            x, y = split.get_example(b)
            a1, h1, a2 = forward(model, x)
            model["loss"].forward(a2, y)
            backward_pass(model, x, a1, h1, a2, y)
            model = miniBatchGradientDescent(model, 0.01)
        acc = np.mean(predict_label(forward(model, Xval)[2]).reshape(-1) == np.asarray(Yval).reshape(-1))
        print(epoch, acc)


if __name__ == "__main__":
    run()

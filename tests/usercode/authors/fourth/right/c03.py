"""Two layer perceptron, numpy only. Momentum optional."""
import numpy as np

from utils import DataSplit, data_loader_mnist, predict_label, softmax_cross_entropy


class linear_layer(object):
    def __init__(self, input_D, output_D):
        self.input_D = input_D
        self.output_D = output_D
        self.params = {}
        self.gradient = {}
        self.reset_parameters()
        self.zero_grad()

    def reset_parameters(self):
        self.params["W"] = np.random.normal(loc=0.0, scale=0.1, size=(self.input_D, self.output_D))
        self.params["b"] = np.random.normal(loc=0.0, scale=0.1, size=(1, self.output_D))

    def zero_grad(self):
        for name, value in self.params.items():
            self.gradient[name] = np.zeros_like(value)

    def forward(self, X):
        return np.matmul(X, self.params["W"]) + self.params["b"]

    def backward(self, X, grad):
        self.zero_grad()
        self.gradient["W"] += np.matmul(X.T, grad)
        self.gradient["b"] += np.sum(grad, axis=0).reshape(1, self.output_D)
        return np.matmul(grad, self.params["W"].T)


class relu(object):
    def forward(self, X):
        return np.where(X > 0, X, 0.0)

    def backward(self, X, grad):
        return np.where(X > 0, grad, 0.0)


def miniBatchGradientDescent(model, learning_rate, velocity=None, momentum=0.0):
    if velocity is None:
        velocity = {}
    for layer_name in ("L1", "L2"):
        layer = model[layer_name]
        for p in ("W", "b"):
            key = layer_name + "." + p
            if key not in velocity:
                velocity[key] = np.zeros_like(layer.params[p])
            velocity[key] = momentum * velocity[key] - learning_rate * layer.gradient[p]
            layer.params[p] += velocity[key]
    return model


def run_forward(model, X):
    cache = {"x": X}
    cache["a1"] = model["L1"].forward(cache["x"])
    cache["h1"] = model["nonlinear1"].forward(cache["a1"])
    cache["a2"] = model["L2"].forward(cache["h1"])
    return cache


def run_backward(model, cache, Y):
    d_a2 = model["loss"].backward(cache["a2"], Y)
    d_h1 = model["L2"].backward(cache["h1"], d_a2)
    d_a1 = model["nonlinear1"].backward(cache["a1"], d_h1)
    model["L1"].backward(cache["x"], d_a1)


class GradientChecker:
    def __init__(self, model, eps=1e-5, tol=1e-6):
        self.model = model
        self.eps = eps
        self.tol = tol

    def loss(self, X, Y):
        return self.model["loss"].forward(run_forward(self.model, X)["a2"], Y)

    def numeric(self, layer_name, param, X, Y):
        theta = self.model[layer_name].params[param]
        out = np.zeros(theta.shape)
        it = np.nditer(theta, flags=["multi_index"])
        while not it.finished:
            ix = it.multi_index
            saved = theta[ix]
            theta[ix] = saved + self.eps
            up = self.loss(X, Y)
            theta[ix] = saved - self.eps
            down = self.loss(X, Y)
            theta[ix] = saved
            out[ix] = (up - down) / (2.0 * self.eps)
            it.iternext()
        return out

    def check(self, X, Y):
        run_backward(self.model, run_forward(self.model, X), Y)
        ok = True
        for layer_name in ("L1", "L2"):
            for param in ("W", "b"):
                num = self.numeric(layer_name, param, X, Y)
                ana = self.model[layer_name].gradient[param]
                err = np.max(np.abs(num - ana))
                if err > self.tol:
                    print("gradient of", layer_name, param, "is off by", err)
                    ok = False
        return ok


def evaluate(model, split, batch=100):
    hits = 0
    for start in range(0, split.N, batch):
        x, y = split.get_example(np.arange(start, min(start + batch, split.N)))
        hits += np.sum(predict_label(run_forward(model, x)["a2"]) == y)
    return hits / split.N


def main(input_file="mnist_subset.json", num_epoch=10, minibatch_size=5, learning_rate=0.01,
         momentum=0.9, num_hidden=100, seed=1, check=False):
    np.random.seed(seed)
    Xtrain, Ytrain, Xvalid, Yvalid, Xtest, Ytest = data_loader_mnist(dataset=input_file)
    train, valid = DataSplit(Xtrain, Ytrain), DataSplit(Xvalid, Yvalid)

    model = {
        "L1": linear_layer(Xtrain.shape[1], num_hidden),
        "nonlinear1": relu(),
        "L2": linear_layer(num_hidden, 10),
        "loss": softmax_cross_entropy(),
    }
    if check:
        print("gradients ok:", GradientChecker(model).check(Xtrain[:8], Ytrain[:8]))

    velocity = {}
    history = {"train": [], "valid": []}
    for epoch in range(1, num_epoch + 1):
        order = np.random.permutation(train.N)
        for start in range(0, train.N, minibatch_size):
            x, y = train.get_example(order[start:start + minibatch_size])
            cache = run_forward(model, x)
            run_backward(model, cache, y)
            miniBatchGradientDescent(model, learning_rate, velocity, momentum)
        history["train"].append(evaluate(model, train))
        history["valid"].append(evaluate(model, valid))
        print("epoch %d: train %.3f valid %.3f" % (epoch, history["train"][-1], history["valid"][-1]))
    return model, history


if __name__ == "__main__":
    main(check=True)

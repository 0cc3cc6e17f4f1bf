#!/usr/bin/env python3
"""fashion mnist classifier: fc1 -> act -> fc2 -> criterion, plain SGD"""
import argparse
import copy
import numpy as np
from utils import softmax_cross_entropy, data_loader_mnist, predict_label, DataSplit


class linear_layer:

    def __init__(self, input_D, output_D):
        self.params = {
            "W": np.random.normal(0.0, 0.1, [input_D, output_D]),
            "b": np.random.normal(0.0, 0.1, [1, output_D]),
        }
        self.gradient = {
            "W": np.zeros([input_D, output_D]),
            "b": np.zeros([1, output_D]),
        }

    def forward(self, X):
        return np.dot(X, self.params["W"]) + self.params["b"]

    def backward(self, X, grad):
        self.gradient["W"] = np.dot(np.transpose(X), grad)
        self.gradient["b"] = np.sum(grad, axis=0).reshape(1, -1)
        return np.dot(grad, np.transpose(self.params["W"]))


class relu:

    def forward(self, X):
        return (np.abs(X) + X) / 2

    def backward(self, X, grad):
        return np.multiply((X > 0).astype(float), grad)


LEARN = ("fc1", "fc2")


def miniBatchGradientDescent(model, learning_rate, weight_decay=0.0):
    for name in LEARN:
        layer = model[name]
        for key in ("W", "b"):
            w = layer.params[key]
            step = layer.gradient[key]
            if weight_decay > 0 and key == "W":
                step = step + weight_decay * w
            w -= learning_rate * step


def make_model(d):
    return {
        "fc1": linear_layer(d, 128),
        "act": relu(),
        "fc2": linear_layer(128, 10),
        "criterion": softmax_cross_entropy(),
    }


def run_forward(model, x):
    """dictionary with everything that backward needs"""
    cache = {"x": x}
    cache["z"] = model["fc1"].forward(x)
    cache["h"] = model["act"].forward(cache["z"])
    cache["logits"] = model["fc2"].forward(cache["h"])
    return cache


def run_backward(model, cache, y):
    d_logits = model["criterion"].backward(cache["logits"], y)
    d_h = model["fc2"].backward(cache["h"], d_logits)
    d_z = model["act"].backward(cache["z"], d_h)
    model["fc1"].backward(cache["x"], d_z)


def objective(model, x, y):
    return model["criterion"].forward(run_forward(model, x)["logits"], y)


def gradient_checker(model, x, y, n_entries=4, step=1e-5):
    """compare random entries of every parameter"""
    cache = run_forward(model, x)
    model["criterion"].forward(cache["logits"], y)
    run_backward(model, cache, y)

    rng = np.random.RandomState(3)
    worst = 0.0
    for name in LEARN:
        for key in ("W", "b"):
            theta, g = model[name].params[key], model[name].gradient[key]
            for _ in range(n_entries):
                i, j = rng.randint(theta.shape[0]), rng.randint(theta.shape[1])
                old = theta[i, j]
                theta[i, j] = old + step
                right = objective(model, x, y)
                theta[i, j] = old - step
                left = objective(model, x, y)
                theta[i, j] = old
                estimate = (right - left) / (2 * step)
                worst = max(worst, abs(estimate - g[i, j]))
                print("%s %s [%d,%d] backprop=%.7f estimate=%.7f" % (name, key, i, j, g[i, j], estimate))
    print("largest difference:", worst)


def magnitude_checker(model, low=1e-9, high=100.0):
    for name in LEARN:
        for key in ("W", "b"):
            biggest = np.max(np.abs(model[name].gradient[key]))
            verdict = "fine" if low < biggest < high else "suspicious"
            print("%s %s largest gradient %.6f (%s)" % (name, key, biggest, verdict))


def score(model, data, chunk=500):
    good = 0
    for begin in range(0, data.N, chunk):
        x, y = data.get_example(list(range(begin, min(begin + chunk, data.N))))
        good += int((predict_label(run_forward(model, x)["logits"]) == y).sum())
    return good / float(data.N)


def main(main_params):
    np.random.seed(main_params["random_seed"])
    arrays = data_loader_mnist(dataset=main_params["input_file"])
    train = DataSplit(arrays[0], arrays[1])
    valid = DataSplit(arrays[2], arrays[3])
    test = DataSplit(arrays[4], arrays[5])

    model = make_model(arrays[0].shape[1])
    rate = main_params["learning_rate"]
    decay = main_params.get("weight_decay", 0.0)
    batch = main_params["minibatch_size"]
    patience = main_params.get("patience", 5)

    if main_params.get("check_gradient"):
        x, y = train.get_example(list(range(6)))
        gradient_checker(model, x, y)
        magnitude_checker(model)

    best = {"epoch": -1, "valid": -1.0, "model": None}
    log = []
    for epoch in range(main_params["num_epoch"]):
        order = np.arange(train.N)
        np.random.shuffle(order)
        at = 0
        while at < train.N:
            x, y = train.get_example(order[at:at + batch])
            cache = run_forward(model, x)
            model["criterion"].forward(cache["logits"], y)
            run_backward(model, cache, y)
            miniBatchGradientDescent(model, rate, decay)
            at += batch

        tr, va = score(model, train), score(model, valid)
        log.append({"epoch": epoch, "train": tr, "valid": va})
        print("epoch", epoch, "train %.4f valid %.4f" % (tr, va))

        if va > best["valid"]:
            best = {"epoch": epoch, "valid": va, "model": copy.deepcopy(model)}
        elif main_params.get("early_stopping") and epoch - best["epoch"] >= patience:
            print("stopped, best epoch was", best["epoch"])
            break

    te = score(best["model"], test)
    print("test %.4f" % te)
    return log, te


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--input_file", default="fmnist.json")
    parser.add_argument("--learning_rate", type=float, default=0.01)
    parser.add_argument("--weight_decay", type=float, default=0.0)
    parser.add_argument("--num_epoch", type=int, default=10)
    parser.add_argument("--minibatch_size", type=int, default=5)
    parser.add_argument("--patience", type=int, default=5)
    parser.add_argument("--early_stopping", action="store_true")
    parser.add_argument("--check_gradient", action="store_true")
    parser.add_argument("--random_seed", type=int, default=42)
    main(vars(parser.parse_args()))

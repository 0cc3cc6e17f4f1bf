"""Parts under names of the author's own, and ``main``: found by what they do, and followed."""

from __future__ import annotations

import pytest

from fmnist_cli.usercode.structure import find_by_structure, parsed

from .conftest import CheckText

LAYERS = """\
import numpy as np
from utils import softmax_cross_entropy, data_loader_mnist, predict_label, DataSplit

class linear_layer:
    def __init__(self, input_D, output_D):
        self.params = {'W': np.random.normal(0, 0.1, (input_D, output_D)),
                       'b': np.random.normal(0, 0.1, (1, output_D))}
        self.gradient = {k: np.zeros_like(v) for k, v in self.params.items()}
    def forward(self, X):
        return X @ self.params['W'] + self.params['b']
    def backward(self, X, grad):
        self.gradient['W'] = X.T @ grad
        self.gradient['b'] = grad.sum(axis=0, keepdims=True)
        return grad @ self.params['W'].T

class relu:
    def forward(self, X):
        return np.maximum(X, 0)
    def backward(self, X, grad):
        return grad * (X > 0)

def miniBatchGradientDescent(model, learning_rate):
    for layer in model.values():
        for key in getattr(layer, 'params', {}):
            layer.params[key] = layer.params[key] - learning_rate * layer.gradient[key]
    return model

"""
NAMED = (
    LAYERS
    + """\
def hinunter(netz, bild, ziel):
    a1 = netz['L1'].forward(bild)
    h1 = netz['nonlinear1'].forward(a1)
    a2 = netz['L2'].forward(h1)
    g = netz['loss'].backward(a2, ziel)
    g = netz['L2'].backward(h1, g)
    g = netz['nonlinear1'].backward(a1, g)
    netz['L1'].backward(bild, g)

class Prover:
    def __init__(self, model, eps=1e-5):
        self.model, self.eps = model, eps
    def loss(self, x, y):
        a1 = self.model['L1'].forward(x)
        a2 = self.model['L2'].forward(self.model['nonlinear1'].forward(a1))
        return self.model['loss'].forward(a2, y)
    def run(self, x, y):
        hinunter(self.model, x, y)
        worst = 0.0
        for name in ('L1', 'L2'):
            for key, w in self.model[name].params.items():
                for i in np.ndindex(*w.shape):
                    kept = w[i]
                    w[i] = kept + self.eps
                    up = self.loss(x, y)
                    w[i] = kept - self.eps
                    down = self.loss(x, y)
                    w[i] = kept
                    slope = (up - down) / (2 * self.eps)
                    worst = max(worst, abs(slope - self.model[name].gradient[key][i]))
        return worst < 1e-6, {'worst': worst}
"""
)
MAIN = (
    LAYERS
    + """\
def main(main_params):
    np.random.seed(main_params['random_seed'])
    Xtrain, Ytrain, Xval, Yval, _, _ = data_loader_mnist(dataset=main_params['input_file'])
    train = DataSplit(Xtrain, Ytrain)
    model = {'L1': linear_layer(train.d, 9), 'nonlinear1': relu(), 'L2': linear_layer(9, 10),
             'loss': softmax_cross_entropy()}
    size = main_params['minibatch_size']
    for epoch in range(main_params['num_epoch']):
        order = np.random.permutation(train.N)
        for i in range(int(np.floor(train.N / size))):
            x, y = train.get_example(order[i * size : (i + 1) * size])
            a1 = model['L1'].forward(x)
            h1 = model['nonlinear1'].forward(a1)
            a2 = model['L2'].forward(h1)
            grad_a2 = model['loss'].backward(a2, y)
            grad_h1 = model['L2'].backward(h1, grad_a2)
            grad_a1 = model['nonlinear1'].backward(a1, grad_h1)
            grad_x = model['L1'].backward(x, grad_a1)
            model = miniBatchGradientDescent(model, main_params['learning_rate'])
        logits = model['L2'].forward(model['nonlinear1'].forward(model['L1'].forward(Xval)))
        print(epoch, np.mean(predict_label(logits) == Yval))
    with open('results.json', 'w') as file:
        file.write('{}')
"""
)


STEP = "            model = miniBatchGradientDescent(model, main_params['learning_rate'])\n"


PRINTED = "        print(epoch, np.mean(predict_label(logits) == Yval))\n"
VAL_ACC = "        val_acc = float(np.mean(predict_label(logits) == Yval))\n"


def changed(text: str, old: str, new: str) -> str:
    assert text.count(old) == 1
    return text.replace(old, new)


ONE_LAYER = """\
def gradient_check(layer, X, eps=1e-6):
    G = np.random.randn(*layer.forward(X).shape)
    layer.backward(X, G)
    for key, w in layer.params.items():
        for i in np.ndindex(*w.shape):
            kept = w[i]
            w[i] = kept + eps
            up = np.sum(G * layer.forward(X))
            w[i] = kept - eps
            down = np.sum(G * layer.forward(X))
            w[i] = kept
            if abs((up - down) / (2 * eps) - layer.gradient[key][i]) > 1e-5:
                return False
    return True
"""
BY_DEFAULT = (
    NAMED[: NAMED.index("class Prover")]
    + """\
def probe(model, x, y, laag='L1', wat='W', eps=1e-5):
    hinunter(model, x, y)
    w, slopes = model[laag].params[wat], []
    for i in np.ndindex(*w.shape):
        losses = []
        for sign in (1, -1):
            w[i] += sign * eps
            a2 = model['L2'].forward(model['nonlinear1'].forward(model['L1'].forward(x)))
            losses.append(model['loss'].forward(a2, y))
            w[i] -= sign * eps
        slopes.append((losses[0] - losses[1]) / (2 * eps))
    return np.max(np.abs(model[laag].gradient[wat].ravel() - slopes))
"""
)


CACHED = (
    LAYERS
    + """\
def vor(m, X, y):
    merk = {'X': X, 'a': m['L1'].forward(X)}
    merk['h'] = m['nonlinear1'].forward(merk['a'])
    merk['z'] = m['L2'].forward(merk['h'])
    return merk, m['loss'].forward(merk['z'], y)

def zurueck(m, merk, y):
    g = m['loss'].backward(merk['z'], y)
    g = m['L2'].backward(merk['h'], g)
    g = m['nonlinear1'].backward(merk['a'], g)
    m['L1'].backward(merk['X'], g)

def stimmt(m, X, y, h=1e-5):
    merk, _ = vor(m, X, y)
    zurueck(m, merk, y)
    bericht = {}
    for name in ('L1', 'L2'):
        for key, w in m[name].params.items():
            n = np.zeros_like(w)
            for i in np.ndindex(*w.shape):
                kept = w[i]
                w[i] = kept + h
                up = vor(m, X, y)[1]
                w[i] = kept - h
                n[i] = (up - vor(m, X, y)[1]) / (2 * h)
                w[i] = kept
            bericht[name + key] = bool(np.abs(n - m[name].gradient[key]).max() < 1e-6)
    return bericht
"""
)


def test_a_pass_is_given_what_the_file_makes_for_it(check_text: CheckText) -> None:
    report = check_text(CACHED)
    assert report.result("backward_pass").status == "passed"
    assert report.result("gradient_checker").status == "passed"
    wrong = check_text(changed(CACHED, "backward(merk['h'], g)", "backward(merk['a'], g)"))
    assert wrong.mistakes == ("pass-wrong-input",)


@pytest.mark.parametrize("text", [LAYERS + ONE_LAYER, BY_DEFAULT])
def test_a_checker_of_one_layer_or_one_parameter_holds(check_text: CheckText, text: str) -> None:
    report = check_text(text)
    assert report.result("gradient_checker").status == "passed"
    assert report.holds


def test_parts_of_other_names_are_found_and_hold(check_text: CheckText) -> None:
    report = check_text(NAMED)
    assert report.result("gradient_checker").status == "passed"
    assert report.holds


@pytest.mark.parametrize(
    ("old", "new", "check", "mistake"),
    [
        ("up - down) / (2 * self.eps", "up - down) / (self.eps",
         "gradient_checker", "differences-without-2"),
        ("abs(slope - self.model[name].gradient[key][i])",
         "slope - self.model[name].gradient[key][i]", "gradient_checker", "checker-blind"),
        ("w[i] = kept - self.eps", "w[i] = kept + self.eps",
         "gradient_checker", "checker-moves-nothing"),
        ("np.ndindex(*w.shape)", "[(0,) * w.ndim] * 5", "gradient_checker", "checker-one-entry"),
        ("np.ndindex(*w.shape)", "[(0, j)[-w.ndim :] for j in range(w.shape[-1])]",
         "gradient_checker", "checker-one-row"),
        ("up - down) / (2 * self.eps)", "up - down) / 2 * self.eps",
         "gradient_checker", "differences-times-step"),
    ],
)  # fmt: skip
def test_what_is_wrong_in_them_is_named(
    check_text: CheckText, old: str, new: str, check: str, mistake: str
) -> None:
    diagnosis = check_text(changed(NAMED, old, new)).result(check).diagnosis
    assert diagnosis is not None
    assert diagnosis.mistake == mistake


def test_a_pass_of_unknown_arguments_is_left_to_a_person(check_text: CheckText) -> None:
    """Where there is no main either, and nobody else calls it."""
    wrong = changed(NAMED, "g = netz['L2'].backward(h1, g)", "g = netz['L2'].backward(a1, g)")
    assert check_text(wrong).result("backward_pass").status == "unclear"


def test_what_is_no_pass_and_no_checker_is_not_taken_for_one() -> None:
    text = """
def evaluate(model, x, y):
    return (model['L1'].forward(x) - y) / len(x)
def train_all(model):
    model['L1'].backward(1, 2)
    miniBatchGradientDescent(model, 0.1)
"""
    assert find_by_structure(parsed(text), {"update": "miniBatchGradientDescent"}) == {}


def test_a_training_loop_in_main_is_followed(check_text: CheckText) -> None:
    report = check_text(MAIN)
    assert report.result("training_loop").status == "passed"
    assert report.result("conduct").status == "passed"  # what main writes is its own affair
    assert report.holds


@pytest.mark.parametrize(
    ("old", "new", "mistake"),
    [
        ("backward(h1, grad_a2)", "backward(a1, grad_a2)", "pass-wrong-input"),
        ("backward(a1, grad_h1)", "backward(grad_h1, a1)", "pass-arguments-exchanged"),
        ("backward(x, grad_a1)", "backward(x, grad_h1)", "pass-relu-skipped"),
        ("backward(a2, y)", "backward(a2, y) / size", "mean-twice"),
        ("            grad_x = model['L1'].backward(x, grad_a1)\n", "", "pass-first-layer-missing"),
        ("order[i * size : (i + 1) * size]", "order[i : i + size]", "loop-batches-overlap"),
        ("order[i * size : (i + 1) * size]", "order[:size]", "loop-same-batch"),
        ("model = miniBatchGradientDescent(model, main_params['learning_rate'])\n",
         "model = miniBatchGradientDescent(model, main_params['learning_rate'])\n"
         "            model['L1'].params['W'] = 0.9 * model['L1'].params['W']\n",
         "loop-weights-replaced"),
        ("            a1 = model['L1'].forward(x)\n", STEP + "            a1 = model['L1']"
         ".forward(x)\n", "loop-late-gradient"),
        ("int(np.floor(train.N / size))", "int(np.floor(train.N / size)) - 1",
         "loop-images-left-out"),
        ("        logits = model", STEP[4:] + "        logits = model", "loop-update-repeated"),
        (STEP, STEP.replace("model = mini", "if i % 2: model = mini"), "loop-updates-missing"),
        ("h1 = model['nonlinear1'].forward(a1)\n            a2", "h1 = a1\n            a2",
         "forward-without-relu"),
        ("order = np.random.permutation(train.N)",
         "order = np.random.RandomState(epoch * 0).permutation(train.N)", "loop-same-order"),
        ("x, y = train.get_example(order[i * size : (i + 1) * size])",
         "x, y = train.get_example(order[i * size : (i + 1) * size]); y = (y + 3) % 10",
         "loop-labels-misplaced"),
        (PRINTED, VAL_ACC, None),
        (PRINTED, VAL_ACC.replace("Yval", "Yval.ravel()"), "loop-accuracy-wrong"),
        (PRINTED, VAL_ACC.replace("val_acc", "test_acc"), "loop-accuracy-of-other-set"),
        ("size = main_params['minibatch_size']", "size = 8", None),
        ("    train = DataSplit", "    Xtrain = 2 * (Xtrain - Xtrain.mean(axis=0))\n"
         "    train = DataSplit", None),  # prepared as one likes
        ("x, y = train.get_example(order[i * size : (i + 1) * size])",
         "x, _ = train.get_example(order[i * size : (i + 1) * size]); "
         "y = Ytrain[i * size : (i + 1) * size]", "loop-labels-misplaced"),
    ],
)  # fmt: skip
def test_what_is_wrong_in_main_is_named(
    check_text: CheckText, old: str, new: str, mistake: str | None
) -> None:
    text = changed(MAIN, old, new)
    if mistake == "loop-late-gradient":  # moved up, not repeated
        first = text.index(STEP)
        text = text[: first + len(STEP)] + text[first + len(STEP) :].replace(STEP, "")
    result = check_text(text).result("training_loop")
    assert result.status == ("failed" if mistake else "passed")
    assert (result.diagnosis.mistake if result.diagnosis else None) == mistake
    if mistake and mistake.startswith("pass-"):
        assert result.diagnosis is not None
        assert result.diagnosis.line is not None
        assert ".backward(" in text.splitlines()[result.diagnosis.line - 1]


OTHER_KEYS = (
    MAIN.replace("'L1'", "'first'").replace("'L2'", "'second'").replace("'nonlinear1'", "'act'")
    + """
def check(model, x, y, h=1e-5):
    z = model['first'].forward(x)
    a = model['act'].forward(z)
    o = model['second'].forward(a)
    g = model['act'].backward(z, model['second'].backward(a, model['loss'].backward(o, y)))
    model['first'].backward(x, g)
    worst = 0.0
    for name in ('first', 'second'):
        for key, w in model[name].params.items():
            for i in np.ndindex(*w.shape):
                losses = []
                for sign in (1, -1):
                    w[i] += sign * h
                    out = model['act'].forward(model['first'].forward(x))
                    losses.append(model['loss'].forward(model['second'].forward(out), y))
                    w[i] -= sign * h
                slope = (losses[0] - losses[1]) / (2 * h)
                worst = max(worst, abs(slope - model[name].gradient[key][i]))
    return worst < 1e-6
"""
)


def test_a_checker_gets_a_model_of_the_keys_of_main(check_text: CheckText) -> None:
    assert check_text(OTHER_KEYS).result("gradient_checker").status == "passed"
    wrong = changed(
        OTHER_KEYS, "slope = (losses[0] - losses[1])", "slope = (losses[1] - losses[0])"
    )
    diagnosis = check_text(wrong).result("gradient_checker").diagnosis
    assert diagnosis is not None
    assert diagnosis.mistake == "differences-sign"


@pytest.mark.parametrize(
    "body",
    [
        "raise KeyError('no such setting')",
        "open('/etc/passwd').read()",
        "import sys; sys.exit(1)",
        "X = np.loadtxt('mnist.csv')",
    ],
)
def test_a_main_that_cannot_be_followed_is_no_fault(check_text: CheckText, body: str) -> None:
    report = check_text(LAYERS + f"def main():\n    {body}\n")
    assert report.result("training_loop").status == "skipped"
    assert report.holds


@pytest.mark.parametrize(
    ("old", "new", "check", "mistake"),
    [
        ("for key in getattr(layer, 'params', {}):\n            layer.params[key] = "
         "layer.params[key] - learning_rate * layer.gradient[key]",
         "for key in getattr(layer, 'params', {}):\n            layer.params['W'] = "
         "layer.params['W'] - learning_rate * layer.gradient['W']", "update", "update-W-for-b"),
        ("self.gradient = {k: np.zeros_like(v) for k, v in self.params.items()}",
         "self.gradient = dict(self.params)", "linear_init", "init-gradient-is-parameter"),
        ("return X @ self", "return X / 255 @ self", "linear_forward", "input-scaled"),
        ("return grad @ self.params['W'].T",
         "return np.tile(grad[0] @ self.params['W'].T, (len(X), 1))", "linear_dX",
         "dX-first-example"),
        ("def miniBatchGradientDescent(model, learning_rate):",
         "def miniBatchGradientDescent(model, learning_rate, velocity={}):\n"
         "    velocity['seen'] = 1", "update", "update-default-shared"),
    ],
)  # fmt: skip
def test_further_mistakes(
    check_text: CheckText, old: str, new: str, check: str, mistake: str
) -> None:
    diagnosis = check_text(changed(LAYERS, old, new)).result(check).diagnosis
    assert diagnosis is not None
    assert diagnosis.mistake == mistake


@pytest.mark.parametrize(
    ("velocity", "mistake"),
    [
        ("alpha * velocity.get(i, 0) + learning_rate * g", None),
        ("(1 - alpha) * velocity.get(i, 0) + learning_rate * g", "momentum-complement"),
        ("-alpha * velocity.get(i, 0) + learning_rate * g", "momentum-sign"),
        ("velocity.get(i, 0) + learning_rate * g", "momentum-keeps-all"),
    ],
)
def test_momentum_of_another_rule_is_named(
    check_text: CheckText, velocity: str, mistake: str | None
) -> None:
    head, _ = LAYERS.split("def miniBatch")
    text = (
        head
        + f"""\
def miniBatchGradientDescent(model, learning_rate, alpha=0.0, velocity=None):
    velocity = {{}} if velocity is None else velocity
    for name, layer in model.items():
        for key in getattr(layer, 'params', {{}}):
            i, g = f'{{name}}_{{key}}', layer.gradient[key]
            velocity[i] = {velocity}
            layer.params[key] = layer.params[key] - velocity[i]
    return model
"""
    )
    diagnosis = check_text(text).result("update").diagnosis
    assert (diagnosis.mistake if diagnosis else None) == mistake

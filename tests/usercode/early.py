"""Mistakes planted before the diagnosis was written, by the one who then wrote it."""

from __future__ import annotations

from .base import Planted

DW = "self.gradient['W'] = np.matmul(X.T, grad)"
DB = "self.gradient['b'] = np.sum(grad, axis=0)"
DX = "backward_output = np.matmul(grad, self.params['W'].T)"
Y = "forward_output = np.matmul(X, self.params['W']) + self.params['b']"
RELU = "forward_output = np.maximum(X, 0)"
MASK = "self.mask = X > 0"
DRELU = "backward_output = grad * self.mask"
STEP = "module.params[key] = module.params[key] - learning_rate * g"
INIT_W = "self.params['W'] = np.random.normal(0, 0.1, (input_D, output_D))"

EARLY = (
    Planted("the mean is taken a second time in dW", {DW: DW + " / X.shape[0]"}),
    Planted("dW is divided by the number of inputs", {DW: DW + " / X.shape[1]"}),
    Planted("dW is multiplied by the batch size", {DW: DW + " * len(X)"}),
    Planted("dW has its factors the wrong way round", {DW: "self.gradient['W'] = grad.T @ X"}),
    Planted("dW accumulates over calls", {DW: "self.gradient['W'] += np.matmul(X.T, grad)"}),
    Planted(
        "dW of the last example only",
        {DW: "for x, g in zip(X, grad):\n            self.gradient['W'] = np.outer(x, g)"},
    ),
    Planted("dW is lost in a local variable", {DW: "gradient_W = np.matmul(X.T, grad)"}),
    Planted("dW has the wrong sign", {DW: "self.gradient['W'] = -np.matmul(X.T, grad)"}),
    Planted("db is a mean", {DB: "self.gradient['b'] = np.mean(grad, axis=0)"}),
    Planted("db is summed along the wrong axis", {DB: "self.gradient['b'] = grad.sum(axis=1)"}),
    Planted("db is one number for all", {DB: "self.gradient['b'][:] = np.sum(grad)"}),
    Planted("db is not summed at all", {DB: "self.gradient['b'] = grad"}),
    Planted("db accumulates over calls", {DB: "self.gradient['b'] += np.sum(grad, axis=0)"}),
    Planted("db is forgotten", {DB: "pass"}),
    Planted(
        "dX forgets the transpose", {DX: "backward_output = np.matmul(grad, self.params['W'])"}
    ),
    Planted("dX is the gradient that came in", {DX: "backward_output = grad"}),
    Planted("dX is divided by the batch size", {DX: DX + " / grad.shape[0]"}),
    Planted("dX is not returned", {"return backward_output\n\n\nclass relu": "\n\nclass relu"}),
    Planted("no bias in forward", {Y: "forward_output = np.matmul(X, self.params['W'])"}),
    Planted("the bias is subtracted", {Y: Y.replace("+", "-")}),
    Planted(
        "the activation is inside the layer",
        {Y: Y + "\n        forward_output = np.maximum(forward_output, 0)"},
    ),
    Planted("relu is leaky", {RELU: "forward_output = np.where(X > 0, X, 0.01 * X)"}),
    Planted("relu works in place", {RELU: "X[X < 0] = 0\n        forward_output = X"}),
    Planted("relu keeps the negative half", {RELU: "forward_output = np.minimum(X, 0)"}),
    Planted("relu is the absolute value", {RELU: "forward_output = np.abs(X)"}),
    Planted("the mask includes zero", {MASK: "self.mask = X >= 0"}),
    Planted("the mask looks at the gradient", {DRELU: "backward_output = grad * (grad > 0)"}),
    Planted("relu's backward lets all through", {DRELU: "backward_output = grad"}),
    Planted("relu's backward gives the mask", {DRELU: "backward_output = self.mask * 1.0"}),
    Planted("relu's backward multiplies by its input", {DRELU: "backward_output = grad * X"}),
    Planted(
        "relu changes the gradient in place",
        {DRELU: "grad[X <= 0] = 0\n        backward_output = grad"},
    ),
    Planted("the mask is inverted", {DRELU: "backward_output = grad * (1 - self.mask)"}),
    Planted("uphill", {STEP: STEP.replace("] -", "] +")}),
    Planted("no learning rate", {STEP: "module.params[key] = module.params[key] - g"}),
    Planted("the weights become the step", {STEP: "module.params[key] = -learning_rate * g"}),
    Planted("biases do not move", {"for key in module.params:\n": "for key in ['W']:\n"}),
    Planted(
        "only the first layer moves",
        {"    return model\n": "            break\n    return model\n"},
    ),
    Planted(
        "the update is lost",
        {STEP: "w = module.params[key]\n                w = w - learning_rate * g"},
    ),
    Planted(
        "the variance is taken for the standard deviation",
        {INIT_W: INIT_W.replace("0.1,", "np.sqrt(0.1),")},
    ),
    Planted(
        "weights from a standard normal",
        {INIT_W: "self.params['W'] = np.random.randn(input_D, output_D)"},
    ),
    Planted("weights start at zero", {INIT_W: "self.params['W'] = np.zeros((input_D, output_D))"}),
    Planted(
        "weights from [0, 1)", {INIT_W: "self.params['W'] = np.random.rand(input_D, output_D)"}
    ),
    Planted(
        "W has the shape of its transpose",
        {
            INIT_W: "self.params['W'] = np.random.normal(0, 0.1, (output_D, input_D))",
            Y: Y.replace("self.params['W']", "self.params['W'].T"),
            DW: "self.gradient['W'] = grad.T @ X",
            DX: "backward_output = np.matmul(grad, self.params['W'])",
        },
    ),
    Planted(
        "the backward pass leaves relu out",
        {"model['L1'].backward(x, grad_a1)": "model['L1'].backward(x, grad_h1)"},
    ),
    Planted(
        "the second layer's backward gets a1",
        {"model['L2'].backward(h1, grad_a2)": "model['L2'].backward(a1, grad_a2)"},
    ),
    Planted(
        "relu's arguments are exchanged",
        {
            DRELU: "backward_output = grad * (X > 0)",
            "['nonlinear1'].backward(a1, grad_h1)": "['nonlinear1'].backward(grad_h1, a1)",
        },
    ),
    Planted(
        "the backward pass stops before the first layer",
        {"    grad_x = model['L1'].backward(x, grad_a1)\n": ""},
    ),
    Planted("the checker forgets the 2", {"/ (2 * epsilon)": "/ epsilon"}),
    Planted(
        "the checker compares with itself",
        {"(key, layer, exact, approximate)": "(key, layer, exact, exact)"},
    ),
    Planted(
        "the checker leaves the weight changed",
        {"model[layer].params[key][first] = kept\n": "pass\n"},
    ),
    Planted(
        "the magnitude is a plain sum",
        {"np.abs(model['L1'].gradient['W']).sum()": "model['L1'].gradient['W'].sum()"},
    ),
    Planted(
        "the magnitude is printed twice for one batch", {"% tuple(norms)": "% (norms[0], norms[0])"}
    ),
)

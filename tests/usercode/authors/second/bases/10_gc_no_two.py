import numpy as np
from utils import softmax_cross_entropy, predict_label, data_loader_mnist, DataSplit

### Homework: neural networks ###


class linear_layer:

    """
        The linear (affine/fully-connected) module.
    """

    def __init__(self, input_D, output_D):
        self.params = dict()
        self.gradient = dict()

        # initialise W and b from N(0, 0.1^2)
        self.params["W"] = np.random.normal(0, 0.1, (input_D, output_D))
        self.params["b"] = np.random.normal(0, 0.1, (1, output_D))

        self.gradient["W"] = np.zeros((input_D, output_D))
        self.gradient["b"] = np.zeros((1, output_D))

    def forward(self, X):
        # compute the output of the layer
        forward_output = np.dot(X, self.params["W"]) + self.params["b"]
        return forward_output

    def backward(self, X, grad):
        # gradients of the parameters, then of the input
        self.gradient["W"] = np.dot(X.T, grad)
        self.gradient["b"] = np.sum(grad, axis=0, keepdims=True)
        dX = np.dot(grad, self.params["W"].T)
        return dX


class relu:

    def __init__(self):
        self.mask = None

    def forward(self, X):
        self.mask = (X > 0).astype(float)
        forward_output = np.multiply(X, self.mask)
        return forward_output

    def backward(self, X, grad):
        self.mask = (X > 0).astype(float)
        dX = np.multiply(grad, self.mask)
        return dX


def miniBatchGradientDescent(model, learning_rate):
    for module_name, module in model.items():
        # only the layers with parameters are updated
        if hasattr(module, "params"):
            for key, _ in module.params.items():
                g = module.gradient[key]
                module.params[key] -= learning_rate * g
    return model


def forward_pass(model, x, y):
    a1 = model["L1"].forward(x)
    h1 = model["nonlinear1"].forward(a1)
    a2 = model["L2"].forward(h1)
    loss = model["loss"].forward(a2, y)
    return a1, h1, a2, loss


def backward_pass(model, x, a1, h1, a2, y):
    grad_a2 = model["loss"].backward(a2, y)
    d_h1 = model["L2"].backward(h1, grad_a2)
    grad_a1 = model["nonlinear1"].backward(a1, d_h1)
    grad_x = model["L1"].backward(x, grad_a1)
    return grad_x


def check_gradient(model, x, y):
    epsilon = 1e-5
    tolerance = 1e-6
    a1, h1, a2, loss = forward_pass(model, x, y)
    backward_pass(model, x, a1, h1, a2, y)
    ok = True
    for name in ["L1", "L2"]:
        for key in ["W", "b"]:
            param = model[name].params[key]
            analytic = model[name].gradient[key]
            for idx in np.ndindex(*param.shape):
                param[idx] += epsilon
                f_plus = forward_pass(model, x, y)[3]
                param[idx] -= 2 * epsilon
                f_minus = forward_pass(model, x, y)[3]
                param[idx] += epsilon
                numeric = (f_plus - f_minus) / epsilon
                if abs(numeric - analytic[idx]) > tolerance:
                    print("mismatch", name, key, idx, numeric, analytic[idx])
                    ok = False
    return ok


def main(num_epoch=10, batch_size=5, learning_rate=0.01, hidden=100):
    np.random.seed(42)
    Xtrain, Ytrain, Xval, Yval, _, _ = data_loader_mnist(dataset="mnist_subset.json")
    N_train, d = Xtrain.shape
    trainSet = DataSplit(Xtrain, Ytrain)

    model = dict()
    model["L1"] = linear_layer(input_D=d, output_D=hidden)
    model["nonlinear1"] = relu()
    model["L2"] = linear_layer(input_D=hidden, output_D=10)
    model["loss"] = softmax_cross_entropy()

    for t in range(num_epoch):
        idx_order = np.random.permutation(N_train)
        for i in range(int(np.floor(N_train / batch_size))):
            x, y = trainSet.get_example(idx_order[i * batch_size:(i + 1) * batch_size])
            a1, h1, a2, loss = forward_pass(model, x, y)
            backward_pass(model, x, a1, h1, a2, y)
            model = miniBatchGradientDescent(model, learning_rate)
        _, _, out, _ = forward_pass(model, Xval, Yval)
        print("epoch", t + 1, "val acc", np.mean(predict_label(out).reshape(-1) == np.reshape(Yval, -1)))


if __name__ == "__main__":
    main()

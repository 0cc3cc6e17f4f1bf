"""Two-layer perceptron, einsum version."""
import numpy as np
from utils import softmax_cross_entropy, predict_label, data_loader_mnist, DataSplit


class Module:
    def __call__(self, X):
        return self.forward(X)


class linear_layer(Module):
    def __init__(self, input_D, output_D):
        rng = np.random
        self.params = dict(W=rng.normal(scale=0.1, size=(input_D, output_D)),
                           b=rng.normal(scale=0.1, size=output_D))
        self.gradient = dict.fromkeys(self.params)
        self.zero_grad()

    def zero_grad(self):
        for k, v in self.params.items():
            self.gradient[k] = np.zeros_like(v)

    def forward(self, X):
        return np.einsum('ni,io->no', X, self.params['W']) + self.params['b'][None, :]

    def backward(self, X, grad):
        self.zero_grad()
        self.gradient['W'] += np.einsum('ni,no->io', X, grad)
        self.gradient['b'] += np.einsum('no->o', grad)
        return np.einsum('no,io->ni', grad, self.params['W'])


class relu(Module):
    def forward(self, X):
        return X * np.heaviside(X, 0.0)

    def backward(self, X, grad):
        return grad * np.heaviside(X, 0.0)


def miniBatchGradientDescent(model, learning_rate):
    layers = [m for m in model.values() if getattr(m, 'params', None)]
    for layer in layers:
        layer.params.update({k: p - learning_rate * layer.gradient[k] for k, p in layer.params.items()})
    return model


def backward_pass(model, x, a1, h1, a2, y):
    return model['L1'].backward(
        x, model['nonlinear1'].backward(
            a1, model['L2'].backward(
                h1, model['loss'].backward(a2, y))))


def predict(model, x):
    a1 = model['L1'](x)
    h1 = model['nonlinear1'](a1)
    return a1, h1, model['L2'](h1)


def check_gradient(model, x, y):
    eps = 1e-5
    acts = predict(model, x)
    model['loss'].forward(acts[-1], y)
    backward_pass(model, x, *acts, y)
    analytic = {(n, k): model[n].gradient[k].copy() for n in ('L1', 'L2') for k in ('W', 'b')}
    worst = 0.0
    for (n, k), g in analytic.items():
        flat = model[n].params[k].reshape(-1)
        for i in range(flat.size):
            losses = []
            original = flat[i]
            for sign in (1, -1):
                flat[i] = original + sign * eps
                losses.append(model['loss'].forward(predict(model, x)[-1], y))
            flat[i] = original
            worst = max(worst, abs((losses[0] - losses[1]) / (2 * eps) - g.reshape(-1)[i]))
    return bool(worst < 1e-6)


if __name__ == '__main__':
    np.random.seed(3)
    Xtr, Ytr, Xva, Yva, _, _ = data_loader_mnist('mnist_subset.json')
    net = dict(L1=linear_layer(Xtr.shape[1], 32), nonlinear1=relu(), L2=linear_layer(32, 10),
               loss=softmax_cross_entropy())
    for e in range(5):
        for b in np.random.permutation(len(Xtr)).reshape(-1, 5):
            acts = predict(net, Xtr[b])
            net['loss'].forward(acts[-1], Ytr[b])
            backward_pass(net, Xtr[b], *acts, Ytr[b])
            miniBatchGradientDescent(net, 0.01)
        print(e, np.mean(predict_label(predict(net, Xva)[-1]).ravel() == np.ravel(Yva)))

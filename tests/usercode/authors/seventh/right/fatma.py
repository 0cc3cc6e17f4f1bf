import numpy as np
import utils


class Layer:
    """Base class: layers without parameters keep empty dictionaries."""

    def __init__(self):
        self.params = {}
        self.gradient = {}

    def zero_grad(self):
        for name, value in self.params.items():
            self.gradient[name] = np.zeros_like(value)


class linear_layer(Layer):
    def __init__(self, input_D, output_D):
        super().__init__()
        self.params['W'] = np.random.randn(input_D, output_D) * 0.1
        self.params['b'] = np.random.randn(1, output_D) * 0.1
        self.zero_grad()

    def forward(self, X):
        Z = X @ self.params['W']
        Z += self.params['b']
        return Z

    def backward(self, X, grad):
        self.zero_grad()
        self.gradient['W'] += X.T @ grad
        self.gradient['b'] += grad.sum(axis=0, keepdims=True)
        return grad @ self.params['W'].T


class relu(Layer):
    def forward(self, X):
        self.out = np.where(X > 0, X, 0)
        return self.out

    def backward(self, X, grad):
        dX = grad.copy()
        dX[self.out == 0] = 0
        return dX


class Velocity:
    store = {}


def miniBatchGradientDescent(model, learning_rate, beta=0.0):
    for layer_name, layer in model.items():
        if not isinstance(layer, Layer):
            continue
        for name in layer.params:
            if beta > 0:
                key = (layer_name, name)
                old = Velocity.store.get(key, 0.0)
                Velocity.store[key] = beta * old + layer.gradient[name]
                layer.params[name] = layer.params[name] - learning_rate * Velocity.store[key]
            else:
                layer.params[name] = layer.params[name] - learning_rate * layer.gradient[name]
    return model


def forward_prop(model, X):
    hidden_in = model['L1'].forward(X)
    hidden = model['relu1'].forward(hidden_in)
    logits = model['L2'].forward(hidden)
    return hidden_in, hidden, logits


def backward_prop(model, X, Y, hidden_in, hidden, logits):
    d_logits = model['loss'].backward(logits, Y)
    d_hidden = model['L2'].backward(hidden, d_logits)
    d_hidden_in = model['relu1'].backward(hidden_in, d_hidden)
    model['L1'].backward(X, d_hidden_in)


def flatten(model, what):
    vectors = []
    for name in ('L1', 'L2'):
        source = model[name].params if what == 'params' else model[name].gradient
        for key in ('W', 'b'):
            vectors.append(source[key].ravel())
    return np.concatenate(vectors)


def unflatten(model, theta):
    start = 0
    for name in ('L1', 'L2'):
        for key in ('W', 'b'):
            shape = model[name].params[key].shape
            size = int(np.prod(shape))
            model[name].params[key] = theta[start:start + size].reshape(shape).copy()
            start += size


def gradient_checking(model, X, Y, epsilon=1e-5):
    hidden_in, hidden, logits = forward_prop(model, X)
    backward_prop(model, X, Y, hidden_in, hidden, logits)
    theta = flatten(model, 'params')
    grad = flatten(model, 'gradient')
    approx = np.zeros_like(theta)
    for i in range(theta.size):
        for sign in (1, -1):
            moved = theta.copy()
            moved[i] += sign * epsilon
            unflatten(model, moved)
            approx[i] += sign * model['loss'].forward(forward_prop(model, X)[2], Y)
        approx[i] /= 2 * epsilon
    unflatten(model, theta)
    rel = np.linalg.norm(grad - approx) / (np.linalg.norm(grad) + np.linalg.norm(approx))
    return rel


def main(hidden=100, epochs=20, batch_size=5, learning_rate=0.01, beta=0.9, patience=3):
    np.random.seed(7)
    Xtrain, Ytrain, Xval, Yval, Xtest, Ytest = utils.data_loader_mnist(dataset='mnist_subset.json')
    N, D = Xtrain.shape
    model = {'L1': linear_layer(D, hidden), 'relu1': relu(), 'L2': linear_layer(hidden, 10),
             'loss': utils.softmax_cross_entropy()}
    best_val = -1
    best_params = None
    waited = 0
    for epoch in range(epochs):
        order = np.random.permutation(N)
        epoch_loss = 0.0
        for start in range(0, N, batch_size):
            chosen = order[start:start + batch_size]
            X, Y = Xtrain[chosen], Ytrain[chosen]
            hidden_in, hidden_out, logits = forward_prop(model, X)
            epoch_loss += model['loss'].forward(logits, Y) * len(chosen)
            backward_prop(model, X, Y, hidden_in, hidden_out, logits)
            miniBatchGradientDescent(model, learning_rate, beta)
        predictions = utils.predict_label(forward_prop(model, Xval)[2])
        val_acc = (predictions.ravel() == Yval.ravel()).mean()
        print('epoch', epoch, 'loss', epoch_loss / N, 'validation accuracy', val_acc)
        if val_acc > best_val:
            best_val = val_acc
            best_params = flatten(model, 'params')
            waited = 0
        else:
            waited += 1
            if waited == patience:
                break
    unflatten(model, best_params)
    predictions = utils.predict_label(forward_prop(model, Xtest)[2])
    print('test accuracy', (predictions.ravel() == Ytest.ravel()).mean())


if __name__ == '__main__':
    main()

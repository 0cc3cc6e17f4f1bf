import numpy as np
from utils import softmax_cross_entropy, data_loader_mnist, predict_label, DataSplit

STD = 0.1


def affine(X, W, b):
    return X.dot(W) + b


def affine_grad(X, W, G):
    dW = X.T.dot(G)
    db = G.sum(axis=0)
    dX = G.dot(W.T)
    return dX, dW, db


class linear_layer(object):
    def __init__(self, input_D, output_D):
        self.params = {
            'W': np.random.normal(0.0, STD, size=(input_D, output_D)),
            'b': np.random.normal(0.0, STD, size=(1, output_D)),
        }
        self.gradient = {'W': np.zeros((input_D, output_D)), 'b': np.zeros((1, output_D))}

    def forward(self, X):
        return affine(X, self.params['W'], self.params['b'])

    def backward(self, X, grad):
        dX, dW, db = affine_grad(X, self.params['W'], grad)
        self.gradient['W'] = dW
        self.gradient['b'] = db.reshape(1, -1)
        return dX


class relu(object):
    def forward(self, X):
        self.positive = X > 0
        return X * self.positive

    def backward(self, X, grad):
        return grad * self.positive


class Net(object):
    def __init__(self, sizes):
        self.layers = {}
        for k in range(len(sizes) - 1):
            self.layers['L%d' % (k + 1)] = linear_layer(sizes[k], sizes[k + 1])
            if k < len(sizes) - 2:
                self.layers['relu%d' % (k + 1)] = relu()
        self.loss = softmax_cross_entropy()


def network_forward(layers, X):
    inputs = []
    out = X
    for layer in layers.values():
        inputs.append(out)
        out = layer.forward(out)
    return out, inputs


def network_backward(layers, inputs, grad):
    for layer, inp in zip(reversed(list(layers.values())), reversed(inputs)):
        grad = layer.backward(inp, grad)
    return grad


def miniBatchGradientDescent(model, learning_rate, weight_decay=0.0):
    for layer in model.values():
        if not hasattr(layer, 'params'):
            continue
        layer.params['W'] -= learning_rate * (layer.gradient['W'] + weight_decay * layer.params['W'])
        layer.params['b'] -= learning_rate * layer.gradient['b']
    return model


def gradient_check(layers, loss, X, Y, eps=1e-5, tol=1e-6):
    out, inputs = network_forward(layers, X)
    network_backward(layers, inputs, loss.backward(out, Y))
    result = True
    for layer in layers.values():
        if not hasattr(layer, 'params'):
            continue
        for key, value in layer.params.items():
            exact = layer.gradient[key]
            for pos in np.ndindex(value.shape):
                original = value[pos]
                value[pos] = original + eps
                fp = loss.forward(network_forward(layers, X)[0], Y)
                value[pos] = original - eps
                fm = loss.forward(network_forward(layers, X)[0], Y)
                value[pos] = original
                if abs((fp - fm) / (2 * eps) - exact[pos]) > tol:
                    result = False
    return result


def score(layers, split, N):
    hits = 0
    for k in range(0, N, 500):
        X, Y = split.get_example(np.arange(k, min(k + 500, N)))
        hits += np.sum(predict_label(network_forward(layers, X)[0]) == Y)
    return hits / float(N)


def train_one_epoch(net, split, N, batch, lr):
    order = np.random.permutation(N)
    losses = []
    for k in range(N // batch):
        X, Y = split.get_example(order[k * batch:(k + 1) * batch])
        out, inputs = network_forward(net.layers, X)
        losses.append(net.loss.forward(out, Y))
        network_backward(net.layers, inputs, net.loss.backward(out, Y))
        miniBatchGradientDescent(net.layers, lr)
    return np.mean(losses)


def main():
    np.random.seed(2023)
    Xtrain, Ytrain, Xval, Yval, Xtest, Ytest = data_loader_mnist(dataset='mnist_subset.json')
    train, val, test = DataSplit(Xtrain, Ytrain), DataSplit(Xval, Yval), DataSplit(Xtest, Ytest)
    net = Net([Xtrain.shape[1], 200, 10])
    lr = 0.01
    best_val, best_test = 0.0, 0.0
    for epoch in range(10):
        mean_loss = train_one_epoch(net, train, len(Xtrain), 5, lr)
        v = score(net.layers, val, len(Xval))
        if v > best_val:
            best_val = v
            best_test = score(net.layers, test, len(Xtest))
        lr = lr * 0.95
        print('epoch %d loss %.4f val %.4f' % (epoch + 1, mean_loss, v))
    print('test %.4f' % best_test)


if __name__ == '__main__':
    main()

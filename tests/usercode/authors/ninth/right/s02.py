import numpy as np
from copy import deepcopy
from utils import softmax_cross_entropy, DataSplit, data_loader_mnist, predict_label

# I wrote the layers with explicit loops over the examples because
# it is easier for me to see where each derivative comes from.


class linear_layer(object):
    def __init__(self, input_D, output_D):
        W = 0.1 * np.random.randn(input_D, output_D)
        b = 0.1 * np.random.randn(output_D)
        self.params = {'W': W, 'b': b}
        self.gradient = {'W': np.zeros_like(W), 'b': np.zeros_like(b)}

    def forward(self, X):
        n = X.shape[0]
        out = np.zeros((n, self.params['W'].shape[1]))
        for i in range(n):
            out[i] = X[i].dot(self.params['W']) + self.params['b']
        return out

    def backward(self, X, grad):
        self.gradient['W'][:] = 0
        self.gradient['b'][:] = 0
        dX = np.zeros(X.shape)
        for i in range(X.shape[0]):
            self.gradient['W'] += np.outer(X[i], grad[i])
            self.gradient['b'] += grad[i]
            dX[i] = self.params['W'].dot(grad[i])
        return dX


class relu(object):
    def forward(self, X):
        out = np.array(X, dtype=float)
        out[X < 0] = 0
        return out

    def backward(self, X, grad):
        dX = np.array(grad, dtype=float)
        dX[X <= 0] = 0
        return dX


def miniBatchGradientDescent(model, learning_rate):
    for layer in model.values():
        if not isinstance(layer, linear_layer):
            continue
        layer.params['W'] = layer.params['W'] - learning_rate * layer.gradient['W']
        layer.params['b'] = layer.params['b'] - learning_rate * layer.gradient['b']


def predict(model, X):
    z = model['first'].forward(X)
    h = model['relu'].forward(z)
    o = model['second'].forward(h)
    return z, h, o


def backprop(model, X, z, h, dout):
    dh = model['second'].backward(h, dout)
    dz = model['relu'].backward(z, dh)
    model['first'].backward(X, dz)


def check_gradients(model, loss, X, Y, how_many=4):
    e = 0.001
    z, h, o = predict(model, X)
    backprop(model, X, z, h, loss.backward(o, Y))
    worst = 0.0
    for name in ('first', 'second'):
        layer = model[name]
        for p in ('W', 'b'):
            saved = deepcopy(layer.gradient[p])
            for k in range(how_many):
                index = tuple(np.random.randint(s) for s in layer.params[p].shape)
                layer.params[p][index] += e
                up = loss.forward(predict(model, X)[2], Y)
                layer.params[p][index] -= 2 * e
                down = loss.forward(predict(model, X)[2], Y)
                layer.params[p][index] += e
                num = (up - down) / (2 * e)
                worst = max(worst, abs(num - saved[index]))
                print(name, p, index, round(num, 8), round(saved[index], 8))
    agree = worst < 1e-4
    print('biggest difference', worst, '-> agree' if agree else '-> DO NOT AGREE')
    return agree


def count_right(model, split):
    right = 0
    for i in range(0, split.N, 100):
        X, Y = split.get_example(list(range(i, min(i + 100, split.N))))
        guess = np.ravel(predict_label(predict(model, X)[2]))
        truth = np.ravel(Y)
        for g, t in zip(guess, truth):
            if int(g) == int(t):
                right += 1
    return right


def main(dataset='mnist_subset.json', epochs=10, batch=5, learning_rate=0.01, seed=1):
    np.random.seed(seed)
    Xtrain, Ytrain, Xval, Yval, Xtest, Ytest = data_loader_mnist(dataset)
    train = DataSplit(Xtrain, Ytrain)
    val = DataSplit(Xval, Yval)
    model = {
        'first': linear_layer(Xtrain.shape[1], 128),
        'relu': relu(),
        'second': linear_layer(128, 10),
    }
    loss = softmax_cross_entropy()
    X, Y = train.get_example(list(range(batch)))
    check_gradients(model, loss, X, Y)

    order = list(range(train.N))
    train_accs, val_accs = [], []
    best, best_acc = None, -1
    for epoch in range(epochs):
        np.random.shuffle(order)
        total = 0
        for start in range(0, train.N, batch):
            chosen = order[start:start + batch]
            X, Y = train.get_example(chosen)
            z, h, o = predict(model, X)
            total += loss.forward(o, Y) * len(chosen)
            dout = loss.backward(o, Y)
            backprop(model, X, z, h, dout)
            miniBatchGradientDescent(model, learning_rate)
        train_acc = count_right(model, train) / train.N
        val_acc = count_right(model, val) / val.N
        train_accs.append(train_acc)
        val_accs.append(val_acc)
        print('epoch', epoch, 'loss', total / train.N, 'train', train_acc, 'val', val_acc)
        if val_acc > best_acc:
            best_acc = val_acc
            best = deepcopy(model)
    print('best', best_acc)
    return best, train_accs, val_accs


if __name__ == '__main__':
    main()

import argparse
import numpy as np
from utils import softmax_cross_entropy, add_momentum, data_loader_mnist, predict_label, DataSplit

# ---------------------------------------------------------------- modules


class linear_layer:
    def __init__(self, input_D, output_D):
        mu, sigma = 0, 0.1
        self.params = {}
        self.params['W'] = np.random.normal(mu, sigma, input_D * output_D).reshape(input_D, output_D)
        self.params['b'] = np.random.normal(mu, sigma, output_D).reshape(1, output_D)
        self.gradient = {}
        self.gradient['W'] = np.zeros((input_D, output_D))
        self.gradient['b'] = np.zeros((1, output_D))

    def forward(self, X):
        ones = np.ones((X.shape[0], 1))
        return np.matmul(X, self.params['W']) + np.matmul(ones, self.params['b'])

    def backward(self, X, grad):
        ones = np.ones((X.shape[0], 1))
        W = self.params['W']
        self.gradient['W'] = np.matmul(np.transpose(X), grad)
        self.gradient['b'] = np.matmul(ones.T, grad)
        return np.matmul(grad, np.transpose(W))


class relu:
    def forward(self, X):
        return (np.abs(X) + X) / 2

    def backward(self, X, grad):
        step = np.zeros(X.shape)
        step[X > 0] = 1
        return np.multiply(grad, step)


# ---------------------------------------------------------------- descent


def miniBatchGradientDescent(model, momentum, learning_rate, alpha=0.0):
    for module_name, module in model.items():
        if not hasattr(module, 'params'):
            continue
        for key in module.params.keys():
            g = module.gradient[key]
            if alpha <= 0.0:
                module.params[key] = module.params[key] - learning_rate * g
            else:
                name = module_name + '_' + key
                momentum[name] = alpha * momentum[name] - learning_rate * g
                module.params[key] = module.params[key] + momentum[name]
    return model


# ---------------------------------------------------------------- whole net


def fprop(model, x):
    z1 = model['L1'].forward(x)
    a1 = model['relu1'].forward(z1)
    z2 = model['L2'].forward(a1)
    a2 = model['relu2'].forward(z2)
    z3 = model['L3'].forward(a2)
    cache = {'x': x, 'z1': z1, 'a1': a1, 'z2': z2, 'a2': a2, 'z3': z3}
    return cache


def bprop(model, cache, y):
    dz3 = model['loss'].backward(cache['z3'], y)
    da2 = model['L3'].backward(cache['a2'], dz3)
    dz2 = model['relu2'].backward(cache['z2'], da2)
    da1 = model['L2'].backward(cache['a1'], dz2)
    dz1 = model['relu1'].backward(cache['z1'], da1)
    model['L1'].backward(cache['x'], dz1)


def cost(model, x, y):
    return model['loss'].forward(fprop(model, x)['z3'], y)


def check(model, x, y):
    bprop(model, fprop(model, x), y)
    eps = 1e-4
    numeric, analytic = [], []
    for layer in ('L1', 'L2', 'L3'):
        for key in ('W', 'b'):
            P = model[layer].params[key]
            for i in range(P.shape[0]):
                for j in range(P.shape[1]):
                    P[i, j] += eps
                    c_plus = cost(model, x, y)
                    P[i, j] -= 2 * eps
                    c_minus = cost(model, x, y)
                    P[i, j] += eps
                    numeric.append((c_plus - c_minus) / (2 * eps))
                    analytic.append(model[layer].gradient[key][i, j])
    numeric, analytic = np.array(numeric), np.array(analytic)
    difference = np.linalg.norm(numeric - analytic) / np.linalg.norm(numeric + analytic)
    print('relative difference', difference)
    return difference < 1e-5


# ---------------------------------------------------------------- training


def main(args):
    np.random.seed(args.seed)
    Xtrain, Ytrain, Xval, Yval, Xtest, Ytest = data_loader_mnist(dataset=args.data)
    N, d = Xtrain.shape
    trainSet = DataSplit(Xtrain, Ytrain)
    model = {}
    model['L1'] = linear_layer(d, args.hidden)
    model['relu1'] = relu()
    model['L2'] = linear_layer(args.hidden, args.hidden // 2)
    model['relu2'] = relu()
    model['L3'] = linear_layer(args.hidden // 2, 10)
    model['loss'] = softmax_cross_entropy()
    momentum = add_momentum(model)
    rate = args.rate
    records = []
    for epoch in range(args.epochs):
        idx = np.random.permutation(N)
        running_loss, batches = 0.0, 0
        for i in range(N // args.batch):
            x, y = trainSet.get_example(idx[i * args.batch: (i + 1) * args.batch])
            cache = fprop(model, x)
            running_loss += model['loss'].forward(cache['z3'], y)
            batches += 1
            bprop(model, cache, y)
            model = miniBatchGradientDescent(model, momentum, rate, args.alpha)
        val_pred = predict_label(fprop(model, Xval)['z3'])
        test_pred = predict_label(fprop(model, Xtest)['z3'])
        val_acc = np.mean(val_pred.flatten() == Yval.flatten())
        test_acc = np.mean(test_pred.flatten() == Ytest.flatten())
        records.append((running_loss / batches, val_acc, test_acc))
        print('epoch', epoch, records[-1])
    best = max(range(args.epochs), key=lambda e: records[e][1])
    print('best epoch', best, 'test accuracy', records[best][2])


if __name__ == '__main__':
    p = argparse.ArgumentParser()
    p.add_argument('--seed', type=int, default=42)
    p.add_argument('--data', default='mnist_subset.json')
    p.add_argument('--hidden', type=int, default=100)
    p.add_argument('--rate', type=float, default=0.01)
    p.add_argument('--alpha', type=float, default=0.0)
    p.add_argument('--epochs', type=int, default=10)
    p.add_argument('--batch', type=int, default=5)
    main(p.parse_args())

"""CSCI 567 HW -- neural networks (backward pass inside main, as in the template)"""
import numpy as np
from utils import softmax_cross_entropy, predict_label, data_loader_mnist, DataSplit


class linear_layer:
    # uses the "bias trick": [X 1] [W; b]

    def __init__(self, input_D, output_D):
        theta = np.random.normal(0, 0.1, (input_D + 1, output_D))
        self.params = {'W': theta[:-1, :].copy(), 'b': theta[-1:, :].copy()}
        self.gradient = {'W': np.zeros((input_D, output_D)), 'b': np.zeros((1, output_D))}

    def augment(self, X):
        ones = np.ones((X.shape[0], 1))
        return np.hstack([X, ones])

    def theta(self):
        return np.vstack([self.params['W'], self.params['b']])

    def forward(self, X):
        return np.dot(self.augment(X), self.theta())

    def backward(self, X, grad):
        dtheta = np.dot(self.augment(X).T, grad)
        self.gradient['W'] = dtheta[:-1, :]
        self.gradient['b'] = dtheta[-1:, :]
        dXa = np.dot(grad, self.theta().T)
        return dXa[:, :-1]


class relu:
    def forward(self, X):
        Y = X.copy()
        Y[X < 0] = 0
        return Y

    def backward(self, X, grad):
        G = grad.copy()
        G[X <= 0] = 0
        return G


def miniBatchGradientDescent(model, learning_rate):
    for k, module in model.items():
        if hasattr(module, 'params'):
            for p in module.params:
                module.params[p] -= learning_rate * module.gradient[p]
    return model


def check_gradient(model, x, y, layer='L1', eps=1e-5):
    """compare model[layer].gradient (already computed) with central differences"""
    def f():
        z = model['L1'].forward(x)
        z = model['nonlinear1'].forward(z)
        z = model['L2'].forward(z)
        return model['loss'].forward(z, y)

    errors = []
    for p in ['W', 'b']:
        A = model[layer].params[p]
        for i in range(A.shape[0]):
            for j in range(A.shape[1]):
                orig = A[i, j]
                A[i, j] = orig + eps
                f1 = f()
                A[i, j] = orig - eps
                f2 = f()
                A[i, j] = orig
                numeric = (f1 - f2) / (2 * eps)
                errors.append(abs(numeric - model[layer].gradient[p][i, j]))
    return max(errors) < 1e-6


def main(num_epoch=2, minibatch_size=5, learning_rate=0.1, num_L1=12):
    np.random.seed(int(10))
    Xtrain, Ytrain, Xval, Yval, _, _ = data_loader_mnist(dataset='mnist_subset.json')
    trainSet, valSet = DataSplit(Xtrain, Ytrain), DataSplit(Xval, Yval)

    model = dict()
    model['L1'] = linear_layer(input_D=trainSet.d, output_D=num_L1)
    model['nonlinear1'] = relu()
    model['L2'] = linear_layer(input_D=num_L1, output_D=10)
    model['loss'] = softmax_cross_entropy()

    for t in range(num_epoch):
        idx_order = np.random.permutation(trainSet.N)
        for i in range(int(np.floor(trainSet.N / minibatch_size))):
            x, y = trainSet.get_example(idx_order[i * minibatch_size:(i + 1) * minibatch_size])
            # forward
            a1 = model['L1'].forward(x)
            h1 = model['nonlinear1'].forward(a1)
            a2 = model['L2'].forward(h1)
            loss = model['loss'].forward(a2, y)
            # backward
            grad_a2 = model['loss'].backward(a2, y)
            grad_h1 = model['L2'].backward(h1, grad_a2)
            grad_a1 = model['nonlinear1'].backward(a1, grad_h1)
            grad_x = model['L1'].backward(x, grad_a1)
            # update
            model = miniBatchGradientDescent(model, learning_rate)
        a2 = model['L2'].forward(model['nonlinear1'].forward(model['L1'].forward(valSet.X)))
        print('epoch', t + 1, 'loss', loss, 'val acc', np.mean(predict_label(a2) == valSet.Y))
    return model


if __name__ == "__main__":
    main()

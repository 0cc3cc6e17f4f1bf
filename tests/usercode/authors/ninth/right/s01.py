"""Two-layer network on MNIST, dictionary of layers."""
import copy

import numpy as np

from utils import softmax_cross_entropy, DataSplit, data_loader_mnist, predict_label


class linear_layer:
    """y = X W + b"""

    def __init__(self, input_D, output_D):
        self.params = dict()
        self.gradient = dict()
        self.params['W'] = np.random.normal(0, 0.1, (input_D, output_D))
        self.params['b'] = np.random.normal(0, 0.1, (1, output_D))
        self.gradient['W'] = np.zeros((input_D, output_D))
        self.gradient['b'] = np.zeros((1, output_D))

    def forward(self, X):
        forward_output = np.dot(X, self.params['W']) + self.params['b']
        return forward_output

    def backward(self, X, grad):
        self.gradient['W'] = np.dot(X.T, grad)
        self.gradient['b'] = np.sum(grad, axis=0, keepdims=True)
        backward_output = np.dot(grad, self.params['W'].T)
        return backward_output


class relu:
    def __init__(self):
        self.mask = None

    def forward(self, X):
        self.mask = (X > 0).astype(float)
        forward_output = X * self.mask
        return forward_output

    def backward(self, X, grad):
        backward_output = grad * self.mask
        return backward_output


def miniBatchGradientDescent(model, learning_rate):
    for module_name, module in model.items():
        # only layers with parameters
        if hasattr(module, 'params'):
            for key in module.params:
                g = module.gradient[key]
                module.params[key] -= learning_rate * g
    return model


def forward_pass(model, x):
    a1 = model['L1'].forward(x)
    h1 = model['nonlinear1'].forward(a1)
    a2 = model['L2'].forward(h1)
    return a1, h1, a2


def backward_pass(model, x, a1, h1, a2, y):
    grad_a2 = model['loss'].backward(a2, y)
    grad_h1 = model['L2'].backward(h1, grad_a2)
    grad_a1 = model['nonlinear1'].backward(a1, grad_h1)
    grad_x = model['L1'].backward(x, grad_a1)
    return grad_x


def gradient_checker(model, x, y, n_checks=5, e=0.001):
    """Compare backprop with central differences on some entries."""
    a1, h1, a2 = forward_pass(model, x)
    backward_pass(model, x, a1, h1, a2, y)
    all_ok = True
    for name in ['L1', 'L2']:
        for key in ['W', 'b']:
            param = model[name].params[key]
            analytic = model[name].gradient[key].copy()
            for _ in range(n_checks):
                i = np.random.randint(param.shape[0])
                j = np.random.randint(param.shape[1])
                old = param[i, j]
                param[i, j] = old + e
                f_plus = model['loss'].forward(forward_pass(model, x)[2], y)
                param[i, j] = old - e
                f_minus = model['loss'].forward(forward_pass(model, x)[2], y)
                param[i, j] = old
                numeric = (f_plus - f_minus) / (2 * e)
                diff = abs(numeric - analytic[i, j])
                print('%s %s [%d,%d]  backprop %.8f  numeric %.8f' % (name, key, i, j, analytic[i, j], numeric))
                if diff > 1e-3 * max(1e-1, abs(numeric)):
                    all_ok = False
    print('gradient check', 'passed' if all_ok else 'FAILED')
    return all_ok


def accuracy(model, data, chunk=500):
    correct = 0
    for start in range(0, data.N, chunk):
        x, y = data.get_example(np.arange(start, min(start + chunk, data.N)))
        _, _, a2 = forward_pass(model, x)
        correct += np.sum(np.ravel(predict_label(a2)) == np.ravel(y))
    return correct / data.N


def main(dataset='mnist_subset.json', num_epoch=10, minibatch_size=5, learning_rate=0.01):
    np.random.seed(42)
    Xtrain, Ytrain, Xval, Yval, _, _ = data_loader_mnist(dataset)
    N_train, d = Xtrain.shape
    trainSet = DataSplit(Xtrain, Ytrain)
    valSet = DataSplit(Xval, Yval)

    model = dict()
    model['L1'] = linear_layer(input_D=d, output_D=128)
    model['nonlinear1'] = relu()
    model['L2'] = linear_layer(input_D=128, output_D=10)
    model['loss'] = softmax_cross_entropy()

    x, y = trainSet.get_example(np.arange(5))
    gradient_checker(model, x, y)

    train_acc_record = []
    val_acc_record = []
    best_val_acc = 0.0
    best_model = copy.deepcopy(model)

    for t in range(num_epoch):
        idx_order = np.random.permutation(N_train)
        train_loss = 0.0
        for i in range(int(np.ceil(N_train / minibatch_size))):
            x, y = trainSet.get_example(idx_order[i * minibatch_size:(i + 1) * minibatch_size])
            a1, h1, a2 = forward_pass(model, x)
            train_loss += len(x) * model['loss'].forward(a2, y)
            backward_pass(model, x, a1, h1, a2, y)
            model = miniBatchGradientDescent(model, learning_rate)

        train_acc = accuracy(model, trainSet)
        val_acc = accuracy(model, valSet)
        train_acc_record.append(train_acc)
        val_acc_record.append(val_acc)
        print('epoch %d loss %.6f train acc %.4f val acc %.4f' % (t + 1, train_loss / N_train, train_acc, val_acc))
        if val_acc > best_val_acc:
            best_val_acc = val_acc
            best_model = copy.deepcopy(model)

    print('best validation accuracy:', best_val_acc)
    return best_model, train_acc_record, val_acc_record


if __name__ == "__main__":
    main()

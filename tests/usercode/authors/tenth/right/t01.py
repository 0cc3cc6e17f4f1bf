"""
Homework 3: multi-layer perceptron on Fashion MNIST
784 -> 128 (relu) -> 10
"""
import copy

import numpy as np

from utils import softmax_cross_entropy, add_momentum, data_loader_mnist, predict_label, DataSplit


class linear_layer:

    def __init__(self, input_D, output_D):
        self.params = dict()
        self.params['W'] = np.random.normal(0, 0.1, (input_D, output_D))
        self.params['b'] = np.random.normal(0, 0.1, (1, output_D))

        self.gradient = dict()
        self.gradient['W'] = np.zeros((input_D, output_D))
        self.gradient['b'] = np.zeros((1, output_D))

    def forward(self, X):
        forward_output = np.matmul(X, self.params['W']) + self.params['b']
        return forward_output

    def backward(self, X, grad):
        self.gradient['W'] = np.matmul(X.T, grad)
        self.gradient['b'] = np.sum(grad, axis=0, keepdims=True)
        backward_output = np.matmul(grad, self.params['W'].T)
        return backward_output


class relu:

    def forward(self, X):
        forward_output = np.maximum(0, X)
        return forward_output

    def backward(self, X, grad):
        backward_output = grad * (X > 0)
        return backward_output


def miniBatchGradientDescent(model, momentum, _alpha, _learning_rate):
    for module_name, module in model.items():
        # relu and the loss have nothing to learn
        if hasattr(module, 'params'):
            for key in module.params:
                g = module.gradient[key]
                if _alpha > 0:
                    m_name = module_name + '_' + key
                    momentum[m_name] = _alpha * momentum[m_name] - _learning_rate * g
                    module.params[key] = module.params[key] + momentum[m_name]
                else:
                    module.params[key] = module.params[key] - _learning_rate * g
    return model


def forward_pass(model, x, y):
    a1 = model['L1'].forward(x)
    h1 = model['nonlinear1'].forward(a1)
    a2 = model['L2'].forward(h1)
    loss = model['loss'].forward(a2, y)
    return a1, h1, a2, loss


def backward_pass(model, x, a1, h1, a2, y):
    grad_a2 = model['loss'].backward(a2, y)
    grad_h1 = model['L2'].backward(h1, grad_a2)
    grad_a1 = model['nonlinear1'].backward(a1, grad_h1)
    grad_x = model['L1'].backward(x, grad_a1)
    return grad_x


def gradient_checker(model, x, y, epsilon=1e-5):
    """prints backpropagation next to the central difference for a few entries"""
    a1, h1, a2, _ = forward_pass(model, x, y)
    backward_pass(model, x, a1, h1, a2, y)

    # a hidden unit that is active, otherwise everything is just zero
    j = int(np.argmax(np.abs(model['L1'].gradient['b'])))
    for layer, key, pos in [('L1', 'W', (x.shape[1] // 2, j)), ('L1', 'b', (0, j)),
                            ('L2', 'W', (j, 1)), ('L2', 'b', (0, 1))]:
        weights = model[layer].params[key]
        original = weights[pos]

        weights[pos] = original + epsilon
        loss_plus = forward_pass(model, x, y)[3]
        weights[pos] = original - epsilon
        loss_minus = forward_pass(model, x, y)[3]
        weights[pos] = original

        numeric = (loss_plus - loss_minus) / (2 * epsilon)
        print('check %s %s %s: backprop %.8f numeric %.8f'
              % (layer, key, pos, model[layer].gradient[key][pos], numeric))


def magnitude_checker(model):
    for layer in ['L1', 'L2']:
        for key in ['W', 'b']:
            size = np.abs(model[layer].gradient[key]).mean()
            print('mean |gradient| of %s %s is %.3e' % (layer, key, size))


def get_accuracy(model, data, batch=100):
    correct = 0
    for start in range(0, data.N, batch):
        x, y = data.get_example(np.arange(start, min(start + batch, data.N)))
        _, _, a2, _ = forward_pass(model, x, y)
        correct += np.sum(predict_label(a2) == y)
    return correct / data.N


def main(main_params):
    np.random.seed(int(main_params['random_seed']))

    Xtrain, Ytrain, Xval, Yval, Xtest, Ytest = data_loader_mnist(dataset=main_params['input_file'])
    trainSet = DataSplit(Xtrain, Ytrain)
    valSet = DataSplit(Xval, Yval)
    testSet = DataSplit(Xtest, Ytest)

    model = dict()
    model['L1'] = linear_layer(input_D=Xtrain.shape[1], output_D=128)
    model['nonlinear1'] = relu()
    model['L2'] = linear_layer(input_D=128, output_D=10)
    model['loss'] = softmax_cross_entropy()

    alpha = main_params['alpha']
    learning_rate = main_params['learning_rate']
    minibatch_size = int(main_params['minibatch_size'])
    momentum = add_momentum(model) if alpha > 0 else None

    if main_params.get('check_gradient'):
        x, y = trainSet.get_example(np.arange(5))
        gradient_checker(model, x, y)
        magnitude_checker(model)

    patience = main_params.get('patience', 5)
    best_acc, best_model, wait = -1.0, None, 0
    train_accs, val_accs = [], []

    for t in range(int(main_params['num_epoch'])):
        idx_order = np.random.permutation(trainSet.N)
        for i in range(int(np.ceil(trainSet.N / minibatch_size))):
            x, y = trainSet.get_example(idx_order[i * minibatch_size:(i + 1) * minibatch_size])
            a1, h1, a2, loss = forward_pass(model, x, y)
            backward_pass(model, x, a1, h1, a2, y)
            miniBatchGradientDescent(model, momentum, alpha, learning_rate)

        train_acc = get_accuracy(model, trainSet)
        val_acc = get_accuracy(model, valSet)
        train_accs.append(train_acc)
        val_accs.append(val_acc)
        print('epoch %d: training accuracy %.4f, validation accuracy %.4f' % (t + 1, train_acc, val_acc))

        if val_acc > best_acc:
            best_acc = val_acc
            best_model = copy.deepcopy(model)
            wait = 0
        else:
            wait += 1
            if main_params['early_stopping'] and wait >= patience:
                print('no improvement for %d epochs, stop' % wait)
                break

    test_acc = get_accuracy(best_model, testSet)
    print('test accuracy %.4f' % test_acc)
    return train_accs, val_accs, test_acc


if __name__ == '__main__':
    main({'input_file': 'fmnist.json', 'learning_rate': 0.01, 'alpha': 0.9, 'num_epoch': 10,
          'minibatch_size': 5, 'early_stopping': True, 'patience': 5,
          'check_gradient': True, 'random_seed': 42})

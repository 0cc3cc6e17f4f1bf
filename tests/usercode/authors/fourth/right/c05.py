import numpy as np
from utils import softmax_cross_entropy, data_loader_mnist, predict_label, DataSplit

################################################
#  Problem 3 - MLP
################################################

class linear_layer:
    # W : input_D x output_D
    # b : 1 x output_D
    def __init__(self, input_D, output_D):
        mu, sigma = 0, 0.1
        self.params = dict()
        self.gradient = dict()
        self.params['W'] = np.random.normal(mu, sigma, size=(input_D, output_D))
        self.params['b'] = np.random.normal(mu, sigma, size=(1, output_D))
        self.gradient['W'] = np.zeros_like(self.params['W'])
        self.gradient['b'] = np.zeros_like(self.params['b'])

    def forward(self, X):
        W = self.params['W']
        b = self.params['b']
        Z = X.dot(W)
        Z = Z + b
        return Z

    def backward(self, X, grad):
        W = self.params['W']
        dW = X.T.dot(grad)
        db = np.sum(grad, axis=0)[np.newaxis, :]
        dX = grad.dot(W.T)
        self.gradient['W'] = dW
        self.gradient['b'] = db
        return dX


class relu:
    def forward(self, X):
        A = X.copy()
        A[A < 0] = 0
        return A

    def backward(self, X, grad):
        derivative = np.zeros_like(X)
        derivative[X > 0] = 1
        return grad * derivative


def miniBatchGradientDescent(model, learning_rate, weight_decay=0.0):
    for name in model.keys():
        layer = model[name]
        if not hasattr(layer, 'params'):
            continue
        for key in layer.params.keys():
            step = layer.gradient[key]
            if key == 'W' and weight_decay > 0:
                step = step + weight_decay * layer.params[key]
            layer.params[key] = layer.params[key] - learning_rate * step
    return model


def gradient_check(layer, X, eps=1e-6, tolerance=1e-5):
    """
    Checks one layer on its own. The loss is sum(G * layer.forward(X)) with a random G.
    """
    G = np.random.randn(*layer.forward(X).shape)
    dX = layer.backward(X, G)

    def loss():
        return np.sum(G * layer.forward(X))

    def compare(name, array, analytic):
        numeric = np.zeros(array.shape)
        for index in np.ndindex(*array.shape):
            original = array[index]
            array[index] = original + eps
            loss_plus = loss()
            array[index] = original - eps
            loss_minus = loss()
            array[index] = original
            numeric[index] = (loss_plus - loss_minus) / (2 * eps)
        difference = np.linalg.norm(numeric - analytic)
        scale = np.linalg.norm(numeric) + np.linalg.norm(analytic) + 1e-12
        passed = difference / scale < tolerance
        print(name, 'OK' if passed else 'WRONG', difference / scale)
        return passed

    results = [compare('X', X, dX)]
    if hasattr(layer, 'params'):
        for key in layer.params:
            results.append(compare(key, layer.params[key], layer.gradient[key]))
    return all(results)


def main(main_params):
    np.random.seed(main_params['random_seed'])

    # ---- data ----
    Xtrain, Ytrain, Xvalid, Yvalid, Xtest, Ytest = data_loader_mnist(dataset=main_params['input_file'])
    N_train, D = Xtrain.shape
    N_valid = Xvalid.shape[0]
    mean = Xtrain.mean(axis=0)
    Xtrain = Xtrain - mean
    Xvalid = Xvalid - mean
    trainSet = DataSplit(Xtrain, Ytrain)
    validSet = DataSplit(Xvalid, Yvalid)

    # ---- model ----
    H = main_params['num_hidden']
    model = dict()
    model['L1'] = linear_layer(D, H)
    model['nonlinear1'] = relu()
    model['L2'] = linear_layer(H, 10)
    model['loss'] = softmax_cross_entropy()

    batch = main_params['minibatch_size']
    lr = main_params['learning_rate']
    lam = main_params.get('weight_decay', 0.0)
    train_acc_list = []
    valid_acc_list = []

    for epoch in range(main_params['num_epoch']):
        shuffled = np.random.permutation(N_train)
        train_hits = 0
        valid_hits = 0

        for k in range(int(np.ceil(N_train / batch))):
            chosen = shuffled[k * batch:(k + 1) * batch]
            x, y = trainSet.get_example(chosen)

            ### forward ###
            a1 = model['L1'].forward(x)
            h1 = model['nonlinear1'].forward(a1)
            a2 = model['L2'].forward(h1)
            loss = model['loss'].forward(a2, y)

            ### backward ###
            grad_a2 = model['loss'].backward(a2, y)
            grad_h1 = model['L2'].backward(h1, grad_a2)
            grad_a1 = model['nonlinear1'].backward(a1, grad_h1)
            grad_x = model['L1'].backward(x, grad_a1)

            ### update ###
            model = miniBatchGradientDescent(model, lr, weight_decay=lam)

        ### training accuracy ###
        for k in range(int(np.ceil(N_train / batch))):
            x, y = trainSet.get_example(np.arange(k * batch, min(N_train, (k + 1) * batch)))
            a1 = model['L1'].forward(x)
            h1 = model['nonlinear1'].forward(a1)
            a2 = model['L2'].forward(h1)
            train_hits += np.sum(predict_label(a2) == y)

        ### validation accuracy ###
        for k in range(int(np.ceil(N_valid / batch))):
            x, y = validSet.get_example(np.arange(k * batch, min(N_valid, (k + 1) * batch)))
            a1 = model['L1'].forward(x)
            h1 = model['nonlinear1'].forward(a1)
            a2 = model['L2'].forward(h1)
            valid_hits += np.sum(predict_label(a2) == y)

        train_acc_list.append(train_hits / N_train)
        valid_acc_list.append(valid_hits / N_valid)
        print('Epoch', epoch + 1, 'loss', loss, 'train', train_acc_list[-1], 'valid', valid_acc_list[-1])

    return train_acc_list, valid_acc_list


if __name__ == '__main__':
    gradient_check(linear_layer(6, 4), np.random.randn(5, 6))
    gradient_check(relu(), np.random.randn(5, 6))
    main({'random_seed': 42, 'input_file': 'mnist_subset.json', 'num_hidden': 128, 'minibatch_size': 5,
          'learning_rate': 0.01, 'num_epoch': 10, 'weight_decay': 0.001})

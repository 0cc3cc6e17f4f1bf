import numpy as np
from utils import softmax_cross_entropy, data_loader_mnist, predict_label, DataSplit


class linear_layer:
    """
    Fully connected layer: output = X W + b
    """

    def __init__(self, input_D, output_D):
        self.params = dict()
        self.params['W'] = np.random.normal(0, 0.1, (input_D, output_D))
        self.params['b'] = np.random.normal(0, 0.1, (1, output_D))

        self.gradient = dict()
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
    """
    relu(x) = max(0, x)
    """

    def forward(self, X):
        forward_output = np.maximum(0, X)
        return forward_output

    def backward(self, X, grad):
        backward_output = np.multiply(grad, (X > 0).astype(float))
        return backward_output


def miniBatchGradientDescent(model, learning_rate):
    for module_name, module in model.items():
        if hasattr(module, 'params'):
            for key in module.params:
                g = module.gradient[key]
                module.params[key] = module.params[key] - learning_rate * g
    return model


def forward_pass(model, x):
    a1 = model['L1'].forward(x)
    h1 = model['nonlinear1'].forward(a1)
    a2 = model['L2'].forward(h1)
    return a1, h1, a2


def backward_pass(model, x, y, a1, h1, a2):
    grad_a2 = model['loss'].backward(a2, y)
    grad_h1 = model['L2'].backward(h1, grad_a2)
    grad_a1 = model['nonlinear1'].backward(a1, grad_h1)
    grad_x = model['L1'].backward(x, grad_a1)
    return grad_x


def check_gradient(model, X, Y, epsilon=1e-5, num_checks=20):
    a1, h1, a2 = forward_pass(model, X)
    backward_pass(model, X, Y, a1, h1, a2)

    worst = 0.0
    for layer_name in ['L1', 'L2']:
        layer = model[layer_name]
        for key in ['W', 'b']:
            theta = layer.params[key]
            for _ in range(num_checks):
                i = np.random.randint(theta.shape[0])
                j = np.random.randint(theta.shape[1])
                old = theta[i, j]
                theta[i, j] = old + epsilon
                f_plus = model['loss'].forward(forward_pass(model, X)[-1], Y)
                theta[i, j] = old - epsilon
                f_minus = model['loss'].forward(forward_pass(model, X)[-1], Y)
                theta[i, j] = old
                approx = (f_plus - f_minus) / (2 * epsilon)
                exact = layer.gradient[key][i, j]
                error = abs(approx - exact)
                worst = max(worst, error)
        print('gradient check %s: worst difference %.2e' % (layer_name, worst))
    return worst


def main(main_params):
    np.random.seed(int(main_params['random_seed']))
    Xtrain, Ytrain, Xval, Yval, _, _ = data_loader_mnist(dataset=main_params['input_file'])
    N_train, d = Xtrain.shape
    N_val, _ = Xval.shape
    trainSet = DataSplit(Xtrain, Ytrain)
    valSet = DataSplit(Xval, Yval)

    model = dict()
    num_L1 = main_params.get('num_hidden', 128)
    num_L2 = 10
    model['L1'] = linear_layer(input_D=d, output_D=num_L1)
    model['nonlinear1'] = relu()
    model['L2'] = linear_layer(input_D=num_L1, output_D=num_L2)
    model['loss'] = softmax_cross_entropy()

    train_acc_record = []
    val_acc_record = []
    num_epoch = int(main_params['num_epoch'])
    minibatch_size = int(main_params['minibatch_size'])
    learning_rate = float(main_params['learning_rate'])

    for t in range(num_epoch):
        train_acc = 0.0
        val_acc = 0.0
        idx_order = np.random.permutation(N_train)

        for i in range(int(np.ceil(N_train / minibatch_size))):
            x, y = trainSet.get_example(idx_order[i * minibatch_size:(i + 1) * minibatch_size])
            a1, h1, a2 = forward_pass(model, x)
            backward_pass(model, x, y, a1, h1, a2)
            if t == 0 and i == 0 and main_params.get('check_gradient', False):
                check_gradient(model, x, y)
            model = miniBatchGradientDescent(model, learning_rate)

        _, _, out = forward_pass(model, Xtrain)
        train_acc = np.mean(predict_label(out) == Ytrain)
        train_acc_record.append(train_acc)

        for i in range(int(np.ceil(N_val / minibatch_size))):
            x, y = valSet.get_example(np.arange(i * minibatch_size, min((i + 1) * minibatch_size, N_val)))
            _, _, out = forward_pass(model, x)
            val_acc += np.sum(predict_label(out) == y)
        val_acc = val_acc / N_val
        val_acc_record.append(val_acc)
        print('epoch', t + 1, 'train', train_acc, 'val', val_acc)

    return train_acc_record, val_acc_record


if __name__ == '__main__':
    main({'input_file': 'mnist_subset.json', 'random_seed': 42, 'num_epoch': 10,
          'minibatch_size': 5, 'learning_rate': 0.01, 'check_gradient': True})

# opdracht 3: tweelaags perceptron
import numpy as np
from utils import softmax_cross_entropy, data_loader_mnist, predict_label, DataSplit


class linear_layer():
    def __init__(self, input_D, output_D):
        rng = np.random
        self.params = {}
        self.params['W'] = rng.normal(size=(input_D, output_D), scale=0.1)
        self.params['b'] = rng.normal(size=(1, output_D), scale=0.1)
        self.gradient = {'W': 0, 'b': 0}
        self.invoer = None

    def forward(self, X):
        self.invoer = X
        uitvoer = np.add(np.dot(X, self.params['W']), self.params['b'])
        return uitvoer

    def backward(self, X, grad):
        n, k = grad.shape
        self.gradient['W'] = (grad.T @ X).T
        self.gradient['b'] = grad.sum(axis=0).reshape((1, k))
        return (self.params['W'] @ grad.T).T


class relu():
    def __init__(self):
        self.masker = None

    def forward(self, X):
        self.masker = (X > 0) * 1.0
        return np.fmax(X, 0)

    def backward(self, X, grad):
        if self.masker is None or self.masker.shape != X.shape:
            self.masker = (X > 0) * 1.0
        return self.masker * grad


def miniBatchGradientDescent(model, learning_rate):
    lagen = [model['L1'], model['L2']]
    for laag in lagen:
        for naam in laag.params:
            stap = learning_rate * laag.gradient[naam]
            laag.params[naam] = np.subtract(laag.params[naam], stap)
    return model


def vooruit(model, x):
    s1 = model['L1'].forward(x)
    a1 = model['nonlinear1'].forward(s1)
    s2 = model['L2'].forward(a1)
    return s1, a1, s2


def controle(model, x, y, laag='L1', param='W', delta=1e-4, aantal=10):
    # vergelijk enkele afgeleiden met het differentiequotient
    s1, a1, s2 = vooruit(model, x)
    g = model['loss'].backward(s2, y)
    g = model['L2'].backward(a1, g)
    g = model['nonlinear1'].backward(s1, g)
    model['L1'].backward(x, g)

    P = model[laag].params[param]
    analytisch = model[laag].gradient[param].ravel()
    plekken = np.random.choice(P.size, min(aantal, P.size), replace=False)
    fouten = []
    for plek in plekken:
        P_plus = P.copy()
        P_plus.flat[plek] += delta
        model[laag].params[param] = P_plus
        boven = model['loss'].forward(vooruit(model, x)[2], y)
        P_min = P.copy()
        P_min.flat[plek] -= delta
        model[laag].params[param] = P_min
        onder = model['loss'].forward(vooruit(model, x)[2], y)
        numeriek = (boven - onder) / (2 * delta)
        fouten.append(abs(numeriek - analytisch[plek]))
    model[laag].params[param] = P
    return np.max(fouten) < 1e-6, np.array(fouten)


def main(bestand='mnist_subset.json', epochs=10, batch=5, eta=0.01, verborgen=64, zaad=11, test_gradient=False):
    np.random.seed(zaad)
    Xtrain, Ytrain, Xvalid, Yvalid, Xtest, Ytest = data_loader_mnist(dataset=bestand)
    aantal, D = Xtrain.shape
    train = DataSplit(Xtrain, Ytrain)
    valid = DataSplit(Xvalid, Yvalid)

    model = dict()
    model['L1'] = linear_layer(D, verborgen)
    model['nonlinear1'] = relu()
    model['L2'] = linear_layer(verborgen, 10)
    model['loss'] = softmax_cross_entropy()

    if test_gradient:
        for laag in ['L1', 'L2']:
            for param in ['W', 'b']:
                print(laag, param, controle(model, Xtrain[:10], Ytrain[:10], laag, param)[0])

    verloop = []
    for epoch in range(epochs):
        volgorde = np.random.permutation(aantal)
        goed = 0
        # een onvolledige laatste batch doet niet mee
        for i in range(aantal // batch):
            keuze = volgorde[i * batch: i * batch + batch]
            x, y = train.get_example(keuze)
            s1, a1, s2 = vooruit(model, x)
            goed += (predict_label(s2) == y).sum()

            grad = model['loss'].backward(s2, y)
            grad = model['L2'].backward(a1, grad)
            grad = model['nonlinear1'].backward(s1, grad)
            grad = model['L1'].backward(x, grad)
            model = miniBatchGradientDescent(model, eta)

        goed_valid = (predict_label(vooruit(model, Xvalid)[2]) == Yvalid).sum()
        verloop.append((goed / (aantal // batch * batch), goed_valid / valid.N))
        print('epoch', epoch, 'train', verloop[-1][0], 'valid', verloop[-1][1])
    return verloop


if __name__ == '__main__':
    main(test_gradient=True)

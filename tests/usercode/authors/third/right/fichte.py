# -*- coding: utf-8 -*-
# Uebung 3: mehrschichtiges Perzeptron
import numpy as np
import utils
from utils import softmax_cross_entropy, data_loader_mnist, predict_label, DataSplit


class linear_layer(object):

    def __init__(self, input_D, output_D):
        form = {'W': (input_D, output_D), 'b': (1, output_D)}
        self.params = {}
        self.gradient = {}
        for name, groesse in form.items():
            self.params[name] = np.random.normal(loc=0, scale=0.1, size=groesse)
            self.gradient[name] = np.zeros_like(self.params[name])

    def forward(self, X):
        gewichte, schwelle = self.params['W'], self.params['b']
        return np.matmul(X, gewichte) + schwelle

    def backward(self, X, grad):
        np.matmul(X.T, grad, out=self.gradient['W'])
        np.sum(grad, axis=0, keepdims=True, out=self.gradient['b'])
        fehler = np.matmul(grad, np.transpose(self.params['W']))
        return fehler


class relu(object):

    def forward(self, X):
        ergebnis = np.array(X, dtype=float)
        negativ = ergebnis < 0
        ergebnis[negativ] = 0.0
        return ergebnis

    def backward(self, X, grad):
        ableitung = np.zeros_like(X, dtype=float)
        ableitung[X > 0] = 1.0
        return ableitung * grad


def miniBatchGradientDescent(model, learning_rate):
    for schicht in model.values():
        if hasattr(schicht, 'params'):
            neu = {}
            for name in schicht.params:
                schritt = learning_rate * schicht.gradient[name]
                neu[name] = schicht.params[name] - schritt
            schicht.params.update(neu)
    return model


def vorwaerts(model, x):
    a1 = model['L1'].forward(x)
    h1 = model['nonlinear1'].forward(a1)
    a2 = model['L2'].forward(h1)
    zwischen = {'x': x, 'a1': a1, 'h1': h1}
    return a2, zwischen


def rueckwaerts(model, a2, y, zwischen):
    fehler2 = model['loss'].backward(a2, y)
    fehler_h = model['L2'].backward(zwischen['h1'], fehler2)
    fehler1 = model['nonlinear1'].backward(zwischen['a1'], fehler_h)
    model['L1'].backward(zwischen['x'], fehler1)


# ---------------------------------------------------------------- Gradiententest
REIHENFOLGE = [('L1', 'W'), ('L1', 'b'), ('L2', 'W'), ('L2', 'b')]


def als_vektor(model, feld):
    return np.concatenate([getattr(model[s], feld)[n].ravel() for s, n in REIHENFOLGE])


def setze_params(model, theta):
    anfang = 0
    for s, n in REIHENFOLGE:
        p = model[s].params[n]
        p[...] = theta[anfang:anfang + p.size].reshape(p.shape)
        anfang += p.size


def verlust(model, theta, x, y):
    setze_params(model, theta)
    a2, _ = vorwaerts(model, x)
    return model['loss'].forward(a2, y)


def gradiententest(model, x, y, eps=1e-5, grenze=1e-6):
    a2, zwischen = vorwaerts(model, x)
    rueckwaerts(model, a2, y, zwischen)
    theta = als_vektor(model, 'params')
    berechnet = als_vektor(model, 'gradient')
    genaehert = np.zeros_like(theta)
    for k in range(len(theta)):
        plus = theta.copy()
        plus[k] += eps
        minus = theta.copy()
        minus[k] -= eps
        genaehert[k] = (verlust(model, plus, x, y) - verlust(model, minus, x, y)) / (2 * eps)
    setze_params(model, theta)
    abweichung = np.max(np.abs(genaehert - berechnet))
    return bool(abweichung < grenze), abweichung


# ---------------------------------------------------------------- Training
def genauigkeit(model, menge, anzahl):
    x, y = menge.get_example(np.arange(anzahl))
    a2, _ = vorwaerts(model, x)
    return np.count_nonzero(predict_label(a2) == y) / anzahl


def main(datei='mnist_subset.json', runden=10, stapel=5, lernrate=0.01, versteckt=60, saat=3):
    np.random.seed(saat)
    Xtrain, Ytrain, Xval, Yval, Xtest, Ytest = data_loader_mnist(dataset=datei)
    training = DataSplit(Xtrain, Ytrain)
    pruefung = DataSplit(Xval, Yval)
    n = Xtrain.shape[0]
    model = {'L1': linear_layer(Xtrain.shape[1], versteckt),
             'nonlinear1': relu(),
             'L2': linear_layer(versteckt, 10),
             'loss': softmax_cross_entropy()}
    verlauf = []
    for runde in range(runden):
        folge = np.random.permutation(n)
        for i in range(n // stapel):
            x, y = training.get_example(folge[i * stapel:(i + 1) * stapel])
            a2, zwischen = vorwaerts(model, x)
            rueckwaerts(model, a2, y, zwischen)
            model = miniBatchGradientDescent(model, lernrate)
        verlauf.append((genauigkeit(model, training, n), genauigkeit(model, pruefung, len(Xval))))
        print('Runde %d: Training %.3f Pruefung %.3f' % (runde + 1, verlauf[-1][0], verlauf[-1][1]))
    return verlauf


if __name__ == '__main__':
    main()

import copy
import numpy as np
from utils import softmax_cross_entropy, DataSplit, data_loader_mnist, predict_label

F = np.float32
rng = np.random.RandomState(2024)


class linear_layer:
    # X: (n, i)   W: (i, o)   b: (1, o)
    def __init__(self, input_D, output_D):
        self.params = {}
        self.params['W'] = (rng.randn(input_D, output_D) * 0.1).astype(F)
        self.params['b'] = (rng.randn(1, output_D) * 0.1).astype(F)
        self.gradient = {}
        self.gradient['W'] = np.zeros_like(self.params['W'])
        self.gradient['b'] = np.zeros_like(self.params['b'])

    def forward(self, X):
        return np.einsum('ni,io->no', X, self.params['W']) + self.params['b']

    def backward(self, X, grad):
        self.gradient['W'] = np.einsum('ni,no->io', X, grad)
        self.gradient['b'] = np.einsum('no->o', grad)[None, :]
        return np.einsum('no,io->ni', grad, self.params['W'])


class relu:
    def forward(self, X):
        self.active = X > 0
        return np.where(self.active, X, 0)

    def backward(self, X, grad):
        active = X > 0
        return active * grad


def miniBatchGradientDescent(model, learning_rate):
    for name in model:
        layer = model[name]
        if not hasattr(layer, 'gradient'):
            continue
        for p in ('W', 'b'):
            layer.params[p] = (layer.params[p] - learning_rate * layer.gradient[p]).astype(layer.params[p].dtype)


def run(model, X):
    """All activations, input first."""
    acts = [X]
    for name in ('fc1', 'act', 'fc2'):
        acts.append(model[name].forward(acts[-1]))
    return acts


def run_back(model, acts, grad):
    for name, inp in zip(('fc2', 'act', 'fc1'), (acts[2], acts[1], acts[0])):
        grad = model[name].backward(inp, grad)
    return grad


def check(model, X, Y, e=0.001, tol=1e-4):
    # float32 is too coarse for differences, so check a float64 copy
    m = copy.deepcopy(model)
    for name in ('fc1', 'fc2'):
        for p in ('W', 'b'):
            m[name].params[p] = m[name].params[p].astype(np.float64)
    X = X.astype(np.float64)
    crit = softmax_cross_entropy()
    acts = run(m, X)
    run_back(m, acts, crit.backward(acts[-1], Y))
    bad = 0
    for name in ('fc1', 'fc2'):
        for p in ('W', 'b'):
            grad = m[name].gradient[p]
            # the entries with the largest gradients are the interesting ones
            for k in np.argsort(-np.abs(grad).ravel())[:5]:
                at = np.unravel_index(k, grad.shape)
                values = []
                for s in (+1, -1):
                    m[name].params[p][at] += s * e
                    values.append(crit.forward(run(m, X)[-1], Y))
                    m[name].params[p][at] -= s * e
                numeric = (values[0] - values[1]) / (2 * e)
                if abs(numeric - grad[at]) > tol:
                    bad += 1
                print(name, p, 'numeric %.6f backprop %.6f' % (numeric, grad[at]))
    print('check:', 'OK' if bad == 0 else '%d entries disagree' % bad)
    return bad == 0


def magnitude_checker(model):
    for name in ('fc1', 'fc2'):
        for p in ('W', 'b'):
            print(name, p, 'max |param| %.5f  max |gradient| %.5f' % (
                np.abs(model[name].params[p]).max(), np.abs(model[name].gradient[p]).max()))


def evaluate(model, data, size=1000):
    hits, seen = 0, 0
    for s in range(0, data.N, size):
        X, Y = data.get_example(np.arange(s, min(s + size, data.N)))
        out = run(model, X.astype(F))[-1]
        hits += int((predict_label(out).ravel() == np.asarray(Y).ravel()).sum())
        seen += X.shape[0]
    return hits / seen


def main(dataset='mnist_subset.json', epochs=10, batch_size=5, lr=0.01):
    Xtr, Ytr, Xva, Yva, Xte, Yte = data_loader_mnist(dataset)
    train, val, test = DataSplit(Xtr, Ytr), DataSplit(Xva, Yva), DataSplit(Xte, Yte)
    model = {'fc1': linear_layer(784, 128), 'act': relu(), 'fc2': linear_layer(128, 10)}
    crit = softmax_cross_entropy()

    X, Y = train.get_example(np.arange(batch_size))
    check(model, X, Y)

    log = []
    best = {'acc': -1.0, 'model': None, 'epoch': None}
    for ep in range(epochs):
        perm = rng.permutation(train.N)
        n_batches = -(-train.N // batch_size)
        for ids in np.array_split(perm, n_batches):
            X, Y = train.get_example(ids)
            acts = run(model, X.astype(F))
            g = crit.backward(acts[-1], Y)
            run_back(model, acts, g)
            miniBatchGradientDescent(model, lr)
        magnitude_checker(model)
        tr, va = evaluate(model, train), evaluate(model, val)
        log.append((tr, va))
        print('epoch %2d  train %.4f  val %.4f' % (ep, tr, va))
        if va >= best['acc']:
            best['acc'] = va
            best['model'] = copy.deepcopy(model)
            best['epoch'] = ep
    print('best epoch', best['epoch'], 'test', evaluate(best['model'], test))
    return best, log


if __name__ == '__main__':
    main()

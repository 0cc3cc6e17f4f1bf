"""The multi-layer perceptron written from scratch in NumPy.

``layers.py`` is the textbook: read it first. Two kernels compute the same numbers fast, and are
what trains: ``delayed.py`` for small batches, ``chunked.py`` for large ones. ``negated.py`` is the
form of the weights that they share, ``threads.py`` how they use two cores. ``backend.py``
evaluates, and gives it all to the shared training loop.
"""

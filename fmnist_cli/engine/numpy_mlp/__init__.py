"""The multi-layer perceptron written from scratch in NumPy.

``layers.py`` is the textbook: read it first. ``kernels.py`` computes the same numbers fast,
and is what trains. ``backend.py`` gives it to the shared training loop.
"""

"""The CNNs written from scratch in NumPy.

``layers.py`` is the textbook: read it first. ``kernel.py`` computes the same numbers fast, and is
what trains and evaluates. ``backend.py`` gives it to the shared training loop, ``gradcheck.py``
checks the textbook's gradients.
"""

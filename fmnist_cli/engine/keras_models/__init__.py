"""The CNNs, and the MLP once more, on Keras and TensorFlow.

``models.py`` defines the models: read it first. ``graphs.py`` computes the same numbers fast,
and is what trains; tests hold it to the models. ``backend.py`` gives it to the shared training
loop, ``gradcheck.py`` checks its gradients, and ``runtime.py`` is the one door to TensorFlow.
"""

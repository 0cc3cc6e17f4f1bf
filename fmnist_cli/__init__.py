"""fmnist: a laboratory for training dynamics on Fashion-MNIST."""

__version__ = "0.1.0"

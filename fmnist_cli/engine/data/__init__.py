"""Fashion-MNIST, or a custom data set of its form: found, fetched, verified, split."""

from fmnist_cli.engine.data.cache import cache_folder
from fmnist_cli.engine.data.dataset import Dataset, load
from fmnist_cli.engine.data.idx import write_idx
from fmnist_cli.engine.data.official import FILES, LICENCE, OFFICIAL_FINGERPRINT, fingerprint
from fmnist_cli.engine.data.sources import fetch, find, info, verify

__all__ = [
    "FILES",
    "LICENCE",
    "OFFICIAL_FINGERPRINT",
    "Dataset",
    "cache_folder",
    "fetch",
    "find",
    "fingerprint",
    "info",
    "load",
    "verify",
    "write_idx",
]

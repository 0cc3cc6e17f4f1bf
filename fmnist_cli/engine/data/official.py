"""What Fashion-MNIST is, bit for bit: its four files, their digests, its licence, its mirrors."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass

from fmnist_cli.engine.config import IMAGE_SIDE

LICENCE = "Fashion-MNIST: MIT licence, (c) Zalando SE"
MIRRORS = (
    "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
    "https://storage.googleapis.com/tensorflow/tf-keras-datasets/",
    "https://github.com/zalandoresearch/fashion-mnist/raw/master/data/fashion/",
)


@dataclass(frozen=True)
class DataFile:
    """One of the four files.

    Attributes
    ----------
    name : str
        Without the ``.gz`` that it usually ends in.
    sha256 : str
        Of the official file's *decompressed* content, in hex: mirrors compress differently.
    item_shape : tuple of int
        (28, 28) for images, () for labels.
    """

    name: str
    sha256: str
    item_shape: tuple[int, ...]


_SHA256 = {
    "train-images-idx3": "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
    "train-labels-idx1": "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
    "t10k-images-idx3": "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
    "t10k-labels-idx1": "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
}
FILES = tuple(
    DataFile(f"{name}-ubyte", sha256, (IMAGE_SIDE, IMAGE_SIDE) if "images" in name else ())
    for name, sha256 in _SHA256.items()
)


def fingerprint(digests: Iterable[str]) -> str:
    """The one digest that names a data set, from those of its four files in ``FILES``' order.

    SHA-256, in hex, of the four hex digests, each followed by a newline. A shell agrees::

        for f in train-images-idx3 train-labels-idx1 t10k-images-idx3 t10k-labels-idx1; do
            zcat $f-ubyte.gz | sha256sum | cut -c1-64
        done | sha256sum
    """
    return hashlib.sha256("".join(f"{digest}\n" for digest in digests).encode()).hexdigest()


OFFICIAL_FINGERPRINT = "7b0688d0999122d67a4eb2b95499a3bf7c5afbfaef15b7295b9f619d9e48a0bc"

"""Messages between the judge and the process that runs a user's code: JSON, with arrays in it.

No pickle: what comes from a process that runs somebody's code must not be able to run code here.
A message is a length (8 bytes) and a JSON text; an array is its type, its shape, and its bytes in
base 64.
"""

from __future__ import annotations

import json
import os
import select
import time
from base64 import b64decode, b64encode
from typing import Any

import numpy as np

LARGEST_BYTES = 1 << 28
PREFIX_BYTES = 8  # of the length
_ARRAY = "\0array"  # the key of an array's type: none that a file's own names can be
# by reference: a user's file may replace numpy's names in the process that it runs in
_ndarray, _frombuffer, _dtype = np.ndarray, np.frombuffer, np.dtype


class WireError(Exception):
    """What came is no message of this form."""


def send(descriptor: int, message: dict[str, Any]) -> None:
    view = memoryview(encode(message))
    while view:
        view = view[os.write(descriptor, view) :]


def receive(descriptor: int, deadline: float = float("inf")) -> dict[str, Any]:
    """The next message; EOFError where there is none, TimeoutError after ``deadline``."""

    def read(n: int) -> bytes:
        parts = []
        while n:
            left = deadline - time.monotonic()
            if left <= 0 or not select.select([descriptor], [], [], min(left, 1e6))[0]:
                raise TimeoutError
            part = os.read(descriptor, min(n, 1 << 20))
            if not part:
                raise EOFError
            parts.append(part)
            n -= len(part)
        return b"".join(parts)

    message = decode(read(body_length(read(PREFIX_BYTES))))
    if not isinstance(message, dict):
        raise WireError("not a reply")
    return message


def encode(value: Any) -> bytes:
    """A message of plain values and arrays of numbers, with its length before it."""

    def plain(item: Any) -> Any:
        if not isinstance(item, _ndarray):
            raise TypeError(f"no message has a {type(item)}")
        data = b64encode(item.tobytes()).decode()
        return {_ARRAY: item.dtype.str, "shape": item.shape, "data": data}

    body = json.dumps(value, default=plain).encode()
    return len(body).to_bytes(PREFIX_BYTES, "big") + body


def body_length(prefix: bytes) -> int:
    """The bytes that follow the length; WireError if they are too many."""
    length = int.from_bytes(prefix, "big")
    if len(prefix) != PREFIX_BYTES or length > LARGEST_BYTES:
        raise WireError(f"a message of {length} bytes")
    return length


def decode(body: bytes) -> Any:
    """The value of a message without its length; WireError if it is damaged."""

    def value(item: dict[str, Any]) -> Any:
        if _ARRAY not in item:
            return item
        dtype = _dtype(item[_ARRAY])
        if dtype.kind not in "biufc":
            raise WireError(f"an array of {dtype}")
        return _frombuffer(b64decode(item["data"]), dtype).reshape(item["shape"]).copy()

    try:
        return json.loads(body, object_hook=value)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise WireError(str(error)) from error

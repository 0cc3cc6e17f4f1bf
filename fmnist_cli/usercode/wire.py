"""Messages between the judge and the process that runs a user's code: JSON, and raw arrays.

No pickle: what comes from a process that runs somebody's code must not be able to run code here.
A message is a length (8 bytes), a JSON text with the arrays' types and shapes, a NUL, and the
arrays' bytes one after the other.
"""

from __future__ import annotations

import json
import os
import select
import time
from typing import Any

import numpy as np

LARGEST_BYTES = 1 << 28
PREFIX_BYTES = 8  # of the length
# by reference: a user's file may replace numpy's names in the process that it runs in
_ndarray, _dtype = np.ndarray, np.dtype
_ascontiguousarray, _frombuffer = np.ascontiguousarray, np.frombuffer


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
            ready = left > 0 and select.select([descriptor], [], [], min(left, 1e6))[0]
            if not ready:
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
    blocks: list[bytes] = []

    def plain(item: Any) -> Any:
        if isinstance(item, _ndarray):
            blocks.append(_ascontiguousarray(item).tobytes())
            return {"array": item.dtype.str, "shape": list(item.shape)}
        if isinstance(item, dict):
            return {"dict": {key: plain(part) for key, part in item.items()}}
        if isinstance(item, list | tuple):
            return [plain(part) for part in item]
        return item

    header = json.dumps(plain(value)).encode()
    body = b"\0".join((header, b"".join(blocks)))
    return len(body).to_bytes(PREFIX_BYTES, "big") + body


def body_length(prefix: bytes) -> int:
    """The bytes that follow the length; WireError if they are too many."""
    length = int.from_bytes(prefix, "big")
    if len(prefix) != PREFIX_BYTES or length > LARGEST_BYTES:
        raise WireError(f"a message of {length} bytes")
    return length


def decode(body: bytes) -> Any:
    """The value of a message without its length; WireError if it is damaged."""
    header, _, data = body.partition(b"\0")
    offset = 0

    def value(item: Any) -> Any:
        nonlocal offset
        if isinstance(item, list):
            return [value(part) for part in item]
        if not isinstance(item, dict):
            return item
        if "dict" in item:
            return {key: value(part) for key, part in item["dict"].items()}
        dtype, shape = _dtype(item["array"]), tuple(item["shape"])
        if dtype.kind not in "biufc":
            raise WireError(f"an array of {dtype}")
        n_bytes = dtype.itemsize
        for length in shape:
            n_bytes *= length
        block = data[offset : offset + n_bytes]
        offset += n_bytes
        return _frombuffer(block, dtype).reshape(shape).copy()

    try:
        return value(json.loads(header))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise WireError(str(error)) from error

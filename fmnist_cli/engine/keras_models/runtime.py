"""The one door to TensorFlow: quiet, on its own backend, with a fixed number of threads.

Importing TensorFlow takes seconds, so nothing does so before it must; and its threads and its
log level can only be set before its first use, so everything comes through here.
"""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from importlib.util import find_spec
from typing import Any

from fmnist_cli.errors import UsageError

SHARDS = 2
"""Into how many parts the convolutions take a batch, side by side, each on one thread.

Fixed, because the gradient's last bits depend on it: the same run gives the same bits however
many cores it is allowed.
"""

_XLA_FLAGS = {"XLA_FLAGS", "TF_XLA_FLAGS"}
_pool_threads = SHARDS


def limit_pool(n: int) -> None:
    """Leave cores to other processes: at most n threads. Call it before TensorFlow's first use.

    The shards stay as they are, and so do the bits.
    """
    global _pool_threads
    _pool_threads = min(n, SHARDS)


@cache
def import_tensorflow() -> Any:
    """The ``tensorflow`` module, set up on its first use in the process.

    Each operation runs on one thread, and operations that do not depend on each other run side
    by side: the graphs see to it that there are always ``SHARDS`` of them. Shards are large
    pieces of work that meet once or twice a step; threads inside an operation would meet in
    every operation, which at small batches costs more than it brings.

    Raises
    ------
    UsageError
        When TensorFlow is not installed, or Keras has been imported before on another backend.
    """
    os.environ["KERAS_BACKEND"] = "tensorflow"  # the user's own choice cannot hold here
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
    if find_spec("tensorflow") is None:
        raise UsageError(
            "the keras engine must have TensorFlow, which needs Python 3.11 to 3.13; install "
            "it, or use the numpy engine. Received: no module tensorflow."
        )
    with _quiet_stderr():
        import keras
        import tensorflow as tf

        tf.get_logger().setLevel("ERROR")
        with suppress(RuntimeError):  # the process has used TensorFlow already, with its own pool
            tf.config.threading.set_intra_op_parallelism_threads(1)
            tf.config.threading.set_inter_op_parallelism_threads(_pool_threads)
        tf.zeros(1)  # starts the runtime, which has things to log as well
    if _XLA_FLAGS & set(os.environ):  # one that XLA does not know ends the process: now, no later
        tf.function(tf.zeros, jit_compile=True)(1)
    if keras.backend.backend() != "tensorflow":
        raise UsageError(
            "Keras must run on the tensorflow backend; set KERAS_BACKEND=tensorflow. "
            f"Received: {keras.backend.backend()}."
        )
    return tf


@contextmanager
def _quiet_stderr() -> Iterator[None]:
    """Keep what the process writes to stderr, C++ included, and show it only on an error.

    TensorFlow logs before its log level is in force, past Python's ``sys.stderr``. Where the
    user has given XLA flags it may end the process, and says why: then nothing is kept back.
    """
    if _XLA_FLAGS & set(os.environ):
        yield
        return
    sys.stderr.flush()
    try:
        kept = tempfile.TemporaryFile()  # noqa: SIM115
    except OSError:  # no folder for it: then it may log
        yield
        return
    with kept:
        stderr = os.dup(2)
        os.dup2(kept.fileno(), 2)
        try:
            yield
        except BaseException:
            kept.seek(0)
            os.write(stderr, kept.read())
            raise
        finally:
            sys.stderr.flush()
            os.dup2(stderr, 2)
            os.close(stderr)

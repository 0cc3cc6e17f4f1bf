"""The one door to TensorFlow: quiet, on its own backend, with a fixed number of threads.

Importing TensorFlow takes seconds, so nothing does so before it must; and its threads and its
log level can only be set before its first use, so everything comes through here.
"""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

from fmnist_cli.errors import UsageError


def threads() -> int:
    """CPU cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


@cache
def import_tensorflow() -> Any:
    """The ``tensorflow`` module, set up on its first use in the process.

    Each operation runs on one thread, and operations that do not depend on each other run side
    by side on all cores: the graphs split a batch into as many shards as there are cores.
    Shards are large pieces of work that meet once a step; threads inside an operation would
    meet in every operation, which at small batches costs more than it brings.

    Raises
    ------
    UsageError
        When Keras has been imported before on another backend.
    """
    os.environ["KERAS_BACKEND"] = "tensorflow"  # the user's own choice cannot hold here
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
    with _quiet_stderr():
        import keras
        import tensorflow as tf

        if keras.backend.backend() != "tensorflow":
            raise UsageError(
                "Keras must run on the tensorflow backend; set KERAS_BACKEND=tensorflow. "
                f"Received: {keras.backend.backend()}."
            )
        tf.get_logger().setLevel("ERROR")
        tf.config.threading.set_intra_op_parallelism_threads(1)
        tf.config.threading.set_inter_op_parallelism_threads(threads())
        tf.zeros(1)  # starts the runtime, which has things to log as well
    return tf


@contextmanager
def _quiet_stderr() -> Iterator[None]:
    """Keep what the process writes to stderr, C++ included, and show it only on an error.

    TensorFlow logs before its log level is in force, past Python's ``sys.stderr``.
    """
    sys.stderr.flush()
    with tempfile.TemporaryFile() as kept:
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

"""One BLAS thread per call, and a second lane of our own where a batch is large enough for two.

OpenBLAS' own threads are not used, for three reasons. Their number changes how a product is
split and so its last bits, and it comes from the environment. They wait by spinning: with
another process on the second core, products that take 0.2 ms on one thread took 6 to 20 ms on
two (measured on 2 cores, OpenBLAS 0.3.31). And small products gain nothing from them. Two lanes
with fixed shares of the work give the same bits whatever the number of cores.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from contextvars import copy_context
from functools import cache

from threadpoolctl import ThreadpoolController

BLAS_THREADS = 1

# What one core computes in the 50 us that it takes to hand work to a sleeping thread and to notice
# that it is done (measured; at 100 GFLOP/s).
LANE_START_FLOPS = 5_000_000


@cache
def _controller() -> ThreadpoolController:
    return ThreadpoolController()


@contextmanager
def blas_threads(n: int = BLAS_THREADS) -> Iterator[None]:
    """Run the body with ``n`` BLAS threads, and restore what was set before (12 us)."""
    with _controller().limit(limits=n, user_api="blas"):
        yield


@cache
def _second_lane() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(max_workers=1, thread_name_prefix="fmnist-lane")


def in_two_lanes(first: Callable[[], None], second: Callable[[], None]) -> None:
    """Run both at the same time, on this thread and on one other; return when both are done.

    The other runs in this one's context, which is where NumPy keeps ``np.errstate``.
    """
    other = _second_lane().submit(copy_context().run, second)
    try:
        first()
    finally:
        other.result()

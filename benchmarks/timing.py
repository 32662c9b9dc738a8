"""How long a call takes, and the matrix products that this machine can do in that time."""

import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

PEAK_SIZES = (1024, 2048, 4096)


def seconds(call: Callable[[], Any]) -> float:
    """Of one call, waiting for the arrays it returns."""
    started = time.perf_counter()
    jax.block_until_ready(call())
    return time.perf_counter() - started


def matmul_peak() -> float:
    """Operations per second of XLA's square float32 product on one device that has all cores, the best of sizes."""
    return max(_product_rate(size) for size in PEAK_SIZES)


def _product_rate(n: int) -> float:
    a = jnp.ones((n, n)) + jnp.eye(n)
    product = jax.jit(jnp.matmul)
    product(a, a).block_until_ready()
    return max(2 * n**3 / seconds(lambda: product(a, a)) for _ in range(3))

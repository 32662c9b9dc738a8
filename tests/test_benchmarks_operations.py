"""The count of operations against counts by hand."""

import jax
import jax.numpy as jnp
import pytest

from benchmarks.operations import count
from mlrisk.models import conv2d

A, B = jnp.ones((3, 4)), jnp.ones((4, 5))


def scanned(a, b):
    return jax.lax.scan(lambda total, _: (total + a @ b, None), jnp.zeros((3, 5)), None, length=7)[0]


def looped(a, b):
    return jax.lax.while_loop(lambda s: s[0] < 9, lambda s: (s[0] + 1, s[1] + a @ b), (0, jnp.zeros((3, 5))))


def branched(a, b):
    return jax.lax.cond(a[0, 0] > 0, lambda: a @ b, lambda: (a @ b) + (a @ b))


@pytest.mark.parametrize(("function", "expected"), [
    (jnp.matmul, 120),
    (jax.jit(lambda a, b: a @ b @ b.T), 240),
    (scanned, 840),
    (looped, 360),
    (branched, 240),
    (jax.vmap(lambda row, b: row @ b, (0, None)), 120),
    (jax.grad(lambda a, b: (a @ b).sum()), 240),
])  # fmt: skip
def test_products_are_counted_where_they_run(function, expected):
    assert count(function, A, B, trips=3) == expected


def test_a_convolution_counts_the_same_on_every_platform():
    images, kernel = jnp.ones((2, 8, 8, 3)), jnp.ones((3, 3, 3, 4))
    assert count(conv2d, images, kernel) == 2 * (2 * 6 * 6 * 4) * 27

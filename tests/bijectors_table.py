"""The table of constructors that every law of the bijectors is checked on."""

from collections.abc import Callable
from typing import Any, NamedTuple

import distrax
import jax
import jax.numpy as jnp
import numpy as np

from mlrisk.bijectors import (
    MADE,
    Affine,
    Autoregressive,
    Coupling,
    DeepDenseSigmoidal,
    DeepSigmoidal,
    DenseLayer,
    DenseSigmoidal,
    Mixing,
    Permutation,
    Sigmoidal,
    Spline,
    coupling_flow,
    init_coupling,
    init_mixing,
    init_params,
    inverse_autoregressive_flow,
    masked_autoregressive_flow,
    neural_autoregressive_flow,
)

QUICK = {"xla_backend_optimization_level": 0, "xla_cpu_use_fusion_emitters": False}
"""Compiles five times as fast as by default; what it compiles is compared with eager evaluation below."""


class Maker(NamedTuple):
    """How to make a bijector of an event, and the order in which its Jacobian is triangular (None: in none)."""

    size: int
    init: Callable[[Any, Any], Any]
    """``(key, dtype) -> params``."""
    bijector: Callable[[Any, Any], distrax.Bijector]
    """``(params, context) -> bijector``."""
    context: int = 0
    order: tuple[int, ...] | None = None
    spread: float = 0.3
    """Of the parameters: deep stacks are ill-conditioned where it is large."""


def positive(raw):
    return jax.nn.softplus(raw) + 0.1


def sigmoidal(size, units):
    def init(key, dtype):
        return [jnp.zeros((size, units), dtype)] * 3

    def bijector(params, context):
        return distrax.Block(DeepSigmoidal(positive(params[0]), *params[1:]), 1)

    return Maker(size, init, bijector, order=tuple(range(size)), spread=1.0)


def dense_sigmoidal(size, units, depth):
    widths = [1, *[units] * (depth - 1), 1]

    def init(key, dtype):
        k, pairs = units, zip(widths[:-1], widths[1:], strict=True)
        shapes = [((size, k), (size, k), (size, d), (size, k), (k, d), (e, k)) for d, e in pairs]
        return [[jnp.zeros(shape, dtype) for shape in row] for row in shapes]

    def bijector(params, context):
        return distrax.Block(DeepDenseSigmoidal([DenseLayer(positive(a), *others) for a, *others in params]), 1)

    return Maker(size, init, bijector, order=tuple(range(size)), spread=1.0)


def autoregressive(size, transformer, hidden=(6,), context=0, residual=False, order=None):
    made = MADE(size, transformer.num_params, hidden, context, residual)
    return Maker(
        size,
        lambda key, dtype: init_params(made, transformer, key, dtype),
        lambda params, given: Autoregressive(made, transformer, params, order=order, context=given),
        context,
        order or tuple(range(size)),
    )


def coupling(size, transformer, context=0, order=None):
    moving, order = size - size // 2, order or tuple(range(size))
    made = MADE(1, moving * transformer.num_params, (6,), size // 2 + context)
    return Maker(
        size,
        lambda key, dtype: init_coupling(made, transformer, moving, key, dtype),
        lambda params, given: Coupling(made, transformer, params, order, given),
        context,
        order,
    )


def flow(factory, size, order=None, **options):
    def made(dtype):
        return factory(size, hidden_sizes=(6,), units=3, dtype=dtype, **options)

    def bijector(params, context):
        return made(jax.tree.leaves(params)[0].dtype).bijector(params, context)

    return Maker(size, lambda key, dtype: made(dtype).init(key), bijector, options.get("context_size", 0), order)


MAKERS = {
    "sigmoidal, 1 variable": sigmoidal(1, 4),
    "sigmoidal, 1 unit": sigmoidal(2, 1),
    "sigmoidal": sigmoidal(3, 4),
    "dense sigmoidal of depth 1": dense_sigmoidal(1, 4, 1),
    "dense sigmoidal of depth 2": dense_sigmoidal(3, 3, 2),
    "dense sigmoidal of depth 3": dense_sigmoidal(2, 3, 3),
    "permutation": Maker(4, lambda key, dtype: (), lambda *_: Permutation((2, 0, 3, 1))),
    "mixing": Maker(4, lambda key, dtype: init_mixing(key, 4, dtype), lambda p, _: Mixing(p)),
    "mixing, 1 variable": Maker(1, lambda key, dtype: init_mixing(key, 1, dtype), lambda p, _: Mixing(p)),
    "coupling, affine": coupling(5, Affine(), context=2, order=(3, 0, 4, 2, 1)),
    "coupling, dsf": coupling(4, Sigmoidal(3), order=(2, 0, 3, 1)),
    "coupling, 1 variable": coupling(1, Spline(4), context=2),
    "autoregressive, affine": autoregressive(5, Affine(), (7, 5), order=(2, 0, 4, 1, 3)),
    "autoregressive, affine, 1 variable": autoregressive(1, Affine()),
    "autoregressive, spline, residual": autoregressive(3, Spline(4), context=1, residual=True, order=(2, 0, 1)),
    "autoregressive, dsf": autoregressive(4, Sigmoidal(3), context=2, order=(1, 3, 0, 2)),
    "autoregressive, dsf of depth 2": autoregressive(3, Sigmoidal(3, 2), order=(1, 2, 0)),
    "autoregressive, dsf, 1 variable": autoregressive(1, Sigmoidal(3), context=2),
    "autoregressive, ddsf": autoregressive(3, DenseSigmoidal(3, 2), (8,), order=(2, 1, 0)),
    "autoregressive, ddsf, residual": autoregressive(3, DenseSigmoidal(3, 2), (6, 6), 1, residual=True, order=(1, 0, 2)),
    "naf": flow(neural_autoregressive_flow, 3, num_layers=1, order=(0, 1, 2)),
    "naf, flips": flow(neural_autoregressive_flow, 2),
    "naf, ddsf, forward, context": flow(neural_autoregressive_flow, 2, transformer="ddsf", num_layers=1,
                                        parallel="forward", context_size=2, order=(0, 1)),
    "naf, residual, lu": flow(neural_autoregressive_flow, 3, num_layers=1, residual=True, mixing="lu"),
    "iaf": flow(inverse_autoregressive_flow, 4, context_size=2),
    "maf": flow(masked_autoregressive_flow, 4, residual=True, mixing="lu"),
    "naf, features": flow(neural_autoregressive_flow, 3, num_layers=1, transformer="ddsf", features=4, order=(0, 1, 2)),
    "maf, spline": flow(masked_autoregressive_flow, 3, num_layers=1, transformer="spline", order=(0, 1, 2)),
    "coupling flow": flow(coupling_flow, 3, num_layers=2, transformer="dsf", mixing="lu", context_size=1),
}  # fmt: skip


def drawn(like, seed, spread=1.0):
    """Normal numbers in the shapes of a tree, by numpy: nothing to compile."""
    draw = np.random.default_rng(seed)
    return jax.tree.map(lambda leaf: spread * draw.standard_normal(leaf.shape), like)

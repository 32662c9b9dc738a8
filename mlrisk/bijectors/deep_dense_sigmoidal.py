"""The deep dense sigmoidal flow's scalar map: dense layers of sigmoids between one input and one output."""

from collections.abc import Sequence
from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Float

from mlrisk.bijectors.checks import require_broadcast, require_floating
from mlrisk.bijectors.increasing import IncreasingMap, require_positive, units_first
from mlrisk.bijectors.log_space import log_product, matrix_weights, product, sigmoids, weights


class DenseLayer(NamedTuple):
    """The parameters of one dense sigmoidal layer, from d values to e values through K units.

    The mixing weights are ``u = softmax_k(U_jk + eta_k)`` into the units and ``w = softmax_j(W_ij + zeta_j)`` out of
    them: a matrix shared by the whole batch plus a vector of each example's own.
    """

    slopes: Float[Array, "*batch K"]
    """a, positive."""
    offsets: Float[Array, "*batch K"]
    """b."""
    in_logits: Float[Array, "*batch d"]
    """eta."""
    out_logits: Float[Array, "*batch K"]
    """zeta."""
    in_matrix: Float[Array, "K d"]
    """U. A logit more than 30 below the largest of its row or vector (300 in float64) counts as lying there."""
    out_matrix: Float[Array, "e K"]
    """W, likewise."""


def evaluate(layers: tuple[DenseLayer, ...], x: Array) -> tuple[Array, Array]:
    """``(y, log y')`` for layers with weights in place of logits, and units as leading axes, (K, *x.shape)."""
    values, log_slopes = x[None], None
    for layer in layers:
        values, log_slopes = _layer(layer, values, log_slopes)
    assert log_slopes is not None
    return values[0], log_slopes[0]


def _layer(layer: DenseLayer, values: Array, log_slopes: Array | None) -> tuple[Array, Array]:
    slopes, offsets, _, masses, _, matrix = layer
    values, log_slopes = _into_units(layer, values, log_slopes)
    parts = sigmoids(slopes * values + offsets)
    below, above, normaliser = _products(matrix, masses * parts.below, masses * parts.above, masses)
    log_s, log_c = jnp.log(below) + parts.log_below[None], jnp.log(above) + parts.log_above[None]
    if log_slopes is None:
        log_d = jnp.log(product(matrix, masses * slopes * parts.slope)) + parts.log_slope[None]
    else:
        # the slopes so far may differ by any factor: their logarithms join those of the sigmoids under one shift
        log_slopes = log_slopes + parts.log_each
        log_d = log_product(matrix, masses * slopes, log_slopes)
    return log_s - log_c, log_d + jnp.log(normaliser) - log_s - log_c


def _into_units(layer: DenseLayer, values: Array, log_slopes: Array | None) -> tuple[Array, Array | None]:
    if log_slopes is None:  # the first layer has one input, whose only weight is one
        return jnp.broadcast_to(values, layer.slopes.shape), None
    matrix, masses = layer.in_matrix, layer.in_logits
    total, normaliser = _products(matrix, masses * values, masses)
    return total / normaliser, log_product(matrix, masses, log_slopes) - jnp.log(normaliser)


def _products(matrix: Array, *vectors: Array) -> list[Array]:
    """Several products with one matrix as one."""
    both = product(matrix, jnp.stack(vectors, axis=1))
    return [both[:, i] for i in range(len(vectors))]


def bracket(layers: tuple[DenseLayer, ...], y: Array) -> tuple[Array, Array, Array]:
    """Ends by ``min_j`` and ``max_j`` of ``(end - b_j) / a_j``, layer by layer backwards, and their middle."""
    low = high = y
    for layer in reversed(layers):
        low = ((low[None] - layer.offsets) / layer.slopes).min(0)
        high = ((high[None] - layer.offsets) / layer.slopes).max(0)
    return low, high, low + 0.5 * (high - low)


class DeepDenseSigmoidal(IncreasingMap):
    """An increasing map of the real line onto itself, through layers of ``logit(w sigmoid(a (u h) + b))``.

    The log-derivative is carried along as one vector: ``v = log(u exp(J))``,
    ``J' = log(w exp(log a + log sigmoid(p) + log sigmoid(-p) + v)) - S - C`` with ``S = log(w sigmoid(p))`` and
    ``C = log(w sigmoid(-p))``; memory is linear in the number of units. The inverse starts from an exact bracket,
    taken backwards through the layers, and has the gradient of the implicit function.

    Elementwise (events of no dimension): the batch shape of the parameters broadcasts against that of x.

    Args:
        layers: the first has d = 1, the last e = 1, and each d is the e before it.

    Raises:
        ValueError: the layers do not fit one another, or a slope is not positive.

    Source:
        Huang et al. 2018, section 3.2 (deep dense sigmoidal flows, equations 9 to 11).

    Differs:
        The original clips as for `DeepSigmoidal`, and forms a tensor (batch, D, e, K, d) for the log-determinant.
    """

    _function, _bracket = staticmethod(evaluate), staticmethod(bracket)

    def __init__(self, layers: Sequence[DenseLayer]) -> None:
        super().__init__(event_ndims_in=0)
        self._layers = tuple(layers)
        self._batch = _require_layers(self._layers)

    def _parameters(self) -> tuple[DenseLayer, ...]:
        return self._layers

    def _prepared(self, shape: tuple[int, ...]) -> tuple[DenseLayer, ...]:
        return tuple(_weighted(layer, shape) for layer in self._layers)


def _weighted(layer: DenseLayer, shape: tuple[int, ...]) -> DenseLayer:
    """Units first, and weights for logits: half of their range for the matrix, half for the vector beside it."""
    return DenseLayer(
        slopes=units_first(layer.slopes, shape),
        offsets=units_first(layer.offsets, shape),
        in_logits=weights(units_first(layer.in_logits, shape), 0.5),
        out_logits=weights(units_first(layer.out_logits, shape), 0.5),
        in_matrix=matrix_weights(layer.in_matrix, 0.5),
        out_matrix=matrix_weights(layer.out_matrix, 0.5),
    )


def _require_layers(layers: tuple[DenseLayer, ...]) -> tuple[int, ...]:
    if not layers:
        raise ValueError("layers: () is not allowed; at least one layer is needed")
    batch, width, dtype = (), 1, jnp.result_type(layers[0].slopes)
    for number, layer in enumerate(layers):
        units = jnp.shape(layer.slopes)[-1] if jnp.ndim(layer.slopes) else 0
        last = {"slopes": units, "offsets": units, "in_logits": width, "out_logits": units, "in_matrix": width,
                "out_matrix": units}  # fmt: skip
        for name, size in last.items():
            value, place = getattr(layer, name), f"layers[{number}].{name}"
            require_floating(place, value, dtype)
            if not size or jnp.ndim(value) < 1 or jnp.shape(value)[-1] != size:
                raise ValueError(
                    f"{place}: shape {jnp.shape(value)} is not allowed; its last axis must be {size or '>= 1'}"
                )
            if not name.endswith("matrix"):
                batch = require_broadcast(place, jnp.shape(value)[:-1], "those before it", batch)
        width = _require_matrices(number, layer, units, last=number == len(layers) - 1)
        require_positive(f"layers[{number}].slopes", layer.slopes)
    return batch


def _require_matrices(number: int, layer: DenseLayer, units: int, *, last: bool) -> int:
    if jnp.ndim(layer.in_matrix) != 2 or jnp.shape(layer.in_matrix)[0] != units:
        shape = jnp.shape(layer.in_matrix)
        raise ValueError(f"layers[{number}].in_matrix: shape {shape} is not allowed; it must be ({units}, inputs)")
    rows = jnp.shape(layer.out_matrix)[0]
    if jnp.ndim(layer.out_matrix) != 2 or (last and rows != 1):
        shape, wanted = jnp.shape(layer.out_matrix), 1 if last else "outputs"
        raise ValueError(f"layers[{number}].out_matrix: shape {shape} is not allowed; it must be ({wanted}, {units})")
    return rows

"""Masked networks whose outputs for a variable depend on the variables before it: MADE and residual MADE."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float, Int

from mlrisk.bijectors.checks import require_choice, require_context, require_count, require_event, require_floating
from mlrisk.types import Params, RandomKey

ACTIVATIONS: dict[str, Callable[[Array], Array]] = {
    "elu": jax.nn.elu,
    "relu": jax.nn.relu,
    "tanh": jnp.tanh,
    "gelu": jax.nn.gelu,
    "silu": jax.nn.silu,
}
SMALL = 1e-2
"""The scale of kernels that should start near zero: the output's, and the second of each residual block."""


class Masked(NamedTuple):
    """One masked linear map: from units of these degrees to units of those, and how large its kernel starts."""

    inputs: Int[np.ndarray, " n_in"]
    outputs: Int[np.ndarray, " n_out"]
    repeats: int = 1
    """How many numbers each output degree stands for (those of one variable's transformer)."""
    scale: float = 1.0

    @property
    def shape(self) -> tuple[int, int]:
        """Of the kernel."""
        return len(self.inputs), len(self.outputs) * self.repeats

    def transposed_product(self, kernel: Array, x: Array) -> Array:
        """``(mask W)^T x`` for a batch in columns.

        The barrier keeps the mask of the gradient out of the optimiser's loops, where it would be worked out again
        for each moment: without it, a training step on a CPU takes up to 15 % longer.
        """
        return jnp.where(self.mask(), lax.optimization_barrier(kernel), 0).T @ x

    def mask(self) -> Array:
        """Which weights exist: an output of degree d sees inputs of degree at most d."""
        return jnp.asarray(self.inputs)[:, None] <= jnp.tile(jnp.asarray(self.outputs), self.repeats)[None, :]


@dataclass(frozen=True)
class MADE:
    """``c = f(x, context)`` of shape (D, P) where ``c[i]`` depends on ``x[0], ..., x[i - 1]`` only.

    Hidden unit j has a degree d_j and sees the first d_j variables; degrees ascend, so every masked kernel is block
    triangular. A context enters each layer as ``y = (1 + S context) (masked W x) + b + B context``. With
    ``residual``, hidden layers are blocks ``h + W2 act(W1 act(h))``, one for each of ``hidden_sizes``.

    Static and hashable: parameters live outside, and masks are made of degrees where they are needed.

    Args:
        event_size: D.
        num_params: P, numbers for each variable.
        hidden_sizes: units of the hidden layers; all equal for residual blocks.
        context_size: length of the context; 0 for none.
        residual: residual blocks instead of plain layers.
        activation: "elu", "relu", "tanh", "gelu" or "silu".

    Raises:
        ValueError: a size is not a positive integer, residual sizes differ, or the activation is unknown.

    Source:
        Germain et al. 2015 (MADE); Nash and Durkan 2019 (residual MADE); Huang et al. 2018, appendix (cMADE).

    Differs:
        cMADE's context scale is centred at one, its output kernel is not normalised by rows, and the numbers of a
        variable come straight from the output layer, not through a second map shared by all variables. Degrees are
        spread evenly instead of drawn; with a context there are units that see it alone.
    """

    event_size: int
    num_params: int
    hidden_sizes: tuple[int, ...] = (64, 64)
    context_size: int = 0
    residual: bool = False
    activation: str = "elu"

    def __post_init__(self) -> None:
        require_count("event_size", self.event_size)
        require_count("num_params", self.num_params)
        require_count("context_size", self.context_size, least=0)
        require_choice("activation", self.activation, tuple(ACTIVATIONS))
        if not isinstance(self.hidden_sizes, tuple) or not self.hidden_sizes:
            raise ValueError(
                f"hidden_sizes: {self.hidden_sizes!r} is not allowed; it must be a tuple of at least one size"
            )
        for number, size in enumerate(self.hidden_sizes):
            require_count(f"hidden_sizes[{number}]", size)
        if self.residual and len(set(self.hidden_sizes)) > 1:
            raise ValueError(f"hidden_sizes: {self.hidden_sizes} is not allowed; residual blocks need equal sizes")

    def degrees(self, size: int) -> Int[np.ndarray, " units"]:
        """How many variables each unit of a hidden layer sees: ascending, as even as it gets.

        From 1 to D - 1; from 0 where there is a context, which the first variable may depend on too.
        """
        least = 0 if self.context_size or self.event_size == 1 else 1
        return least + np.arange(size) * (self.event_size - least) // size

    def maps(self) -> list[Masked]:
        """The masked linear maps in the order in which they are applied; the last one gives the outputs."""
        variables = np.arange(self.event_size)
        hidden = [self.degrees(size) for size in self.hidden_sizes]
        if self.residual:
            inner = [Masked(d, d, scale=scale) for d in hidden for scale in (1.0, SMALL)]
        else:
            inner = [Masked(a, b) for a, b in zip(hidden[:-1], hidden[1:], strict=True)]
        # variable i is seen by units of degree above i
        return [Masked(variables + 1, hidden[0]), *inner, Masked(hidden[-1], variables, self.num_params, SMALL)]

    def init(self, key: RandomKey, dtype: Any = jnp.float32) -> Params:
        """Kernels N(0, 1 / fan-in) by each unit's own fan-in, zero biases, an output near zero.

        Returns:
            A tuple of dicts ``kernel``, ``bias`` and, with a context, ``scale`` and ``shift``.
        """
        maps = self.maps()
        sizes = [m.shape[1] * (m.shape[0] + 2 * self.context_size) for m in maps]
        # one draw for all, as every draw of another shape is another program to compile
        draws = jnp.split(jax.random.normal(key, (sum(sizes),), dtype), np.cumsum(sizes)[:-1])
        return tuple(self._init(draw, masked) for draw, masked in zip(draws, maps, strict=True))

    def _init(self, draw: Array, masked: Masked) -> dict[str, Array]:
        (rows, columns), width = masked.shape, self.context_size
        fan_in = np.maximum(np.searchsorted(masked.inputs, masked.outputs, side="right"), 1)
        spread = jnp.asarray(np.tile(masked.scale / np.sqrt(fan_in), masked.repeats), draw.dtype)
        noise = draw.reshape(rows + 2 * width, columns)
        kernel = jnp.where(masked.mask(), noise[:rows] * spread[None], 0)
        made = {"kernel": kernel, "bias": jnp.zeros(columns, draw.dtype)}
        if width:
            scale, shift = jnp.split(noise[rows:] / width**0.5, 2)
            made |= {"scale": SMALL * scale, "shift": masked.scale * shift}
        return made

    def apply(
        self, params: Params, x: Float[Array, "*batch D"], context: Float[Array, "*batch C"] | None = None
    ) -> Float[Array, "*batch D P"]:
        """The numbers of every variable in one pass.

        Args:
            params: from `init`.
            x: variables in their order.
            context: with ``context_size`` numbers for each row of x.

        Raises:
            ValueError: x or the context has another size, or the wrong dtype.
        """
        self.require(params, x, context)
        shape = x.shape[:-1] if context is None else jnp.broadcast_shapes(x.shape[:-1], context.shape[:-1])
        columns = None if context is None else _columns(context, shape)
        numbers, _ = self.trace(params, _columns(x, shape), columns)
        return jnp.moveaxis(numbers, 0, 1).reshape(*shape, self.event_size, self.num_params)

    def trace(self, params: Params, x: Array, context: Array | None) -> tuple[Array, list[Array]]:
        """The numbers of every variable for a batch in columns, and what went into each activation.

        Args:
            params: from `init`.
            x: (D, n), one column an example: sums over units then run along whole rows, as CPUs like it.
            context: (C, n), or None.

        Returns:
            Numbers (D, n, P), and arrays (units, n) in the order of application.
        """
        activation, traced, first, *inner, last = ACTIVATIONS[self.activation], [], *self._affine(params, context)

        def active(values: Array) -> Array:
            traced.append(values)
            return activation(values)

        hidden = first(x)
        if self.residual:
            for into, back in zip(inner[::2], inner[1::2], strict=True):
                hidden = hidden + back(active(into(active(hidden))))
        else:
            for layer in inner:
                hidden = layer(active(hidden))
        numbers = last(active(hidden)).reshape(self.num_params, self.event_size, x.shape[-1])
        return jnp.moveaxis(numbers, 0, -1), traced

    def _affine(self, params: Params, context: Array | None) -> list[Callable[[Array], Array]]:
        def one(masked: Masked, own: dict[str, Array]) -> Callable[[Array], Array]:
            scale, shift = self.modulation(own, context)

            def apply(x: Array) -> Array:
                values = masked.transposed_product(own["kernel"], x)
                values = values if scale is None else scale * values
                return values + jnp.broadcast_to(shift, values.shape)

            return apply

        return [one(masked, own) for masked, own in zip(self.maps(), params, strict=True)]

    def modulation(self, own: dict[str, Array], context: Array | None) -> tuple[Array | None, Array]:
        """What multiplies a map's product (None for one), and what is added: (units, n) or (units, 1)."""
        bias = own["bias"][:, None]
        if context is None:
            return None, bias
        return 1 + own["scale"].T @ context, own["shift"].T @ context + bias

    def require(self, params: Params, x: Array, context: Array | None, name: str = "x") -> None:
        """Refuses variables and contexts that do not fit.

        Raises:
            ValueError: the size or dtype of either is another one, or the context is missing or not wanted.
        """
        dtype = params[0]["kernel"].dtype
        require_floating(name, x, dtype)
        require_event(name, x, self.event_size)
        require_context(context, self.context_size, dtype, "conditioner")


def _columns(values: Array, shape: tuple[int, ...]) -> Array:
    """(*batch, m) broadcast to a batch shape, as (m, n)."""
    return jnp.broadcast_to(values, (*shape, values.shape[-1])).reshape(-1, values.shape[-1]).T

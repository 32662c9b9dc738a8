"""A masked network evaluated variable by variable, each weight used once, and its linearisation solved likewise."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Int, PyTree

from mlrisk.bijectors.made import ACTIVATIONS, MADE, Masked
from mlrisk.types import Params

Solve = Callable[[Array, PyTree], Array]
"""``(raw numbers of one variable (n, P), that variable's own inputs) -> its value (n,)``."""


class Cut(NamedTuple):
    """The units of one hidden layer by the number of variables they see."""

    index: Int[np.ndarray, "D B"]
    """Units of each degree; ``size``, one past the last, where a degree has fewer than B."""
    start: Int[np.ndarray, " D"]
    """Where each degree's units begin."""
    size: int

    @property
    def width(self) -> int:
        """B: the most units of one degree."""
        return self.index.shape[1]


class Block(NamedTuple):
    """What one step needs of a masked map: its rows for the units of one degree."""

    kernel: Array
    """(B, n_in)."""
    scale: Array | None
    """(B, n), or None for one."""
    shift: Array | None
    """(B, n), (B, 1), or None for zero."""


def cut(degrees: Int[np.ndarray, " units"], event_size: int) -> Cut:
    """The units of ascending degrees cut into one block a degree, padded to the widest."""
    counts = np.bincount(degrees, minlength=event_size)[:event_size]
    start = np.concatenate([[0], np.cumsum(counts)[:-1]])
    place = np.arange(max(1, counts.max()))
    index = np.where(place < counts[:, None], start[:, None] + place, len(degrees))
    return Cut(index, start, len(degrees))


def sweep(conditioner: MADE, params: Params, context: Array | None, inputs: PyTree, solve: Solve, rows: int) -> Array:
    """Solves for the variables one after another: ``x_t = solve(c_t(x_0, ..., x_{t-1}), inputs_t)``.

    Step t computes the hidden units that see exactly t variables, from the buffers of what is known, then the
    numbers of variable t. All steps together do the arithmetic of about one pass through the network.

    Args:
        conditioner: the masked network.
        params: its parameters.
        context: (C, n), or None.
        inputs: leaves with leading axis D: what ``solve`` is given at each step.
        solve: gives the value of a variable.
        rows: n.

    Returns:
        x, (D, n): one row a variable.
    """
    activation = ACTIVATIONS[conditioner.activation]
    active = [lambda z, _: activation(z)] * len(_hidden_cuts(conditioner))
    return _scan(conditioner, _blocks(conditioner, params, context), active, [()] * len(active), inputs, solve, rows)


def linear_sweep(
    conditioner: MADE, params: Params, context: Array | None, slopes: list[Array], inputs: PyTree, solve: Solve,
    rows: int,
) -> Array:  # fmt: skip
    """`sweep` through the network's derivative at known variables, where ``solve`` must be linear in the numbers.

    Args:
        conditioner: the masked network.
        params: its parameters.
        context: (C, n), or None.
        slopes: derivatives of the activations there, (units, n) each, in the order of application.
        inputs: leaves with leading axis D.
        solve: gives the tangent of a variable; linear.
        rows: n.

    Returns:
        Tangents of x, (D, n).
    """
    blocks = [block._replace(shift=None) for block in _blocks(conditioner, params, context)]
    cuts = _hidden_cuts(conditioner)
    active = [lambda z, slope: slope * z] * len(slopes)
    own = [_rows(slope, where) for slope, where in zip(slopes, cuts, strict=True)]
    return _scan(conditioner, blocks, active, own, inputs, solve, rows)


def _hidden_cuts(conditioner: MADE) -> list[Cut]:
    """The cut of what goes into each activation: hidden layers, and for residual blocks their inner layers too."""
    sizes = conditioner.hidden_sizes
    layers = [sizes[0]] * (2 * len(sizes) + 1) if conditioner.residual else list(sizes)
    return [cut(conditioner.degrees(size), conditioner.event_size) for size in layers]


def _output_cuts(conditioner: MADE) -> list[Cut]:
    """The cut of what each masked map gives."""
    cuts = _hidden_cuts(conditioner)
    return [*cuts, cut(np.arange(conditioner.event_size), conditioner.event_size)]


def _input_widths(conditioner: MADE) -> list[int]:
    cuts = _hidden_cuts(conditioner)
    return [conditioner.event_size, *(c.size + c.width for c in cuts)]


def _blocks(conditioner: MADE, params: Params, context: Array | None) -> list[Block]:
    maps, cuts, widths = conditioner.maps(), _output_cuts(conditioner), _input_widths(conditioner)
    parts = zip(maps, params, cuts, widths, strict=True)
    return [_block(conditioner, masked, own, context, where, width) for masked, own, where, width in parts]


def _block(
    conditioner: MADE, masked: Masked, own: dict[str, Array], context: Array | None, where: Cut, width: int
) -> Block:
    kernel = jnp.where(masked.mask(), own["kernel"], 0).T
    kernel = jnp.pad(kernel, ((0, 0), (0, width - kernel.shape[1])))
    scale, shift = conditioner.modulation(own, context)
    scale = None if scale is None else _rows(scale, where, masked.repeats)
    return Block(_rows(kernel, where, masked.repeats), scale, _rows(shift, where, masked.repeats))


def _rows(values: Array, where: Cut, repeats: int = 1) -> Array:
    """The rows of a layer by degree: (repeats * units, m) to (D, repeats * B, m), zeros where padded."""
    units = values.reshape(repeats, where.size, values.shape[-1])
    padded = jnp.concatenate([units, jnp.zeros_like(units[:, :1])], axis=1)
    picked = jnp.moveaxis(padded[:, where.index], 1, 0)
    return picked.reshape(len(where.index), repeats * where.width, values.shape[-1])


def _scan(
    conditioner: MADE, blocks: Sequence[Block], active: Sequence[Callable[[Array, PyTree], Array]],
    own: Sequence[PyTree], inputs: PyTree, solve: Solve, rows: int,
) -> Array:  # fmt: skip
    cuts, dtype = _hidden_cuts(conditioner), blocks[0].kernel.dtype
    starts = [jnp.asarray(c.start) for c in cuts]

    def step(known: tuple[Array, list[Array]], now: tuple) -> tuple[tuple[Array, list[Array]], Array]:
        (x, buffers), (t, parts, places, slopes, given) = known, now
        raw, buffers = _advance(conditioner, x, buffers, parts, active, slopes, places)
        value = solve(raw.T, given)
        return (lax.dynamic_update_slice(x, value[None], (t, jnp.int32(0))), buffers), value

    x = jnp.zeros((conditioner.event_size, rows), dtype)
    buffers = [jnp.zeros((c.size + c.width, rows), dtype) for c in cuts]
    steps = (jnp.arange(conditioner.event_size, dtype=jnp.int32), list(blocks), starts, list(own), inputs)
    return lax.scan(step, (x, buffers), steps)[1]


def _advance(
    conditioner: MADE, x: Array, buffers: list[Array], parts: list[Block],
    active: Sequence[Callable[[Array, PyTree], Array]], slopes: list[PyTree], places: list[Array],
) -> tuple[Array, list[Array]]:  # fmt: skip
    """One degree's units through all layers: its numbers (P, n), and the buffers with its activations put in."""
    buffers = list(buffers)

    def activate(layer: int, values: Array) -> None:
        rows = active[layer](values, slopes[layer])
        # rows of padding land where the next degree's units will be written; their weights are masked until then
        buffers[layer] = lax.dynamic_update_slice(buffers[layer], rows, (places[layer], jnp.zeros_like(places[layer])))

    hidden = _product(parts[0], x)
    activate(0, hidden)
    for layer in range(1, len(buffers)):
        values = _product(parts[layer], buffers[layer - 1])
        if conditioner.residual and layer % 2 == 0:
            hidden = values = hidden + values
        activate(layer, values)
    return _product(parts[-1], buffers[-1]), buffers


def _product(block: Block, known: Array) -> Array:
    values = block.kernel @ known
    values = values if block.scale is None else block.scale * values
    return values if block.shift is None else values + jnp.broadcast_to(block.shift, values.shape)


def activation_slopes(conditioner: MADE, traced: list[Array]) -> list[Array]:
    """The derivative of the activation at what went into it."""
    activation = ACTIVATIONS[conditioner.activation]
    return [jax.jvp(activation, (values,), (jnp.ones_like(values),))[1] for values in traced]

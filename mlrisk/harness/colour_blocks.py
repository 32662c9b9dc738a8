"""Coloured pictures in blocks of one colour: no products with the channels that are zero."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from mlrisk.data.coloured import CHANNELS
from mlrisk.harness.blocks import in_blocks, over_blocks
from mlrisk.models.mlp import mlp
from mlrisk.types import Model, Params

Apply = Callable[[Params, Float[Array, "n inputs"]], Float[Array, "n 1"]]


class ColouredModel(NamedTuple):
    """A network of painted pictures, and its share for the pictures of one colour.

    ``painted`` is the `Model`, on `mlrisk.data.coloured.paint`'s pictures; ``one_colour`` is the same on grey pictures,
    given the parameters that `of_colour` says; ``channels`` are the colours, 1 for pictures that stay grey.
    """

    painted: Model
    one_colour: Apply
    channels: int


class ColourBlocks(NamedTuple):
    """Blocks of equal size, each of pictures of one colour; the last one of a colour is filled up.

    ``rows`` (blocks, size) are indices of pictures, n where there is none; ``colours`` (blocks,) those of the blocks;
    ``places`` (n,) say where each picture is among all rows.
    """

    rows: Int[Array, "blocks size"]
    colours: Int[Array, " blocks"]
    places: Int[Array, " n"]


def coloured_mlp(hidden: int, pixels: int, channels: int = CHANNELS) -> ColouredModel:
    """Two hidden layers of ReLU, Glorot's uniform weights, biases zero, one logit.

    Args:
        hidden: units of both layers.
        pixels: of a grey picture.
        channels: colours.
    """
    sizes, init = (hidden, hidden), "glorot_uniform"
    painted = mlp((channels * pixels,), sizes, 1, init=init)
    return ColouredModel(painted, mlp((pixels,), sizes, 1, init=init).apply, channels)


def colour_blocks(colours: Int[Array, " n"], channels: int, size: int) -> ColourBlocks:
    """Sort pictures into blocks by their colours, which may be traced: the number of blocks is one for all colourings.

    Args:
        colours: 0 to ``channels - 1``.
        channels: C.
        size: pictures in a block.

    Returns:
        ``ceil(n / size) + C - 1`` blocks, some of them empty.
    """
    count = colours.shape[0]
    number = -(-count // size) + channels - 1
    ranks = jnp.cumsum(jax.nn.one_hot(colours, channels, dtype=jnp.int32), axis=0)
    lengths = -(-ranks[-1] // size)
    ends = jnp.cumsum(lengths)
    starts = ends - lengths
    own = jnp.take_along_axis(ranks, colours[:, None], axis=1)[:, 0]
    places = starts[colours] * size + own - 1
    rows = jnp.full(number * size, count).at[places].set(jnp.arange(count), unique_indices=True)
    found = jnp.searchsorted(ends, jnp.arange(number), side="right").clip(max=channels - 1)
    return ColourBlocks(rows.reshape(number, size), found, places)


def of_colour(params: Params, colour: Int[Array, ""], channels: int) -> Params:
    """Parameters of the network that sees one channel, that of a colour: its share of the first layer's rows.

    Args:
        params: of `mlrisk.models.mlp` on painted pictures, whose channels follow one another.
        colour: 0 to ``channels - 1``; may be traced.
        channels: C.
    """
    layers = params["params"]
    kernel = layers["Dense_0"]["kernel"]
    one = kernel.reshape(channels, -1, kernel.shape[-1])[colour]
    return {**params, "params": {**layers, "Dense_0": {**layers["Dense_0"], "kernel": one}}}


def coloured_logits(
    model: ColouredModel,
    params: Params,
    pictures: Float[Array, "n pixels"],
    colours: Int[Array, " n"],
    block_size: int,
    *,
    keep_products: bool = False,
) -> Float[Array, " n"]:
    """``model.painted.apply(params, paint(pictures, colours))[:, 0]``, without painting or products with zeros.

    Args:
        model: see `coloured_mlp`.
        params: of ``model.painted``.
        pictures: grey.
        colours: 0 to ``model.channels - 1``; ignored where pictures stay grey.
        block_size: pictures at a time.
        keep_products: see `mlrisk.harness.blocks.in_blocks`.
    """
    apply, channels = model.one_colour, model.channels
    if channels == 1:
        return in_blocks(lambda rows: apply(params, rows)[:, 0], pictures, block_size, keep_products=keep_products)
    blocks = colour_blocks(colours, channels, min(block_size, len(colours)))

    def one(block: tuple[Int[Array, " size"], Int[Array, ""]]) -> Float[Array, " size"]:
        rows, colour = block
        return apply(of_colour(params, colour, channels), pictures.at[rows].get(mode="clip"))[:, 0]

    found = over_blocks(one, (blocks.rows, blocks.colours), keep_products=keep_products)
    return found.reshape(-1)[blocks.places]

"""Functions of more rows than fit the memory or the cache, block by block; networks, probes and searches alike."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import PyTree

from mlrisk.errors import BadInput


def in_blocks(
    function: Callable[[Any], PyTree], rows: PyTree, block_size: int, *, keep_products: bool = False
) -> PyTree:
    """``function(rows)``, one result a row, for not more than ``block_size`` rows at a time.

    Args:
        function: on a tree of arrays with a leading axis; its results have one row for each row.
        rows: a tree of arrays (n, ...).
        block_size: the most rows in a block; the blocks are of one size, the last filled up with copies of a row.
        keep_products: see `over_blocks`.

    Returns:
        A tree of arrays (n, ...).

    Raises:
        BadInput: there are no rows, or the block size is not positive.
    """
    count = jax.tree.leaves(rows)[0].shape[0]
    if count < 1 or block_size < 1:
        raise BadInput(f"block_size: {block_size} for {count} rows; both must be at least 1")
    number = -(-count // block_size)
    size = -(-count // number)
    missing = number * size - count

    def cut(leaf: jax.Array) -> jax.Array:
        filled = jnp.concatenate([leaf, jnp.repeat(leaf[-1:], missing, axis=0)]) if missing else leaf
        return filled.reshape(number, size, *leaf.shape[1:])

    found = over_blocks(function, jax.tree.map(cut, rows), keep_products=keep_products)
    return jax.tree.map(lambda leaf: leaf.reshape(number * size, *leaf.shape[2:])[:count], found)


def over_blocks(function: Callable[[Any], PyTree], blocks: PyTree, *, keep_products: bool = False) -> PyTree:
    """``function`` of each block, one block after the other.

    Args:
        function: on a tree of arrays without the leading axis of ``blocks``.
        blocks: a tree of arrays (blocks, ...).
        keep_products: for gradients of full batches: the outputs of matrix products are kept for the backward pass,
            and what is cheap (activations, masks, painted inputs) is computed again. Without it JAX keeps everything.

    Returns:
        A tree of arrays (blocks, ...).
    """
    if keep_products:
        function = jax.checkpoint(function, policy=jax.checkpoint_policies.dots_with_no_batch_dims_saveable)
    return jax.lax.map(function, blocks)

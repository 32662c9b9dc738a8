"""One program on one or many processes: who writes, and how arrays reach every device and come back."""

from typing import Any

import jax
import numpy as np
from jax.experimental import multihost_utils
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from jaxtyping import PyTree

from mlrisk.harness.lanes import AXIS


def writes() -> bool:
    """Whether this process is the one that writes files."""
    return jax.process_index() == 0


def agree(value: PyTree) -> PyTree:
    """Process 0's value on every process; the value itself where there is one process."""
    return value if jax.process_count() == 1 else multihost_utils.broadcast_one_to_all(value)


def place_lanes(tree: PyTree, mesh: Mesh) -> PyTree:
    """Lay the leading axis of each leaf along the mesh; every process holds the same host arrays."""
    return _place(tree, NamedSharding(mesh, PartitionSpec(AXIS)))


def place_everywhere(tree: PyTree, mesh: Mesh) -> PyTree:
    """A copy of each leaf on every device; a leaf that occurs twice is placed once."""
    placed: dict[int, Any] = {}
    sharding = NamedSharding(mesh, PartitionSpec())
    for leaf in jax.tree.leaves(tree):
        if id(leaf) not in placed:
            placed[id(leaf)] = _place(leaf, sharding)
    return jax.tree.map(lambda leaf: placed[id(leaf)], tree)


def to_host(tree: PyTree) -> PyTree:
    """Each leaf whole, as a numpy array, on every process."""
    if jax.process_count() == 1:
        return jax.tree.map(np.asarray, tree)
    return jax.tree.map(np.asarray, multihost_utils.process_allgather(tree, tiled=True))


def _place(tree: PyTree, sharding: NamedSharding) -> PyTree:
    if jax.process_count() == 1:
        return jax.device_put(tree, sharding)

    def one(leaf: Any) -> jax.Array:
        host = np.asarray(leaf)
        return jax.make_array_from_callback(host.shape, sharding, lambda index: host[index])

    return jax.tree.map(one, tree)

"""Samplers as pure functions of a key and a step: no iterator, no buffer, no stored permutation."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Int, UInt

from mlrisk import prng
from mlrisk.errors import BadInput
from mlrisk.types import Examples, RandomKey

ROUNDS = 24


def permuted_index(
    key: RandomKey, index: Int[Array, "*shape"] | int, size: int, rounds: int = ROUNDS
) -> Int[Array, "*shape"]:
    """Where a pseudo-random permutation of ``range(size)`` sends ``index``, without building the permutation.

    Each round pairs x with ``(K_r - x) mod size`` and swaps the pair if a hash bit of its larger member is
    set. A round is an involution, so their composition is an exact bijection for any size and key.

    Args:
        key: typed key; one key is one permutation.
        index: integers in [0, size), of any shape.
        size: number of elements, from 1 to 2**31 - 1 (static).
        rounds: swap-or-not rounds (static); a round leaves each element in place with probability 1/2, so use
            16 or more.

    Returns:
        Integers in [0, size), the shape of ``index``.

    Raises:
        BadInput: ``size`` or ``rounds`` is out of range.

    Source:
        Hoang, Morris and Rogaway (2012), An enciphering scheme based on a card shuffle, section 3.

    Differs:
        The round function is a 32-bit integer hash, not a cryptographic one: the order is statistically
        random (tested on single positions, pairs and whole small permutations), not secret.
    """
    if not 1 <= size < 2**31:
        raise BadInput(f"size: {size} is not from 1 to 2**31 - 1")
    if rounds < 1:
        raise BadInput(f"rounds: {rounds} is not a positive number of rounds")
    words = jax.random.bits(key, (2, rounds), jnp.uint32)
    pivots, seeds = words[0] % jnp.uint32(size), words[1]
    position = jnp.asarray(index).astype(jnp.uint32)
    # unrolled: XLA fuses the rounds into one loop over the elements, where a scan would pay for each round
    for r in range(rounds):
        position = _swap_or_not(position, pivots[r], seeds[r], size)
    return _computed_once(position.astype(jnp.int32))


def _computed_once(index: Int[Array, "*shape"]) -> Int[Array, "*shape"]:
    """The same numbers, which no gather can take into its own fusion and compute again for each element it reads.

    There the rounds made steps of a CNN six times slower on a CPU, and compiled for minutes (jax 0.12). A CPU's
    compiler removes barriers before it fuses, but fuses no sort: here by places, which are in order already.
    """
    flat = index.reshape(-1)
    places = jnp.arange(flat.shape[0], dtype=jnp.int32)
    kept = jax.lax.platform_dependent(
        flat,
        cpu=lambda values: jax.lax.sort((places, values), num_keys=1)[1],
        default=jax.lax.optimization_barrier,
    )
    return kept.reshape(index.shape)


def _swap_or_not(
    position: UInt[Array, "*shape"], pivot: UInt[Array, ""], seed: UInt[Array, ""], size: int
) -> UInt[Array, "*shape"]:
    gap = pivot - position
    partner = jnp.where(position > pivot, gap + jnp.uint32(size), gap)
    swap = _mix(jnp.maximum(position, partner) ^ seed) >> 31
    return jnp.where(swap == 1, partner, position)


def _mix(word: UInt[Array, "*shape"]) -> UInt[Array, "*shape"]:
    """The 32-bit finaliser of MurmurHash3 (Appleby 2008): every input bit reaches every output bit."""
    word = (word ^ (word >> 16)) * jnp.uint32(0x85EBCA6B)
    word = (word ^ (word >> 13)) * jnp.uint32(0xC2B2AE35)
    return word ^ (word >> 16)


def epoch_rows(key: RandomKey, step: Int[Array, ""] | int, size: int, batch_size: int) -> Int[Array, " batch"]:
    """Which of ``size`` rows are the batch of one step, without replacement within an epoch.

    Args:
        key: typed key of the whole run, the same at every step.
        step: steps taken so far, from 0; may be traced.
        size: number of rows (static).
        batch_size: rows per step, from 1 to ``size`` (static).

    Returns:
        Distinct row numbers (batch_size,).
    """
    epoch, position = jnp.divmod(jnp.asarray(step, jnp.int32), size // batch_size)
    places = position * batch_size + jnp.arange(batch_size, dtype=jnp.int32)
    return permuted_index(prng.step_key(key, epoch), places, size)


def _take(examples: Examples, index: Int[Array, " batch"]) -> Examples:
    return jax.tree.map(lambda leaf: jnp.asarray(leaf).at[index].get(mode="promise_in_bounds"), examples)


def require_batch(examples: Examples, batch_size: int, *, at_most: bool, stacked: int = 0) -> None:
    """Refuse a batch size that cannot be served.

    Args:
        examples: labels (n,), or with ``stacked`` leading axes; anything else (a sampler that is itself stacked, or
            the axis specifications that stand in for one) is let through.
        batch_size: examples per step.
        at_most: whether n is the largest that is allowed.
        stacked: leading axes before the examples.

    Raises:
        BadInput: there are no examples, or ``batch_size`` is out of range.
    """
    labels = getattr(examples, "labels", None)
    if getattr(labels, "ndim", None) != stacked + 1:
        return
    count = examples.labels.shape[stacked]
    if count < 1:
        raise BadInput("examples: 0 examples; a sampler needs at least 1")
    if batch_size < 1 or (at_most and batch_size > count):
        allowed = f"from 1 to {count} (the number of examples)" if at_most else "a positive number"
        raise BadInput(f"batch_size: {batch_size} is not {allowed}")


@functools.partial(jax.tree_util.register_dataclass, data_fields=["examples"], meta_fields=["batch_size"])
@dataclasses.dataclass(frozen=True)
class EpochSampler:
    """Batches without replacement, reshuffled every epoch: a `Sampler` that is a pytree.

    Step t is position ``t mod steps_per_epoch`` of epoch ``t // steps_per_epoch``. The last
    ``n mod batch_size`` places of an epoch's order are left out, other examples each time.

    Args:
        examples: inputs (n, *shape), labels (n,). Put them on the device, and pass the sampler to ``jit`` as
            an argument: host arrays closed over by a jitted function become constants of the program.
        batch_size: examples per step, from 1 to n (static).

    Raises:
        BadInput: ``batch_size`` is not in [1, n].
    """

    examples: Examples
    batch_size: int

    def __post_init__(self) -> None:
        require_batch(self.examples, self.batch_size, at_most=True)

    @property
    def steps_per_epoch(self) -> int:
        """Whole batches in one pass over the examples."""
        return self.examples.labels.shape[0] // self.batch_size

    def __call__(self, key: RandomKey, step: Int[Array, ""] | int) -> Examples:
        """The batch of one step.

        Args:
            key: typed key of the whole run, the same at every step.
            step: steps taken so far, from 0; may be traced.

        Returns:
            Inputs (batch_size, *shape), labels (batch_size,).
        """
        count = self.examples.labels.shape[0]
        return _take(self.examples, epoch_rows(key, step, count, self.batch_size))


@functools.partial(jax.tree_util.register_dataclass, data_fields=["examples", "mask"], meta_fields=["batch_size"])
@dataclasses.dataclass(frozen=True)
class MaskedSampler:
    """Batches drawn uniformly with replacement from the examples whose mask is True: data sets that grow.

    The mask may be traced and may change from step to step (``dataclasses.replace(sampler, mask=...)``). An
    empty mask has no uniform law and cannot raise inside ``jit``: the whole batch is then the last example.

    Args:
        examples: inputs (n, *shape), labels (n,).
        mask: bool (n,), True where an example may be drawn.
        batch_size: examples per step, positive; may exceed n (static).

    Raises:
        BadInput: ``batch_size`` is not positive, or ``mask`` is not one boolean per example.
    """

    examples: Examples
    mask: Bool[Array | np.ndarray, "*lanes n"]
    batch_size: int

    def __post_init__(self) -> None:
        require_batch(self.examples, self.batch_size, at_most=False)
        shape = getattr(self.mask, "shape", ())
        wanted = getattr(getattr(self.examples, "labels", None), "shape", ())
        if len(shape) == len(wanted) == 1 and shape != wanted:
            raise BadInput(f"mask: shape {shape} is not that of the labels, {wanted}")

    def __call__(self, key: RandomKey, step: Int[Array, ""] | int) -> Examples:
        """The batch of one step; see `EpochSampler.__call__`."""
        ranks = jnp.cumsum(self.mask, dtype=jnp.int32)
        size = (self.batch_size,)
        draw = jax.random.randint(prng.step_key(key, step), size, 0, jnp.maximum(ranks[-1], 1))
        chosen = jnp.searchsorted(ranks, draw, side="right")
        return _take(self.examples, jnp.minimum(chosen, ranks.shape[0] - 1))

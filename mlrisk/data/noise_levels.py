"""One training set with any share of its inputs or labels replaced by noise, chosen lane by lane."""

import dataclasses
import functools
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from mlrisk import prng
from mlrisk.data.noise import rand_x, rand_y
from mlrisk.data.preprocess import Per
from mlrisk.data.sampling import epoch_rows, require_batch
from mlrisk.types import Examples, RandomKey


class NoiseLevel(NamedTuple):
    """The hyper of a lane: the share of its examples with noise for inputs, and with random labels; in [0, 1]."""

    input_noise: Float[Array, "..."]
    label_noise: Float[Array, "..."]


KINDS = ("input", "label")


def noise_settings(levels: Sequence[float]) -> tuple[dict[str, list[Any]], NoiseLevel]:
    """No noise, then each share of input noise, then each share of label noise: as columns and as hypers.

    Args:
        levels: shares in (0, 1].

    Returns:
        The columns ``noise`` (none, input or label) and ``level`` of the records, and the stacked hypers of lanes.
    """
    kinds = ["none", *(kind for kind in KINDS for _ in levels)]
    shares = [0.0, *levels, *levels]
    hypers = (jnp.asarray([s if k == kind else 0.0 for k, s in zip(kinds, shares, strict=True)]) for kind in KINDS)
    return {"noise": kinds, "level": shares}, NoiseLevel(*hypers)


class NoisyExamples(NamedTuple):
    """Real examples, their replacements, and the order in which examples are replaced as the level rises.

    The levels are nested: what is noise at 20 % is the same noise at 40 %.
    """

    real: Examples
    noise: Examples
    input_rank: Int[Array, " n"]
    label_rank: Int[Array, " n"]

    def replaced(self, level: Any, rows: Int[Array, " m"] | None = None) -> tuple[Bool[Array, " m"], Bool[Array, " m"]]:
        """Which inputs and which labels are noise at a level: exactly ``round(share * n)`` of all n.

        Args:
            level: anything with scalar ``input_noise`` and ``label_noise``, which may be traced.
            rows: the examples asked for; all of them when None.
        """

        def lowest(rank: Int[Array, " n"], share: Any) -> Bool[Array, " m"]:
            return (rank if rows is None else rank[rows]) < jnp.round(share * rank.shape[0]).astype(rank.dtype)

        return lowest(self.input_rank, level.input_noise), lowest(self.label_rank, level.label_noise)

    def at(self, level: Any, rows: Int[Array, " m"] | None = None) -> Examples:
        """The training set of a level, or the given rows of it: inputs (m, *shape), labels (m,)."""
        by_input, by_label = self.replaced(level, rows)
        real, noise = self.real, self.noise
        if rows is not None:
            real, noise = jax.tree.map(lambda leaf: leaf[rows], (real, noise))
        where = by_input.reshape(-1, *(1,) * (real.inputs.ndim - 1))
        inputs = jnp.where(where, noise.inputs, real.inputs)
        return Examples(inputs, jnp.where(by_label, noise.labels, real.labels))


def noisy_examples(key: RandomKey, real: Examples, num_classes: int, moments: Per = "global") -> NoisyExamples:
    """Everything that lanes of any noise level need, drawn once and then frozen.

    Inputs are replaced by Gaussian noise with the data's mean and variance, labels by uniform ones, of which a
    share 1/K stays right.

    Args:
        key: typed key.
        real: inputs (n, *shape), labels (n,).
        num_classes: number of classes K.
        moments: see `rand_x`.

    Source: Arpit et al. (2017), section 3 (randX and randY), and Figures 5 to 8 for fractions of noise.
    """
    x_key, y_key, x_rank, y_rank = prng.streams(key, "randX", "randY", "input order", "label order")
    inputs = rand_x(x_key, real, moments=moments).examples.inputs
    labels = rand_y(y_key, real, num_classes).examples.labels
    count = labels.shape[0]
    orders = (jax.random.permutation(order, count) for order in (x_rank, y_rank))
    return NoisyExamples(real, Examples(inputs, labels), *orders)


@functools.partial(jax.tree_util.register_dataclass, data_fields=["noisy"], meta_fields=["batch_size"])
@dataclasses.dataclass(frozen=True)
class NoiseLevelSampler:
    """Batches without replacement, reshuffled every epoch, from the training set at a lane's noise level.

    Args:
        noisy: see `noisy_examples`.
        batch_size: examples per step, from 1 to n (static); the last ``n mod batch_size`` are left out of an
            epoch, others each time.

    Raises:
        BadInput: ``batch_size`` is not in [1, n].
    """

    noisy: NoisyExamples
    batch_size: int

    def __post_init__(self) -> None:
        examples: Any = getattr(self.noisy, "real", None)  # a stand-in for vmap's axes has none
        require_batch(examples, self.batch_size, at_most=True)

    @property
    def steps_per_epoch(self) -> int:
        """Whole batches in one pass over the examples."""
        return self.noisy.real.labels.shape[0] // self.batch_size

    def __call__(self, key: RandomKey, step: Int[Array, ""], hyper: Any, /) -> Examples:
        """Inputs (batch_size, *shape), labels (batch_size,); ``hyper`` has the fields of `NoiseLevel`."""
        return self.noisy.at(hyper, epoch_rows(key, step, self.noisy.real.labels.shape[0], self.batch_size))

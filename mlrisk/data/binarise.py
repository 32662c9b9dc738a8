"""Grey pixels as probabilities: black-and-white pictures drawn once, or anew at every step."""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from mlrisk import prng
from mlrisk.types import Examples, RandomKey


def binarise(key: RandomKey, inputs: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """Black-and-white pictures from grey ones: each pixel is 1 with its own grey value as probability.

    ``b_i ~ Bernoulli(x_i)``, drawn as ``x_i > u_i`` with u_i uniform in [0, 1): a pixel of 0 stays 0, of 1 is 1.

    Args:
        key: typed key; one key is one draw for the whole set, which makes it the static binarisation.
        inputs: grey values in [0, 1], of any shape.

    Returns:
        Values in {0, 1}, of the shape and type of ``inputs``.

    Source:
        Salakhutdinov and Murray (2008), section 4.

    Differs:
        Larochelle's fixed files are another draw of the same law from the same pictures.
    """
    values = jnp.asarray(inputs)
    return (values > jax.random.uniform(key, values.shape, values.dtype)).astype(values.dtype)


def binarise_once(key: RandomKey, examples: Examples) -> Examples:
    """Static binarisation: one fixed draw of the whole set.

    Args:
        key: typed key of the draw.
        examples: inputs (n, *shape) in [0, 1], labels (n,).

    Returns:
        Inputs in {0, 1}, the same labels.
    """
    return Examples(binarise(key, jnp.asarray(examples.inputs)), jnp.asarray(examples.labels))


@functools.partial(jax.tree_util.register_dataclass, data_fields=["sampler"], meta_fields=[])
@dataclasses.dataclass(frozen=True)
class DynamicBinarisation:
    """Dynamic binarisation: a `Sampler` whose pictures are drawn anew from grey ones at each step.

    Args:
        sampler: gives the grey pictures of a step, such as `mlrisk.data.EpochSampler`.
    """

    sampler: Callable[..., Any]

    @property
    def steps_per_epoch(self) -> int:
        """That of the inner sampler."""
        return self.sampler.steps_per_epoch  # pyright: ignore[reportFunctionMemberAccess]

    def __call__(self, key: RandomKey, step: Int[Array, ""] | int) -> Examples:
        """The batch of one step: the inner sampler's, binarised with a key that belongs to the step.

        Args:
            key: typed key of the whole run, the same at every step.
            step: steps taken so far, from 0; may be traced.

        Returns:
            Inputs in {0, 1}, labels.
        """
        batch = self.sampler(key, step)
        return binarise_once(prng.step_key(prng.stream(key, "binarise"), step), batch)

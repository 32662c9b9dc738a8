"""A variational autoencoder whose posterior is a Gaussian, or a Gaussian followed by a flow, of the encoder's context.

Not imported by `mlrisk.models`: distrax takes seconds to load.
"""

import functools
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import distrax
import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from mlrisk import prng
from mlrisk.bijectors import Flow
from mlrisk.models.linen import from_linen
from mlrisk.models.residual import Activation, ResidualDense
from mlrisk.objectives.elbo import bernoulli_log_likelihood
from mlrisk.types import Model, Params, RandomKey

_LEAST = 1e-6
_SMALL = 1e-3
_SOFTPLUS_IS_ONE = math.log(math.e - 1)


class VAE(NamedTuple):
    """A variational autoencoder as pure functions of one tree of parameters.

    ``init(key) -> params``; ``posterior(params, inputs) -> distrax.Distribution`` with batch (n,) and event
    (latent,); ``decode(params, latents) -> logits`` (n, *shape) of the Bernoulli likelihood of each pixel.
    """

    init: Callable[[RandomKey], Params]
    posterior: Callable[[Params, Array], Any]
    decode: Callable[[Params, Array], Array]

    def at(self, params: Params) -> tuple[Callable[[Array], Any], Callable[[Array, Array], Array]]:
        """What bounds are made of: inputs -> q(z|x), and (latents, inputs) -> log p(x|z) in nats."""

        def log_likelihood(latents: Float[Array, "n latent"], inputs: Float[Array, "n ..."]) -> Float[Array, " n"]:
            logits = self.decode(params, latents)
            return bernoulli_log_likelihood(*(values.reshape(len(inputs), -1) for values in (logits, inputs)))

        return functools.partial(self.posterior, params), log_likelihood


class _GaussianHead(nn.Module):
    latent_size: int
    activation: Activation

    @nn.compact
    def __call__(self, context: Float[Array, "n context"]) -> tuple[Array, Array]:
        small = nn.initializers.constant(_SMALL)
        # with an identity for a skip the Gaussian would start at the context
        block = ResidualDense(2 * self.latent_size, self.activation, small, learnt_skip=True)
        mean, raw = jnp.split(block(context), 2, axis=-1)
        return mean, jax.nn.softplus(raw + _SOFTPLUS_IS_ONE) + _LEAST


def gaussian_head(context_size: int, latent_size: int) -> Model:
    """Mean and standard deviation of a diagonal Gaussian, from a context; close to 0 and 1 at the start.

    ``(m, s) = R(c)`` with a residual dense block R, ``mean = m``, ``std = softplus(s + log(e - 1)) + 1e-6``.

    Args:
        context_size: number of inputs.
        latent_size: number of dimensions of the Gaussian.

    Returns:
        A `Model` from contexts (n, context_size) to (mean, std), each (n, latent_size).

    Raises:
        BadInput: a size is not a positive integer.

    Source:
        Huang et al. (2018): the first, linear flow of the authors' code.

    Differs:
        One block for both, where theirs has one each; weights that start small have equal scales, not random ones.
    """
    return from_linen(_GaussianHead(latent_size, jax.nn.elu), (context_size,))


def amortised_vae(
    encoder: Model, decoder: Model, *, context_size: int, latent_size: int, flow: Flow | None = None
) -> VAE:
    """A VAE with posterior ``z = f(mean(c) + std(c) e; c)``, ``c = encoder(x)``, ``e ~ N(0, I)``.

    Args:
        encoder: from inputs (n, *shape) to contexts (n, context_size).
        decoder: from latents (n, latent_size) to logits (n, *shape).
        context_size: number of the encoder's outputs.
        latent_size: number of latent dimensions.
        flow: f, with this ``context_size``, from noise to latents; samples in one pass if its ``parallel`` is
            "forward". None for a Gaussian posterior.

    Returns:
        A `VAE` with ``params = {"encoder", "head", "decoder"}``, and ``"flow"`` where there is one.

    Raises:
        BadInput: a size is not a positive integer.

    Source:
        Kingma et al. (2016), section 4 (inverse autoregressive flow); Huang et al. (2018), section 6.2.
    """
    head = gaussian_head(context_size, latent_size)
    parts = {"encoder": encoder.init, "head": head.init, "decoder": decoder.init}
    parts |= {} if flow is None else {"flow": flow.init}

    def init(key: RandomKey) -> Params:
        return {name: start(prng.stream(key, name)) for name, start in parts.items()}

    def posterior(params: Params, inputs: Float[Array, "n ..."]) -> distrax.Distribution:
        context = encoder.apply(params["encoder"], inputs)
        mean, std = head.apply(params["head"], context)
        base = distrax.Independent(distrax.Normal(mean, std), 1)
        return base if flow is None else distrax.Transformed(base, flow.bijector(params["flow"], context))

    def decode(params: Params, latents: Float[Array, "n latent"]) -> Float[Array, "n ..."]:
        return decoder.apply(params["decoder"], latents)

    return VAE(init, posterior, decode)

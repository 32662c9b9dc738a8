"""Training on and judging coloured digits: all examples at every step, block by block, none copied."""

import functools
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from mlrisk import prng
from mlrisk.data.coloured import Colouring, GreyDigits, colour
from mlrisk.harness.colour_blocks import ColouredModel, coloured_logits
from mlrisk.objectives.domains import binary_domain_risks, by_domain, penalised_loss
from mlrisk.types import Hyper, Metrics, Objective, Params, RandomKey, Sampler, Scalar

BLOCK = 625
"""Pictures of one colour multiplied at a time: few enough for their activations to stay in a CPU's cache."""


def domain_objective(model: ColouredModel, num_domains: int, *, block_size: int = BLOCK) -> Objective:
    """`mlrisk.objectives.penalised_loss` on all coloured digits at once.

    Args:
        model: its logits are those of label 1.
        num_domains: m.
        block_size: pictures at a time.

    Returns:
        ``(params, ColouredBatch, Penalty, key) -> (loss, metrics)``, with metrics ``risk`` (mean over domains, nats),
        ``variance`` of the risks (population) and ``slope``, the mean of IRMv1's squared slopes.
    """

    def objective(params: Params, batch: Any, hyper: Hyper, key: RandomKey) -> tuple[Scalar, Metrics]:
        del key
        drawn = batch.colouring
        logits = coloured_logits(model, params, batch.pictures, drawn.colours, block_size, keep_products=True)
        found = binary_domain_risks(logits, drawn.labels, drawn.domains, num_domains)
        metrics = {"risk": found.risks.mean(), "variance": found.risks.var(), "slope": found.slopes.mean()}
        return penalised_loss(found, params, hyper), metrics

    return objective


@functools.partial(
    jax.tree_util.register_dataclass,
    data_fields=["sampler"],
    meta_fields=["model", "num_domains", "block_size", "stream"],
)
@dataclass(frozen=True)
class TrainingDomainsProbe:
    """Accuracy and risk on all that a sampler draws for a lane: its own training domains, or others.

    Args:
        sampler: one with ``for_lane``, whose batch does not depend on the step; that of the training, or another.
        model: see `domain_objective`, and for the other arguments.
        stream: of the lane's key; ``"data"`` is what the training draws from.
    """

    sampler: Sampler
    model: ColouredModel
    num_domains: int
    block_size: int = BLOCK
    stream: str = "data"

    def __call__(self, state: Any, key: RandomKey, hyper: Hyper, /) -> Metrics:
        """See `judge_domains`."""
        own: Any = self.sampler
        drawn_from = prng.stream(state.key, self.stream)
        batch = own.for_lane(drawn_from, hyper)(drawn_from, state.step)
        return judge_domains(
            self.model, state.params, batch.pictures, batch.colouring, self.num_domains, self.block_size
        )


@functools.partial(
    jax.tree_util.register_dataclass,
    data_fields=["digits", "colour_noise", "label_noise"],
    meta_fields=["model", "block_size"],
)
@dataclass(frozen=True)
class HeldOutDomainsProbe:
    """Accuracy and risk on held-out pictures, coloured once for each lane; picture i is in domain i mod m.

    Args:
        digits: held-out pictures.
        colour_noise: (m,), one for each domain.
        label_noise: the same in all.
        model: see `domain_objective`, and for the other arguments.
    """

    digits: GreyDigits
    colour_noise: Float[Array, " m"]
    label_noise: Float[Array, ""] | float
    model: ColouredModel
    block_size: int = BLOCK

    def __call__(self, state: Any, key: RandomKey, /) -> Metrics:
        """See `judge_domains`."""
        count = self.colour_noise.shape[0]
        domains = jnp.arange(self.digits.shapes.shape[0]) % count
        paints = prng.stream(state.key, "held-out colouring")
        labels, colours = colour(paints, self.digits.shapes, self.colour_noise[domains], self.label_noise)
        return judge_domains(
            self.model, state.params, self.digits.pictures, Colouring(domains, labels, colours), count,
            self.block_size,
        )  # fmt: skip


def judge_domains(
    model: ColouredModel,
    params: Params,
    pictures: Float[Array, "n pixels"],
    drawn: Colouring,
    num_domains: int,
    block_size: int = BLOCK,
) -> Metrics:
    """``accuracy`` and ``risk`` (nats), means over domains; ``accuracies`` and ``risks`` of each (m,)."""
    logits = coloured_logits(model, params, pictures, drawn.colours, block_size)
    risks = binary_domain_risks(logits, drawn.labels, drawn.domains, num_domains).risks
    right = ((logits > 0) == (drawn.labels == 1)).astype(jnp.float32)
    accuracies = by_domain(right, drawn.domains, num_domains)
    return {"accuracy": accuracies.mean(), "risk": risks.mean(), "accuracies": accuracies, "risks": risks}

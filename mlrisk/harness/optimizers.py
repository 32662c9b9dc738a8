"""The optimisers that configs can name; everything else is optax's own."""

from dataclasses import dataclass
from typing import Literal

import optax

from mlrisk.config import setting


@dataclass(frozen=True)
class OptimizerConfig:
    """An optimiser by name with its few constants."""

    name: Literal["sgd", "adam"] = setting("sgd", "which optimiser")
    learning_rate: float = setting(0.01, "step size", above=0)
    momentum: float = setting(0.0, "momentum of sgd, first-moment decay of adam", at_least=0, below=1)
    clip_norm: float | None = setting(None, "clip the global gradient norm to this", above=0)


def make_optimizer(
    config: OptimizerConfig, cosine_steps: int | None = None, halving_steps: int | None = None
) -> optax.GradientTransformation:
    """The optax transformation that a config names.

    Args:
        config: its name and constants.
        cosine_steps: steps over which the learning rate falls to zero as half a cosine; None keeps it.
        halving_steps: the learning rate is ``learning_rate 2^-floor(step / halving_steps)``; None keeps it.

    Source:
        Loshchilov and Hutter (2017), SGDR, without restarts; Arpit et al. (2017), section 2, for halving every
        15 epochs.
    """
    made = {
        "sgd": lambda: optax.sgd(config.learning_rate, momentum=config.momentum or None),
        "adam": lambda: optax.adam(config.learning_rate, b1=config.momentum or 0.9),
    }[config.name]()
    if cosine_steps is not None:
        made = optax.chain(made, optax.scale_by_schedule(optax.cosine_decay_schedule(1.0, cosine_steps)))
    if halving_steps is not None:
        halves = optax.exponential_decay(1.0, transition_steps=halving_steps, decay_rate=0.5, staircase=True)
        made = optax.chain(made, optax.scale_by_schedule(halves))
    return made if config.clip_norm is None else optax.chain(optax.clip_by_global_norm(config.clip_norm), made)

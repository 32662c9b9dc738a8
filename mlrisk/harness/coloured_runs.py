"""What all experiments on coloured digits share: the published settings, the data, the lanes' penalties."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float

from mlrisk.config import setting
from mlrisk.data.coloured import GreyDigits, grey_digits
from mlrisk.data.loading import load
from mlrisk.errors import BadInput, one_of
from mlrisk.harness.colour_blocks import ColouredModel
from mlrisk.harness.loop import Train, make_train
from mlrisk.objectives.domains import METHODS, Penalty, at_step
from mlrisk.types import Examples, Objective, Probe, Sampler

WORDS = {"erm": "ERM", "group_dro": "RI", "mm_rex": "MM-REx", "v_rex": "V-REx", "irm_v1": "IRMv1"}
"""The methods as the papers call them; RI is risk interpolation, group DRO."""


@dataclass(frozen=True)
class ColouredSetting:
    """The hyper-parameters of one published setting."""

    hidden: int = setting(256, "units of both hidden layers", at_least=1)
    weight_decay: float = setting(0.001, "factor of the squared parameters, biases included", at_least=0)
    learning_rate: float = setting(0.001, "of Adam", above=0)
    switch: int = setting(100, "step at which the penalty gets its weight; 1 before", at_least=0)
    weight: float = setting(10_000.0, "penalty weight, on (R1 - R2)^2, |R1 - R2| and IRMv1's term", at_least=0)
    steps: int = setting(500, "full-batch steps", at_least=1)


TUNED = ColouredSetting(390, 0.00110794568, 0.0004898536566546834, 190, 91257.18613115903)
"""The setting that IRM was tuned to, on the test domain; Krueger et al. (2021) kept it for all methods."""
ORACLE = ColouredSetting(83, 0.0008602868865288383, 0.0028171488133821726, 0, 0.0, 100)
"""The setting of the oracle that sees no colours, tuned on the test domain too."""


class GreyParts(NamedTuple):
    """Grey pictures for training, for validation in the training domains, and for test domains."""

    train: GreyDigits
    validation: GreyDigits
    test: GreyDigits


def grey_parts(dataset: str, data_dir: str | None, pool: int, stride: int = 2) -> GreyParts:
    """The first ``pool`` pictures of the training split to train on, the rest of it for test domains.

    The test split, which the papers do not use, is for validation in the training domains: so nothing that trains or
    that is reported as a test result chooses anything.

    Args:
        dataset: a data set of digits.
        data_dir: where prepared data sets are.
        pool: 50,000 in the papers.
        stride: see `mlrisk.data.coloured.grey_digits`.

    Raises:
        BadInput: the pool leaves nothing for the test domain, or a part has digits of one class.

    Source: Arjovsky et al. (2019) and Krueger et al. (2021), code of the coloured MNIST experiments.

    Differs: TFDS has MNIST's pictures in another order, so other pictures are in either part.
    """
    source = load(dataset, data_dir)
    if pool >= (most := len(source.train.labels)):
        raise BadInput(f"pool: {pool} is not below {most}, the training pictures; the rest is the test domain")
    train, test = (Examples(*(leaf[part] for leaf in source.train)) for part in (slice(0, pool), slice(pool, None)))
    return GreyParts(*(grey_digits(examples, stride) for examples in (train, source.test, test)))


def penalties(
    methods: Sequence[str],
    one: ColouredSetting,
    *,
    weight: Sequence[float] | Float[np.ndarray, " lanes"] | None = None,
    switch: Sequence[int] | None = None,
) -> Penalty:
    """The stacked hypers of lanes: a method each, the setting's numbers unless others are given, one a lane.

    Raises:
        BadInput: a method is unknown.
    """
    for method in methods:
        if method not in METHODS:
            raise BadInput(one_of("method", method, METHODS))
    count = len(methods)
    return Penalty(
        jnp.asarray([METHODS.index(method) for method in methods]),
        jnp.asarray([one.weight] * count if weight is None else weight, jnp.float32),
        jnp.asarray([one.switch] * count if switch is None else switch, jnp.int32),
        jnp.full(count, one.weight_decay, jnp.float32),
    )


def coloured_train(
    model: ColouredModel,
    objective: Objective,
    one: ColouredSetting,
    sampler: Sampler,
    probes: dict[str, Probe],
    judge_every: int,
    schedule: Callable[[Any, Array], Any] = at_step,
) -> Train:
    """The training of one lane: Adam, full batch, the penalty's schedule; final parameters are not kept."""
    return make_train(
        model.painted, objective, optax.adam(one.learning_rate), sampler, probes, num_steps=one.steps,
        probe_every=judge_every, schedule=schedule, keep_state=False,
    )  # fmt: skip

"""Hyper-parameters of the algorithms of DomainBed: defaults, and the laws that random searches draw them from."""

from collections.abc import Mapping
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array

from mlrisk import prng
from mlrisk.errors import BadInput, one_of
from mlrisk.types import RandomKey

Law = Literal["power10", "power2", "uniform", "choice", "fixed"]
PUBLISHED_STEPS = 5001
"""Steps of a run in DomainBed, which its switching times belong to."""


class Range(NamedTuple):
    """A default and a law: ``10^U``, ``2^U`` or ``U`` over the ends, or one of them as likely as another."""

    default: float | int
    law: Law
    ends: tuple[float | int, ...]
    whole: bool = False
    """Whether draws are rounded down to whole numbers."""
    step: bool = False
    """Whether it is a number of steps, which `draw_hyperparameters` scales with the length of a run."""


_COMMON = {
    "small": {
        "learning_rate": Range(1e-3, "power10", (-4.5, -2.5)),
        "batch_size": Range(64, "power2", (3, 9), whole=True),
        "weight_decay": Range(0, "fixed", ()),
        "resnet_dropout": Range(0, "fixed", ()),
    },
    "large": {
        "learning_rate": Range(5e-5, "power10", (-5, -3.5)),
        "batch_size": Range(32, "power2", (3, 5.5), whole=True),
        "weight_decay": Range(0, "power10", (-6, -2)),
        "resnet_dropout": Range(0, "choice", (0, 0.1, 0.5)),
    },
}
_SWITCH = Range(500, "power10", (0, 4), whole=True, step=True)
_IRM = {"irm_lambda": Range(100, "power10", (-1, 5)), "irm_penalty_anneal_iters": _SWITCH}
_BOTTLENECK = {"ib_lambda": Range(100, "power10", (-1, 5)), "ib_penalty_anneal_iters": _SWITCH}
_MATCHING = {"mmd_gamma": Range(1, "power10", (-1, 1))}
_ADVERSARIAL = {"lambda": Range(1, "power10", (-2, 2)), "beta1": Range(0.5, "choice", (0, 0.5))}

HYPERPARAMETERS: Mapping[str, Mapping[str, Range]] = {
    "ERM": {},
    "IRM": _IRM,
    "GroupDRO": {"groupdro_eta": Range(1e-2, "power10", (-3, -1))},
    "VREx": {"vrex_lambda": Range(10, "power10", (-1, 5)), "vrex_penalty_anneal_iters": _SWITCH},
    "CORAL": _MATCHING,
    "MMD": _MATCHING,
    "SD": {"sd_reg": Range(0.1, "power10", (-5, -1))},
    "IGA": {"penalty": Range(1000, "power10", (1, 5))},
    "Fishr": {
        "lambda": Range(1000, "power10", (1, 4)),
        "penalty_anneal_iters": Range(1500, "uniform", (0, 5000), whole=True, step=True),
        "ema": Range(0.95, "uniform", (0.90, 0.99)),
    },
    "IB_ERM": _BOTTLENECK,
    "IB_IRM": {**_IRM, **_BOTTLENECK},
    "EQRM": {
        "eqrm_quantile": Range(0.75, "uniform", (0.5, 0.99)),
        "eqrm_burnin_iters": Range(2500, "power10", (2.5, 3.5), whole=True, step=True),
        "eqrm_lr": Range(1e-6, "power10", (-7, -5)),
    },
    "DANN": _ADVERSARIAL,
    "CDANN": _ADVERSARIAL,
}
"""For each algorithm its own hyper-parameters, by DomainBed's names; all share those of `common_hyperparameters`.

Source: Gulrajani and Lopez-Paz (2021), DomainBed, hparams_registry.

Differs:
    The width and depth of discriminators, their number of steps and their gradient penalty are not drawn: shapes are
    the same in all lanes of a sweep, and there is one optimiser.
"""


def common_hyperparameters(pictures: Literal["small", "large"]) -> Mapping[str, Range]:
    """Those of every algorithm, for digits (``"small"``) or photographs (``"large"``).

    Raises:
        BadInput: another word.
    """
    if pictures not in _COMMON:
        raise BadInput(one_of("pictures", pictures, _COMMON))
    return _COMMON[pictures]


def draw_hyperparameters(
    key: RandomKey,
    algorithm: str,
    draw: int,
    *,
    pictures: Literal["small", "large"] = "small",
    num_steps: int = PUBLISHED_STEPS,
) -> dict[str, float]:
    """One point of the random search: draw 0 has the defaults.

    Args:
        key: of the search; each number has its own stream, by draw and name.
        algorithm: a name in `HYPERPARAMETERS`.
        draw: from 0.
        pictures: ``"small"`` or ``"large"``.
        num_steps: of a run; times of switches are scaled by ``num_steps / 5001``.

    Returns:
        Values by name, ``batch_size`` included.

    Raises:
        BadInput: there is no such algorithm, or ``draw`` is negative.

    Source: Gulrajani and Lopez-Paz (2021), DomainBed, section 4 and hparams_registry.

    Differs:
        Runs that are shorter than 5001 steps switch earlier in proportion; DomainBed's batch sizes are any whole
        numbers, ours powers of 2 (the nearest exponent), as each needs a compile of its own.
    """
    if algorithm not in HYPERPARAMETERS:
        raise BadInput(one_of("algorithms", algorithm, HYPERPARAMETERS))
    if draw < 0:
        raise BadInput(f"draw: {draw} is not zero or more")
    ranges = {**common_hyperparameters(pictures), **HYPERPARAMETERS[algorithm]}
    found = {name: _value(prng.step_key(prng.stream(key, name), draw), each, draw) for name, each in ranges.items()}
    shorter = num_steps / PUBLISHED_STEPS
    found |= {name: float(int(found[name] * shorter)) for name, each in ranges.items() if each.step}
    found["batch_size"] = float(2 ** round(float(jnp.log2(found["batch_size"]))))
    return found


def _value(key: RandomKey, each: Range, draw: int) -> float:
    if draw == 0 or each.law == "fixed":
        return float(each.default)
    share = float(jax.random.uniform(key))
    if each.law == "choice":
        return float(each.ends[int(share * len(each.ends))])
    low, high = each.ends
    point = low + share * (high - low)
    value = point if each.law == "uniform" else {"power10": 10.0, "power2": 2.0}[each.law] ** point
    return float(int(value)) if each.whole else value


def stacked(points: list[dict[str, float]]) -> dict[str, Array]:
    """Points of a search as arrays with one entry a point: the hypers of a sweep."""
    return {name: jnp.asarray([point[name] for point in points], jnp.float32) for name in points[0]}

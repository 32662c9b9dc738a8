"""The eight published settings of linear structural models in three domains, drawn side by side, as moments."""

import dataclasses
import functools
import itertools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from mlrisk import prng
from mlrisk.data.sems import LinearSEM, Table, draw_sem, sample_sem
from mlrisk.errors import BadInput, one_of
from mlrisk.types import RandomKey

SETTINGS = tuple("".join(letters) for letters in itertools.product("FP", "OE", "US"))
"""Fully or partially observed; noise of domains on the effects (O, homoskedastic) or the target (E); scrambled (S)."""
SCALES = (0.2, 2.0, 5.0)
"""e of the three domains; the published methods train on the first two and validate on the third."""


class Setting(NamedTuple):
    """What tells a setting from others, as data: settings with different flags share one compile."""

    confounded: Bool[Array, "..."]
    noisy_target: Bool[Array, "..."]
    scrambled: Bool[Array, "..."]
    unit_weights: Bool[Array, "..."]


def setting_flags(name: str, *, unit_weights: bool = True) -> Setting:
    """The flags of one of `SETTINGS`.

    Raises:
        BadInput: the name is another.
    """
    if name not in SETTINGS:
        raise BadInput(one_of("name", name, SETTINGS))
    return Setting(*(jnp.asarray(flag) for flag in (name[0] == "P", name[1] == "E", name[2] == "S", unit_weights)))


class Problem(NamedTuple):
    """A drawn model and its examples in m domains: ``inputs`` (m, n, 2d), ``targets`` (m, n)."""

    sem: LinearSEM
    inputs: Float[Array, "m n k"]
    targets: Float[Array, "m n"]


def draw_problem(key: RandomKey, setting: Setting, dim: int, count: int, scales: Float[Array, " m"]) -> Problem:
    """One repetition of a setting; equal keys draw equal weights and noise in every setting.

    Args:
        key: typed key.
        setting: its flags, which may be traced.
        dim: d, causes and effects each.
        count: n, examples of each domain.
        scales: e of each domain.

    Source: Arjovsky et al. (2019), section 5.1; Krueger et al. (2021), section 4.2.
    """
    weights_key, noise_key = prng.streams(key, "weights", "noise")
    sem = _chosen(draw_sem(weights_key, dim, confounded=True, scrambled=True, unit_weights=False), setting, dim)

    def domain(number: Int[Array, ""], scale: Float[Array, ""]) -> Table:
        own = jax.random.fold_in(noise_key, number)
        noisy, quiet = (sample_sem(own, sem, count, scale, noisy_target=flag) for flag in (True, False))
        return jax.tree.map(lambda a, b: jnp.where(setting.noisy_target, a, b), noisy, quiet)

    tables = jax.vmap(domain)(jnp.arange(len(scales)), scales)
    return Problem(sem, tables.inputs, tables.targets)


def draw_problems(
    key: RandomKey, settings: Setting, repetitions: int, dim: int, count: int, scales: Float[Array, " m"]
) -> Problem:
    """Repetitions of several settings, with axes (settings, repetitions) in front: compiled once, drawn one by one.

    Args:
        key: typed key; repetition r has the same weights and noise in every setting.
        settings: flags with a leading axis.
        repetitions: how many of each.
        dim: see `draw_problem`, like ``count`` and ``scales``.
        count: examples of each domain.
        scales: e of each domain.
    """
    keys = prng.lane_keys(key, repetitions)

    def repeated(setting: Setting, scales: Float[Array, " m"]) -> Problem:
        return jax.lax.map(lambda own: draw_problem(own, setting, dim, count, scales), keys)

    return jax.jit(lambda settings, scales: jax.lax.map(lambda one: repeated(one, scales), settings))(settings, scales)


def _chosen(drawn: LinearSEM, setting: Setting, dim: int) -> LinearSEM:
    """The weights of `draw_sem` under the flags, from those with all of them drawn."""
    eye, zeros = jnp.eye(dim), jnp.zeros((dim, dim))
    return LinearSEM(
        hidden_to_causes=jnp.where(setting.confounded, drawn.hidden_to_causes, eye),
        causes_to_target=jnp.where(setting.unit_weights, eye, drawn.causes_to_target),
        hidden_to_target=jnp.where(setting.confounded, drawn.hidden_to_target, zeros),
        target_to_effects=jnp.where(setting.unit_weights, eye, drawn.target_to_effects),
        hidden_to_effects=jnp.where(setting.confounded, drawn.hidden_to_effects, zeros),
        scramble=jnp.where(setting.scrambled, drawn.scramble, jnp.eye(2 * dim)),
    )


class ProblemIndex(NamedTuple):
    """Which of the stacked problems a lane is trained on: a setting and a repetition of it."""

    setting: Int[Array, "..."]
    repetition: Int[Array, "..."]


@functools.partial(jax.tree_util.register_dataclass, data_fields=["problems"], meta_fields=[])
@dataclasses.dataclass(frozen=True)
class ProblemSampler:
    """The whole batch of a lane: what belongs to the problem that ``hyper.problem`` names.

    Args:
        problems: any pytree of arrays with axes (settings, repetitions, ...), such as `DomainMoments`.
    """

    problems: Any

    def for_lane(self, key: RandomKey, hyper: Any) -> "LaneProblem":
        """The sampler with the lane's own problem picked, outside the loop over steps."""
        del key
        index: ProblemIndex = hyper.problem
        return LaneProblem(jax.tree.map(lambda leaf: leaf[index.setting, index.repetition], self.problems))

    def __call__(self, key: RandomKey, step: Int[Array, ""], hyper: Any, /) -> Any:
        """The same batch at every step."""
        return self.for_lane(key, hyper).problem


@functools.partial(jax.tree_util.register_dataclass, data_fields=["problem"], meta_fields=[])
@dataclasses.dataclass(frozen=True)
class LaneProblem:
    """What `ProblemSampler.for_lane` picks."""

    problem: Any

    def __call__(self, key: RandomKey, step: Int[Array, ""], /) -> Any:
        """The lane's batch."""
        return self.problem

"""The eight settings side by side: the same draws as one by one, and lanes that pick their own moments."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mlrisk import prng
from mlrisk.data.linear_settings import (
    SETTINGS,
    ProblemIndex,
    ProblemSampler,
    Setting,
    draw_problems,
    setting_flags,
)
from mlrisk.data.published_weight_errors import COORDINATES, PUBLISHED
from mlrisk.data.sems import draw_sem, sample_sem
from mlrisk.errors import BadInput
from mlrisk.objectives.linear_risks import domain_moments

DIM, COUNT, SCALES = 2, 6, (0.5, 2.0)


class Lane(NamedTuple):
    """As the experiment's own."""

    problem: ProblemIndex


@pytest.fixture(scope="module")
def problems():
    flags = [setting_flags(name, unit_weights=unit) for unit in (True, False) for name in SETTINGS]
    stacked: Setting = jax.tree.map(lambda *leaves: jnp.stack(leaves), *flags)
    return draw_problems(jax.random.key(3), stacked, 2, DIM, COUNT, jnp.asarray(SCALES))


@pytest.mark.parametrize("place", range(16))
def test_each_setting_is_drawn_as_by_itself(problems, place):
    name = SETTINGS[place % 8]
    weights, noise = prng.streams(prng.lane_keys(jax.random.key(3), 2)[1], "weights", "noise")
    sem = draw_sem(weights, DIM, confounded=name[0] == "P", scrambled=name[2] == "S", unit_weights=place < 8)
    for own, stacked in zip(sem, problems.sem, strict=True):
        np.testing.assert_allclose(stacked[place, 1], own, atol=1e-6)
    for domain, scale in enumerate(SCALES):
        alone = sample_sem(jax.random.fold_in(noise, domain), sem, COUNT, scale, noisy_target=name[1] == "E")
        np.testing.assert_allclose(problems.inputs[place, 1, domain], alone.inputs, atol=1e-5)
        np.testing.assert_allclose(problems.targets[place, 1, domain], alone.targets, atol=1e-5)


def test_a_lane_sees_the_moments_of_its_problem(problems):
    moments = jax.jit(jax.vmap(jax.vmap(domain_moments)))(problems.inputs, problems.targets)
    sampler, lane = ProblemSampler(moments), Lane(ProblemIndex(jnp.int32(5), jnp.int32(1)))
    key, step = jax.random.key(0), jnp.int32(0)
    expected = domain_moments(problems.inputs[5, 1], problems.targets[5, 1])
    for found in (sampler(key, step, lane), sampler.for_lane(key, lane)(key, step)):
        for own, wanted in zip(found, expected, strict=True):
            np.testing.assert_allclose(own, wanted, rtol=1e-5, atol=1e-5)


def test_the_published_table_is_whole():
    assert set(PUBLISHED) == {(method, name, coordinate) for method in ("ERM", "ICP", "IRM", "REx", "REx var_diff")
                              for name in SETTINGS for coordinate in COORDINATES}  # fmt: skip
    assert PUBLISHED["IRM", "PES", "non-causal"] == (0.3401, 0.0195)
    assert PUBLISHED["ICP", "FEU", "causal"] == (1.0, None)


def test_other_names_of_settings_are_refused():
    with pytest.raises(BadInput, match=r"name: 'FOX' is not one of FOU, FOS, .*; did you mean"):
        setting_flags("FOX")

"""Structure of filters: known answers, invariances, the average of independent weights, bad input."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import fft

from mlrisk.errors import BadInput
from mlrisk.measures import low_frequency_share, roughness

FILTERS = jax.random.normal(jax.random.key(0), (5, 5, 3, 400))
MEASURES = (roughness, low_frequency_share)


def filter_of(weights):
    return jnp.asarray(weights, jnp.float32)[:, :, None, None]


def test_a_constant_filter_is_smooth_and_of_the_lowest_frequency():
    constant = filter_of(np.full((5, 5), -3.0))
    np.testing.assert_allclose(roughness(constant), [0.0])
    np.testing.assert_allclose(low_frequency_share(constant), [1.0], rtol=1e-6)


@pytest.mark.parametrize("size", [4, 6])
def test_a_checkerboard_is_as_rough_as_can_be_and_of_the_highest_frequency(size):
    board = filter_of((-1.0) ** np.add.outer(np.arange(size), np.arange(size)))
    np.testing.assert_allclose(roughness(board), [4 * 2 * size * (size - 1) / size**2], rtol=1e-6)
    np.testing.assert_allclose(low_frequency_share(board), [0.0], atol=1e-9)


@pytest.mark.parametrize(("u", "v", "cutoff"), [(1, 0, 1), (0, 1, 1), (1, 1, 2), (2, 0, 2), (2, 1, 3)])
def test_a_wave_is_counted_from_its_own_frequency_on(u, v, cutoff):
    wave = filter_of(np.cos(2 * np.pi * np.add.outer(u * np.arange(5), v * np.arange(5)) / 5))
    np.testing.assert_allclose(low_frequency_share(wave, cutoff), [1.0], rtol=1e-5)
    np.testing.assert_allclose(low_frequency_share(wave, cutoff - 1), [0.0], atol=1e-6)


def test_independent_weights_have_the_averages_that_are_stated():
    for measure, expected in ((roughness, 2 * (2 - 2 / 5)), (low_frequency_share, 5 / 25)):
        found = np.asarray(measure(FILTERS))
        assert abs(found.mean() - expected) < 4 * found.std() / np.sqrt(found.size)


def test_the_share_is_that_of_scipys_transform():
    power = np.abs(fft.fft2(np.asarray(FILTERS), axes=(0, 1))) ** 2
    low = power[0, 0] + power[0, 1] + power[0, -1] + power[1, 0] + power[-1, 0]
    np.testing.assert_allclose(low_frequency_share(FILTERS), low.sum(0) / power.sum((0, 1, 2)), rtol=1e-5)


@pytest.mark.parametrize("measure", MEASURES)
@given(scale=st.floats(1e-3, 1e3))
def test_scale_transposition_and_order_of_inputs_do_not_matter(measure, scale):
    few = FILTERS[..., :8]
    for other in (scale * few, few.swapaxes(0, 1), few[:, :, ::-1], few[::-1]):
        np.testing.assert_allclose(measure(other), measure(few), rtol=1e-4)


@pytest.mark.parametrize("measure", MEASURES)
def test_jit_and_vmap_agree_with_plain_calls(measure):
    stacked = FILTERS.reshape(5, 5, 3, 4, 100).transpose(3, 0, 1, 2, 4)
    plain = np.stack([measure(one) for one in stacked])
    np.testing.assert_allclose(jax.jit(measure)(stacked[0]), plain[0], rtol=1e-5)
    np.testing.assert_allclose(jax.vmap(measure)(stacked), plain, rtol=1e-5)


@pytest.mark.parametrize("measure", MEASURES)
def test_bad_filters_have_one_line(measure):
    with pytest.raises(BadInput, match=r"filters: shape \(5, 5, 3, 0\) has no weights"):
        measure(FILTERS[..., :0])
    for bad in (FILTERS.at[0, 0, 0, 1].set(jnp.nan), FILTERS.at[..., 1].set(0.0)):
        with pytest.raises(BadInput, match="filters: 1 of 400 have weights that are not finite, or all 0"):
            measure(bad)


def test_a_negative_cutoff_has_one_line():
    with pytest.raises(BadInput, match="cutoff: -1 is not a number of periods, it must be at least 0"):
        low_frequency_share(FILTERS, -1)

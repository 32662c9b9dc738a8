"""Coloured digits: shares of wrong labels and colours, painted channels, equal domains, refused input."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mlrisk.data import load
from mlrisk.data.coloured import ColouredBatch, ColouredSampler, GreyDigits, colour, grey_digits, paint, random_domains
from mlrisk.errors import BadInput
from mlrisk.types import Examples

COUNT = 40_000
SHAPES = (jnp.arange(COUNT) % 2).astype(jnp.int32)
NOISE = jnp.asarray([0.2, 0.1, 0.9])


def test_shares_of_wrong_labels_and_colours_by_domain():
    domains = random_domains(jax.random.key(0), COUNT, 3)
    labels, colours = colour(jax.random.key(1), SHAPES, NOISE[domains])
    wrong, other = np.asarray(labels != SHAPES), np.asarray(colours != labels)
    np.testing.assert_allclose(wrong.mean(), 0.25, atol=0.01)
    for domain, noise in enumerate(NOISE):
        of = np.asarray(domains == domain)
        np.testing.assert_allclose(other[of].mean(), noise, atol=0.015)
        # the two flips are independent
        np.testing.assert_allclose(other[of & wrong].mean(), noise, atol=0.03)


@pytest.mark.parametrize(("noise", "expected"), [(0.0, 0), (1.0, 1)])
def test_noise_of_zero_and_one_is_certain(noise, expected):
    labels, colours = colour(jax.random.key(1), SHAPES[:50], noise, noise)
    assert (labels ^ SHAPES[:50] == expected).all()
    assert (colours ^ labels == expected).all()


def test_domains_are_equal_in_size_and_random():
    found = random_domains(jax.random.key(3), 1001, 4)
    assert sorted(np.bincount(np.asarray(found)).tolist()) == [250, 250, 250, 251]
    assert (found != random_domains(jax.random.key(4), 1001, 4)).mean() > 0.6


@pytest.mark.parametrize("channels", [2, 4])
def test_a_picture_is_in_the_channel_of_its_colour_alone(channels):
    pictures, colours = 1 + jnp.arange(12.0).reshape(4, 3), jnp.asarray([1, 0, channels - 1, 0])
    painted = paint(pictures, colours, channels).reshape(4, channels, 3)
    for row, own in enumerate(colours):
        np.testing.assert_array_equal(painted[row, own], pictures[row])
        assert painted[row].sum() == pictures[row].sum()


def test_every_second_row_and_column():
    inputs = np.random.default_rng(0).random((3, 8, 8, 1), np.float32)
    found = grey_digits(Examples(inputs, np.asarray([0, 5, 9], np.int32)))
    np.testing.assert_array_equal(found.pictures.reshape(3, 4, 4), inputs[:, ::2, ::2, 0])
    assert found.shapes.tolist() == [1, 0, 0]


def test_a_lane_draws_its_own_colours_once_and_shares_the_pictures():
    digits = grey_digits(load("digits").train)
    sampler = ColouredSampler(digits, NOISE[:2])
    first, later = sampler(jax.random.key(0), jnp.int32(0)), sampler(jax.random.key(0), jnp.int32(7))
    other = sampler(jax.random.key(1), jnp.int32(0))
    assert first.pictures is digits.pictures
    jax.tree.map(np.testing.assert_array_equal, first.colouring, later.colouring)
    assert all((a != b).any() for a, b in zip(first.colouring, other.colouring, strict=True))
    lanes = jax.vmap(lambda key: sampler(key, jnp.int32(0)), out_axes=ColouredBatch(None, 0))(
        jax.random.split(jax.random.key(5), 3)
    )
    assert lanes.pictures.shape == digits.pictures.shape


GREY = GreyDigits(jnp.ones((4, 3)), SHAPES[:4])
WRONG = {
    "inputs: shape (3, 8, 8) is not (n, side, side, 1)": lambda: grey_digits(
        Examples(np.ones((3, 8, 8)), np.arange(3))
    ),
    "labels: all digits are of one class": lambda: grey_digits(Examples(np.ones((2, 8, 8, 1)), np.asarray([1, 2]))),
    "colour_noise: 1.5 is not in [0, 1]": lambda: colour(jax.random.key(0), SHAPES, 1.5),
    "label_noise: -0.1 is not in [0, 1]": lambda: colour(jax.random.key(0), SHAPES, 0.5, -0.1),
    "colour_noise: shape (1,) is not (m,) with at least 2 domains": lambda: ColouredSampler(GREY, NOISE[:1]),
    "num_domains: 0 is not from 1 to 5": lambda: random_domains(jax.random.key(0), 5, 0),
}


@pytest.mark.parametrize("line", WRONG)
def test_bad_input_is_one_line(line, as_a_user):
    with pytest.raises(BadInput) as caught:
        WRONG[line]()
    assert str(caught.value).startswith(line)

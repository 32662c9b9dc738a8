"""Domains and their parts: every example in one place, turned and coloured pictures, batches of the right domains."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.ndimage
from PIL import Image

from mlrisk.data.coloured_domains import COLOUR_NOISE, coloured_domains
from mlrisk.data.domain_splits import (
    DomainSampler,
    DrawnDomainSampler,
    grouped_domains,
    interleaved_domains,
    lane_trial,
    scale_bytes,
    take,
)
from mlrisk.data.picture_domains import picture_domains
from mlrisk.data.rotated import rotate, rotated_domains, rotation_table
from mlrisk.errors import BadInput
from mlrisk.prng import stream

KEY = jax.random.key(0)
PICTURES = jax.random.uniform(jax.random.key(1), (90, 6, 6))
DIGITS = jnp.arange(90, dtype=jnp.int32) % 10


def members(rows, domain):
    """The distinct rows of both parts of a domain."""
    return [set(np.asarray(part.index[domain, : part.sizes[domain]]).tolist()) for part in rows]


@pytest.mark.parametrize(("count", "num_domains"), [(30, 2), (44, 5)])
def test_every_example_is_in_one_part_of_one_domain(count, num_domains):
    rows = jax.jit(interleaved_domains, static_argnums=(1, 2))(KEY, count, num_domains)
    parts = [part for domain in range(num_domains) for part in members(rows, domain)]
    assert sorted(x for part in parts for x in part) == list(range(count))
    for domain in range(num_domains):
        size = len(range(domain, count, num_domains))
        inside, outside = members(rows, domain)
        assert (len(inside), len(outside)) == (size - int(0.2 * size), int(0.2 * size))
        assert set(np.asarray(rows.inside.index[domain]).tolist()) == inside


def test_domains_change_with_the_key_and_not_with_jit():
    jitted = jax.jit(lambda key: interleaved_domains(key, 40, 3))
    jax.tree.map(np.testing.assert_array_equal, jitted(KEY), interleaved_domains(KEY, 40, 3))
    assert not np.array_equal(jitted(KEY).inside.index, jitted(jax.random.key(5)).inside.index)


def test_given_domains_keep_their_examples():
    rows = jax.jit(lambda key: grouped_domains(key, (10, 25, 7), holdout=0.3))(KEY)
    for domain, (first, last) in enumerate(((0, 10), (10, 35), (35, 42))):
        inside, outside = members(rows, domain)
        assert inside | outside == set(range(first, last))
        assert len(outside) == int(0.3 * (last - first))


def turned(pictures, angle):
    index, weights = rotation_table(*pictures.shape[1:], (angle,))
    return np.asarray(rotate(pictures, jnp.zeros(len(pictures), jnp.int32), index, weights))


def test_quarter_turns_are_exact():
    np.testing.assert_array_equal(turned(PICTURES[:3], 0.0), PICTURES[:3])
    np.testing.assert_allclose(turned(PICTURES[:3], 90.0), np.rot90(PICTURES[:3], axes=(1, 2)), atol=1e-6)
    np.testing.assert_allclose(turned(PICTURES[:3], 180.0), np.rot90(PICTURES[:3], 2, axes=(1, 2)), atol=1e-6)


@pytest.mark.parametrize("angle", [15.0, 45.0, 75.0])
def test_turns_are_bilinear_with_zeros_around(angle):
    picture = PICTURES[:1]
    expected = scipy.ndimage.rotate(
        picture[0], angle, order=1, reshape=False, mode="grid-constant", prefilter=False, output=np.float64
    )
    np.testing.assert_allclose(turned(picture, angle)[0], expected, atol=1e-5)
    smooth = scipy.ndimage.gaussian_filter(np.pad(np.ones((4, 9)), ((12, 12), (10, 9))), 2).astype(np.float32)
    by_pillow = Image.fromarray(smooth).rotate(angle, Image.Resampling.BILINEAR)
    np.testing.assert_allclose(turned(jnp.asarray(smooth)[None], angle)[0], np.asarray(by_pillow), atol=0.02)


def test_rotated_digits_are_turned_by_their_domain():
    source = rotated_domains(PICTURES, DIGITS, (0.0, 90.0))
    trial = jax.jit(source.draw)(KEY)
    for domain, turns in enumerate((0, 1)):
        rows = trial.rows.inside.index[domain][:4]
        assert set(np.asarray(trial.looks[rows]).tolist()) == {domain}
        found = take(source, trial, rows)
        np.testing.assert_allclose(found.inputs[..., 0], np.rot90(PICTURES[rows], turns, axes=(1, 2)), atol=1e-6)
        np.testing.assert_array_equal(found.labels, DIGITS[rows])


def test_colours_follow_the_noise_of_their_domain():
    shapes = jnp.arange(9000, dtype=jnp.int32) % 10
    source = coloured_domains(jnp.ones((9000, 1, 1)), shapes)
    trial = jax.jit(source.draw)(KEY)
    agrees = np.asarray(trial.looks == trial.labels)
    for domain, noise in enumerate(COLOUR_NOISE.values()):
        assert abs(1 - agrees[np.asarray(trial.rows.inside.index[domain])].mean() - noise) < 0.03
    assert abs(np.mean(np.asarray(trial.labels) != (np.arange(9000) % 10 < 5)) - 0.25) < 0.02
    inputs = take(source, trial, jnp.arange(20)).inputs
    np.testing.assert_array_equal(jnp.argmax(inputs[:, 0, 0], -1), trial.looks[:20])
    np.testing.assert_array_equal(inputs.sum(-1), np.ones((20, 1, 1)))


def test_batches_come_from_the_training_part_of_the_lanes_domains():
    # each picture shows its own number
    numbered = jnp.broadcast_to(jnp.arange(90, dtype=jnp.float32)[:, None, None], (90, 2, 2))
    sampler = DomainSampler(rotated_domains(numbered, DIGITS, (0.0, 90.0, 180.0)), 40)
    hyper = {"domains": jnp.asarray([2, 0], jnp.int32)}
    # drawn once, outside; the whole sampler draws the same again
    drawn = DrawnDomainSampler(sampler.source, jax.jit(lambda key: lane_trial(sampler.source, key))(KEY), 40)
    batch = drawn(stream(KEY, "data"), jnp.int32(3), hyper)
    jitted = jax.jit(lambda s, step: s(stream(KEY, "data"), step, hyper))(sampler, jnp.int32(3))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-4), batch, jitted)
    assert batch.inputs.shape == (2, 40, 2, 2, 1)
    rows = np.asarray(batch.inputs[..., 0, 0, 0]).round().astype(int)
    trial = jax.jit(lambda key: lane_trial(sampler.source, key))(KEY)
    for place, domain in enumerate((2, 0)):
        inside, _ = members(trial.rows, domain)
        assert set(rows[place].tolist()) <= inside
        # 40 of 24 with replacement: all but surely some twice and most at least once
        assert len(inside) * 0.5 < len(set(rows[place].tolist())) < 40
    np.testing.assert_array_equal(batch.labels, DIGITS[jnp.asarray(rows)])
    later = drawn(stream(KEY, "data"), jnp.int32(4), hyper)
    assert not np.array_equal(later.labels, batch.labels)


def folder_of(root, domains):
    for domain, classes in domains.items():
        for name, count in classes.items():
            (root / domain / name).mkdir(parents=True)
            for number in range(count):
                Image.new("RGB", (5, 5), (10 * number, 0, 255)).save(root / domain / name / f"{number}.png")
    return root


def test_a_folder_of_pictures_is_standardised(tmp_path):
    root = folder_of(tmp_path, {"photo": {"cat": 4, "dog": 4}, "sketch": {"cat": 6, "dog": 3}})
    source = picture_domains(root, 4, (0.5, 0.5, 0.5), (0.1, 0.2, 0.5))
    assert (source.names, source.class_names, source.sizes) == (("photo", "sketch"), ("cat", "dog"), (8, 9))
    found = take(source, jax.jit(source.draw)(KEY), jnp.arange(8, 11))
    np.testing.assert_allclose(found.inputs[2, 0, 0], [(20 / 255 - 0.5) / 0.1, -2.5, 1.0], rtol=1e-4)
    np.testing.assert_array_equal(found.labels, [0, 0, 0])
    assert scale_bytes(PICTURES) is PICTURES


def test_bad_domains_get_one_line():
    with pytest.raises(BadInput, match="domains: 1 domains; at least 2 are needed"):
        interleaved_domains(KEY, 30, 1)
    with pytest.raises(BadInput, match=r"domains: 2, 2, 2 examples leave a part empty with 0\.2 held out"):
        interleaved_domains(KEY, 6, 3)
    with pytest.raises(BadInput, match="domains: 1 domains; at least 2 are needed"):
        grouped_domains(KEY, (8,))
    with pytest.raises(BadInput, match="domains: domain 1 of 2 is empty"):
        grouped_domains(KEY, (8, 0))
    with pytest.raises(BadInput, match=r"holdout: 1\.5 is not above 0 and below 1"):
        interleaved_domains(KEY, 30, 2, holdout=1.5)
    with pytest.raises(BadInput, match="digits: all are of a single class; some below 5"):
        coloured_domains(PICTURES, jnp.zeros(90, jnp.int32))
    with pytest.raises(BadInput, match="digits: all are of a single class; at least 2"):
        rotated_domains(PICTURES, jnp.zeros(90, jnp.int32))
    with pytest.raises(BadInput, match="colour_noise: 1 domains"):
        coloured_domains(PICTURES, DIGITS, (0.1,))
    with pytest.raises(BadInput, match=r"colour_noise: .* is not in \[0, 1\]"):
        coloured_domains(PICTURES, DIGITS, (0.1, 1.2))
    with pytest.raises(BadInput, match="angles: 1 domains"):
        rotated_domains(PICTURES, DIGITS, (0.0,))
    with pytest.raises(BadInput, match="batch_size: 1 is not at least 2"):
        DomainSampler(coloured_domains(PICTURES, DIGITS), 1)
    source = rotated_domains(PICTURES, DIGITS)
    with pytest.raises(BadInput, match="index: for pictures of 36 pixels, not of 25"):
        dataclasses.replace(source, pictures=PICTURES[:, :5, :5]).render(PICTURES[:1, :5, :5], jnp.zeros(1, jnp.int32))

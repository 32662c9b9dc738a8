"""Domains of unequal sizes: padding that no mean sees, splits without overlap, shuffles that keep the classes."""

from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mlrisk.data.chosen_domains import Chosen, ChosenDomainsSampler, held_out_rows, padded_domains, shuffled_labels
from mlrisk.data.finance import YEARS
from mlrisk.data.synthetic_finance import synthetic_finance
from mlrisk.errors import BadInput
from mlrisk.harness.domain_accuracy import DomainAccuracyProbe, binary_accuracies
from mlrisk.objectives.domains import binary_domain_risks
from mlrisk.types import Examples

SIZES = (3, 5, 4, 2)


@pytest.fixture(scope="module")
def parts():
    draw = np.random.default_rng(0)
    return [
        Examples(jnp.asarray(draw.normal(size=(n, 2)), jnp.float32), jnp.asarray(np.arange(n) % 2, jnp.int32))
        for n in SIZES
    ]


def hyper(domains, *, shuffled=False):
    return SimpleNamespace(chosen=Chosen(jnp.asarray(domains), jnp.asarray(shuffled)))


def test_a_lane_gets_the_rows_of_its_domains_and_padding_in_none(parts):
    batch = ChosenDomainsSampler(padded_domains(parts))(jax.random.key(0), jnp.int32(0), hyper([1, 3]))
    np.testing.assert_array_equal(batch.domains, [0] * 5 + [1] * 2 + [2] * 3)
    np.testing.assert_array_equal(batch.inputs[:7], np.concatenate([parts[1].inputs, parts[3].inputs]))
    np.testing.assert_array_equal(batch.labels[:7], np.concatenate([parts[1].labels, parts[3].labels]))
    logits = jnp.linspace(-1.0, 2.0, 10)
    whole = binary_domain_risks(logits, batch.labels, batch.domains, 2)
    used = binary_domain_risks(logits[:7], batch.labels[:7], batch.domains[:7], 2)
    for found, expected in zip(whole, used, strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-6)


def test_one_lane_draws_one_shuffle_for_all_its_steps(parts):
    sampler = ChosenDomainsSampler(padded_domains(parts))
    lane = sampler.for_lane(jax.random.key(1), hyper([0, 1, 2], shuffled=True))
    for first, second in zip(lane(jax.random.key(2), jnp.int32(0)), lane(jax.random.key(3), jnp.int32(7)), strict=True):
        np.testing.assert_array_equal(first, second)


def test_lanes_of_one_key_with_other_domains_shuffle_otherwise():
    rows = padded_domains([Examples(jnp.zeros((200, 1)), jnp.arange(200) % 2)] * 4)
    found = [ChosenDomainsSampler(rows)(jax.random.key(0), jnp.int32(0), hyper(domains, shuffled=True)).labels[:200]
             for domains in ([0, 1, 2], [0, 1, 3])]  # fmt: skip
    assert 60 < np.count_nonzero(found[0] == found[1]) < 140


def test_shuffles_keep_the_classes_and_the_padding_and_lose_the_labels():
    labels, used = jnp.asarray([1] * 40 + [0] * 40 + [7] * 20), jnp.arange(100) < 80
    keys = jax.random.split(jax.random.key(0), 50)
    found = np.asarray(jax.vmap(shuffled_labels, (0, None, None))(keys, labels, used))
    assert (found[:, 80:] == 7).all()
    assert (found[:, :80].sum(1) == 40).all()
    np.testing.assert_allclose(found[:, :40].mean(), 0.5, atol=4 * 0.5 / np.sqrt(2000))


def test_held_out_rows_are_a_partition(parts):
    whole = Examples(jnp.arange(20.0)[:, None], jnp.arange(20) % 2)
    train, held = held_out_rows(np.random.default_rng(0), whole, 6)
    assert len(train.labels) == 14
    rows = np.concatenate([train.inputs, held.inputs])[:, 0]
    np.testing.assert_array_equal(np.sort(rows), np.arange(20))
    np.testing.assert_array_equal(np.concatenate([train.labels, held.labels]), rows % 2)
    assert len(held_out_rows(np.random.default_rng(0), whole, 6, 5)[0].labels) == 5


def test_accuracies_leave_padding_out_and_validation_is_of_the_lanes_own_domains(parts):
    domains = padded_domains(parts)

    def apply(params, inputs):
        return params * inputs[:, :1]

    expected = [np.mean((np.asarray(p.inputs[:, 0]) > 0) == (np.asarray(p.labels) == 1)) for p in parts]
    np.testing.assert_allclose(binary_accuracies(apply, jnp.float32(1), domains), expected, rtol=1e-6)
    probe = DomainAccuracyProbe(domains, domains, ("a", "b", "c", "d"), apply)
    found = probe(SimpleNamespace(params=jnp.float32(1)), jax.random.key(0), hyper([1, 2]))
    np.testing.assert_allclose(found["validation"], np.mean(expected[1:3]), rtol=1e-6)
    np.testing.assert_allclose([found[name] for name in "abcd"], expected, rtol=1e-6)


def test_made_up_tables_look_like_the_real_ones():
    found = synthetic_finance(0, 400)
    assert [year.year for year in found.years] == list(YEARS)
    assert len(found.features) == 37 == found.years[0].inputs.shape[1]
    for year in found.years:
        assert year.labels.sum() == 200
        np.testing.assert_allclose(year.inputs.mean(0), 0, atol=1e-5)
        np.testing.assert_allclose(year.inputs.std(0), 1, rtol=1e-4)
    gaps = np.stack([y.inputs[y.labels == 1].mean(0) - y.inputs[y.labels == 0].mean(0) for y in found.years])
    assert (gaps[:, :3].mean(0) > 0.2).all()  # 2 d / sqrt(1 + d^2) = 0.297, deviation 0.045
    assert np.abs(gaps[:, 6:].mean()) < 0.03
    np.testing.assert_array_equal(synthetic_finance(0, 400).years[2].inputs, found.years[2].inputs)


WRONG = {
    "no domains": (lambda: padded_domains([]), r"parts: domains of \[\] examples; each needs some"),
    "empty": (lambda: padded_domains([Examples(jnp.zeros((0, 2)), jnp.zeros(0, int))]), r"parts: domains of \[0\]"),
    "too many held out": (
        lambda: held_out_rows(np.random.default_rng(0), Examples(jnp.zeros((4, 2)), jnp.zeros(4, int)), 4),
        "held_out: 4 of 4 rows leave 0 to train on, fewer than 1",
    ),
    "odd": (lambda: synthetic_finance(0, 5), "num_stocks: 5 is not an even number of at least 4"),
    "narrow": (lambda: synthetic_finance(0, 6, 3), "num_features: 3 is not at least 6"),
}


@pytest.mark.parametrize("case", WRONG)
def test_bad_input_gets_one_line(case, as_a_user):
    call, line = WRONG[case]
    with pytest.raises(BadInput, match=line):
        call()

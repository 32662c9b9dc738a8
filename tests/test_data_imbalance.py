"""Domains that differ in P(x): exact shares of classes and digits, shades of colours, what is left out."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mlrisk.data.coloured import GreyDigits
from mlrisk.data.imbalance import ImbalancedSampler, groups, kept_domains
from mlrisk.errors import BadInput

COUNT = 4000
DIGITS = np.arange(COUNT) % 10
GREY = GreyDigits(jnp.ones((COUNT, 3)), jnp.asarray(DIGITS < 5, jnp.int32), jnp.asarray(DIGITS))


class Lane(NamedTuple):
    share: jax.Array


def drawn(kind, share, noise=(0.2, 0.1), **options):
    sampler = ImbalancedSampler(GREY, jnp.asarray(groups(DIGITS, kind)), kind, jnp.asarray(noise), **options)
    batch = jax.jit(lambda key, lane: sampler.for_lane(key, lane)(key, jnp.int32(3)))(
        jax.random.key(0), Lane(jnp.float32(share))
    )
    return jax.tree.map(np.asarray, batch.colouring)


def test_groups_are_the_published_ones():
    assert groups(np.arange(10), "class").tolist() == [1] * 5 + [0] * 5
    assert groups(np.arange(10), "digit").tolist() == [-1, 0, 0, 1, 1, -1, 0, 0, 1, 1]
    assert set(groups(np.arange(10), "color").tolist()) == {0}


@pytest.mark.parametrize("kind", ["class", "digit"])
@pytest.mark.parametrize("share", [0.0, 0.1, 0.5])
def test_each_domain_keeps_exact_shares_of_either_group(kind, share):
    found, group = drawn(kind, share), groups(DIGITS, kind)
    assert (found.domains[group < 0] == -1).all()
    for domain, q in enumerate((share, 1 - share)):
        kept = [int(((found.domains == domain) & (group == g)).sum()) for g in (0, 1)]
        many = (group >= 0).sum() / 4  # each domain has about half of each group
        np.testing.assert_allclose(kept, [q * many, (1 - q) * many], atol=0.05 * many + 1)
    domains, where = kept_domains(jax.random.key(0), jnp.asarray(group), jnp.asarray([share, 1 - share]))
    for domain, q in enumerate((share, 1 - share)):
        for g, part in ((0, q), (1, 1 - q)):
            of = np.asarray((domains == domain) & (group == g))
            assert (np.asarray(where)[of] == domain).sum() == int(np.floor(part * of.sum() + 1e-4))


@pytest.mark.parametrize("share", [0.0, 0.2, 0.5])
def test_shades_of_either_colour_by_domain(share):
    found = drawn("color", share)
    assert set(found.domains.tolist()) == {0, 1}
    for domain, q in enumerate((share, 1 - share)):
        shades = found.colours[found.domains == domain]
        np.testing.assert_allclose((shades == 0).sum() / (shades < 2).sum(), q, atol=0.05)
        np.testing.assert_allclose((shades == 2).sum() / (shades >= 2).sum(), 1 - q, atol=0.05)
        wrong = (found.colours // 2 != found.labels)[found.domains == domain].mean()
        np.testing.assert_allclose(wrong, (0.2, 0.1)[domain], atol=0.03)


def test_a_test_domain_has_a_share_of_its_own():
    found = drawn("class", 0.0, noise=(0.9,), fixed_share=0.5)
    assert set(found.domains.tolist()) == {0, -1}
    kept = DIGITS[found.domains == 0]
    np.testing.assert_allclose((kept < 5).mean(), 0.5, atol=0.01)


def test_bad_input_is_one_line(as_a_user):
    with pytest.raises(BadInput, match="kind: 'colour' is not one of class, digit, color"):
        groups(DIGITS, "colour")
    with pytest.raises(BadInput, match="colour_noise: 3 domains; shares that differ need 2"):
        drawn("class", 0.5, noise=(0.1, 0.2, 0.3))

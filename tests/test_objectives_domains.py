"""Risks by domain and the objective whose method, weight and switch a lane chooses."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mlrisk import objectives
from mlrisk.errors import BadInput
from mlrisk.objectives.domains import (
    METHODS,
    DomainRisks,
    Penalty,
    at_step,
    binary_domain_risks,
    by_domain,
    penalised_loss,
    penalised_risk,
)

LOGITS = 2 * jax.random.normal(jax.random.key(0), (12,))
LABELS, DOMAINS = jnp.arange(12) % 2, jnp.arange(12) % 3 - 1  # a third is in no domain
FOUND = DomainRisks(jnp.asarray([0.7, 0.4]), jnp.asarray([0.2, 0.1]))
WEIGHT = 50.0
EXPECTED = {
    "erm": 1.1,
    "group_dro": 1.4,
    "mm_rex": 1.1 + WEIGHT * 0.3,
    "v_rex": 1.1 + WEIGHT * 0.09,
    "irm_v1": 1.1 + WEIGHT * 0.15,
}


def penalty(method, weight=WEIGHT, switch=0, decay=0.0):
    return Penalty(jnp.int32(METHODS.index(method)), jnp.float32(weight), jnp.int32(switch), jnp.float32(decay))


def test_means_by_domain_leave_out_what_is_in_none():
    found = by_domain(LOGITS, DOMAINS, 2)
    np.testing.assert_allclose(found, [LOGITS[d == DOMAINS].mean() for d in range(2)], rtol=1e-5)


def test_risks_and_slopes_of_each_domain():
    found = binary_domain_risks(LOGITS, LABELS, DOMAINS, 2)
    for domain in range(2):
        z, y = LOGITS[domain == DOMAINS], LABELS[domain == DOMAINS]
        both = jnp.stack([jnp.zeros_like(z), z], axis=1)
        np.testing.assert_allclose(found.risks[domain], objectives.cross_entropy(both, y).mean(), rtol=1e-5)
        np.testing.assert_allclose(found.slopes[domain], objectives.irm_v1_penalty(z, y), rtol=1e-4)


@pytest.mark.parametrize("method", METHODS)
def test_each_method_has_the_weights_of_the_published_code(method):
    found = penalised_risk(FOUND, at_step(penalty(method), 5))
    np.testing.assert_allclose(found, EXPECTED[method], rtol=1e-5)
    early = penalised_risk(FOUND, at_step(penalty(method, switch=10), 9))
    assert abs(early - 1.1) < 0.31  # a weight of 1 before the switch


def test_methods_are_lanes():
    lanes = jax.tree.map(lambda *leaves: jnp.stack(leaves), *(penalty(method) for method in METHODS))
    found = jax.vmap(lambda one: penalised_risk(FOUND, at_step(one, jnp.int32(3))))(lanes)
    np.testing.assert_allclose(found, [EXPECTED[method] for method in METHODS], rtol=1e-5)


def test_the_whole_loss_is_divided_by_weights_above_one():
    params = {"a": jnp.asarray([1.0, 2.0]), "b": jnp.asarray(3.0)}
    found = penalised_loss(FOUND, params, at_step(penalty("v_rex", decay=0.5), 0))
    np.testing.assert_allclose(found, (EXPECTED["v_rex"] + 0.5 * 14) / WEIGHT, rtol=1e-5)
    plain = penalised_loss(FOUND, params, at_step(penalty("erm", decay=0.5), 0))
    np.testing.assert_allclose(plain, 1.1 + 0.5 * 14, rtol=1e-5)


def test_an_empty_domain_is_refused(as_a_user):
    with pytest.raises(BadInput, match="domains: domain 2 of 3 is empty; each needs an example"):
        by_domain(LOGITS, DOMAINS, 3)
    with pytest.raises(BadInput, match=r"domains: shape \(3,\) is not \(12,\)"):
        by_domain(LOGITS, DOMAINS[:3], 2)

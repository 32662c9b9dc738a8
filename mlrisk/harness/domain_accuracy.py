"""A probe for lanes that train on different domains: accuracy on each, and on held-out rows of the lane's own."""

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
from jaxtyping import Array, Float

from mlrisk.data.chosen_domains import PaddedDomains
from mlrisk.types import Metrics, Params, RandomKey


@functools.partial(
    jax.tree_util.register_dataclass, data_fields=["validation", "whole"], meta_fields=["names", "apply"]
)
@dataclass(frozen=True)
class DomainAccuracyProbe:
    """Accuracy of a binary network, as it predicts, on every domain; nothing is selected here.

    Args:
        validation: rows of each domain that no lane trains on.
        whole: all rows of each domain.
        names: of the domains, static.
        apply: ``(params, inputs) -> logits`` (n, 1), static.
    """

    validation: PaddedDomains
    whole: PaddedDomains
    names: tuple[str, ...]
    apply: Callable[[Params, Array], Array]

    def __call__(self, state: Any, key: RandomKey, hyper: Any, /) -> Metrics:
        """``validation``, the mean over the domains of ``hyper.chosen``, and one accuracy a domain by its name."""
        del key
        own = jax.tree.map(lambda leaf: leaf[hyper.chosen.domains], self.validation)
        held = binary_accuracies(self.apply, state.params, own)
        whole = binary_accuracies(self.apply, state.params, self.whole)
        return {"validation": held.mean()} | dict(zip(self.names, whole, strict=True))


def binary_accuracies(
    apply: Callable[[Params, Array], Array], params: Params, domains: PaddedDomains
) -> Float[Array, " m"]:
    """The share of the used rows of each domain whose logit has the sign that their label says."""
    flat = domains.inputs.reshape(-1, *domains.inputs.shape[2:])
    logits = apply(params, flat)[:, 0].reshape(domains.labels.shape)
    right = ((logits > 0) == (domains.labels == 1)) & domains.used
    return right.sum(1).astype(logits.dtype) / domains.used.sum(1).astype(logits.dtype)

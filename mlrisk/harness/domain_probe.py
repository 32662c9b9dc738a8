"""A probe of accuracy in every domain, on examples that were trained on or on those held out."""

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from mlrisk.data.domain_splits import Trial, lane_trial, take
from mlrisk.harness.blocks import in_blocks
from mlrisk.types import Params, RandomKey


@functools.partial(
    jax.tree_util.register_dataclass,
    data_fields=["source"],
    meta_fields=["names", "part", "apply", "most", "batch_size"],
)
@dataclass(frozen=True)
class DomainProbe:
    """Accuracy of a lane's network in each domain of its own trial.

    Args:
        source: a `mlrisk.data.domain_splits.DomainSource`.
        names: of the domains.
        part: ``"inside"`` or ``"outside"`` of the split, in every domain.
        apply: ``(params, inputs) -> logits`` on a batch.
        most: examples of a domain that are judged, at most; they are the first of a random order.
        batch_size: judged at a time.
    """

    source: Any
    names: tuple[str, ...]
    part: Literal["inside", "outside"]
    apply: Callable[[Params, Array], Array]
    most: int
    batch_size: int = 250

    def __call__(self, state: Any, key: RandomKey, /) -> dict[str, Array]:
        """For each domain's name the share of its examples that are classified as their labels say."""
        trial = lane_trial(self.source, state.key)
        rows, sizes = getattr(trial.rows, self.part)
        rows = rows[:, : self.most]
        judged = (jnp.arange(rows.shape[1])[None, :] < sizes[:, None]).astype(jnp.float32)
        correct = self._correct(state.params, trial, rows.reshape(-1)).reshape(rows.shape)
        shares = jnp.sum(correct * judged, 1) / judged.sum(1)
        return dict(zip(self.names, shares, strict=True))

    def _correct(self, params: Params, trial: Trial, rows: Int[Array, " n"]) -> Float[Array, " n"]:
        def judge(batch: Int[Array, " b"]) -> Float[Array, " b"]:
            examples = take(self.source, trial, batch)
            correct = jnp.argmax(self.apply(params, examples.inputs), -1) == examples.labels
            return correct.astype(jnp.float32)

        return in_blocks(judge, rows, self.batch_size)

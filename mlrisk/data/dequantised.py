"""Digits as a density-estimation table that needs no download."""

import jax
import numpy as np

from mlrisk import prng
from mlrisk.data.loading import load
from mlrisk.data.uci import Tabular
from mlrisk.types import RandomKey

LEVELS = 17


def dequantised_digits(key: RandomKey) -> Tabular:
    """scikit-learn's digits as rows of 64 numbers: ``x = (p + u) / 17``, with grey levels p and ``u ~ U[0, 1)``.

    Args:
        key: typed key; decides the noise, and which fifth of the training examples is for validation.

    Returns:
        `Tabular` of float32 (n, 64): 1154 training, 288 validation and 355 test rows.

    Source:
        Uria, Murray and Larochelle (2013), RNADE, section 4: why noise is added to what takes few values.
    """
    source = load("digits")
    rows = np.concatenate([np.asarray(part.inputs).reshape(-1, 64) for part in (source.train, source.test)])
    noise, order = prng.streams(key, "noise", "held out")
    noisy = ((rows * (LEVELS - 1) + np.asarray(jax.random.uniform(noise, rows.shape))) / LEVELS).astype(np.float32)
    fit = noisy[: len(source.train.labels)][np.asarray(jax.random.permutation(order, len(source.train.labels)))]
    held_out = len(fit) // 5
    return Tabular(fit[held_out:], fit[:held_out], noisy[len(fit) :])

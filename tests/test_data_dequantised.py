"""Dequantised digits: rows lead back to the digits, and the parts share none."""

import jax
import numpy as np

from mlrisk.data import dequantised_digits, load


def test_rounding_down_gives_the_digits_back_and_the_split_is_theirs():
    table, source = dequantised_digits(jax.random.key(0)), load("digits")
    grey = [np.floor(part * 17).astype(int) for part in table[:3]]
    digits = [
        np.round(np.asarray(part.inputs) * 16).reshape(-1, 64).astype(int) for part in (source.train, source.test)
    ]
    np.testing.assert_array_equal(grey[2], digits[1])
    mixed = np.concatenate(grey[:2])
    np.testing.assert_array_equal(mixed[np.lexsort(mixed.T)], digits[0][np.lexsort(digits[0].T)])
    assert [len(part) for part in grey] == [1154, 288, 355]
    noise = np.concatenate(table[:3]) * 17 % 1
    np.testing.assert_allclose([noise.mean(), noise.var()], [0.5, 1 / 12], atol=0.003)
    other = dequantised_digits(jax.random.key(1))
    assert not np.array_equal(other.test, table.test)

"""The linear unit tests: what predicts the target in which split, and what a rotation leaves alone."""

import jax
import numpy as np
import pytest

from mlrisk.data.linear_unit_tests import BACKGROUNDS, EXAMPLES, SCALES, UnitTest, draw_unit_tests, is_regression
from mlrisk.errors import BadInput

COUNT, DIM = 2000, 3


@pytest.fixture(scope="module")
def drawn() -> UnitTest:
    found = jax.jit(lambda key: draw_unit_tests(key, COUNT, DIM))(jax.random.key(1))
    return jax.tree.map(np.asarray, found)


def test_only_shuffling_parts_the_target_from_the_spurious_features(drawn):
    for place in (1, 2):
        for split in UnitTest._fields:
            inputs, targets = (np.asarray(part[place]) for part in getattr(drawn, split))
            for x, y in zip(inputs, targets, strict=True):
                most = max(abs(np.corrcoef(x[:, DIM + i], y)[0, 1]) for i in range(DIM))
                assert (most > 0.7) == (split in ("train", "validation")), (place, split)
            lone = abs(np.corrcoef(inputs[0, :, 0], targets[0])[0, 1])
            assert lone > 0.6  # invariant features are never shuffled


def test_scrambled_problems_are_rotations_of_the_plain_ones(drawn):
    for split in drawn:
        plain, rotated = split.inputs[:3], split.inputs[3:]
        np.testing.assert_allclose((plain**2).sum(-1), (rotated**2).sum(-1), rtol=1e-3, atol=1e-3)
        np.testing.assert_array_equal(split.targets[:3], split.targets[3:])
        assert np.abs(plain - rotated).max() > 0.5


def test_domains_have_the_published_noises_and_frequencies(drawn):
    inputs, targets = drawn.train.inputs[0], drawn.train.targets[0]
    np.testing.assert_allclose(inputs[..., :DIM].std((1, 2)), SCALES, rtol=0.05)
    slopes = np.linalg.lstsq(inputs[2, :, :DIM], targets[2], rcond=None)
    np.testing.assert_allclose(np.sqrt(slopes[1][0] / COUNT), SCALES[2] * DIM**0.5, rtol=0.05)
    cows = drawn.train.inputs[1, :, :, :DIM].mean(-1) > 0
    grass = drawn.train.inputs[1, :, :, DIM:].mean(-1) > 0
    for number, (usual, share) in enumerate(BACKGROUNDS):
        assert abs((cows == grass)[number].mean() - usual) < 0.03
        assert abs(cows[number].mean() - share) < 0.05
    np.testing.assert_array_equal(cows, drawn.train.targets[1] > 0)
    margins = drawn.train.inputs[2, :, :, :DIM] * (1 - 2 * drawn.train.targets[2][..., None])
    np.testing.assert_allclose([margins.mean(), margins.std()], [0.1, 0.1], atol=0.005)


def test_names_and_sizes_are_checked(as_a_user):
    assert [is_regression(name) for name in EXAMPLES] == [True, False, False] * 2
    with pytest.raises(BadInput, match="example: '4' is not one of 1, 2, 3, 1s, 2s, 3s"):
        is_regression("4")
    with pytest.raises(BadInput, match="count, dim: 1 and 3 are not at least 2 and 1"):
        draw_unit_tests(jax.random.key(0), 1, 3)

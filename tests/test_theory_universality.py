"""The step construction of universality: its numbers at n = 7, its error bounds, and its targets."""

import math

import numpy as np
import pytest
from scipy import special

from mlrisk.errors import BadInput
from mlrisk.theory import MONOTONE, construct

X = np.linspace(-5, 5, 20_001)


@pytest.mark.parametrize("name", MONOTONE)
def test_targets_increase_strictly_inside_the_unit_interval(name):
    values = MONOTONE[name](X)
    assert (np.diff(values) > 0).all()
    assert values[0] > 0
    assert values[-1] < 1


@pytest.mark.parametrize("name", MONOTONE)
def test_inverses_are_inverses(name):
    x = np.linspace(-4.9, 4.9, 11)
    np.testing.assert_allclose(MONOTONE[name].inverse(MONOTONE[name](x)), x, atol=1e-7)
    assert MONOTONE[name].inverse(np.asarray([0.0, 1.0])).tolist() == [-5, 5]


def test_the_published_figure_has_seven_levels():
    made = construct(MONOTONE["sigmoid"], 7)
    np.testing.assert_allclose(made.knots, [math.log(k / (7 - k)) for k in range(1, 7)], atol=1e-9)
    np.testing.assert_allclose(np.cumsum(made.weights), [1 / 7, 2 / 7, 3 / 7, 4 / 7, 5 / 7, 1])
    assert made.width == pytest.approx((math.log(4 / 3) - math.log(3 / 4)) / math.log(13))
    assert special.expit(np.diff(made.knots).min() / made.width) == pytest.approx(1 - 1 / 14)


@pytest.mark.parametrize("name", MONOTONE)
@pytest.mark.parametrize("count", [3, 7, 20, 90])
def test_errors_are_within_the_bounds(name, count):
    target = MONOTONE[name]
    made = construct(target, count)
    assert np.abs(made.stairs(X) - target(X)).max() <= 1 / count + 1e-9
    assert np.abs(made.smooth(X) - target(X)).max() <= 2.5 / count
    assert made.smooth(np.asarray([-1e6, 1e6])).tolist() == pytest.approx([0, 1])


def test_counts_that_cannot_be_get_one_line():
    with pytest.raises(BadInput, match="count: 2"):
        construct(MONOTONE["sigmoid"], 2)
    with pytest.raises(BadInput, match="count: 1000"):
        construct(MONOTONE["line"], 1000)

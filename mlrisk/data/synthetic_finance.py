"""A made-up table in the shape of the yearly financial indicators, for trying things without anyone's data."""

import numpy as np

from mlrisk.data.finance import YEARS, Finance, Year
from mlrisk.errors import BadInput

STABLE, UNSTABLE = 3, 3


def synthetic_finance(seed: int, num_stocks: int, num_features: int = 37, strength: float = 0.15) -> Finance:
    """Five years of balanced, standardised stocks, a few of whose indicators say something of the label.

    With s = 2 y - 1: three features are ``d s + e`` in all years, three ``d g s + e`` with a sign g that each year
    draws anew, the others ``e``; e is standard normal. Each year is then standardised, as the real tables are. At
    d = 0.15 the stable features alone are right for 60 % of the stocks, so that the task is as near chance as the real
    one.

    Args:
        seed: of numpy's generator.
        num_stocks: in each year, even: half have label 1.
        num_features: at least 6.
        strength: d.

    Returns:
        What `mlrisk.data.finance.load_finance` returns for the real tables.

    Raises:
        BadInput: too few features, or a number of stocks that is odd or below 4.
    """
    if num_stocks < 4 or num_stocks % 2:
        raise BadInput(f"num_stocks: {num_stocks} is not an even number of at least 4")
    if num_features < STABLE + UNSTABLE:
        raise BadInput(f"num_features: {num_features} is not at least {STABLE + UNSTABLE}")
    draw = np.random.default_rng(seed)
    years = tuple(_year(draw, year, num_stocks, num_features, strength) for year in YEARS)
    names = (*(f"stable {i}" for i in range(STABLE)), *(f"unstable {i}" for i in range(UNSTABLE)))
    return Finance(years, (*names, *(f"noise {i}" for i in range(num_features - len(names)))))


def _year(draw: np.random.Generator, year: int, num_stocks: int, num_features: int, strength: float) -> Year:
    labels = draw.permutation(np.arange(num_stocks) % 2).astype(np.int32)
    signs = np.zeros(num_features)
    signs[:STABLE] = 1
    signs[STABLE : STABLE + UNSTABLE] = draw.choice([-1, 1], UNSTABLE)
    inputs = draw.normal(size=(num_stocks, num_features)) + strength * signs * (2 * labels[:, None] - 1)
    return Year(year, ((inputs - inputs.mean(0)) / inputs.std(0)).astype(np.float32), labels)

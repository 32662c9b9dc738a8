"""Linear structural models under interventions on one variable at a time, and predictors with equal risks in all."""

from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float
from scipy import optimize

from mlrisk.errors import BadInput


class CausalChain(NamedTuple):
    """``v_i = sum_j B_ij v_j + noise_i`` in causal order; the target is one of the variables.

    Attributes:
        effects: B (v, v), strictly lower triangular.
        deviations: of the independent noises with mean 0 (v,).
        target: the index of the variable that is predicted from all others.
    """

    effects: Float[np.ndarray, "v v"]
    deviations: Float[np.ndarray, " v"]
    target: int

    @property
    def others(self) -> np.ndarray:
        """The indices of the predictors."""
        return np.delete(np.arange(len(self.deviations)), self.target)

    @property
    def causal(self) -> Float[np.ndarray, " k"]:
        """The weights of the predictors in the target's own equation."""
        return self.effects[self.target, self.others]


def draw_chain(seed: int, causes: int = 2, effects: int = 2) -> CausalChain:
    """A model in which every variable acts on all later ones, with weights of size 0.5 to 1.5 and of either sign.

    Args:
        seed: of the draw.
        causes: variables before the target.
        effects: variables after it.

    Raises:
        BadInput: a negative number, or none at all.
    """
    if causes < 0 or effects < 0 or causes + effects < 1:
        raise BadInput(f"causes, effects: {causes} and {effects} are not zero or more, with one at least")
    rng, size = np.random.default_rng(seed), causes + effects + 1
    weights = rng.uniform(0.5, 1.5, (size, size)) * rng.choice([-1.0, 1.0], (size, size))
    return CausalChain(np.tril(weights, -1), rng.uniform(0.5, 1.5, size), causes)


class Population(NamedTuple):
    """Means and covariances of all variables in each domain, exactly: (m, v) and (m, v, v)."""

    means: Float[np.ndarray, "m v"]
    covariances: Float[np.ndarray, "m v v"]


def interventions(model: CausalChain, values: Float[np.ndarray, " n"]) -> Population:
    """One domain for each predictor j and each value a, in which ``do(v_j = a)`` holds.

    The intervened variable has the constant a in place of its equation; with A the effects without its row,
    ``mean = (1 - A)^-1 a e_j`` and ``covariance = (1 - A)^-1 diag(deviations^2, 0 at j) (1 - A)^-T``.

    Args:
        model: the structural model.
        values: the constants, the same for every predictor.

    Returns:
        Domains in the order of the predictors, and of the values within each.

    Raises:
        BadInput: there are no values.
    """
    values = np.asarray(values, np.float64)
    if values.ndim != 1 or not len(values):
        raise BadInput(f"values: shape {values.shape} is not (n,) with at least one value")
    size, means, covariances = len(model.deviations), [], []
    for variable in model.others:
        kept = (np.arange(size) != variable).astype(float)
        solved = np.linalg.inv(np.eye(size) - model.effects * kept[:, None])
        means += [value * solved[:, variable] for value in values]
        covariances += [(solved * (kept * model.deviations**2)) @ solved.T] * len(values)
    return Population(np.stack(means), np.stack(covariances))


def population_risks(
    model: CausalChain, population: Population, weights: Float[np.ndarray, " k"]
) -> Float[np.ndarray, " m"]:
    """The expected squared error of ``sum_j w_j v_j`` for the target in each domain."""
    residual = _residual(model, weights)
    return (population.means @ residual) ** 2 + population.covariances @ residual @ residual


class EqualRisks(NamedTuple):
    """Predictors whose risks are equal in all domains.

    Attributes:
        weights: the one of them with the least risk, where V-REx ends as its weight grows.
        spread: how far its risks are apart.
        risk: their mean.
        farthest: the largest error of a weight, against the causal ones, among all equal-risk predictors found.
    """

    weights: Float[np.ndarray, " k"]
    spread: float
    risk: float
    farthest: float


STRENGTHS = (1.0, 1e2, 1e4, 1e6, 1e8)
EQUAL = 1e-5
"""Risks less apart than this count as equal."""


def equal_risk_predictors(
    model: CausalChain, population: Population, seed: int, starts: int = 8, strengths: tuple[float, ...] = STRENGTHS
) -> EqualRisks:
    """The least risky predictor with equal risks in all domains, by V-REx with a growing weight, and the farthest.

    ``mean_e R_e + b mean_e (R_e - mean R)^2`` is a sum of squares (of ``sqrt R_e`` and ``sqrt b (R_e - mean R)``),
    minimised by least squares for each b from the last one's solution, from the pooled regression and from random
    starts; the lowest at the largest b counts. The same without the first term, from the same starts, gives others.

    Args:
        model: the structural model.
        population: its domains.
        seed: of the random starts.
        starts: how many.
        strengths: growing values of b.

    Source: Krueger et al. (2021), equation 8 with MSE risks, under the conditions of theorem 1.
    """
    rng = np.random.default_rng(seed)
    begin = [_pooled(model, population), *rng.normal(0, 1.5, (starts, len(model.others)))]
    ends = []
    for weights in begin:
        for strength in strengths:
            weights = _least_squares(weights, model, population, strength, 1.0)
        ends.append(weights)
    best = min(ends, key=lambda found: float(np.square(_terms(found, model, population, strengths[-1], 1.0)).sum()))
    equal = [_least_squares(weights, model, population, 1.0, 0.0) for weights in begin] + ends
    errors = [
        np.abs(found - model.causal).max() for found in equal
        if np.ptp(population_risks(model, population, found)) < EQUAL
    ]  # fmt: skip
    risks = population_risks(model, population, best)
    return EqualRisks(best, float(np.ptp(risks)), float(risks.mean()), float(max(errors, default=np.nan)))


def _least_squares(
    weights: np.ndarray, model: CausalChain, population: Population, strength: float, of_risk: float
) -> np.ndarray:
    slopes: Any = _term_slopes  # scipy's types know names of methods alone
    found = optimize.least_squares(
        _terms,
        weights,
        slopes,
        args=(model, population, strength, of_risk),
        max_nfev=200,
        xtol=1e-14,
        ftol=1e-14,
        gtol=1e-14,
    )
    return found.x


def _residual(model: CausalChain, weights: np.ndarray) -> np.ndarray:
    residual = np.zeros(len(model.deviations))
    residual[model.target], residual[model.others] = 1, -weights
    return residual


def _pooled(model: CausalChain, population: Population) -> np.ndarray:
    second = (population.covariances + population.means[:, :, None] * population.means[:, None, :]).mean(0)
    return np.linalg.solve(second[np.ix_(model.others, model.others)], second[model.others, model.target])


def _terms(
    weights: np.ndarray, model: CausalChain, population: Population, strength: float, of_risk: float
) -> np.ndarray:
    risks = population_risks(model, population, weights)
    return np.concatenate([of_risk * np.sqrt(risks), np.sqrt(strength) * (risks - risks.mean())]) / np.sqrt(len(risks))


def _term_slopes(
    weights: np.ndarray, model: CausalChain, population: Population, strength: float, of_risk: float
) -> np.ndarray:
    residual = _residual(model, weights)
    of_means = population.means @ residual
    slopes = 2 * (population.covariances @ residual + of_means[:, None] * population.means)[:, model.others]
    risks = population_risks(model, population, weights)
    both = [-of_risk * slopes / (2 * np.sqrt(risks))[:, None], -np.sqrt(strength) * (slopes - slopes.mean(0))]
    return np.concatenate(both) / np.sqrt(len(risks))

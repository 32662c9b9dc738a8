"""What extrapolating between domains means: affine mixtures of distributions, and two penalties' gradients."""

import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float
from matplotlib.figure import Figure

from mlrisk import report
from mlrisk.config import setting
from mlrisk.experiment import Experiment
from mlrisk.harness import Fit, Records, from_fit
from mlrisk.objectives import mm_rex, v_rex
from mlrisk.report import PALETTE, Claim, Obtained, Plate, Tables
from mlrisk.theory.discrete_domains import affine_mixture, six_dimensional_example
from mlrisk.types import Scalar

SIX = "Krueger et al. 2021, appendix C.1 (thesis 11.1.4)"
DENSITIES = "thesis Figure 5.3"
FIELDS = "Krueger et al. 2021, Figure 4"
CELLS = (0.14, 0.06, 0.12, 0.28, 0.10, 0.30)
"""P(x, y) of the base domain: equal noise at x = 0 and x = 1, so that equal risks need no stable feature destroyed."""
PREDICTORS = ("ERM", "equal risks")
SIDE = 26


# 1. Config ------------------------------------------------------------------------------------------------------
@dataclass(frozen=True)
class Config:
    """Question: what is a risk beyond the training domains? Krueger et al. 2021, Figure 4, C.1; thesis Figure 5.3."""

    shift: float = setting(0.06, "k, the shift of P(y | x = 2) in the six-dimensional example", above=0, at_most=0.1)
    weight: float = setting(4.0, "weight of the penalties whose gradient fields are drawn", above=0)
    resolution: int = setting(121, "points along each axis of the plane of mixtures", at_least=5)
    seed: int = setting(0, "root of all random numbers; nothing is random here", at_least=0)

    def scale(self) -> str:
        """The size of the run in one phrase."""
        return f"exact, {self.resolution} x {self.resolution} mixtures"


# 2. Data --------------------------------------------------------------------------------------------------------
def make_data(config: Config) -> Float[Array, "3 6"]:
    """P(x, y) of three domains: a base, a shift of P(y | x = 2), and one of P(x)."""
    return six_dimensional_example(jnp.asarray(CELLS), config.shift)


# 3. Model -------------------------------------------------------------------------------------------------------
def make_model(six: Float[Array, "3 6"]) -> Float[Array, "2 3"]:
    """Logits of the best predictors under ERM, and under the demand that all risks are equal.

    ERM has the pooled P(y = 1 | x). Equal risks need P(y = 1 | x = 2) = 1/2 (or the shift of labels shows); at x = 0
    and x = 1 labels do not shift and have one entropy, so the true probabilities stay.
    """
    totals = six.sum(0).reshape(3, 2)
    pooled = jnp.log(totals[:, 1] / totals[:, 0])
    return jnp.stack([pooled, pooled.at[2].set(0.0)])


def _cell_losses(logits: Float[Array, "3"]) -> Float[Array, "6"]:
    return jnp.stack([jax.nn.softplus(logits), jax.nn.softplus(-logits)], axis=1).reshape(6)


# 4. Objective ---------------------------------------------------------------------------------------------------
def make_objective(config: Config) -> dict[str, Callable[[Float[Array, "2"]], Scalar]]:
    """With S the sum of two risks and D their difference: ``S + w |D|`` (MM-REx) and ``S + w D^2`` (V-REx)."""
    w = config.weight
    return {"MM-REx": lambda risks: 2 * mm_rex(risks, (1 - w) / 2), "V-REx": lambda risks: v_rex(risks, 4 * w)}


# 5. Run ---------------------------------------------------------------------------------------------------------
def run(config: Config, key: Any, run_dir: Path) -> Records:
    """Everything in closed form; no training."""
    del key, run_dir
    facts = _plane(config) | _densities() | _fields(config)
    arrays = {name: np.asarray(fact) for name, fact in facts.items()}
    spread = np.ptp(arrays["mixture_risks"], axis=0)
    ends = np.full((len(PREDICTORS), 1), -1)
    fit = Fit(None, {"plane/range": spread[:, None, None]}, ends, ends)  # pyright: ignore[reportArgumentType]
    records = from_fit(fit, probe_every=1, settings={"predictor": PREDICTORS})
    return records._replace(arrays={f"data/{name}": array for name, array in arrays.items()})


def _plane(config: Config) -> dict[str, Array]:
    """Affine mixtures with weights (1 - s - t, s, t), and their risks computed in both orders."""
    six = make_data(config)
    s, t = jnp.linspace(-6.0, 3.0, config.resolution), jnp.linspace(-2.0, 3.0, config.resolution)
    across, up = jnp.meshgrid(s, t)
    weights = jnp.stack([1 - across - up, across, up], axis=-1).reshape(-1, 3)
    mixed = jax.vmap(affine_mixture, (0, None))(weights, six)
    losses = jax.vmap(_cell_losses)(make_model(six))
    return {"s": s, "t": t, "six": six, "mixed": mixed, "mixture_risks": mixed @ losses.T,
            "mixed_risks": weights @ (six @ losses.T)}  # fmt: skip


def _densities() -> dict[str, Array]:
    """Two Gaussian densities of x, the mixture half and half, and the one with weights 2 and -1."""
    x = jnp.linspace(-5.0, 5.0, 401)
    domains = jnp.stack([jax.scipy.stats.norm.pdf(x, mean, 1.0) for mean in (-0.7, 0.7)])
    mixtures = [affine_mixture(jnp.asarray(weights), domains) for weights in ((0.5, 0.5), (2.0, -1.0))]
    return {"x": x, "densities": jnp.stack([*domains, *mixtures])}


def _fields(config: Config) -> dict[str, Array]:
    """Gradients in the plane of two risks by autodiff, and in closed form ``1 +- w sign(D)`` and ``1 +- 2 w D``."""
    axis = jnp.linspace(0.02, 1.0, SIDE)
    points = jnp.stack(jnp.meshgrid(axis, axis + 0.01), axis=-1).reshape(-1, 2)  # off the diagonal
    found = jnp.stack([jax.vmap(jax.grad(objective))(points) for objective in make_objective(config).values()])
    gap = points[:, 0] - points[:, 1]
    signed = config.weight * jnp.stack([jnp.sign(gap), 2 * gap])
    return {"points": points, "fields": found, "closed": 1 + jnp.stack([signed, -signed], axis=-1)}


# 6. Analysis ----------------------------------------------------------------------------------------------------
def analyse(records: Records) -> Tables:
    """How far each identity is from exact. Nothing is selected."""
    facts = {name.removeprefix("data/"): array for name, array in records.arrays.items()}
    six = facts["six"].astype(np.float64).reshape(3, 3, 2)
    given, spread = six[..., 1] / six.sum(2), np.ptp(facts["mixture_risks"], axis=0)
    found = {
        "distance of a mixture's sum from 1": np.abs(facts["mixed"].sum(1) - 1).max(),
        "change of P(y | x) by the shift of P(x)": np.abs(given[2] - given[0]).max(),
        "change of P(x) by the shift of P(y | x)": np.abs(six[1].sum(1) - six[0].sum(1)).max(),
        "risk of a mixture less mixture of risks": np.abs(facts["mixture_risks"] - facts["mixed_risks"]).max(),
        "rank of the differences between domains": np.linalg.matrix_rank(facts["six"][1:] - facts["six"][0], tol=1e-4),
        "least entry of a mixture": facts["mixed"].min(),
        "range of ERM's risk": spread[0],
        "range of the equal risk": spread[1],
        "least value of the interpolation": facts["densities"][2].min(),
        "least value of the extrapolation": facts["densities"][3].min(),
        "integral of the extrapolation": facts["densities"][3].sum() * float(facts["x"][1] - facts["x"][0]),
        "gradient fields, autodiff less closed form": np.abs(facts["fields"] - facts["closed"]).max(),
    }
    rows = [{"statistic": name, "value": float(value)} for name, value in found.items()]
    return {"identities": report.tidy_table(rows, IDENTITIES)}


IDENTITIES = "Exact properties of mixtures, densities and gradients, the largest or least over all points drawn."


# 7. Figures -----------------------------------------------------------------------------------------------------
def figures(records: Records, tables: Tables) -> Mapping[str, Plate]:
    """Risks over affine mixtures, interpolated and extrapolated densities, and two gradient fields."""
    facts = {name.removeprefix("data/"): array for name, array in records.arrays.items()}
    with report.house_style():
        return {"affine_plane": _affine_plane(facts), "densities": _density_plate(facts),
                "gradient_fields": _field_plate(facts)}  # fmt: skip


def _affine_plane(facts: dict[str, np.ndarray]) -> Plate:
    figure, shape = Figure(figsize=(7.4, 3.2)), (len(facts["t"]), len(facts["s"]))
    proper = (facts["mixed"] >= -1e-6).all(1).reshape(shape).astype(float)
    risks, panels = facts["mixture_risks"], figure.subplots(1, 2, sharey=True)
    levels = np.linspace(risks.min(), risks.max(), 13)
    for number, (axes, title) in enumerate(zip(panels, ("ERM", "equal risks (REx)"), strict=True)):
        drawn = axes.contourf(facts["s"], facts["t"], risks[:, number].reshape(shape), levels)
        axes.contour(facts["s"], facts["t"], proper, [0.5], colors="white", linestyles="--")
        axes.fill([0, 1, 0], [0, 0, 1], facecolor="none", edgecolor="white", lw=1.5)
        axes.set(title=title, xlabel="shift of P(y | x = 2), in that of domain 2")
        axes.grid(visible=False)
    panels[0].set(ylabel="shift of P(x), in that of domain 3")
    figure.colorbar(drawn, ax=list(panels), label="risk / nats", format="%.2f")
    return Plate(figure, "Risk over all affine mixtures of three domains (corners of the triangle). Inside the dashes "
                 "no entry of P(x, y) is negative. Risks equal at the corners are equal everywhere.")  # fmt: skip


def _density_plate(facts: dict[str, np.ndarray]) -> Plate:
    figure = Figure(figsize=(5.6, 2.9))
    axes = figure.subplots()
    names = ("domain 1", "domain 2", "interpolation (1/2, 1/2)", "extrapolation (2, -1)")
    for name, density, color in zip(names, facts["densities"], ("blue", "vermilion", "green", "ink"), strict=True):
        axes.plot(facts["x"], density, label=name, color=PALETTE[color])
    axes.fill_between(facts["x"], np.minimum(facts["densities"][3], 0), color=PALETTE["ink"], alpha=0.25, lw=0)
    axes.set(xlabel="x", ylabel="P(x)")
    axes.legend()
    return Plate(figure, "Two densities of x, a mixture of them, and an extrapolation, which is negative where shaded.")


def _field_plate(facts: dict[str, np.ndarray]) -> Plate:
    figure, grid = Figure(figsize=(6.4, 3.3)), np.arange(SIDE**2).reshape(SIDE, SIDE)[1::2, 1::2].ravel()
    panels = figure.subplots(1, 2, sharey=True)
    for axes, field, title in zip(panels, -facts["fields"][:, grid], ("MM-REx", "V-REx"), strict=True):
        unit = field / np.linalg.norm(field, axis=1, keepdims=True)
        axes.quiver(*facts["points"][grid].T, *unit.T, color=PALETTE["blue"], pivot="mid")
        axes.axline((0, 0), slope=1, color=PALETTE["ink"], lw=0.8, ls="--")
        axes.set(title=title, xlabel="risk of domain 1 / nats", aspect="equal")
    panels[0].set(ylabel="risk of domain 2 / nats")
    return Plate(figure, "Directions of steepest descent in the plane of two risks: MM-REx turns at once on the "
                 "diagonal, V-REx bends into it smoothly.")  # fmt: skip


# 8. Claims ------------------------------------------------------------------------------------------------------
def _value(tables: Tables, name: str) -> float:
    return report.find_row(tables["identities"], statistic=name)["value"]


def _small(*names: str, most: float = 1e-5) -> Callable[[Tables], Obtained]:
    def check(tables: Tables) -> Obtained:
        worst = max(names, key=lambda name: _value(tables, name))
        found = _value(tables, worst)
        return Obtained(found, None, None, 0, f"at most {most:g}", found <= most, worst)

    return check


def _plane_of_quasi(tables: Tables) -> Obtained:
    least, rank = _value(tables, "least entry of a mixture"), _value(tables, "rank of the differences between domains")
    note = f"least entry of P(x, y) over the mixtures drawn; the mixtures of three domains have {rank:.0f} dimensions"
    return Obtained(least, None, None, 0, "below 0, and 2 dimensions", least < 0 and rank == 2, note)


def _flat(tables: Tables) -> Obtained:
    flat, steep = _value(tables, "range of the equal risk"), _value(tables, "range of ERM's risk")
    note = f"range of the risk over all mixtures drawn, in nats; of ERM {steep:.3g}"
    return Obtained(flat, None, None, 0, "at most 1e-5, and that of ERM above 0.1", flat <= 1e-5 and steep > 0.1, note)


def _negative_density(tables: Tables) -> Obtained:
    inside, least, total = (
        _value(tables, name)
        for name in ("least value of the interpolation", "least value of the extrapolation",
                     "integral of the extrapolation")
    )  # fmt: skip
    criterion = "below 0, its integral 1 within 0.001; the interpolation not below 0"
    right = inside >= 0 > least and abs(total - 1) < 1e-3
    return Obtained(least, None, None, 0, criterion, right, f"least value of the extrapolation; integral {total:.4f}")


CLAIMS = (
    Claim(name="independent-shifts", statement="The shift of P(x) keeps P(y | x), and that of P(y | x) keeps P(x).",
          source=SIX, published="exact", check=_small("change of P(y | x) by the shift of P(x)",
                                                      "change of P(x) by the shift of P(y | x)")),
    Claim(name="linear-risk", statement="The risk of an affine mixture is the mixture of risks, also beyond them.",
          source=SIX, published="exact", check=_small("risk of a mixture less mixture of risks",
                                                      "distance of a mixture's sum from 1")),
    Claim(name="quasi", statement="Three domains extrapolate along two directions, up to quasi-distributions with "
          "negative entries.", source=SIX, published="negative entries", check=_plane_of_quasi),
    Claim(name="flat", statement="Risks that are equal in the domains are equal in all their affine mixtures.",
          source=SIX, published="exact", check=_flat),
    Claim(name="negative-density", statement="Point-wise extrapolation of densities is negative for some x.",
          source=DENSITIES, published="picture", check=_negative_density),
    Claim(name="gradient-fields", statement="The gradient of MM-REx jumps on the diagonal (1 +- w sign D), that of "
          "V-REx is linear (1 +- 2 w D).", source=FIELDS, published="picture",
          check=_small("gradient fields, autodiff less closed form")),
)  # fmt: skip

# 9. Experiment --------------------------------------------------------------------------------------------------
EXPERIMENT = Experiment(
    name="extrapolation",
    question="What is the risk of a mixture of domains beyond them, and how do MM-REx and V-REx equalise risks?",
    source="Krueger et al. 2021, Figure 4 and appendix C.1 (thesis Figure 5.3, 11.1.4)",
    config=Config,
    run=run,
    analyse=analyse,
    figures=figures,
    claims=CLAIMS,
)

if __name__ == "__main__":
    from mlrisk.cli import main

    sys.exit(main(["run", EXPERIMENT.name, *sys.argv[1:]]))

"""What does risk extrapolation cost a model that is too small? Two regions, one of them rare in all domains."""

import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Float64
from matplotlib.figure import Figure

from mlrisk import report
from mlrisk.config import setting
from mlrisk.experiment import Experiment
from mlrisk.harness import Fit, Records, from_fit
from mlrisk.objectives import erm, group_dro, mm_rex, v_rex
from mlrisk.report import PALETTE, Claim, Obtained, Plate, Tables
from mlrisk.types import Scalar

SOURCE = "Krueger et al. 2021, appendix C.2 (thesis 11.1.5, 5.3.2); the example is ours"
POINTS = 64
"""Gauss-Legendre points in each region: exact for the products of polynomials of up to degree 63."""
LOOKS = {"ERM": "ink", "group DRO": "orange", "MM-REx": "green", "V-REx": "blue"}


# 1. Config ------------------------------------------------------------------------------------------------------
@dataclass(frozen=True)
class Config:
    """Question: do small models under REx spend capacity where data are rare? Krueger et al. 2021, appendix C.2."""

    capacities: tuple[int, ...] = setting(
        (2, 3, 4, 5, 6, 7, 8, 9, 10, 12, 14, 16), "Legendre polynomials", at_least=2, items=1
    )
    shown: int = setting(5, "the capacity of claims and figures; one of the capacities", at_least=2)
    betas: tuple[float, ...] = setting((1.0, 10.0, 100.0, 1e3, 1e4), "weights of V-REx's variance", above=0, items=1)
    lambdas: tuple[float, ...] = setting((-1.0, -2.0, -4.0, -10.0), "least weights of MM-REx", below=0, items=1)
    rare: tuple[float, ...] = setting((0.01, 0.1), "mass of the rare region, one a domain", above=0, below=1, items=2)
    waves: float = setting(1.0, "periods of the sine from 0 to 1", above=0)
    resolution: int = setting(4001, "points of the path on which minima are found", at_least=11)
    seed: int = setting(0, "root of all random numbers; nothing is random here", at_least=0)

    def scale(self) -> str:
        """The size of the run in one phrase."""
        return f"exact, {self.shown} polynomials shown, up to {max(self.capacities)}"


class Data(NamedTuple):
    """Quadrature of the dense region [-1, 0) and the rare one [0, 1]: points, weights (sum 1) and targets, (2, n)."""

    x: Float64[np.ndarray, "2 n"]
    weights: Float64[np.ndarray, "2 n"]
    y: Float64[np.ndarray, "2 n"]


class RegionFits(NamedTuple):
    """The best models for every weighting of the two regions."""

    weight: Float64[np.ndarray, " path"]
    errors: Float64[np.ndarray, "path 2"]
    coefficients: Float64[np.ndarray, "path k"]


# 2. Data --------------------------------------------------------------------------------------------------------
def make_data(config: Config) -> Data:
    """The target ``sin(2 pi w x)``, equally difficult on both regions, with inputs uniform on each."""
    nodes, weights = np.polynomial.legendre.leggauss(POINTS)
    x = np.stack([(nodes - 1) / 2, (nodes + 1) / 2])
    return Data(x, np.stack([weights / 2] * 2), np.sin(2 * np.pi * config.waves * x))


# 3. Model -------------------------------------------------------------------------------------------------------
def make_model(x: Float64[np.ndarray, " n"], capacity: int) -> Float64[np.ndarray, "n k"]:
    """The first Legendre polynomials on [-1, 1]; the model is linear in them and has one capacity for both regions."""
    return np.polynomial.legendre.legvander(x, capacity - 1)


# 4. Objective ---------------------------------------------------------------------------------------------------
def make_objective(config: Config) -> dict[tuple[str, float], Callable[[Float[Array, " m"]], Scalar]]:
    """Objectives of the domains' risks by name and strength."""
    found: dict[tuple[str, float], Any] = {("ERM", 0.0): erm, ("group DRO", 0.0): group_dro}
    found |= {("MM-REx", least): lambda risks, least=least: mm_rex(risks, least) for least in config.lambdas}
    return found | {("V-REx", beta): lambda risks, beta=beta: v_rex(risks, beta) for beta in config.betas}


# 5. Run ---------------------------------------------------------------------------------------------------------
def run(config: Config, key: Any, run_dir: Path) -> Records:
    """For each capacity and objective the minimum over the path of region-weighted fits; exact up to its resolution.

    Wherever an objective grows with both regions' errors, its stationary points are weighted least squares with the
    ratio of its two slopes as weights, so that one weight is all there is to search.
    """
    del key, run_dir
    data, objectives = make_data(config), make_objective(config)
    domains = np.stack([1 - np.asarray(config.rare), np.asarray(config.rare)], axis=1)
    paths = {capacity: _path(config, data, capacity) for capacity in sorted({*config.capacities, config.shown})}
    lanes = [(name, strength, capacity, path, _best(objective, path, domains))
             for (name, strength), objective in objectives.items() for capacity, path in paths.items()]  # fmt: skip
    chosen = np.asarray([[*path.errors[best], path.weight[best], (path.errors[best] @ domains.T).mean()]
                         for *_, path, best in lanes])  # fmt: skip
    history = {f"fit/{name}": column[:, None, None] for name, column in zip(METRICS, chosen.T, strict=True)}
    ends = np.full((len(lanes), 1), -1)
    settings = dict(zip(("objective", "strength", "capacity"), zip(*(lane[:3] for lane in lanes), strict=True),
                        strict=True))  # fmt: skip
    records = from_fit(Fit(None, history, ends, ends), probe_every=1, settings=settings)  # pyright: ignore[reportArgumentType]
    grid = np.linspace(-1, 1, 401)
    curves = [make_model(grid, config.shown) @ path.coefficients[best]
              for *_, capacity, path, best in lanes if capacity == config.shown]  # fmt: skip
    facts = {"x": grid, "target": np.sin(2 * np.pi * config.waves * grid), "curves": np.asarray(curves),
             "shown": np.asarray(config.shown)}  # fmt: skip
    return records._replace(arrays={f"data/{name}": fact for name, fact in facts.items()})


METRICS = ("dense error", "rare error", "weight of rare", "mean risk")


def _path(config: Config, data: Data, capacity: int) -> RegionFits:
    """Least squares with weight mu on the rare region and 1 - mu on the dense one, for mu from 0.0001 to 0.9999."""
    share = 1 / (1 + np.exp(-np.linspace(-9.2, 9.2, config.resolution)))
    basis = np.stack([make_model(x, capacity) for x in data.x])

    def solve(mu: float) -> Float64[np.ndarray, " k"]:
        roots = np.sqrt(data.weights * np.asarray([1 - mu, mu])[:, None])
        scaled = (basis * roots[..., None]).reshape(-1, capacity)
        return np.linalg.lstsq(scaled, (data.y * roots).reshape(-1))[0]

    coefficients = np.stack([solve(mu) for mu in share])
    gaps = np.einsum("rnk,pk->prn", basis, coefficients) - data.y
    return RegionFits(share, (gaps**2 * data.weights).sum(-1), coefficients)


def _best(objective: Callable[..., Scalar], path: RegionFits, domains: Float64[np.ndarray, "m 2"]) -> int:
    risks = jnp.asarray(path.errors @ domains.T, jnp.float32)
    return int(jnp.argmin(jax.vmap(objective)(risks)))


# 6. Analysis ----------------------------------------------------------------------------------------------------
def analyse(records: Records) -> Tables:
    """Each region's error for every objective, strength and capacity. Nothing is selected."""
    lanes: dict[tuple[Any, ...], dict[str, float]] = {}
    for row in records.table.to_pylist():
        if row["split"] == "fit":
            lanes.setdefault((row["objective"], row["strength"], row["capacity"]), {})[row["metric"]] = row["value"]
    rows = [{"objective": name, "strength": strength, "capacity": capacity, **found,
             "ratio": found["rare error"] / found["dense error"],
             "shown": capacity == records.arrays["data/shown"].item()}
            for (name, strength, capacity), found in lanes.items()]  # fmt: skip
    return {"errors": report.tidy_table(rows, ERRORS)}


ERRORS = (
    "Per objective, strength (lambda_min of MM-REx, beta of V-REx) and capacity: mean squared error in the dense and "
    "in the rare region, their ratio, the weight of the rare region that the objective amounts to (its mass is 0.055 "
    "in the mean of the domains of the shipped presets), and the mean risk of the domains; exact."
)


# 7. Figures -----------------------------------------------------------------------------------------------------
def figures(records: Records, tables: Tables) -> Mapping[str, Plate]:
    """Fits at one capacity, errors against capacity, and errors against the strength of V-REx."""
    rows, shown = tables["errors"].to_pylist(), int(records.arrays["data/shown"])
    with report.house_style():
        return {"fits": _fits(records, rows, shown), "capacity": _by_capacity(rows), "strength": _by_beta(rows, shown)}


def _strongest(rows: list[dict[str, Any]], name: str) -> float:
    return max((row["strength"] for row in rows if row["objective"] == name), key=abs)


def _line(rows: list[dict[str, Any]], name: str, strength: float) -> list[dict[str, Any]]:
    return [row for row in rows if (row["objective"], row["strength"]) == (name, strength)]


def _fits(records: Records, rows: list[dict[str, Any]], shown: int) -> Plate:
    figure, arrays = Figure(figsize=(6.4, 3.2)), records.arrays
    axes, order = figure.subplots(), [row for row in rows if row["capacity"] == shown]
    axes.axvspan(0, 1, color=PALETTE["sky"], alpha=0.15, lw=0)
    axes.plot(arrays["data/x"], arrays["data/target"], color=PALETTE["vermilion"], ls=":", label="target")
    for row, curve in zip(order, arrays["data/curves"], strict=True):
        if row["strength"] == _strongest(rows, row["objective"]) and row["objective"] != "MM-REx":
            axes.plot(arrays["data/x"], curve, color=PALETTE[LOOKS[row["objective"]]], label=row["objective"], ls="-")
    axes.set(xlabel="x", ylabel="y", ylim=(-2.2, 2.2))
    axes.legend(ncols=2)
    return Plate(figure, f"Fits with {shown} polynomials. The right half (shaded) has 1 and 10 % of the inputs of the "
                 "two domains: ERM fits the left one, V-REx both equally badly.")  # fmt: skip


def _by_capacity(rows: list[dict[str, Any]]) -> Plate:
    figure, plain = Figure(figsize=(7.4, 3.0)), [row["mean risk"] for row in _line(rows, "ERM", 0.0)]
    dense, excess = figure.subplots(1, 2)
    for name, color in LOOKS.items():
        line = _line(rows, name, _strongest(rows, name))
        across = [row["capacity"] for row in line]
        dense.plot(across, [row["dense error"] for row in line], "o-", color=PALETTE[color], label=name)
        over = [row["mean risk"] - least for row, least in zip(line, plain, strict=True)]
        excess.plot(across, over, "o-", color=PALETTE[color], label=name)
    dense.set(xlabel="capacity (polynomials)", ylabel="squared error, dense region", yscale="log")
    excess.set(xlabel="capacity (polynomials)", ylabel="mean risk less that of ERM")
    excess.legend()
    return Plate(figure, "Error in the dense region, and excess of the domains' mean risk, against capacity at the "
                 "strongest penalties: the cost of REx is gone once there is capacity for both regions.")  # fmt: skip


def _by_beta(rows: list[dict[str, Any]], shown: int) -> Plate:
    figure = Figure(figsize=(7.4, 3.0))
    panels = figure.subplots(1, 2, sharey=True)
    for axes, name, label in zip(panels, ("MM-REx", "V-REx"), ("-lambda_min", "beta"), strict=True):
        line = sorted((row for row in rows if (row["objective"], row["capacity"]) == (name, shown)),
                      key=lambda row: abs(row["strength"]))  # fmt: skip
        for column, color in (("dense error", "blue"), ("rare error", "vermilion")):
            axes.plot([abs(row["strength"]) for row in line], [row[column] for row in line], "o-",
                      color=PALETTE[color], label=column)  # fmt: skip
            (plain,) = (row[column] for row in rows if (row["objective"], row["capacity"]) == ("ERM", shown))
            axes.axhline(plain, color=PALETTE[color], ls=":", lw=1)
        axes.set(title=name, xlabel=label, xscale="log", yscale="log")
    panels[0].set(ylabel="mean squared error")
    panels[0].legend()
    return Plate(figure, f"Errors of the two regions with {shown} polynomials against the strength of extrapolation; "
                 "dots: ERM.")  # fmt: skip


# 8. Claims ------------------------------------------------------------------------------------------------------
def _at(tables: Tables, name: str, *, largest: bool = False) -> dict[str, Any]:
    """The row of an objective at its strongest, with the capacity shown or the largest."""
    rows = tables["errors"].to_pylist()
    line = _line(rows, name, _strongest(rows, name))
    return max(line, key=lambda row: row["capacity"]) if largest else next(row for row in line if row["shown"])


def _ignores(tables: Tables) -> Obtained:
    found = _at(tables, "ERM")
    note = f"error in the rare region over that in the dense one: {found['rare error']:.3g}, {found['dense error']:.3g}"
    return Obtained(found["ratio"], None, None, 0, "above 10", found["ratio"] > 10, note)


def _less_so(tables: Tables) -> Obtained:
    ratio, plain = _at(tables, "group DRO")["ratio"], _at(tables, "ERM")["ratio"]
    return Obtained(ratio, None, None, 0, f"above 2 and below that of ERM ({plain:.3g})", 2 < ratio < plain,
                    "error in the rare region over that in the dense one")  # fmt: skip


def _equalise(tables: Tables) -> Obtained:
    ratios = {name: _at(tables, name)["ratio"] for name in ("MM-REx", "V-REx")}
    far = max(ratios, key=lambda name: abs(ratios[name] - 1))
    right = abs(ratios[far] - 1) < 0.05
    found = ", ".join(f"{name} {ratio:.3f}" for name, ratio in ratios.items())
    note = f"error in the rare region over that in the dense one: {found}; a finite beta leaves a gap of order 1 / beta"
    return Obtained(ratios[far], None, None, 0, "from 0.95 to 1.05 for both", right, note)


def _spend(tables: Tables) -> Obtained:
    rex, plain = _at(tables, "V-REx"), _at(tables, "ERM")
    cost, mean = rex["dense error"] / plain["dense error"], rex["mean risk"] / plain["mean risk"]
    note = (
        f"V-REx's error in the dense region over ERM's; its mean risk over ERM's {mean:.3g}; the rare region weighs "
        f"{rex['weight of rare']:.3g} for V-REx, {plain['weight of rare']:.3g} for ERM"
    )
    return Obtained(cost, None, None, 0, "above 2, and a higher mean risk", cost > 2 and mean > 1, note)


def _vanishes(tables: Tables) -> Obtained:
    small, large = (
        _at(tables, "V-REx", largest=largest)["mean risk"] - _at(tables, "ERM", largest=largest)["mean risk"]
        for largest in (False, True)
    )
    note = f"excess of V-REx's mean risk over ERM's at the largest capacity, {large:.2g}, over that shown, {small:.2g}"
    return Obtained(large / small, None, None, 0, "below 0.01", abs(large / small) < 0.01, note)


def _claim(name: str, statement: str, check: Callable[[Tables], Obtained], published: str | None = None) -> Claim:
    return Claim(name=name, statement=statement, source=SOURCE, published=published, check=check)


CLAIMS = (
    _claim("erm-ignores", "A small model under ERM ignores the rare region.", _ignores),
    _claim("dro-less-so", "Under group DRO it does so less.", _less_so),
    _claim("rex-equalises", "Under MM-REx and V-REx the regions' errors are equal.", _equalise),
    _claim("rex-spends", "Small models under REx spend capacity on regions of low density, at the cost of the dense.",
           _spend, "stated, without numbers known to us"),
    _claim("vanishes", "With enough capacity for both regions, REx costs nothing.", _vanishes),
)  # fmt: skip

# 9. Experiment --------------------------------------------------------------------------------------------------
EXPERIMENT = Experiment(
    name="capacity_shift",
    question="Do small models under risk extrapolation spend their capacity where data are rare?",
    source="Krueger et al. 2021, appendix C.2 (thesis 11.1.5)",
    config=Config,
    run=run,
    analyse=analyse,
    figures=figures,
    claims=CLAIMS,
)

if __name__ == "__main__":
    from mlrisk.cli import main

    sys.exit(main(["run", EXPERIMENT.name, *sys.argv[1:]]))

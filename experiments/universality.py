"""Does one sigmoidal map fit any increasing function? The step construction, and fits with more and more sigmoids."""

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float, Int
from matplotlib.figure import Figure

from mlrisk import prng, report
from mlrisk.bijectors import DeepSigmoidal
from mlrisk.config import setting
from mlrisk.experiment import Experiment
from mlrisk.harness import Records, from_fit, make_train, sweep
from mlrisk.harness.optimizers import OptimizerConfig, make_optimizer
from mlrisk.harness.outcomes import last_values, mean_cells
from mlrisk.report import PALETTE, Cell, Claim, Obtained, Plate, Tables
from mlrisk.report.plates import Look
from mlrisk.theory import MONOTONE, construct
from mlrisk.types import Metrics, Model, Objective, Params, RandomKey, Scalar

SOURCE = "Huang et al. 2018, universality of sigmoidal flows"
TARGETS = tuple(name for name in MONOTONE if name != "sigmoid")  # a sigmoid is itself one unit: for the figure only
COLORS = ("blue", "vermilion", "green", "purple")
LOOKS: Mapping[str, Look] = {t: {"color": PALETTE[color]} for t, color in zip(TARGETS, COLORS, strict=True)}
LEVELS = 7  # of the published figure
POWER = 8  # of the norm that stands for the supremum
DENSE = np.linspace(-5, 5, 2001)


# 1. Config ------------------------------------------------------------------------------------------------------
@dataclass(frozen=True)
class Config:
    """Question: how fast does the error of a sigmoidal map fall with its sigmoids? Huang et al. 2018, universality."""

    units: tuple[int, ...] = setting((2, 4, 8, 16, 32), "how many sigmoids", at_least=2, at_most=90, items=1)
    optimizer: OptimizerConfig = setting(OptimizerConfig(name="adam", learning_rate=0.03))
    points: int = setting(256, "points at which a fit is compared with its target", at_least=10)
    num_steps: int = setting(4000, "steps of each fit; the rate falls along a cosine", at_least=1)
    seeds: int = setting(20, "fits of each target with each number of sigmoids", at_least=2)
    seed: int = setting(0, "root of all random numbers", at_least=0)
    lanes: int | None = setting(None, "lanes abreast on a device (default: chosen)", at_least=1, identity=False)

    def scale(self) -> str:
        """The size of the run in one phrase."""
        return f"{len(TARGETS)} targets, up to {max(self.units)} sigmoids, {self.num_steps:,} steps, {self.seeds} seeds"


class Hyper(NamedTuple):
    """Which target a lane fits, and with how many sigmoids."""

    target: Int[Array, "..."]
    units: Int[Array, "..."]


class Data(NamedTuple):
    """Where fits are compared with their targets, and where they are judged."""

    x: Float[Array, " n"]
    y: Float[Array, "targets n"]
    dense_x: Float[Array, " m"]
    dense_y: Float[Array, "targets m"]


# 2. Data --------------------------------------------------------------------------------------------------------
def make_data(config: Config, key: RandomKey) -> Data:
    """The targets on a coarse grid and on a fine one; nothing is random."""
    del key
    grids = [np.linspace(-5, 5, config.points), DENSE]
    values = [np.stack([MONOTONE[name](x) for name in TARGETS]) for x in grids]
    x, y, dense_x, dense_y = (jnp.asarray(a, jnp.float32) for pair in zip(grids, values, strict=True) for a in pair)
    return Data(x, y, dense_x, dense_y)


# 3. Model -------------------------------------------------------------------------------------------------------
def make_model(config: Config) -> Model:
    """``S(x) = sigmoid(DSF(x)) = sum_j w_j sigmoid(a_j (x - c_j))``, and the same with its first ones only."""
    most = max(config.units)

    def init(key: RandomKey) -> Params:
        centres, slopes, logits = (prng.stream(key, name) for name in ("centres", "slopes", "logits"))
        return {
            "centres": jax.random.uniform(centres, (most,), minval=-5.0, maxval=5.0),
            "log_slopes": 0.5 + 0.3 * jax.random.normal(slopes, (most,)),
            "logits": 0.1 * jax.random.normal(logits, (most,)),
        }

    return Model(init, lambda params, x: _map(params, x, most))


def _map(params: Params, x: Float[Array, " n"], units: Int[Array, ""] | int) -> Float[Array, " n"]:
    slopes = jnp.exp(params["log_slopes"])
    logits = jnp.where(jnp.arange(len(slopes)) < units, params["logits"], -1e4)
    return jax.nn.sigmoid(DeepSigmoidal(slopes, -slopes * params["centres"], logits).forward(x))


# 4. Objective ---------------------------------------------------------------------------------------------------
def make_objective(data: Data) -> Objective:
    """The 8-norm of the error on the coarse grid, ``(mean |S - S*|^8)^(1/8)``: a smooth stand-in for the supremum."""

    def objective(params: Params, batch: None, hyper: Hyper, key: RandomKey) -> tuple[Scalar, Metrics]:
        del batch, key
        error = _map(params, data.x, hyper.units) - data.y[hyper.target]
        top = jax.lax.stop_gradient(jnp.abs(error).max())  # keeps the powers away from underflow
        loss = top * jnp.mean((error / top) ** POWER) ** (1 / POWER)
        return loss, {"loss": loss}

    return objective


# 5. Run ---------------------------------------------------------------------------------------------------------
def run(config: Config, key: RandomKey, run_dir: Path) -> Records:
    """One sweep over targets, numbers of sigmoids and seeds; unused sigmoids have no weight, so shapes agree."""
    data = make_data(config, prng.stream(key, "data"))
    model = make_model(config)
    optimizer = optax.chain(
        make_optimizer(config.optimizer),
        optax.scale_by_schedule(optax.cosine_decay_schedule(1.0, config.num_steps)),
    )

    def judge(state: Any, key: RandomKey, hyper: Hyper) -> Metrics:
        del key
        fitted = _map(state.params, data.dense_x, hyper.units)
        return {"sup": jnp.abs(fitted - data.dense_y[hyper.target]).max(), "curve": fitted}

    train = make_train(
        model, make_objective(data), optimizer, lambda key, step: None, {"fit": judge},
        num_steps=config.num_steps, keep_state=False,
    )  # fmt: skip
    pairs = [(target, units) for target in TARGETS for units in config.units]
    hypers = Hyper(*(jnp.asarray(c) for c in zip(*((TARGETS.index(t), u) for t, u in pairs), strict=True)))
    keys = prng.lane_keys(prng.stream(key, "lanes"), config.seeds)
    fit = sweep(train, keys, hypers, lanes=config.lanes or "auto", run_dir=run_dir)
    targets, units = zip(*pairs, strict=True)
    return from_fit(fit, probe_every=train.probe_every, settings={"target": targets, "units": units})


# 6. Analysis ----------------------------------------------------------------------------------------------------
def analyse(records: Records) -> Tables:
    """Largest errors of the construction and of the fits, and how the latter fall. Nothing is selected."""
    found = {(t, int(u)): v for (t, u, m), v in last_values(records, "fit", ("target", "units")).items() if m == "sup"}
    units = sorted({count for _, count in found})
    fits = [
        {"target": name, "units": count, "statistic": "sup", **mean_cells(found[name, count]),
         "construction": _sup(construct(MONOTONE[name], count + 1).smooth(DENSE), name)}
        for name in TARGETS for count in units
    ]  # fmt: skip
    falls = [{"target": name, "statistic": "exponent", **mean_cells(_exponents(units, [found[name, u] for u in units]))}
             for name in TARGETS]  # fmt: skip
    return {"errors": report.tidy_table(fits, ERRORS), "exponents": report.tidy_table(falls, EXPONENTS),
            "construction": report.tidy_table(_constructions([*units, 90]), CONSTRUCTION)}  # fmt: skip


ERRORS = (
    "Per target and number of sigmoids: largest error of the fits on 2,001 points (mean over seeds, 95 % bootstrap "
    "interval), and that of the construction with as many sigmoids."
)
EXPONENTS = "Per target: slope of log largest error against log number of sigmoids, mean over seeds, 95 % interval."
CONSTRUCTION = "The construction with n levels: largest error of its steps and of its sigmoids, each times n."


def _sup(values: Float[np.ndarray, " m"], name: str) -> float:
    return float(np.abs(values - MONOTONE[name](DENSE)).max())


def _exponents(units: list[int], errors: list[Float[np.ndarray, " seeds"]]) -> Float[np.ndarray, " seeds"]:
    logs = np.log(np.maximum(np.stack(errors), 1e-7))
    return np.polyfit(np.log(units), logs, 1)[0] if len(units) > 1 else np.full(logs.shape[1], np.nan)


def _constructions(units: list[int]) -> list[dict[str, Any]]:
    made = [(name, count + 1, construct(MONOTONE[name], count + 1)) for name in MONOTONE for count in units]
    return [{"target": name, "levels": n, "steps": n * _sup(c.stairs(DENSE), name),
             "sigmoids": n * _sup(c.smooth(DENSE), name)} for name, n, c in made]  # fmt: skip


# 7. Figures -----------------------------------------------------------------------------------------------------
def figures(records: Records, tables: Tables) -> Mapping[str, Plate]:
    """The published figure of steps, the errors, and the targets with a fit of each."""
    with report.house_style():
        return {"steps": _steps(), "errors": _errors(tables), "fits": _fits(records, tables)}


def _steps() -> Plate:
    figure, made, target = Figure(figsize=(5.6, 3.2)), construct(MONOTONE["sigmoid"], LEVELS), MONOTONE["sigmoid"]
    axes = figure.subplots()
    axes.plot(DENSE, target(DENSE), color=PALETTE["ink"], ls="-", label="S, the target")
    axes.plot(DENSE, made.stairs(DENSE), color=PALETTE["vermilion"], ls="--", label="S*, steps")
    axes.plot(DENSE, made.smooth(DENSE), color=PALETTE["blue"], ls="-", label="S_n, sigmoids")
    axes.set(xlabel="x", ylabel="value")
    axes.legend()
    return Plate(figure, f"The construction of universality: steps at the {LEVELS}-quantiles of a sigmoid, and the sum "
                 "of narrow sigmoids that follows them.")  # fmt: skip


def _errors(tables: Tables) -> Plate:
    figure = Figure(figsize=(5.6, 3.4))
    axes, rows = figure.subplots(), tables["errors"].to_pylist()
    for name in TARGETS:
        mine = [row for row in rows if row["target"] == name]
        units = [row["units"] for row in mine]
        axes.plot(units, [row["value"] for row in mine], "o-", label=name, **LOOKS[name])
        axes.fill_between(units, [r["low"] for r in mine], [r["high"] for r in mine], alpha=0.2, lw=0, **LOOKS[name])
        axes.plot(units, [row["construction"] for row in mine], ":", **LOOKS[name])
    axes.set(xscale="log", yscale="log", xlabel="sigmoids", ylabel="largest error", xticks=units)
    axes.set_xticks(units, [str(count) for count in units])
    axes.minorticks_off()
    axes.legend()
    return Plate(figure, "Largest error of fitted maps (mean over seeds, band: 95 % interval), and of the construction "
                 "with as many sigmoids (dots).")  # fmt: skip


def _fits(records: Records, tables: Tables) -> Plate:
    figure = Figure(figsize=(7.6, 2.4))
    panels = figure.subplots(1, len(TARGETS), sharey=True)
    units = sorted(set(tables["errors"]["units"].to_pylist()))
    curves = records.arrays["fit/curve"][:, 0, -1].reshape(len(TARGETS), -1, len(DENSE))
    shown = min(1, len(units) - 1)
    for axes, name, curve in zip(panels, TARGETS, curves, strict=True):
        axes.plot(DENSE, MONOTONE[name](DENSE), color=PALETTE["ink"], ls="--", lw=1.2)
        axes.plot(DENSE, curve[shown], ls="-", lw=1.2, **LOOKS[name])
        axes.set(title=name, xlabel="x")
    panels[0].set(ylabel="value")
    return Plate(figure, f"Each target (dashes) and the first seed's fit with {units[shown]} sigmoids.")


# 8. Claims ------------------------------------------------------------------------------------------------------
def _bounded(tables: Tables) -> Obtained:
    rows = tables["construction"].to_pylist()
    worst, steps = (max(row[name] for row in rows) for name in ("sigmoids", "steps"))
    note = f"n times the largest error, worst of all targets and n; of the steps alone {steps:.3g} (bound 1)"
    return Obtained(worst, None, None, 0, "at most 2.5, and 1 for the steps", worst <= 2.5 and steps <= 1 + 1e-6, note)


def _better(tables: Tables) -> Obtained:
    rows = tables["errors"].to_pylist()
    worst = max(rows, key=lambda row: row["value"] / row["construction"])
    low, value, high = (worst[name] / worst["construction"] for name in ("low", "value", "high"))
    note = f"largest error over the construction's, worst case: {worst['target']} with {worst['units']} sigmoids"
    return Obtained(value, low, high, worst["seeds"], "below 1", high < 1, note)


def _falls(tables: Tables) -> Obtained:
    cells: dict[str, Cell] = {name: report.cell(tables["exponents"], target=name) for name in TARGETS}
    slowest = max(TARGETS, key=lambda name: cells[name].value)
    note = "exponent of the largest error in the number of sigmoids, slowest target: " + slowest
    return Obtained(*cells[slowest], "interval below -1, the construction's rate", cells[slowest].high < -1, note)


CLAIMS = (
    Claim(name="construction", statement="Sums of n - 1 sigmoids at the quantiles come within a constant over n of "
          "every increasing function.", source=SOURCE, published="error falls to 0 with n", check=_bounded),
    Claim(name="fit-beats-construction", statement="Fitted maps are at least as near as the construction.",
          source=SOURCE, check=_better),
    Claim(name="fit-falls", statement="The error of fitted maps falls at least as fast as the construction's.",
          source=SOURCE, published="error falls to 0 with the number of sigmoids", check=_falls),
)  # fmt: skip

# 9. Experiment --------------------------------------------------------------------------------------------------
EXPERIMENT = Experiment(
    name="universality",
    question="Does one sigmoidal map fit any increasing function, and how fast does its error fall?",
    source=SOURCE,
    config=Config,
    run=run,
    analyse=analyse,
    figures=figures,
    claims=CLAIMS,
)

if __name__ == "__main__":
    from mlrisk.cli import main

    sys.exit(main(["run", EXPERIMENT.name, *sys.argv[1:]]))

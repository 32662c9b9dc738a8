"""Which methods find the causes of a target in linear structural models, and which take effects for causes?"""

import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float
from matplotlib.figure import Figure

from mlrisk import prng, report
from mlrisk.config import setting
from mlrisk.data import linear_settings as linear
from mlrisk.data.published_weight_errors import COORDINATES, PUBLISHED
from mlrisk.data.sems import causal_weights, unscrambled
from mlrisk.experiment import Experiment
from mlrisk.harness import Records, block_length, from_fit, make_train, merge, seed_cells, sweep
from mlrisk.harness.optimizers import OptimizerConfig, make_optimizer
from mlrisk.measures.linear_estimators import pooled_estimates
from mlrisk.objectives import linear_risks as risks
from mlrisk.objectives.linear_risks import DomainMoments
from mlrisk.report import Cell, Claim, Obtained, Plate, Tables
from mlrisk.report.dodged import dodged_points
from mlrisk.types import Metrics, Model, Objective, RandomKey, Scalar

SOURCE = "Krueger et al. 2021, section 4.2; Arjovsky et al. 2019, section 5.1 and the results beside its code"
CORRECTIONS = {"REx": (0.0, 0.0), "REx var": (-1.0, -1.0), "REx var_diff": (-1.0, 1.0)}
METHODS = ("ERM", "anchor", "ICP", "IRM", *CORRECTIONS)
KINDS = ("unit", "drawn")
PROBLEMS = [(kind, name) for kind in KINDS for name in linear.SETTINGS]


# 1. Config ------------------------------------------------------------------------------------------------------
@dataclass(frozen=True)
class Config:
    """Question: who finds the causes in the eight linear settings? Krueger et al. 2021, section 4.2."""

    dim: int = setting(5, "causes, and as many effects", at_least=1, at_most=8)
    count: int = setting(1000, "examples of each domain", at_least=20)
    regs: tuple[float, ...] = setting(
        (0.0, 1e-5, 1e-4, 1e-3, 1e-2, 1e-1),
        "shares of the risks, the rest is the penalty's",
        at_least=0,
        at_most=1,
        items=1,
    )
    optimizer: OptimizerConfig = setting(OptimizerConfig(name="adam", learning_rate=1e-3))
    num_steps: int = setting(100_000, "optimiser steps of IRM and REx", at_least=1)
    num_blocks: int = setting(10, "how often a lane is saved; must divide num_steps", at_least=1)
    seeds: int = setting(10, "repetitions: models and examples drawn anew", at_least=2)
    seed: int = setting(0, "root of all random numbers", at_least=0)
    lanes: int | None = setting(None, "lanes abreast on a device (default: all)", at_least=1, identity=False)

    def scale(self) -> str:
        """The size of the run in one phrase."""
        return f"{self.seeds} repetitions, {self.num_steps:,} steps, {self.count:,} examples a domain"


class Hyper(NamedTuple):
    """A lane: its problem, the share of the risk in its loss, and how REx corrects risks (IRM has no use for that)."""

    problem: linear.ProblemIndex
    reg: Float[Array, "..."]
    target_variance: Float[Array, "..."]
    prediction_variance: Float[Array, "..."]


class Data(NamedTuple):
    """Every repetition of every setting, with both kinds of weights, and its moments: axes (settings, repetitions)."""

    problems: linear.Problem
    moments: DomainMoments


# 2. Data --------------------------------------------------------------------------------------------------------
def make_data(config: Config, key: RandomKey) -> Data:
    """The eight settings with unit weights, then with drawn ones; three domains each."""
    flags = [linear.setting_flags(name, unit_weights=kind == "unit") for kind, name in PROBLEMS]
    stacked: linear.Setting = jax.tree.map(lambda *leaves: jnp.stack(leaves), *flags)
    scales = jnp.asarray(linear.SCALES)
    problems = linear.draw_problems(key, stacked, config.seeds, config.dim, config.count, scales)
    return Data(problems, _every(risks.domain_moments)(problems.inputs, problems.targets))


def _every(function: Callable[..., Any]) -> Callable[..., Any]:
    """The function of one problem, for all settings and repetitions."""
    return jax.jit(jax.vmap(jax.vmap(function)))


# 3. Model -------------------------------------------------------------------------------------------------------
def make_model(config: Config, form: str) -> Model:
    """A linear predictor: a vector, first of ones (REx), or a matrix, first the identity, times ones (IRM)."""
    start = jnp.ones(2 * config.dim) if form == "vector" else jnp.eye(2 * config.dim)
    return Model(lambda key: start, lambda params, inputs: inputs @ _weights(params))


def _weights(params: Array) -> Float[Array, " k"]:
    return params if params.ndim == 1 else params.sum(1)


# 4. Objective ---------------------------------------------------------------------------------------------------
def make_objective(config: Config, form: str) -> Objective:
    """`rex_loss` of the corrected risks, or `irm_loss`, on the moments of the two training domains."""

    def objective(params: Array, batch: DomainMoments, hyper: Hyper, key: RandomKey) -> tuple[Scalar, Metrics]:
        if form == "matrix":
            loss = risks.irm_loss(batch, params, hyper.reg)
        else:
            signs = hyper.target_variance, hyper.prediction_variance
            loss = risks.rex_loss(risks.corrected_risks(batch, params, *signs, config.count), hyper.reg)
        return loss, {"loss": loss}

    return objective


# 5. Run ---------------------------------------------------------------------------------------------------------
def run(config: Config, key: RandomKey, run_dir: Path) -> Records:
    """REx and IRM in a sweep each, with problems and shares as lanes; the others in closed form."""
    data_key, lane_key = prng.streams(key, "data", "lanes")
    data = make_data(config, data_key)
    axes = (len(PROBLEMS), config.seeds, -1, 2 * config.dim)
    flat = jax.tree.map(lambda leaf: leaf.reshape(-1, *leaf.shape[2:]), data.problems)
    direct = pooled_estimates(flat.inputs, flat.targets)
    weights, parts = {name: found.reshape(axes) for name, found in direct.items()}, {}
    for form, methods in {"vector": tuple(CORRECTIONS), "matrix": ("IRM",)}.items():
        parts[form] = _trained(config, form, methods, data, lane_key, run_dir)
        ends = parts[form].arrays["fit/weights"][:, 0, -1].reshape(len(methods), *axes)
        weights |= dict(zip(methods, ends, strict=True))
    arrays = {"truth": np.asarray(_every(causal_weights)(data.problems.sem))}
    for name, candidates in weights.items():
        judged = _every(jax.vmap(_judged, (None, None, 0)))(data.moments, data.problems.sem, jnp.asarray(candidates))
        arrays[f"weights/{name}"], arrays[f"validation/{name}"] = (np.asarray(leaf) for leaf in judged)
    merged = merge({form: part._replace(arrays={}) for form, part in parts.items()}, "form")
    return merged._replace(arrays=arrays)


def _trained(config: Config, form: str, methods: tuple[str, ...], data: Data, key: RandomKey, run_dir: Path) -> Records:
    grid = np.meshgrid(*map(np.arange, (len(methods), len(PROBLEMS), config.seeds, len(config.regs))), indexing="ij")
    method, problem, repetition, reg = (axis.ravel() for axis in grid)
    signs = jnp.asarray([CORRECTIONS.get(name, (0.0, 0.0)) for name in methods])[method].T
    place = linear.ProblemIndex(jnp.asarray(problem), jnp.asarray(repetition))
    train = make_train(
        make_model(config, form), make_objective(config, form), make_optimizer(config.optimizer),
        linear.ProblemSampler(jax.tree.map(lambda leaf: leaf[:, :, :-1], data.moments)),
        {"fit": lambda state, key: {"weights": _weights(state.params)}},
        num_steps=config.num_steps, probe_every=block_length(config.num_steps, config.num_blocks), keep_state=False,
    )  # fmt: skip
    fit = sweep(train, prng.lane_keys(key, 1), Hyper(place, jnp.asarray(config.regs)[reg], *signs),
                lanes=config.lanes or "wide", chunk=len(reg), run_dir=run_dir / "chunks" / form)  # fmt: skip
    columns = {"method": [methods[i] for i in method], "weights": [PROBLEMS[i][0] for i in problem],
               "setting": [PROBLEMS[i][1] for i in problem], "repetition": repetition.tolist(),
               "reg": [config.regs[i] for i in reg]}  # fmt: skip
    return from_fit(fit, probe_every=train.probe_every, settings=columns)


def _judged(moments: DomainMoments, sem: Any, weights: Float[Array, " k"]) -> tuple[Array, Array]:
    """Weights of causes and effects, and the risk in the third domain, on which shares are chosen."""
    return unscrambled(sem, weights), risks.linear_risks(moments, weights)[-1]


# 6. Analysis ----------------------------------------------------------------------------------------------------
def analyse(records: Records) -> Tables:
    """Errors of the weights of causes and effects. Shares are selected by the least risk in the third domain."""
    rows = []
    for method in METHODS:
        errors = _errors(records, method)
        for (kind, name), pair in zip(PROBLEMS, errors, strict=True):
            for coordinate, values in zip(COORDINATES, pair, strict=True):
                known = PUBLISHED.get((method, name, coordinate)) if kind == "unit" else None
                rows.append({"weights": kind, "setting": name, "method": method, "coordinates": coordinate,
                             **seed_cells(values), "std": values.std(), "published": known.mean if known else np.nan,
                             "published std": known.deviation if known and known.deviation else np.nan})  # fmt: skip
    return {"errors": report.tidy_table(rows, ERRORS)}


def _errors(records: Records, method: str) -> Float[np.ndarray, "problems 2 seeds"]:
    weights, validation = (records.arrays[f"{kind}/{method}"] for kind in ("weights", "validation"))
    best = np.where(np.isfinite(validation), validation, np.inf).argmin(-1)
    chosen = np.take_along_axis(weights, best[:, :, None, None], axis=2)[:, :, 0]
    squares = np.square(chosen - records.arrays["truth"])
    return np.stack([half.mean(-1) for half in np.split(squares, 2, axis=-1)], axis=1).astype(np.float64)


ERRORS = (
    "Per kind of weights, setting, method and coordinates: mean squared error of the weights after unscrambling, mean "
    "over repetitions, 95 % interval, standard deviation, and the published mean and standard deviation (ERM, ICP, "
    "IRM: 200 repetitions of the authors; REx: an independent replication)."
)


# 7. Figures -----------------------------------------------------------------------------------------------------
def figures(records: Records, tables: Tables) -> Mapping[str, Plate]:
    """Errors of causes and effects in every setting, with both kinds of weights."""
    with report.house_style():
        return {f"{kind}_weights": _chart(tables, kind) for kind in KINDS}


def _chart(tables: Tables, kind: str) -> Plate:
    figure, errors = Figure(figsize=(7.6, 4.6)), tables["errors"].to_pylist()
    for axes, coordinate in zip(figure.subplots(2, 1, sharex=True), COORDINATES, strict=True):
        rows = [row for row in errors if (row["weights"], row["coordinates"]) == (kind, coordinate)]
        series = {method: [row for row in rows if row["method"] == method] for method in METHODS}
        dodged_points(axes, series, 1e-5, reference="published" if kind == "unit" else "")
        axes.set_ylabel(f"error, {coordinate}")
    figure.axes[1].set_xticks(range(len(linear.SETTINGS)), linear.SETTINGS)
    figure.legend(*figure.axes[0].get_legend_handles_labels(), loc="outside upper center", ncols=7, handletextpad=0.1)
    return Plate(figure, f"Mean squared error of the weights of causes and effects with {kind} weights, mean over "
                 "repetitions and 95 % interval, cut at 1e-5; dashes: published means. F fully, P partially observed; "
                 "O equal noise of the target in all domains, E not; S scrambled.")  # fmt: skip


# 8. Claims ------------------------------------------------------------------------------------------------------
def _column(method: str) -> Callable[[Tables], Obtained]:
    def check(tables: Tables) -> Obtained:
        rows = [r for r in tables["errors"].to_pylist() if (r["method"], r["weights"]) == (method, "unit")]
        off = [abs(r["value"] - r["published"]) / (r["published std"] or 0.025) for r in rows]
        missed = [f"{r['setting']} {r['coordinates']} {r['value']:.3g} ({r['published']:.3g})"
                  for r, far in zip(rows, off, strict=True) if far > 2]  # fmt: skip
        criterion = "all 16 means within 2 published standard deviations, 0.05 where none is given"
        note = "numbers of 16 that fit; missed: " + (", ".join(missed) or "none")
        return Obtained(len(rows) - len(missed), None, None, rows[0]["seeds"], criterion, not missed, note)

    return check


def _causal(tables: Tables, name: str, method: str) -> Cell:
    row = report.find_row(tables["errors"], weights="unit", setting=name, method=method, coordinates="causal")
    return Cell(row["value"], row["low"], row["high"], row["seeds"])


def _rex(name: str, criterion: str, holds: Callable[[Cell], bool]) -> Callable[[Tables], Obtained]:
    def check(tables: Tables) -> Obtained:
        found = _causal(tables, name, "REx")
        return Obtained(*found, criterion, holds(found), f"causal error of REx in {name}")

    return check


def _below(low: str, high: str, names: str) -> Callable[[Tables], Obtained]:
    def check(tables: Tables) -> Obtained:
        gaps = {n: _causal(tables, n, high).low - _causal(tables, n, low).high for n in names.split()}
        worst = min(gaps, key=lambda n: gaps[n])
        note = (
            f"causal error of {low} in {worst}, the nearest; of {high} there {_causal(tables, worst, high).value:.3g}"
        )
        return Obtained(*_causal(tables, worst, low), f"intervals below {high}'s in {names}", gaps[worst] > 0, note)

    return check


def _claim(name: str, statement: str, published: str, check: Callable[[Tables], Obtained]) -> Claim:
    return Claim(name=name, statement=statement, source=SOURCE, published=published, check=check,
                 selection="least risk in the third domain")  # fmt: skip


CLAIMS = (
    *(_claim(f"column-{method.lower()}", f"{method}'s errors in the eight settings with unit weights.",
             "16 means (table)" if method != "REx" else "16 means of an independent replication", _column(method))
      for method in ("ERM", "ICP", "IRM", "REx")),
    _claim("rex-homoskedastic", "REx finds the causes where the target's noise is the same in all domains.",
           "0.0098 (replication)", _rex("FOU", "interval below 0.03", lambda found: found.high < 0.03)),
    _claim("rex-heteroskedastic", "REx performs poorly where it differs.", "0.832 (replication)",
           _rex("FEU", "interval above 0.7", lambda found: found.low > 0.7)),
    _claim("irm-heteroskedastic", "IRM does better there.", "0.26 against 0.83",
           _below("IRM", "REx", "FEU FES PEU PES")),
    _claim("corrected-heteroskedastic", "Risks less a baseline help REx there.", "0.2 against 0.83 (replication)",
           _below("REx var_diff", "REx", "FEU PEU")),
    _claim("corrected-homoskedastic", "Elsewhere they do harm.", "0.3 against 0.01 (replication)",
           _below("REx", "REx var_diff", "FOU POU")),
)  # fmt: skip


# 9. Experiment --------------------------------------------------------------------------------------------------
EXPERIMENT = Experiment(
    name="linear_sems",
    question="Which methods find the causes of a target in linear models, and which take effects for causes?",
    source="Krueger et al. 2021, sec. 4.2; Arjovsky et al. 2019, sec. 5.1",
    config=Config,
    run=run,
    analyse=analyse,
    figures=figures,
    claims=CLAIMS,
)

if __name__ == "__main__":
    from mlrisk.cli import main

    sys.exit(main(["run", EXPERIMENT.name, *sys.argv[1:]]))

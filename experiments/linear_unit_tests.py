"""Which methods ignore spurious features in six small linear problems? ERM, IRMv1, V-REx, and an oracle."""

import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float
from matplotlib.figure import Figure

from mlrisk import prng, report
from mlrisk.config import setting
from mlrisk.data.linear_settings import ProblemIndex, ProblemSampler
from mlrisk.data.linear_unit_tests import EXAMPLES, Tables, UnitTest, draw_unit_tests, is_regression
from mlrisk.experiment import Experiment
from mlrisk.harness import Records, from_fit, make_train, seed_cells, sweep
from mlrisk.harness.optimizers import OptimizerConfig, make_optimizer
from mlrisk.objectives import erm, rescaled, v_rex
from mlrisk.report import Claim, Obtained, Plate
from mlrisk.report import Tables as ReportTables
from mlrisk.report.dodged import dodged_points
from mlrisk.types import Metrics, Model, Objective, Params, RandomKey, Scalar

SOURCE = "Aubin et al. 2021, Linear unit-tests for invariance discovery"
METHODS = ("ERM", "IRMv1", "V-REx", "oracle")
RULES = ("validation", "test")  # what the penalty's weight is chosen by: honest, and not


# 1. Config ------------------------------------------------------------------------------------------------------
@dataclass(frozen=True)
class Config:
    """Question: which methods pass the linear unit tests for invariance? Aubin et al. 2021."""

    count: int = setting(1000, "examples of each domain and split", at_least=10)
    penalties: tuple[float, ...] = setting(
        (1.0, 100.0, 1e4), "weights of the penalties; one is chosen", above=0, items=1
    )
    optimizer: OptimizerConfig = setting(OptimizerConfig(name="adam", learning_rate=0.01))
    num_steps: int = setting(3000, "full-batch steps", at_least=1)
    seeds: int = setting(10, "repetitions: problems drawn anew", at_least=2)
    seed: int = setting(0, "root of all random numbers", at_least=0)
    lanes: int | None = setting(None, "lanes abreast on a device (default: chosen)", at_least=1, identity=False)

    def scale(self) -> str:
        """The size of the run in one phrase."""
        return f"{self.seeds} repetitions, {self.count:,} examples a domain, {self.num_steps:,} steps"


class Hyper(NamedTuple):
    """A lane: its problem, whether errors are squared, and the weights of the two penalties."""

    problem: ProblemIndex
    regression: Bool[Array, "..."]
    irm: Float[Array, "..."]
    rex: Float[Array, "..."]


# 2. Data --------------------------------------------------------------------------------------------------------
def make_data(config: Config, key: RandomKey) -> UnitTest:
    """All splits of all problems: axes (examples, repetitions) in front."""
    drawn = jax.jit(lambda keys: jax.lax.map(lambda own: draw_unit_tests(own, config.count), keys))
    return jax.tree.map(lambda leaf: jnp.swapaxes(leaf, 0, 1), drawn(prng.lane_keys(key, config.seeds)))


# 3. Model -------------------------------------------------------------------------------------------------------
def make_model(size: int) -> Model:
    """``x w + b``, first zero."""
    start = {"weights": jnp.zeros(size), "bias": jnp.zeros(())}
    return Model(lambda key: start, lambda params, inputs: inputs @ params["weights"] + params["bias"])


# 4. Objective ---------------------------------------------------------------------------------------------------
def make_objective(model: Model) -> Objective:
    """``sum_e R_e + w mean_e (d R_e(s f) / d s)^2``, or ``sum_e R_e + 4 w Var``, divided by w where it is above 1."""

    def objective(params: Params, batch: Tables, hyper: Hyper, key: RandomKey) -> tuple[Scalar, Metrics]:
        outputs = model.apply(params, batch.inputs)
        one = jnp.float32(1)
        risks, slopes = jax.jvp(lambda s: _risks(s * outputs, batch.targets, hyper.regression), (one,), (one,))
        loss = v_rex(risks, 4 * hyper.rex) + hyper.irm * jnp.square(slopes).mean()
        return rescaled(loss, hyper.irm + hyper.rex), {"risk": erm(risks, reduction="mean")}

    return objective


def _risks(outputs: Float[Array, "m n"], targets: Float[Array, "m n"], regression: Array) -> Float[Array, " m"]:
    logistic = jax.nn.softplus(jnp.where(targets > 0, -outputs, outputs))
    return jnp.where(regression, jnp.square(outputs - targets), logistic).mean(1)


def _error(model: Model, params: Params, tables: Tables, regression: Array) -> Scalar:
    """Mean squared error, or share of wrong labels, over all domains."""
    outputs = model.apply(params, tables.inputs)
    wrong = ((outputs > 0) != (tables.targets > 0)).astype(outputs.dtype)
    return jnp.where(regression, jnp.square(outputs - tables.targets), wrong).mean()


# 5. Run ---------------------------------------------------------------------------------------------------------
def run(config: Config, key: RandomKey, run_dir: Path) -> Records:
    """One sweep over methods, weights, problems and repetitions; the oracle trains on shuffled rows."""
    data_key, lane_key = prng.streams(key, "data", "lanes")
    data = make_data(config, data_key)
    model = make_model(data.train.inputs.shape[-1])
    arms = [("ERM", 0.0), ("oracle", 0.0), *((m, w) for m in ("IRMv1", "V-REx") for w in config.penalties)]
    lanes = [(method, weight, example, repetition) for method, weight in arms for example in range(len(EXAMPLES))
             for repetition in range(config.seeds)]  # fmt: skip
    methods, weights, examples, repetitions = (list(column) for column in zip(*lanes, strict=True))
    shift = [len(EXAMPLES) * (name == "oracle") for name in methods]  # where the oracle's problems begin
    hyper = Hyper(
        ProblemIndex(jnp.asarray(examples) + jnp.asarray(shift), jnp.asarray(repetitions)),
        jnp.asarray([is_regression(EXAMPLES[example]) for example in examples]),
        *(jnp.asarray([w * (m == name) for m, w in zip(methods, weights, strict=True)]) for name in ("IRMv1", "V-REx")),
    )
    train = make_train(
        model, make_objective(model), make_optimizer(config.optimizer),
        ProblemSampler(jax.tree.map(lambda *parts: jnp.concatenate(parts), data.train, data.oracle)),
        {"fit": lambda state, key: dict(state.params)}, num_steps=config.num_steps, keep_state=False,
    )  # fmt: skip
    fit = sweep(train, prng.lane_keys(lane_key, 1), hyper, lanes=config.lanes or "auto", run_dir=run_dir)
    params = {name: jnp.asarray(fit.history[f"fit/{name}"][:, 0, -1]) for name in ("weights", "bias")}
    judge = jax.jit(lambda *each: jax.lax.map(lambda own: _judged(model, own[0], own[1], each[2]), each[:2]))
    kept = {name: getattr(data, name) for name in RULES}
    found = judge(params, (jnp.asarray(examples), jnp.asarray(repetitions), hyper.regression), kept)
    history = fit.history | {f"{name}/error": np.asarray(values)[:, None, None] for name, values in found.items()}
    settings = {"method": methods, "weight": weights, "example": [EXAMPLES[example] for example in examples],
                "repetition": repetitions}  # fmt: skip
    return from_fit(fit._replace(history=history), probe_every=train.probe_every, settings=settings)


def _judged(
    model: Model, params: Params, lane: tuple[Array, Array, Array], splits: dict[str, Tables]
) -> dict[str, Scalar]:
    example, repetition, regression = lane
    own = jax.tree.map(lambda leaf: leaf[example, repetition], splits)
    return {name: _error(model, params, tables, regression) for name, tables in own.items()}


# 6. Analysis ----------------------------------------------------------------------------------------------------
def analyse(records: Records) -> ReportTables:
    """Test errors with the penalty's weight chosen per example and method: by mean validation, or mean test error."""
    errors: dict[tuple[str, str, float], dict[str, list[float]]] = {}
    for row in records.table.to_pylist():
        if row["metric"] == "error":
            arm = errors.setdefault((row["example"], row["method"], row["weight"]), {name: [] for name in RULES})
            arm[row["split"]].append(row["value"])
    rows = []
    for rule in RULES:
        for example in EXAMPLES:
            for method in METHODS:
                arms = {weight: arm for (e, m, weight), arm in errors.items() if (e, m) == (example, method)}
                best = min(arms, key=lambda weight: np.nan_to_num(np.mean(arms[weight][rule]), nan=np.inf))
                rows.append({"chosen by": rule, "example": example, "method": method, "penalty weight": best,
                             **seed_cells(np.asarray(arms[best]["test"])),
                             "validation error": float(np.mean(arms[best]["validation"]))})  # fmt: skip
    return {"errors": report.tidy_table(rows, CAPTION)}


CAPTION = (
    "Per rule of selection, example and method: error on the test split, in which spurious features are shuffled (mean "
    "squared in examples 1 and 1s, otherwise the share of wrong labels), mean over repetitions and 95 % interval; and "
    "the error on held-out examples of the training domains. Choosing by the test split is no fair comparison."
)


# 7. Figures -----------------------------------------------------------------------------------------------------
def figures(records: Records, tables: ReportTables) -> Mapping[str, Plate]:
    """Test errors by example and method, for both rules."""
    with report.house_style():
        figure, rows = Figure(figsize=(7.6, 3.0)), tables["errors"].to_pylist()
        for axes, rule in zip(figure.subplots(1, 2, sharey=True), RULES, strict=True):
            series = {m: [r for r in rows if (r["chosen by"], r["method"]) == (rule, m)] for m in METHODS}
            dodged_points(axes, series, 1e-4)
            axes.set(xlabel="example", title=f"weight chosen by {rule} error")
            axes.set_xticks(range(len(EXAMPLES)), EXAMPLES)
        figure.axes[0].set_ylabel("test error")
        figure.legend(*figure.axes[0].get_legend_handles_labels(), loc="outside upper center", ncols=4)
    caption = "Test error with shuffled spurious features, mean over repetitions and 95 % interval, cut at 1e-4."
    return {"test_errors": Plate(figure, caption)}


# 8. Claims ------------------------------------------------------------------------------------------------------
def _passed(tables: ReportTables, rule: str) -> dict[str, list[str]]:
    """The examples in which each method is as good as the oracle: within 10 % of squared error, 0.05 of labels."""
    passed: dict[str, list[str]] = {method: [] for method in METHODS}
    for example in EXAMPLES:
        cells = {
            m: report.find_row(tables["errors"], **{"chosen by": rule}, example=example, method=m) for m in METHODS
        }
        least = cells["oracle"]["value"]
        limit = 1.1 * least if is_regression(example) else least + 0.05
        for method in METHODS:
            passed[method] += [example] * (cells[method]["value"] <= limit)
    return passed


def _none(rule: str) -> Callable[[ReportTables], Obtained]:
    def check(tables: ReportTables) -> Obtained:
        passed = {m: found for m, found in _passed(tables, rule).items() if m != "oracle"}
        note = "; ".join(f"{m} passes {', '.join(found) or 'none'}" for m, found in passed.items())
        most = max(map(len, passed.values()))
        return Obtained(most, None, None, tables["errors"]["seeds"][0].as_py(), "below 6 of 6", most < 6, note)

    return check


def _oracle(tables: ReportTables) -> Obtained:
    rows = [r for r in tables["errors"].to_pylist() if (r["chosen by"], r["method"]) == ("validation", "oracle")]
    worst = max((r for r in rows if not is_regression(r["example"])), key=lambda r: r["value"])
    cells = worst["value"], worst["low"], worst["high"], worst["seeds"]
    return Obtained(
        *cells, "below 0.05", worst["value"] < 0.05, f"example {worst['example']}, the worst of 2, 3, 2s, 3s"
    )


def _chance(tables: ReportTables) -> Obtained:
    rows = [r for r in tables["errors"].to_pylist() if (r["chosen by"], r["method"]) == ("validation", "ERM")]
    best = min((r for r in rows if not is_regression(r["example"])), key=lambda r: r["value"])
    cells = best["value"], best["low"], best["high"], best["seeds"]
    return Obtained(*cells, "above 0.3", best["value"] > 0.3, f"example {best['example']}, the best of 2, 3, 2s, 3s")


CLAIMS = (
    Claim(name="none-passes", statement="No method passes all six tests.", source=SOURCE, selection="validation error",
          published="none of three alternatives to ERM passes all tests", check=_none("validation")),
    Claim(name="none-passes-even-so", statement="Not even with the penalty chosen by the test error.", source=SOURCE,
          selection="test error", check=_none("test")),
    Claim(name="oracle", statement="ERM passes where spurious features are shuffled in training.", source=SOURCE,
          check=_oracle),
    Claim(name="erm", statement="In examples 2 and 3 ERM follows spurious features.", source=SOURCE, check=_chance),
)  # fmt: skip

# 9. Experiment --------------------------------------------------------------------------------------------------
EXPERIMENT = Experiment(
    name="linear_unit_tests",
    question="Which methods ignore spurious features in six small linear problems?",
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

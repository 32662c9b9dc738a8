"""When do equal risks give the causes? Linear structural models under two and three interventions a variable."""

import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
from matplotlib.figure import Figure

from mlrisk import report
from mlrisk.config import setting
from mlrisk.experiment import Experiment
from mlrisk.harness import Records, seed_cells
from mlrisk.report import PALETTE, Claim, Obtained, Plate, Tables
from mlrisk.theory.do_interventions import (
    CausalChain,
    EqualRisks,
    Population,
    draw_chain,
    equal_risk_predictors,
    interventions,
)
from mlrisk.types import RandomKey

SOURCE = "Krueger et al. 2021, theorem 1 (thesis 5.3.4)"
SETS = {"two, symmetric": (-1.0, 1.0), "two": (1.0, 2.0), "three": (-1.0, 1.0, 2.0)}


# 1. Config ------------------------------------------------------------------------------------------------------
@dataclass(frozen=True)
class Config:
    """Question: how many interventions a variable make equal risks causal? Krueger et al. 2021, theorem 1."""

    causes: int = setting(2, "causes of the target", at_least=0, at_most=10)
    effects: int = setting(2, "its effects", at_least=0, at_most=10)
    starts: int = setting(8, "random starts of the search for predictors with equal risks", at_least=1)
    seeds: int = setting(20, "random models", at_least=2)
    seed: int = setting(0, "root of all random numbers", at_least=0)

    def scale(self) -> str:
        """The size of the run in one phrase."""
        return f"{self.seeds} random models, {self.causes} causes and {self.effects} effects"


# 2. Data --------------------------------------------------------------------------------------------------------
def make_data(model: CausalChain) -> dict[str, Population]:
    """The exact moments of every domain, for each set of values."""
    return {name: interventions(model, np.asarray(values)) for name, values in SETS.items()}


# 3. Model -------------------------------------------------------------------------------------------------------
def make_model(config: Config, seed: int) -> CausalChain:
    """One random structural model, in which every variable acts on all later ones."""
    return draw_chain(config.seed + seed, config.causes, config.effects)


# 4. Objective ---------------------------------------------------------------------------------------------------
def make_objective(config: Config, model: CausalChain, seed: int) -> Callable[[Population], EqualRisks]:
    """V-REx with a weight that grows until risks are equal, and the variance of the risks alone."""
    return lambda population: equal_risk_predictors(model, population, seed, config.starts)


# 5. Run ---------------------------------------------------------------------------------------------------------
def run(config: Config, key: RandomKey, run_dir: Path) -> Records:
    """Every set of every model, without training: least squares on exact moments."""
    del key, run_dir  # models are numbered, and the whole takes seconds
    rows = []
    for seed in range(config.seeds):
        model = make_model(config, seed)
        objective = make_objective(config, model, seed)
        for place, (name, population) in enumerate(make_data(model).items()):
            found = objective(population)
            measured = {"least_risk": np.abs(found.weights - model.causal).max(), "farthest": found.farthest,
                        "spread": found.spread, "risk": found.risk,
                        "causal_risk": model.deviations[model.target] ** 2}  # fmt: skip
            lane = {"lane": place * config.seeds + seed, "seed": seed, "interventions": name, "step": 0, "split": "end"}
            rows += [{**lane, "metric": metric, "value": float(value)} for metric, value in measured.items()]
    return Records(pa.Table.from_pylist(rows), {})


# 6. Analysis ----------------------------------------------------------------------------------------------------
def analyse(records: Records) -> Tables:
    """Errors of the predictors with equal risks. Nothing is selected but the least risk, among those found."""
    values: dict[tuple[str, str], list[float]] = {}
    for row in records.table.to_pylist():
        values.setdefault((row["interventions"], row["metric"]), []).append(row["value"])
    found = {key: np.asarray(column) for key, column in values.items()}
    shares = {(name, "not causal"): found[name, "farthest"] > 0.1 for name in SETS}
    rows = [{"interventions": name, "statistic": metric, **seed_cells(column), "largest": float(column.max())}
            for (name, metric), column in (found | shares).items()]  # fmt: skip
    return {"equal_risks": report.tidy_table(rows, CAPTION)}


CAPTION = (
    "Per set of do() values for every variable: largest error of a weight of the least risky predictor with equal "
    "risks, and of the farthest one found; how far the former's risks are apart, its risk, and that of the causal "
    "predictor; the share of models with an equal-risk predictor off by more than 0.1. Means over random models, 95 % "
    "intervals, and the largest."
)


# 7. Figures -----------------------------------------------------------------------------------------------------
def figures(records: Records, tables: Tables) -> Mapping[str, Plate]:
    """One point a model: how far from the causes equal risks allow a predictor to be."""
    with report.house_style():
        figure = Figure(figsize=(5.6, 3.2))
        axes = figure.subplots()
        looks = {
            "least_risk": ("the least risky", "blue", -0.18),
            "farthest": ("the farthest found", "vermilion", 0.18),
        }
        for place, name in enumerate(SETS):
            for metric, (text, color, shift) in looks.items():
                values = _values(records, name, metric)
                across = place + shift + np.linspace(-0.12, 0.12, len(values))
                axes.plot(
                    across, np.maximum(values, 1e-7), "o", ms=4, color=PALETTE[color], label=text if not place else None
                )
        axes.set(yscale="log", ylabel="largest error of a weight", xlabel="values of do() for every variable")
        axes.set_xticks(
            range(len(SETS)), [f"{name}: {', '.join(f'{v:g}' for v in values)}" for name, values in SETS.items()]
        )
        axes.legend(title="predictor with equal risks", loc="upper right")
    caption = (
        "Predictors whose risks are equal under interventions on every variable, one point a random model, cut at 1e-7."
    )
    return {"equal_risks": Plate(figure, caption)}


def _values(records: Records, name: str, metric: str) -> np.ndarray:
    rows = records.table.to_pylist()
    return np.asarray([row["value"] for row in rows if (row["interventions"], row["metric"]) == (name, metric)])


# 8. Claims ------------------------------------------------------------------------------------------------------
def _three(tables: Tables) -> Obtained:
    found = report.find_row(tables["equal_risks"], interventions="three", statistic="farthest")
    note = "largest error of a weight among all equal-risk predictors found, worst of the models"
    return Obtained(found["largest"], None, None, found["seeds"], "below 1e-3", found["largest"] < 1e-3, note)


def _two(tables: Tables) -> Obtained:
    found = report.cell(tables["equal_risks"], interventions="two, symmetric", statistic="not causal")
    other = report.cell(tables["equal_risks"], interventions="two", statistic="not causal")
    note = (
        "share of models with an equal-risk predictor off by over 0.1, for do(-1) and do(1) where all means are 0; for "
        f"do(1) and do(2) it is {other.value:.3g}, as two values that are not mirrored around the mean are enough there"
    )
    return Obtained(*found, "interval above 0.5", found.low > 0.5, note)


def _even_the_least(tables: Tables) -> Obtained:
    risk, causal = (report.cell(tables["equal_risks"], interventions="two, symmetric", statistic=name)
                    for name in ("risk", "causal_risk"))  # fmt: skip
    found = report.cell(tables["equal_risks"], interventions="two, symmetric", statistic="least_risk")
    note = f"mean largest error of a weight; mean risk {risk.value:.3g}, of the causal predictors {causal.value:.3g}"
    return Obtained(*found, "interval above 0.01", found.low > 0.01, note)


CLAIMS = (
    Claim(name="three-interventions", statement="Equal risks under three distinct interventions on every variable give "
          "the causal weights.", source=SOURCE, published="the weights are the causal ones", check=_three),
    Claim(name="two-interventions", statement="Two distinct interventions are not enough.", source=SOURCE,
          published="the theorem asks for three", check=_two),
    Claim(name="least-risk", statement="With two, V-REx itself, the least risky of equal risks, can miss the causes.",
          source=SOURCE, check=_even_the_least),
)  # fmt: skip

# 9. Experiment --------------------------------------------------------------------------------------------------
EXPERIMENT = Experiment(
    name="equal_risks",
    question="How many interventions on each variable make a predictor with equal risks the causal one?",
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

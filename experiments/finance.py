"""Does risk extrapolation predict next year's prices better? Three years to train on, two to test, in all 20 ways."""

import itertools
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float
from matplotlib.figure import Figure

from mlrisk import prng, report
from mlrisk.config import setting
from mlrisk.data.chosen_domains import (
    Chosen,
    ChosenDomainsSampler,
    DomainBatch,
    PaddedDomains,
    held_out_rows,
    padded_domains,
)
from mlrisk.data.finance import YEARS, load_finance
from mlrisk.data.synthetic_finance import synthetic_finance
from mlrisk.errors import BadInput
from mlrisk.experiment import Experiment
from mlrisk.harness import Records, curves, from_fit, make_train, sweep
from mlrisk.harness.domain_accuracy import DomainAccuracyProbe
from mlrisk.harness.held_out_tasks import RULES, held_out_tasks, joined, mean_curves, task_rows, task_statistics
from mlrisk.harness.optimizers import OptimizerConfig, make_optimizer
from mlrisk.models import mlp
from mlrisk.objectives.domains import Penalty, at_step, binary_domain_risks
from mlrisk.objectives.fair_dropout import fair_dropout
from mlrisk.objectives.mean_penalties import penalised_mean_loss
from mlrisk.report import PALETTE, Cell, Claim, Obtained, Plate, Tables
from mlrisk.types import Examples, Metrics, Model, Objective, Params, RandomKey, Scalar

SOURCE = "Krueger et al. 2021, financial indicators (arXiv appendix; numbers recalled, not verified)"
METHODS = ("ERM", "group DRO", "MM-REx", "V-REx", "IRMv1")  # in the order of mlrisk.objectives.domains.METHODS
SHUFFLED = "ERM, shuffled labels"
NAMES = (*METHODS, SHUFFLED)
YEAR_NAMES = tuple(map(str, YEARS))
DOMAIN_TASKS = held_out_tasks(len(YEARS))
TRIPLES = tuple(dict.fromkeys(task.training for task in DOMAIN_TASKS))
SPREAD = ("mean", "deviation", "least", "most")
COLORS = dict(zip(NAMES, ("ink", "orange", "green", "blue", "vermilion", "purple"), strict=True))


# 1. Config ------------------------------------------------------------------------------------------------------
@dataclass(frozen=True)
class Config:
    """Question: does REx help on yearly financial indicators? Krueger et al. 2021, financial indicators."""

    dataset: Literal["synthetic", "kaggle"] = setting("synthetic", "made-up tables, or your own copy of the real ones")
    data_dir: str | None = setting(None, "folder of the files <year>_clean.csv", identity=False)
    synthetic_size: int = setting(600, "stocks in a made-up year", at_least=8)
    train_size: int | None = setting(None, "stocks of a training year (default: all but the held-out)", at_least=2)
    validation_size: int = setting(500, "stocks of each training year that are held out to select", at_least=2)
    hidden_sizes: tuple[int, ...] = setting((128, 128), "hidden units, tanh", at_least=1)
    optimizer: OptimizerConfig = setting(OptimizerConfig(name="adam", learning_rate=0.001))
    weight_decay: float = setting(0.001, "weight of the sum of squared parameters", at_least=0)
    weight: float = setting(10_000.0, "the penalties' weight from the switch on; 1 before", above=0)
    switch: int = setting(1000, "first step with the full weight", at_least=0)
    num_steps: int = setting(9000, "full-batch steps", at_least=1)
    judge_every: int = setting(50, "steps of a block; must divide the steps", at_least=1)
    seeds: int = setting(3, "restarts of each method on each three years", at_least=2)
    seed: int = setting(0, "root of all random numbers", at_least=0)
    lanes: int | None = setting(None, "lanes abreast on a device (default: chosen)", at_least=1, identity=False)

    def scale(self) -> str:
        """The size of the run in one phrase."""
        rows = "all" if self.train_size is None else f"{self.train_size:,}"
        return f"{self.dataset}, {rows} stocks a year, 20 tasks, {self.num_steps:,} steps, {self.seeds} seeds"


class Hyper(NamedTuple):
    """The years that a lane trains on, with shuffled labels or not, and its method."""

    chosen: Chosen
    penalty: Penalty


class Data(NamedTuple):
    """All years: stocks to train on, to select by, and all."""

    train: PaddedDomains
    validation: PaddedDomains
    whole: PaddedDomains


# 2. Data --------------------------------------------------------------------------------------------------------
def make_data(config: Config, key: RandomKey) -> Data:
    """Balanced, standardised years, and a random split of each; a year that is not trained on is tested whole."""
    if config.dataset == "kaggle":
        years = load_finance(config.data_dir).years
    else:
        years = synthetic_finance(config.seed, config.synthetic_size).years
    draw = np.random.default_rng(np.asarray(jax.random.key_data(key)))
    whole = [Examples(*map(jnp.asarray, year[1:])) for year in years]
    split = [held_out_rows(draw, part, config.validation_size, config.train_size) for part in whole]
    return Data(*(padded_domains(part) for part in (*zip(*split, strict=True), whole)))


# 3. Model -------------------------------------------------------------------------------------------------------
def make_model(config: Config, num_features: int) -> Model:
    """The script's network: tanh units, dropout of one half after each hidden layer, one logit."""
    return mlp((num_features,), config.hidden_sizes, 1, activation="tanh", init="glorot_uniform")


# 4. Objective ---------------------------------------------------------------------------------------------------
def make_objective(config: Config, model: Model) -> Objective:
    """``(mean_e R_e + l ||theta||^2) / w + penalty``, with w = 1 before the switch and for ERM and group DRO."""
    assert model.apply_disturbed is not None
    apply = model.apply_disturbed

    def objective(params: Params, batch: DomainBatch, hyper: Hyper, key: RandomKey) -> tuple[Scalar, Metrics]:
        logits = apply(params, batch.inputs, key, fair_dropout)[0][:, 0]
        found = binary_domain_risks(logits, batch.labels, batch.domains, 3)
        loss = penalised_mean_loss(found, params, hyper.penalty)
        return loss, {"risk": found.risks.mean(), "range": jnp.ptp(found.risks)}

    return objective


# 5. Run ---------------------------------------------------------------------------------------------------------
def run(config: Config, key: RandomKey, run_dir: Path) -> Records:
    """One sweep: every three years, every method and once ERM on shuffled labels, and restarts."""
    if config.num_steps % config.judge_every:
        raise BadInput(f"judge_every: {config.judge_every} does not divide num_steps, which is {config.num_steps}")
    data_key, lane_key = prng.streams(key, "data", "lanes")
    data = make_data(config, data_key)
    model = make_model(config, data.whole.inputs.shape[-1])
    train = make_train(
        model,
        make_objective(config, model),
        make_optimizer(config.optimizer),
        ChosenDomainsSampler(data.train),
        {"fit": DomainAccuracyProbe(data.validation, data.whole, YEAR_NAMES, model.apply)},
        num_steps=config.num_steps,
        probe_every=config.judge_every,
        schedule=lambda hyper, step: hyper._replace(penalty=at_step(hyper.penalty, step)),
        keep_state=False,
    )
    pairs = list(itertools.product(NAMES, TRIPLES))
    fit = sweep(train, prng.lane_keys(lane_key, config.seeds), _hypers(config, pairs), lanes=config.lanes or "auto",
                run_dir=run_dir)  # fmt: skip
    settings = {"method": [name for name, _ in pairs], "training": [joined(YEAR_NAMES, triple) for _, triple in pairs]}
    return from_fit(fit, probe_every=config.judge_every, settings=settings)


def _hypers(config: Config, pairs: Sequence[tuple[str, tuple[int, ...]]]) -> Hyper:
    methods = jnp.asarray([0 if name == SHUFFLED else METHODS.index(name) for name, _ in pairs])
    chosen = Chosen(jnp.asarray([t for _, t in pairs]), jnp.asarray([name == SHUFFLED for name, _ in pairs]))
    weight, switch = (jnp.full(len(pairs), value) for value in (config.weight, config.switch))
    return Hyper(chosen, Penalty(methods, weight, switch, jnp.full(len(pairs), config.weight_decay)))


# 6. Analysis ----------------------------------------------------------------------------------------------------
def analyse(records: Records) -> Tables:
    """Accuracies of the 20 tasks at the block that each of three rules names; `RULES` says what each rule sees."""
    found = {metric: curves(records, f"fit/{metric}", ("method", "training")) for metric in ("validation", *YEAR_NAMES)}
    blocks = next(iter(found["validation"].values())).shape[1]
    every = max(records.table["step"].to_pylist()) // blocks
    tasks = [row for rule in RULES for name in NAMES for row in task_rows(found, YEAR_NAMES, name, rule, every)]
    summary = [row for rule in RULES for name in NAMES for row in _summary(tasks, rule, name)]
    along = [row for name in NAMES for row in mean_curves(found, YEAR_NAMES, name, every)]
    rows = {"tasks": tasks, "summary": summary, "curves": along}
    return {name: report.tidy_table(part, TABLES[name]) for name, part in rows.items()}


TABLES = {
    "tasks": "Per rule, method and task: step, and accuracy on the test year, mean over restarts, Student's interval.",
    "summary": "Per rule and method, over 20 tasks: mean accuracy and mean differences to ERM, to ERM on shuffled "
    "labels and to the method's last block, with 95 % intervals over the ten triples of training years as clusters "
    "(they share years, so that these are too narrow); standard deviation, least and most over tasks.",
    "curves": "Per method and step: accuracy, mean over 20 tasks and restarts, on held-out stocks and on test years.",
}


def _summary(tasks: list[dict[str, Any]], rule: str, name: str) -> list[dict[str, Any]]:
    def values(rule: str, name: str) -> Float[np.ndarray, " tasks"]:
        return np.asarray([row["value"] for row in tasks if (row["rule"], row["method"]) == (rule, name)])

    against = {"ERM": values(rule, "ERM"), "shuffled": values(rule, SHUFFLED), "last": values("last", name)}
    found = task_statistics(values(rule, name), [task.group for task in DOMAIN_TASKS], against)
    return [{"rule": rule, "method": name, "statistic": key, **cell._asdict(), "seeds": tasks[0]["seeds"]}
            for key, cell in found.items()]  # fmt: skip


# 7. Figures -----------------------------------------------------------------------------------------------------
def figures(records: Records, tables: Tables) -> Mapping[str, Plate]:
    """Accuracies of all tasks, and mean accuracies along training."""
    with report.house_style():
        return {"accuracies": _accuracies(tables), "training": _training(tables)}


def _accuracies(tables: Tables) -> Plate:
    figure, rows = Figure(figsize=(7.6, 3.0)), tables["tasks"].to_pylist()
    panels = figure.subplots(1, 2, sharey=True, sharex=True)
    for axes, rule in zip(panels, ("other", "validation"), strict=True):
        for place, name in enumerate(NAMES):
            values = [100 * row["value"] for row in rows if (row["rule"], row["method"]) == (rule, name)]
            spots = place + np.linspace(-0.3, 0.3, len(values))
            axes.plot(values, spots, ".", color=PALETTE[COLORS[name]], alpha=0.5)
            found = 100 * np.asarray(_cell(tables, rule, name)[:3])
            axes.errorbar(found[0], place, xerr=[[found[0] - found[1]], [found[2] - found[0]]], fmt="D", color="black")
        axes.axvline(50, color=PALETTE["ink"], lw=0.8, ls="--")
        axes.set(title={"other": "step by the other test year", "validation": "step by training years"}[rule],
                 xlabel="accuracy / %", yticks=range(len(NAMES)), yticklabels=NAMES, ylim=(5.6, -0.6))  # fmt: skip
    return Plate(figure, f"Accuracy on the 20 tasks (dots, means of {rows[0]['seeds']} restarts), mean and 95 % "
                 "interval over triples of training years; dashes: chance.")  # fmt: skip


def _training(tables: Tables) -> Plate:
    figure, rows = Figure(figsize=(7.6, 3.0)), tables["curves"].to_pylist()
    panels = figure.subplots(1, 2, sharey=True)
    for axes, column, title in zip(panels, ("validation", "test"), ("held-out stocks", "test years"), strict=True):
        for name in NAMES:
            line = [(row["step"], 100 * row[column]) for row in rows if row["method"] == name]
            axes.plot(*zip(*line, strict=True), label=name, color=PALETTE[COLORS[name]])
        axes.set(title=title, xlabel="step")
    panels[0].set(ylabel="accuracy / %")
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside right center")
    return Plate(figure, "Accuracy along training, mean over tasks and restarts: on held-out stocks of the training "
                 "years, and on test years.")  # fmt: skip


# 8. Claims ------------------------------------------------------------------------------------------------------
def _cell(tables: Tables, rule: str, name: str, statistic: str = "mean") -> Cell:
    return report.cell(tables["summary"], rule=rule, method=name, statistic=statistic)


def _percent(tables: Tables, name: str, statistic: str) -> str:
    return f"{100 * _cell(tables, 'other', name, statistic).value:.1f}"


def _near_chance(tables: Tables) -> Obtained:
    found = {name: _cell(tables, "other", name) for name in ("ERM", "IRMv1", "V-REx")}
    far = max(found, key=lambda name: abs(found[name].value - 0.55))
    spread = "; ".join(f"{name} {' '.join(_percent(tables, name, s) for s in SPREAD)}" for name in found)
    inside = all(0.5 <= cell.value <= 0.6 for cell in found.values())
    note = f"{far}, farthest from 0.55; mean, deviation, least and most of tasks in %: {spread}"
    return Obtained(*found[far], "means from 0.5 to 0.6", inside, note)


def _gain(method: str, rule: str, over: str = "ERM") -> Callable[[Tables], Obtained]:
    def check(tables: Tables) -> Obtained:
        found = _cell(tables, rule, method, f"less {over}")
        note = "mean difference in accuracy over 20 tasks; interval over triples, too narrow as they share years"
        return Obtained(*found, "interval above 0", found.low > 0, note)

    return check


def _within_noise(tables: Tables) -> Obtained:
    gains = {name: _cell(tables, "validation", name, "less ERM") for name in METHODS[1:]}
    far, noise = max(gains, key=lambda name: abs(gains[name].value)), _cell(tables, "validation", SHUFFLED, "deviation")
    note = f"mean difference to ERM in accuracy, largest of the methods: {far}"
    criterion = f"at most the deviation of shuffled labels over tasks ({noise.value:.3g})"
    return Obtained(*gains[far], criterion, abs(gains[far].value) <= noise.value, note)


def _claim(name: str, statement: str, published: str | None, rule: str, check: Callable[[Tables], Obtained]) -> Claim:
    return Claim(name=name, statement=statement, source=SOURCE, published=published, selection=RULES[rule], check=check)


CLAIMS = (
    _claim("near-chance", "All methods are a little better than chance.", "ERM 54.6 +- 4.6 (47.6, 66.9), IRM 55.3 +- "
           "5.9 (45.9, 67.5), REx 55.5 +- 6.0 (47.2, 68.0) % (recalled)", "other", _near_chance),
    _claim("v-rex-gain", "V-REx is more accurate than ERM.", "+0.9 points (recalled; ERM may have been REx again)",
           "other", _gain("V-REx", "other")),
    _claim("irm-gain", "IRM is more accurate than ERM.", "+0.7 points (recalled; ERM may have been REx again)",
           "other", _gain("IRMv1", "other")),
    _claim("v-rex-gain-honest", "V-REx is more accurate than ERM when no test year is seen.", None, "validation",
           _gain("V-REx", "validation")),
    _claim("signal", "ERM learns something that holds in other years.", None, "validation",
           _gain("ERM", "validation", "shuffled")),
    _claim("within-noise", "Differences between methods are within the scatter of shuffled labels.", None, "validation",
           _within_noise),
)  # fmt: skip

# 9. Experiment --------------------------------------------------------------------------------------------------
EXPERIMENT = Experiment(
    name="finance",
    question="Does risk extrapolation predict rises of stocks a year ahead better than ERM, and is that above noise?",
    source="Krueger et al. 2021, financial indicators (arXiv appendix)",
    config=Config,
    run=run,
    analyse=analyse,
    figures=figures,
    claims=CLAIMS,
)

if __name__ == "__main__":
    from mlrisk.cli import main

    sys.exit(main(["run", EXPERIMENT.name, *sys.argv[1:]]))

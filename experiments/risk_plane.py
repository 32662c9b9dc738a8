"""How does the risk of a network change as the colours shift? Risks across domains, beyond those trained on."""

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import jax.numpy as jnp
import numpy as np
from jaxtyping import Float
from matplotlib.figure import Figure

from mlrisk import prng, report
from mlrisk.config import setting
from mlrisk.data.coloured import ColouredSampler
from mlrisk.experiment import Experiment
from mlrisk.harness import Records, block_length, coloured_runs, from_fit, seed_cells, sweep
from mlrisk.harness.colour_blocks import ColouredModel, coloured_mlp
from mlrisk.harness.coloured import HeldOutDomainsProbe, TrainingDomainsProbe, domain_objective
from mlrisk.harness.coloured_runs import ColouredSetting, GreyParts, coloured_train
from mlrisk.measures import Interval
from mlrisk.report import PALETTE, Claim, Obtained, Plate, Tables
from mlrisk.theory.two_bit import population_accuracy, population_optimum, population_risk
from mlrisk.types import Objective, RandomKey

SOURCE = "Krueger et al. 2021, Figure 2 (thesis Figure 5.2)"
QUANTITIES = ("accuracy", "risk")


# 1. Config ------------------------------------------------------------------------------------------------------
@dataclass(frozen=True)
class Config:
    """Question: does V-REx flatten the risk along a shift? Krueger et al. 2021, Figure 2 (thesis Figure 5.2)."""

    dataset: Literal["digits", "mnist"] = setting("digits", "which data set")
    data_dir: str | None = setting(None, "where prepared data sets are", identity=False)
    pool: int = setting(1000, "training pictures; the rest of the training split is for the test domains", at_least=2)
    label_noise: float = setting(0.25, "probability that a label is wrong", at_least=0, at_most=1)
    train_noise: tuple[float, ...] = setting((0.2, 0.1), "P(colour is not the label's)", at_least=0, at_most=1, items=2)
    test_noise: tuple[float, ...] = setting(tuple(i / 10 for i in range(11)), "the same in the test domains",
                                            at_least=0, at_most=1, items=1)  # fmt: skip
    weights: tuple[float, ...] = setting(
        (0.0, 100.0, 10_000.0), "penalty weights on (R1 - R2)^2, rising", at_least=0, items=1
    )
    training: ColouredSetting = setting(ColouredSetting(switch=101), "of all lanes, but for the weight")
    restarts: int = setting(5, "restarts per weight", at_least=2)
    seed: int = setting(0, "root of all random numbers", at_least=0)
    lanes: int | None = setting(None, "lanes abreast on a device (default: chosen)", at_least=1, identity=False)

    def scale(self) -> str:
        """The size of the run in one phrase."""
        size = f"{self.pool:,} pictures of {self.dataset}, MLP 2 x {self.training.hidden}, {self.training.steps} steps"
        return f"{size}, {self.restarts} restarts a weight"


# 2. Data --------------------------------------------------------------------------------------------------------
def make_data(config: Config, key: RandomKey) -> GreyParts:
    """Grey pictures for training and for the test domains; colours are drawn by each lane."""
    del key
    return coloured_runs.grey_parts(config.dataset, config.data_dir, config.pool)


# 3. Model -------------------------------------------------------------------------------------------------------
def make_model(config: Config, pixels: int) -> ColouredModel:
    """Two hidden layers of ReLU, Glorot's uniform weights, one logit."""
    return coloured_mlp(config.training.hidden, pixels)


# 4. Objective ---------------------------------------------------------------------------------------------------
def make_objective(config: Config, model: ColouredModel) -> Objective:
    """V-REx with the lane's weight; 0 is ERM."""
    return domain_objective(model, len(config.train_noise))


# 5. Run ---------------------------------------------------------------------------------------------------------
def run(config: Config, key: RandomKey, run_dir: Path) -> Records:
    """One sweep over weights and restarts; judged once, at the end, on domains of their own pictures."""
    data_key, lane_key = prng.streams(key, "data", "lanes")
    data = make_data(config, data_key)
    model = make_model(config, data.train.pictures.shape[1])
    sampler = ColouredSampler(data.train, jnp.asarray(config.train_noise), config.label_noise)
    probes = {
        "train_domains": TrainingDomainsProbe(sampler, model, len(config.train_noise)),
        "test_domains": HeldOutDomainsProbe(data.test, jnp.asarray(config.test_noise), config.label_noise, model),
    }
    one = config.training
    train = coloured_train(model, make_objective(config, model), one, sampler, probes, block_length(one.steps, 1))
    methods = ["v_rex" if weight else "erm" for weight in config.weights]
    hypers = coloured_runs.penalties(methods, one, weight=config.weights)
    keys = prng.lane_keys(lane_key, config.restarts)
    fit = sweep(train, keys, hypers, lanes=config.lanes or "auto", run_dir=run_dir)
    records = from_fit(fit, probe_every=train.probe_every, settings={"weight": config.weights})
    facts = {name: np.asarray(getattr(config, name), float) for name in ("weights", "train_noise", "test_noise")}
    return records._replace(arrays=records.arrays | {f"fixed/{name}": value for name, value in facts.items()})


# 6. Analysis ----------------------------------------------------------------------------------------------------
def analyse(records: Records) -> Tables:
    """Accuracy and risk in each test domain, their slopes along the shift, and the population's lines beside them.

    Selection: none; the last step.
    """
    weights, train_noise, noise = (records.arrays[f"fixed/{name}"] for name in ("weights", "train_noise", "test_noise"))
    domains, slopes, training = [], [], []
    for place, weight in enumerate(weights):
        limit = population_optimum(float(weight), train_noise.tolist())
        for quantity, many in zip(QUANTITIES, ("accuracies", "risks"), strict=True):
            values = np.asarray(records.arrays[f"test_domains/{many}"][place, :, -1], float)
            of_limit = population_accuracy if quantity == "accuracy" else population_risk
            line = [float(of_limit(limit, float(e))) for e in noise]
            domains += [
                {"weight": weight, "quantity": quantity, "noise": e, **seed_cells(values[:, i]), "population": line[i]}
                for i, e in enumerate(noise)
            ]
            rises = _slopes(noise, values)
            slopes.append({"weight": weight, "quantity": quantity, **seed_cells(rises),
                           "population": float(_slopes(noise, np.asarray([line]))[0])})  # fmt: skip
        own = np.asarray(records.arrays["train_domains/risks"][place, :, -1], float)
        training.append({"weight": weight, "quantity": "worst training risk", **seed_cells(own.max(1))})
        training.append({"weight": weight, "quantity": "range of training risks", **seed_cells(np.ptp(own, axis=1))})
    return {"domains": report.tidy_table(domains, DOMAINS), "slopes": report.tidy_table(slopes, SLOPES),
            "training": report.tidy_table(training, TRAINING)}  # fmt: skip


def _slopes(noise: Float[np.ndarray, " m"], values: Float[np.ndarray, "seeds m"]) -> Float[np.ndarray, " seeds"]:
    return np.polyfit(noise, values.T, 1)[0]


DOMAINS = ("In each test domain, means over restarts with 95 % intervals; population: the same weight with infinite "
           "data and a perfect detector of shapes.")  # fmt: skip
SLOPES = (
    "Least-squares slope of accuracy and risk (nats) over P(colour is not the label's), 95 % intervals over restarts."
)
TRAINING = "Risks of the training domains after training, in nats; 95 % intervals over restarts."


# 7. Figures -----------------------------------------------------------------------------------------------------
def figures(records: Records, tables: Tables) -> Mapping[str, Plate]:
    """Figure 5.2 of the thesis, with intervals and the population's lines."""
    with report.house_style():
        return {"risk_plane": _lines(records, tables)}


def _lines(records: Records, tables: Tables) -> Plate:
    figure, rows = Figure(figsize=(8.6, 3.4)), tables["domains"].to_pylist()
    for axes, quantity in zip(figure.subplots(1, 2), QUANTITIES, strict=True):
        for color, weight in zip(PALETTE.values(), records.arrays["fixed/weights"], strict=False):
            line = [row for row in rows if (row["weight"], row["quantity"]) == (weight, quantity)]
            report.banded_line(axes, line, "noise", color=color, marker="o", ms=3, label=f"{weight:,.0f}")
            axes.plot([r["noise"] for r in line], [r["population"] for r in line], color=color, linestyle=":", lw=1)
        for noise in records.arrays["fixed/train_noise"]:
            axes.axvline(noise, color=PALETTE["ink"], lw=0.6)
        axes.set(xlabel="P(colour is not the label's)", ylabel="risk in nats" if quantity == "risk" else quantity)
        axes.set_ylim(0, 1 if quantity == "accuracy" else None)
    figure.legend(*figure.axes[0].get_legend_handles_labels(), loc="outside right center", title="weight")
    return Plate(figure, "Accuracy and risk as the colours shift, by penalty weight; means and 95 % intervals over "
                         "restarts. Dotted: infinite data, a perfect detector of shapes. Thin: training.")  # fmt: skip


# 8. Claims ------------------------------------------------------------------------------------------------------
def _slope_rows(tables: Tables, quantity: str) -> list[dict[str, Any]]:
    return sorted((r for r in tables["slopes"].to_pylist() if r["quantity"] == quantity), key=lambda r: r["weight"])


def _size(row: dict[str, Any]) -> Interval:
    """The size of a slope, with an interval that begins at 0 where the slope's holds 0."""
    ends = sorted(abs(row[end]) for end in ("low", "high"))
    return Interval(abs(row["value"]), 0.0 if row["low"] < 0 < row["high"] else ends[0], ends[1])


def _flatter(quantity: str, first: int, second: int, words: str) -> Claim:
    """The ratio of the sizes of two slopes, with the ends of their intervals taken against each other."""

    def check(tables: Tables) -> Obtained:
        rows = _slope_rows(tables, quantity)
        flat, steep = rows[second], rows[first]
        size, other = _size(flat), _size(steep)
        high = size.high / other.low if other.low else np.inf
        note = f"slopes {steep['value']:.3f} at {steep['weight']:g} and {flat['value']:.3f} at {flat['weight']:g}; " \
               f"in the population {steep['population']:.3f} and {flat['population']:.3f}"  # fmt: skip
        ends = (size.value / other.value, size.low / other.high, high)
        return Obtained(*ends, flat["seeds"], "ratio of slopes, interval below 1", high < 1, note)

    statement = f"{quantity.capitalize()} is flatter with {words}."
    return Claim(name=f"{quantity}-{words.replace(' ', '-')}", statement=statement, source=SOURCE, published="flatter",
                 check=check)  # fmt: skip


def _worst(tables: Tables) -> Obtained:
    rows = [r for r in tables["training"].to_pylist() if r["quantity"].startswith("worst")]
    rows = sorted(rows, key=lambda row: row["weight"])
    middle, others = rows[len(rows) // 2], [row for row in rows if row is not rows[len(rows) // 2]]
    rival = min(others, key=lambda row: row["value"])
    value = middle["value"] - rival["value"]
    low, high = middle["low"] - rival["high"], middle["high"] - rival["low"]
    note = ", ".join(f"{row['value']:.3f} at {row['weight']:g}" for row in rows)
    return Obtained(value, low, high, middle["seeds"], "interval below 0", high < 0, note)


CLAIMS = (
    *(_flatter(quantity, 0, 1, "a medium weight than without") for quantity in QUANTITIES),
    *(_flatter(quantity, 1, -1, "a large weight than a medium one") for quantity in QUANTITIES),
    Claim(name="medium-weight-is-robust", statement="A medium weight has the lowest worst training risk of the three.",
          source=SOURCE, published="lowest at 100", check=_worst),
)  # fmt: skip

# 9. Experiment --------------------------------------------------------------------------------------------------
EXPERIMENT = Experiment(
    name="risk_plane",
    question="How do accuracy and risk change as the colours of the digits shift beyond the training domains?",
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

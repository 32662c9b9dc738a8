"""When must a penalty across domains switch on? Before networks begin to memorise, and after they have learnt."""

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import jax.numpy as jnp
import numpy as np
from matplotlib.figure import Figure

from mlrisk import prng, report
from mlrisk.config import setting
from mlrisk.data.coloured import ColouredSampler
from mlrisk.experiment import Experiment
from mlrisk.harness import Records, block_length, coloured_runs, curve_rows, curves, from_fit, merge, seed_cells, sweep
from mlrisk.harness.colour_blocks import ColouredModel, coloured_mlp
from mlrisk.harness.coloured import HeldOutDomainsProbe, TrainingDomainsProbe, domain_objective
from mlrisk.harness.coloured_runs import WORDS, ColouredSetting, GreyParts, coloured_train
from mlrisk.measures import Interval, interval_difference
from mlrisk.report import PALETTE, Claim, Obtained, Plate, Tables
from mlrisk.types import Objective, RandomKey

SOURCE = "Krueger et al. 2021, code: waterfall experiment and memorisation plots"
METHODS = ("v_rex", "irm_v1")
LOOKS = {"v_rex": {"color": PALETTE["blue"]}, "irm_v1": {"color": PALETTE["vermilion"], "linestyle": "--"}}


# 1. Config ------------------------------------------------------------------------------------------------------
@dataclass(frozen=True)
class Config:
    """Question: when must the penalty switch on? Krueger et al. 2021, code (waterfall experiment)."""

    dataset: Literal["digits", "mnist"] = setting("digits", "which data set")
    data_dir: str | None = setting(None, "where prepared data sets are", identity=False)
    pool: int = setting(1000, "training pictures; the rest of the training split is the test domain", at_least=2)
    label_noise: float = setting(0.25, "probability that a label is wrong", at_least=0, at_most=1)
    train_noise: tuple[float, ...] = setting((0.2, 0.1), "P(colour is not the label's)", at_least=0, at_most=1, items=2)
    test_noise: float = setting(0.9, "the same in the test domain", at_least=0, at_most=1)
    training: ColouredSetting = setting(ColouredSetting(), "of all lanes, but for the switch")
    switches: tuple[int, ...] = setting(
        (0, 100, 200, 400), "steps at which the penalty switches on", at_least=0, items=1
    )
    judgements: int = setting(10, "times that a network is judged; divides the steps", at_least=1)
    memorisation_steps: int = setting(1000, "steps without penalty or weight decay", at_least=1)
    memorisation_judgements: int = setting(20, "times that these are judged; divides them", at_least=1)
    restarts: int = setting(5, "restarts per lane", at_least=2)
    seed: int = setting(0, "root of all random numbers", at_least=0)
    lanes: int | None = setting(None, "lanes abreast on a device (default: chosen)", at_least=1, identity=False)

    def scale(self) -> str:
        """The size of the run in one phrase."""
        size = f"{self.pool:,} pictures of {self.dataset}, MLP 2 x {self.training.hidden}, {self.training.steps} steps"
        return f"{size}, {len(self.switches)} switches, {self.restarts} restarts"


# 2. Data --------------------------------------------------------------------------------------------------------
def make_data(config: Config, key: RandomKey) -> GreyParts:
    """Grey pictures for training, validation and test; colours are drawn by each lane."""
    del key
    return coloured_runs.grey_parts(config.dataset, config.data_dir, config.pool)


# 3. Model -------------------------------------------------------------------------------------------------------
def make_model(config: Config, pixels: int) -> ColouredModel:
    """Two hidden layers of ReLU, Glorot's uniform weights, one logit."""
    return coloured_mlp(config.training.hidden, pixels)


# 4. Objective ---------------------------------------------------------------------------------------------------
def make_objective(config: Config, model: ColouredModel) -> Objective:
    """V-REx or IRMv1, with the weight 1 before the lane's switch."""
    return domain_objective(model, len(config.train_noise))


# 5. Run ---------------------------------------------------------------------------------------------------------
def run(config: Config, key: RandomKey, run_dir: Path) -> Records:
    """One sweep over methods, switches and restarts; one without penalties for much longer."""
    data_key, lane_key = prng.streams(key, "data", "lanes")
    data = make_data(config, data_key)
    methods = [method for method in METHODS for _ in config.switches]
    switches = list(config.switches) * len(METHODS)
    base = config.training
    free = ColouredSetting(base.hidden, 0.0, base.learning_rate, 0, 0.0, config.memorisation_steps)
    every = (block_length(base.steps, config.judgements, "judgements"),
             block_length(free.steps, config.memorisation_judgements, "memorisation_judgements"))  # fmt: skip
    parts = {
        "switches": _sweep(config, data, lane_key, run_dir / "chunks" / "switches", base, methods, switches, every[0]),
        "memorisation": _sweep(
            config, data, lane_key, run_dir / "chunks" / "memorisation", free, ["erm"], [0], every[1]
        ),
    }
    return merge(parts, "part")


def _sweep(
    config: Config, data: GreyParts, key: RandomKey, run_dir: Path, one: ColouredSetting, methods: list[str],
    switches: list[int], every: int,
) -> Records:  # fmt: skip
    model = make_model(config, data.train.pictures.shape[1])
    sampler = ColouredSampler(data.train, jnp.asarray(config.train_noise), config.label_noise)
    noise = jnp.asarray([config.test_noise])
    probes = {
        "train_domains": TrainingDomainsProbe(sampler, model, len(config.train_noise)),
        "test_domain": HeldOutDomainsProbe(data.test, noise, config.label_noise, model),
    }
    train = coloured_train(model, make_objective(config, model), one, sampler, probes, every)
    hypers = coloured_runs.penalties(methods, one, switch=switches)
    keys = prng.lane_keys(key, config.restarts)
    fit = sweep(train, keys, hypers, lanes=config.lanes or "auto", run_dir=run_dir)
    records = from_fit(fit, probe_every=every, settings={"method": methods, "switch": switches})
    return records._replace(arrays={"steps": every * (1 + np.arange(train.num_blocks))})


# 6. Analysis ----------------------------------------------------------------------------------------------------
BY = ("part", "method", "switch")
SMALLEST = 1e-30  # of what is shown on a logarithmic axis
CURVES = {"risk": "train/risk", "V-REx penalty": "train/variance", "IRMv1 penalty": "train/slope"}


def analyse(records: Records) -> Tables:
    """Final accuracies against the switch, and the risk and both penalties along training without any.

    Selection: none; the last step.
    """
    rows = [
        {"method": key[1], "switch": int(key[2]), "domain": domain, **seed_cells(values[:, -1])}
        for domain, name in (("training", "train_domains/accuracy"), ("test", "test_domain/accuracy"))
        for key, values in curves(records, name, BY).items()
        if key[0] == "switches"
    ]
    lines = []
    for quantity, name in CURVES.items():
        logs = {key: np.log(np.maximum(values, SMALLEST)) for key, values in curves(records, name, BY).items()
                if key[0] == "memorisation"}  # fmt: skip
        rising = curve_rows(logs, BY, lambda key: records.arrays[f"{key[0]}/steps"], quantity=quantity)
        lines += [row | {end: float(np.exp(row[end])) for end in ("value", "low", "high")} for row in rising]
    return {"switches": report.tidy_table(rows, SWITCHES), "memorisation": report.tidy_table(lines, MEMORISATION)}


SWITCHES = "Accuracy at the last step against the step at which the penalty switches on; 95 % intervals over restarts."
MEMORISATION = ("Without penalty and weight decay: mean risk (nats), population variance of the risks, and IRMv1's "
                "penalty, means over the steps of a judgement, geometric over restarts; 95 % intervals.")  # fmt: skip


# 7. Figures -----------------------------------------------------------------------------------------------------
def figures(records: Records, tables: Tables) -> Mapping[str, Plate]:
    """The waterfall, and the penalties while networks memorise."""
    with report.house_style():
        return {"waterfall": _waterfall(tables), "memorisation": _memorisation(tables)}


def _waterfall(tables: Tables) -> Plate:
    figure, rows = Figure(figsize=(8.2, 3.2)), tables["switches"].to_pylist()
    for axes, domain in zip(figure.subplots(1, 2, sharey=True), ("training", "test"), strict=True):
        for method, look in LOOKS.items():
            line = sorted(
                (r for r in rows if (r["method"], r["domain"]) == (method, domain)), key=lambda r: r["switch"]
            )
            report.banded_line(axes, line, "switch", label=WORDS[method], **look)
        axes.set(title=f"{domain} domains", xlabel="step at which the penalty switches on", ylim=(0, 1))
    figure.axes[0].set_ylabel("accuracy at the last step")
    figure.axes[0].legend()
    return Plate(figure, SWITCHES)


def _memorisation(tables: Tables) -> Plate:
    axes = (figure := Figure(figsize=(5.2, 3.4))).subplots()
    for (quantity, color), dash in zip(zip(CURVES, PALETTE.values(), strict=False), ("-", "--", "-."), strict=True):
        line = [row for row in tables["memorisation"].to_pylist() if row["quantity"] == quantity]
        report.banded_line(axes, line, "epoch", color=color, linestyle=dash, label=quantity)
    axes.set(xlabel="full-batch steps", yscale="log")
    axes.legend()
    return Plate(figure, MEMORISATION)


# 8. Claims ------------------------------------------------------------------------------------------------------
def _accuracies(tables: Tables, method: str) -> list[dict[str, Any]]:
    rows = [r for r in tables["switches"].to_pylist() if (r["method"], r["domain"]) == (method, "test")]
    return sorted(rows, key=lambda row: row["switch"])


def _peak(method: str, end: int) -> Claim:
    """The best switch's test accuracy less that of the first or the last switch."""

    def check(tables: Tables) -> Obtained:
        rows = _accuracies(tables, method)
        best = max(rows, key=lambda row: row["value"])
        apart = interval_difference(*(Interval(r["value"], r["low"], r["high"]) for r in (best, rows[end])))
        note = f"{best['value']:.3f} at {best['switch']}, {rows[end]['value']:.3f} at {rows[end]['switch']}; " \
               "the best is chosen on the test domain, as the figure is read"  # fmt: skip
        return Obtained(*apart, best["seeds"], "interval above 0.05", apart.low > 0.05, note)

    late = end < 0
    statement = f"{WORDS[method]} fails when the penalty comes " + (
        "after memorisation has begun." if late else "from the start."
    )
    return Claim(name=f"{method.replace('_', '-')}-{'late' if late else 'early'}", statement=statement, source=SOURCE,
                 published="a waterfall" if late else "rises from early switches", selection="the figure's own maximum",
                 check=check)  # fmt: skip


def _vanishes(quantity: str) -> Claim:
    def check(tables: Tables) -> Obtained:
        rows = [r for r in tables["memorisation"].to_pylist() if r["quantity"] == quantity]
        top, last = max(rows, key=lambda row: row["value"]), rows[-1]
        note = f"largest {top['value']:.2g} at step {top['epoch']}, {last['value']:.2g} at step {last['epoch']}"
        ends = (end / top["value"] for end in (last["value"], last["low"], last["high"]))
        value, low, high = ends
        seeds = tables["switches"].to_pylist()[0]["seeds"]
        return Obtained(value, low, high, seeds, "below 0.1 of its largest value", value < 0.1, note)

    return Claim(name=f"{quantity.split()[0].lower()}-vanishes", statement=f"Memorisation drives the {quantity} to 0.",
                 source=SOURCE, published="to about 0", check=check)  # fmt: skip


CLAIMS = (
    *(_peak(method, end) for method in METHODS for end in (-1, 0)),
    *(_vanishes(quantity) for quantity in ("V-REx penalty", "IRMv1 penalty")),
)

# 9. Experiment --------------------------------------------------------------------------------------------------
EXPERIMENT = Experiment(
    name="penalty_timing",
    question="How does the step at which a penalty switches on decide what a network learns?",
    source="Krueger et al. 2021, code (waterfall experiment)",
    config=Config,
    run=run,
    analyse=analyse,
    figures=figures,
    claims=CLAIMS,
)

if __name__ == "__main__":
    from mlrisk.cli import main

    sys.exit(main(["run", EXPERIMENT.name, *sys.argv[1:]]))

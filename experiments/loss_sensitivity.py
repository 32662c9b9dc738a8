"""Does the loss depend on a few examples or on all alike? Sensitivity of the loss to each training input."""

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Float
from matplotlib.figure import Figure

from mlrisk import prng, report
from mlrisk.config import setting
from mlrisk.data import CROSSED, Condition, crossed_conditions, downscale, load, standardise, subset
from mlrisk.errors import BadInput
from mlrisk.experiment import Experiment
from mlrisk.harness import Records, curves, from_fit, merge, sweep
from mlrisk.harness.sensitivities import SensitivityLane
from mlrisk.measures import Interval, student_mean
from mlrisk.measures.trajectory import ExampleLoss
from mlrisk.models import mlp
from mlrisk.objectives.classification import cross_entropy
from mlrisk.report import PALETTE, Claim, Obtained, Plate, Tables
from mlrisk.types import Examples, Model, RandomKey

SOURCE = "Arpit et al. 2017, Figure 3 and section 3.2 (thesis Figure 3.3)"
UNIQUE = ("real", "randX")
LOOKS = {**report.CONDITION_LOOKS, "randXY": {"color": PALETTE["purple"], "linestyle": ":"}}


# 1. Config ------------------------------------------------------------------------------------------------------
@dataclass(frozen=True)
class Config:
    """Question: does the loss depend on few examples or on all alike? Arpit et al. 2017, Figure 3 (thesis 3.3)."""

    dataset: Literal["digits", "mnist"] = setting("digits", "which data set")
    data_dir: str | None = setting(None, "where prepared data sets are", identity=False)
    train_size: int = setting(1000, "training examples, drawn with equal classes", at_least=2)
    factor: int = setting(1, "side of the blocks of pixels that are averaged; divides the pictures' sides", at_least=1)
    moments: Literal["global", "pixel"] = setting("global", "mean and variance of randX: of all pixels, or of each")
    hidden_sizes: tuple[int, ...] = setting((16, 16), "hidden units", at_least=1)
    learning_rate: float = setting(0.1, "step size of SGD (not stated in the paper)", above=0)
    momentum: float = setting(0.0, "momentum of SGD", at_least=0, below=1)
    batch_size: int = setting(50, "examples in a step (not stated in the paper)", at_least=1)
    epochs: int = setting(100, "passes over the training set", at_least=1)
    early: int = setting(20, "epochs after which the Gini coefficient is compared first", at_least=1)
    every: int = setting(5, "epochs between two losses; divides both of these", at_least=1)
    seeds: int = setting(20, "networks per condition: initialisation and order", at_least=2)
    seed: int = setting(0, "root of all random numbers", at_least=0)
    lanes: int | None = setting(None, "lanes abreast on a device (default: chosen)", at_least=1, identity=False)

    def scale(self) -> str:
        """The size of the run in one phrase."""
        size = "x".join(map(str, self.hidden_sizes))
        return f"{self.dataset}, {self.train_size:,} examples, mlp {size}, {self.epochs} epochs, {self.seeds} seeds"


class Data(NamedTuple):
    """Stacked training sets: with the labels of classes, and with a label for each example."""

    classes: Examples
    unique: Examples
    num_classes: int


# 2. Data --------------------------------------------------------------------------------------------------------
def make_data(config: Config, key: RandomKey) -> Data:
    """Small standardised pictures, and versions with random inputs and labels; noise is drawn once."""
    source = load(config.dataset, config.data_dir)
    pick, noise = prng.streams(key, "subset", "noise")
    small = downscale(subset(pick, source.train, config.train_size, balanced=True), config.factor)
    classes = crossed_conditions(noise, standardise(small), source.num_classes, config.moments)
    own = jnp.broadcast_to(jnp.arange(config.train_size, dtype=jnp.int32), (len(UNIQUE), config.train_size))
    return Data(classes, Examples(classes.inputs[: len(UNIQUE)], own), source.num_classes)


# 3. Model -------------------------------------------------------------------------------------------------------
def make_model(config: Config, shape: tuple[int, ...], num_classes: int) -> Model:
    """The paper's MLP of two layers of 16 units."""
    return mlp(shape, config.hidden_sizes, num_classes)


# 4. Objective ---------------------------------------------------------------------------------------------------
def make_objective(config: Config, model: Model) -> ExampleLoss:
    """Cross-entropy of each example, which the lanes average: over the batch to train, over all for ``L_t``."""
    return cross_entropy


# 5. Run ---------------------------------------------------------------------------------------------------------
def run(config: Config, key: RandomKey, run_dir: Path) -> Records:
    """For each kind of labels one sweep over conditions and seeds; every lane trains and is differentiated."""
    data_key, lane_key = prng.streams(key, "data", "lanes")
    data = make_data(config, data_key)
    parts = {
        "class": _sweep(config, data.classes, data.num_classes, CROSSED, lane_key, run_dir / "chunks" / "class"),
        "unique": _sweep(config, data.unique, config.train_size, UNIQUE, lane_key, run_dir / "chunks" / "unique"),
    }
    return merge(parts, "labels")


def _sweep(
    config: Config, examples: Examples, outputs: int, names: tuple[str, ...], key: RandomKey, folder: Path
) -> Records:
    if config.epochs % config.every or config.early % config.every or config.early > config.epochs:
        raise BadInput(f"every: {config.every} is not a divisor of early ({config.early}) and epochs ({config.epochs})")
    model, per_epoch = make_model(config, examples.inputs.shape[2:], outputs), config.train_size // config.batch_size
    train = SensitivityLane(
        examples,
        model,
        make_objective(config, model),
        config.learning_rate,
        config.momentum,
        config.batch_size,
        tuple(per_epoch * epoch for epoch in range(config.every, config.epochs + 1, config.every)),
    )
    settings = Condition(jnp.arange(len(names)))
    lanes = config.lanes or "auto"
    fit = sweep(train, prng.lane_keys(key, config.seeds), settings, lanes=lanes, run_dir=folder)
    records = from_fit(fit, probe_every=config.every * per_epoch, settings={"condition": names})
    facts = {"every": config.every, "early": config.early}
    return records._replace(arrays=records.arrays | {f"data/{name}": np.asarray(fact) for name, fact in facts.items()})


# 6. Analysis ----------------------------------------------------------------------------------------------------
BY = ("labels", "condition")
METRICS = ("training/loss", "training/accuracy", *(f"{variant}/{name}" for variant in ("indirect", "total")
           for name in ("gini", "gini l2", "gini linf", "gini now", "median")))  # fmt: skip


def _cells(values: Float[np.ndarray, " seeds"]) -> dict[str, float | int]:
    """Student's interval over the seeds that did not overflow."""
    kept = values[np.isfinite(values)]
    found = student_mean(kept) if len(kept) else Interval(np.nan, np.nan, np.nan)
    return found._asdict() | {"seeds": len(kept)}


def analyse(records: Records) -> Tables:
    """Means over seeds along training, and real data less random data, paired by seed. Nothing is selected."""
    every, early = (int(records.arrays[f"class/data/{name}"]) for name in ("every", "early"))
    rows, differences = [], []
    for metric in METRICS:
        found = curves(records, metric, BY)
        for (labels, condition), values in found.items():
            when = [(every * (block + 1), block) for block in range(values.shape[1])]
            named = {"labels": labels, "condition": condition, "metric": metric}
            rows += [named | {"epoch": epoch, **_cells(values[:, block])} for epoch, block in when]
            if condition != "real":
                apart = _apart(metric, found[labels, "real"], values)
                differences += [
                    named | {"epoch": epoch, "early": epoch == early, **_cells(apart[:, block])}
                    for epoch, block in when
                ]
    return {"sensitivity": report.tidy_table(rows, TABLE), "differences": report.tidy_table(differences, DIFFERENCES)}


def _apart(metric: str, real: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Medians differ by orders of magnitude, so by their logarithms; the smallest number stands for 0."""
    tiny = np.finfo(np.float32).tiny
    with np.errstate(invalid="ignore"):
        return np.log(np.maximum(real, tiny) / np.maximum(other, tiny)) if "median" in metric else real - other


TABLE = (
    "Along training, means over seeds with Student's 95 % intervals: loss and accuracy on the training set; Gini "
    "coefficient over examples, and median, of the loss-sensitivity averaged over all judged epochs so far (l1 norm "
    "where none is named), and the coefficient of the epoch's own (now). Indirect: through updates alone; total: with "
    "the example's own place in the loss."
)
DIFFERENCES = (
    "Real data less each kind of random data, paired by seed, with Student's 95 % intervals; for medians the natural "
    "logarithm of the ratio. Early marks the epoch that the first claim is about."
)


# 7. Figures -----------------------------------------------------------------------------------------------------
def figures(records: Records, tables: Tables) -> Mapping[str, Plate]:
    """Figure 3.3 of the thesis, the same for the whole derivative, and the sensitivities themselves, sorted."""
    with report.house_style():
        return {
            "gini": _gini(records, "indirect"),
            "gini_total": _gini(records, "total"),
            "sorted_sensitivity": _sorted(records),
        }


TITLES = {"class": "labels: classes", "unique": "labels: one for each example"}


def _gini(records: Records, variant: str) -> Plate:
    figure, every = Figure(figsize=(8, 3.5)), int(records.arrays["class/data/every"])
    found = curves(records, f"{variant}/gini", BY)
    for axes, (labels, title) in zip(figure.subplots(1, 2, sharey=True), TITLES.items(), strict=True):
        own = {condition: values for (kind, condition), values in found.items() if kind == labels}
        epochs = [every * (block + 1) for block in range(next(iter(own.values())).shape[1])]
        report.range_curves(axes, epochs, own, LOOKS)
        axes.set(title=title, xlabel="epoch", ylim=(0, 1))
    figure.axes[0].set_ylabel("Gini coefficient of loss-sensitivity")
    figure.axes[0].legend()
    through = "through the updates alone" if variant == "indirect" else "by the whole derivative"
    return Plate(figure, f"How unequally the training loss depends on the examples, {through}: Gini coefficient of the "
                         "sensitivity averaged up to each epoch; means and ranges over seeds.")  # fmt: skip


def _sorted(records: Records) -> Plate:
    figure = Figure(figsize=(8, 3.5))
    for axes, (labels, title) in zip(figure.subplots(1, 2), TITLES.items(), strict=True):
        names = CROSSED if labels == "class" else UNIQUE
        for name, averages in zip(names, records.arrays[f"{labels}/indirect/averages"], strict=True):
            ranked = np.median(np.sort(averages[:, -1], axis=-1), axis=0)
            axes.plot(np.arange(len(ranked)), np.maximum(ranked, 1e-12), label=name, **LOOKS[name])
        axes.set(title=title, xlabel="example, sorted by sensitivity", yscale="log")
    figure.axes[0].set_ylabel("loss-sensitivity (l1)")
    figure.axes[0].legend()
    return Plate(figure, "Sensitivity of the training loss to each example through the updates, averaged over the "
                         "whole training and sorted; the median over seeds at each rank.")  # fmt: skip


# 8. Claims ------------------------------------------------------------------------------------------------------
def _found(tables: Tables, labels: str, metric: str, *, early: bool = False) -> dict[str, float]:
    """Real less randX at the early epoch, or at the last."""
    rows = [row for row in tables["differences"].to_pylist() if (row["labels"], row["condition"]) == (labels, "randX")]
    rows = [row for row in rows if row["metric"] == metric and (row["early"] or not early)]
    return {name: float("nan") if value is None else value for name, value in rows[-1].items()}


def _obtained(row: dict[str, float], criterion: str, agrees: bool, note: str) -> Obtained:  # noqa: FBT001
    return Obtained(row["value"], row["low"], row["high"], int(row["seeds"]), criterion, agrees, note)


def _higher(tables: Tables, *metrics: str) -> Obtained:
    found = [_found(tables, "class", metric, early=True) for metric in metrics]
    row = min(found, key=lambda row: row["value"])
    note = "Gini coefficient on real data less that on randX at the early epoch, paired by seed: " + ", ".join(
        f"{one['metric']} {one['value']:.3f}" for one in found
    )
    return _obtained(row, "> 0.2, interval above 0.2", min(one["low"] for one in found) > 0.2, note)


def _throughout(tables: Tables) -> Obtained:
    rows = [row for row in tables["differences"].to_pylist()
            if (row["labels"], row["condition"], row["metric"]) == ("class", "randX", "indirect/gini")]  # fmt: skip
    row = min(rows, key=lambda row: row["low"])
    note = f"the judged epoch at which real is least above randX: {row['epoch']} of {rows[-1]['epoch']}"
    return _obtained(row, "interval above 0 at every judged epoch", row["low"] > 0, note)


def _unique(tables: Tables) -> Obtained:
    row = _found(tables, "unique", "indirect/gini")
    note = "Gini coefficient on real data less that on randX at the last epoch, one label for each example"
    return _obtained(row, "> 0.02, interval above 0", row["value"] > 0.02 and row["low"] > 0, note)


def _median(tables: Tables) -> Obtained:
    row = _found(tables, "class", "indirect/median")
    note = f"logarithm of the ratio of medians, real over randX, at epoch {int(row['epoch'])}; paired by seed"
    return _obtained(row, "< 0, interval below 0", row["high"] < 0, note)


ALL_NORMS = ("indirect/gini", "indirect/gini l2", "indirect/gini linf")
CLAIMS = (
    Claim(name="gini-higher", statement="The loss on real data depends on a subset of the examples, that on random "
          "inputs on virtually all.", source=SOURCE, published="Gini clearly higher for real data",
          check=lambda tables: _higher(tables, "indirect/gini")),
    Claim(name="gini-higher-throughout", statement="It does so throughout training.", source=SOURCE,
          published="higher throughout", check=_throughout),
    Claim(name="other-norms", statement="The l2 and l-infinity norms give very similar results.", source=SOURCE,
          published="very similar", check=lambda tables: _higher(tables, *ALL_NORMS)),
    Claim(name="total-derivative", statement="The same holds of the whole derivative, with the example's own place in "
          "the loss.", source=SOURCE, check=lambda tables: _higher(tables, "total/gini")),
    Claim(name="unique-labels", statement="Real and random inputs still differ when every example has a label of its "
          "own.", source=SOURCE, published="still different", check=_unique),
    Claim(name="median-lower", statement="Most real examples have a low sensitivity, nearly all random ones a high "
          "one.", source=SOURCE, published="median lower for real data", check=_median),
)  # fmt: skip

# 9. Experiment --------------------------------------------------------------------------------------------------
EXPERIMENT = Experiment(
    name="loss_sensitivity",
    question="Does the training loss depend on a few of the examples, or on all of them alike?",
    source="Arpit et al. 2017, Fig. 3 (thesis Fig. 3.3)",
    config=Config,
    run=run,
    analyse=analyse,
    figures=figures,
    claims=CLAIMS,
)

if __name__ == "__main__":
    from mlrisk.cli import main

    sys.exit(main(["run", EXPERIMENT.name, *sys.argv[1:]]))

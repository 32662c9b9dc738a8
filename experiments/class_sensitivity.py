"""Does the loss of one class depend on inputs of others? Sensitivity of each class's loss to each class's inputs."""

import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Float
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure

from mlrisk import prng, report
from mlrisk.config import setting
from mlrisk.data import CROSSED, Condition, crossed_conditions, downscale, load, standardise, subset
from mlrisk.errors import BadInput
from mlrisk.experiment import Experiment
from mlrisk.harness import Records, from_fit, sweep
from mlrisk.harness.sensitivities import VARIANTS, SensitivityLane
from mlrisk.measures import Interval, student_mean
from mlrisk.measures.trajectory import ExampleLoss
from mlrisk.models import mlp
from mlrisk.objectives.classification import cross_entropy
from mlrisk.report import Claim, Obtained, Plate, Tables
from mlrisk.types import Examples, Model, RandomKey

SOURCE = "Arpit et al. 2017, Figure 4 and section 3.2 (thesis Figure 3.4)"
RANDOM = CROSSED[1:]


# 1. Config ------------------------------------------------------------------------------------------------------
@dataclass(frozen=True)
class Config:
    """Question: does the loss of a class depend on inputs of others? Arpit et al. 2017, Figure 4 (thesis 3.4)."""

    dataset: Literal["digits", "mnist"] = setting("digits", "which data set")
    data_dir: str | None = setting(None, "where prepared data sets are", identity=False)
    train_size: int = setting(1000, "training examples, drawn with equal classes", at_least=20)
    factor: int = setting(1, "side of the blocks of pixels that are averaged; divides the pictures' sides", at_least=1)
    moments: Literal["global", "pixel"] = setting("global", "mean and variance of randX: of all pixels, or of each")
    hidden_sizes: tuple[int, ...] = setting((16, 16), "hidden units", at_least=1)
    learning_rate: float = setting(0.1, "step size of SGD (not stated in the paper)", above=0)
    momentum: float = setting(0.0, "momentum of SGD", at_least=0, below=1)
    batch_size: int = setting(50, "examples in a step (not stated in the paper)", at_least=1)
    epochs: int = setting(20, "passes over the training set", at_least=1)
    every: int = setting(4, "epochs between two losses; divides the epochs", at_least=1)
    seeds: int = setting(20, "networks per condition: initialisation and order", at_least=2)
    seed: int = setting(0, "root of all random numbers", at_least=0)
    lanes: int | None = setting(None, "lanes abreast on a device (default: chosen)", at_least=1, identity=False)

    def scale(self) -> str:
        """The size of the run in one phrase."""
        size = "x".join(map(str, self.hidden_sizes))
        return f"{self.dataset}, {self.train_size:,} examples, mlp {size}, {self.epochs} epochs, {self.seeds} seeds"


class Data(NamedTuple):
    """The stacked training sets."""

    conditions: Examples
    num_classes: int


# 2. Data --------------------------------------------------------------------------------------------------------
def make_data(config: Config, key: RandomKey) -> Data:
    """Small standardised pictures, and versions with random inputs and labels; noise is drawn once."""
    source = load(config.dataset, config.data_dir)
    pick, noise = prng.streams(key, "subset", "noise")
    small = downscale(subset(pick, source.train, config.train_size, balanced=True), config.factor)
    return Data(crossed_conditions(noise, standardise(small), source.num_classes, config.moments), source.num_classes)


# 3. Model -------------------------------------------------------------------------------------------------------
def make_model(config: Config, shape: tuple[int, ...], num_classes: int) -> Model:
    """The paper's MLP of two layers of 16 units."""
    return mlp(shape, config.hidden_sizes, num_classes)


# 4. Objective ---------------------------------------------------------------------------------------------------
def make_objective(config: Config, model: Model) -> ExampleLoss:
    """Cross-entropy of each example: averaged over the batch to train, summed over a class for ``L_t(y = i)``."""
    return cross_entropy


# 5. Run ---------------------------------------------------------------------------------------------------------
def run(config: Config, key: RandomKey, run_dir: Path) -> Records:
    """One sweep over conditions and seeds; every lane trains and is differentiated."""
    if config.epochs % config.every:
        raise BadInput(f"every: {config.every} is not a divisor of epochs, which is {config.epochs}")
    data_key, lane_key = prng.streams(key, "data", "lanes")
    data = make_data(config, data_key)
    model = make_model(config, data.conditions.inputs.shape[2:], data.num_classes)
    per_epoch = config.train_size // config.batch_size
    targets = tuple(per_epoch * epoch for epoch in range(config.every, config.epochs + 1, config.every))
    train = SensitivityLane(
        data.conditions,
        model,
        make_objective(config, model),
        config.learning_rate,
        config.momentum,
        config.batch_size,
        targets,
        of="classes",
    )
    settings = Condition(jnp.arange(len(CROSSED)))
    lanes = config.lanes or "auto"
    fit = sweep(train, prng.lane_keys(lane_key, config.seeds), settings, lanes=lanes, run_dir=run_dir)
    return from_fit(fit, probe_every=targets[-1], settings={"condition": CROSSED})


# 6. Analysis ----------------------------------------------------------------------------------------------------
STATISTICS: Mapping[str, Callable[[Float[np.ndarray, "k k"]], float]] = {
    "ratio": lambda m: float(np.diag(m).mean() / _off_diagonal(m).mean()),
    "spread": lambda m: float(np.std(np.log(np.maximum(_off_diagonal(m), np.finfo(np.float32).tiny)))),
    "rows": lambda m: float(np.mean(m.argmax(1) == np.arange(len(m)))),
    "columns": lambda m: float(np.mean(m.argmax(0) == np.arange(len(m)))),
}


def _off_diagonal(matrix: Float[np.ndarray, "k k"]) -> Float[np.ndarray, " entries"]:
    return matrix[~np.eye(len(matrix), dtype=bool)]


def _cells(values: Float[np.ndarray, " seeds"]) -> dict[str, float | int]:
    """Student's interval over the seeds that did not overflow."""
    kept = values[np.isfinite(values)]
    found = student_mean(kept) if len(kept) else Interval(np.nan, np.nan, np.nan)
    return found._asdict() | {"seeds": len(kept)}


def _of_seeds(matrices: Float[np.ndarray, "seeds k k"], statistic: str) -> Float[np.ndarray, " seeds"]:
    return np.asarray([STATISTICS[statistic](m) if np.isfinite(m).all() else np.nan for m in matrices])


def analyse(records: Records) -> Tables:
    """Statistics of each seed's matrix; real data beside each kind of random data. Nothing is selected."""
    rows, entries = [], []
    for variant in VARIANTS:
        matrices = dict(zip(CROSSED, records.arrays[f"{variant}/matrix"][:, :, 0].astype(np.float64), strict=True))
        found = {(c, name): _of_seeds(m, name) for c, m in matrices.items() for name in STATISTICS}
        for (condition, name), values in found.items():
            named = {"variant": variant, "condition": condition, "statistic": name}
            rows.append(named | _cells(values))
            if condition != "real" and name in ("ratio", "spread"):
                real = found["real", name]
                apart = real - values if name == "ratio" else np.log(real / values)
                rows.append(named | {"statistic": f"{name} apart"} | _cells(apart))
        entries += [
            {"variant": variant, "condition": condition, "loss class": i, "input class": j, "value": float(value)}
            for condition, all_seeds in matrices.items()
            for (i, j), value in np.ndenumerate(np.nanmean(all_seeds, axis=0))
        ]
    return {"statistics": report.tidy_table(rows, TABLE), "matrices": report.tidy_table(entries, MATRICES)}


TABLE = (
    "Means over seeds with Student's 95 % intervals: mean of the diagonal over mean of the rest (ratio), standard "
    "deviation of the logarithms off the diagonal (spread), shares of rows and columns whose largest entry is on the "
    "diagonal; ratio on real less on random data, and logarithm of spread on real over random (apart), paired by seed. "
    "Off the diagonal both variants are equal: a class's loss has no direct term in inputs of another."
)
MATRICES = "Sensitivity of the loss of one class to the inputs of another, averaged over seeds (l1 norm, summed loss)."


# 7. Figures -----------------------------------------------------------------------------------------------------
def figures(records: Records, tables: Tables) -> Mapping[str, Plate]:
    """Figure 3.4 of the thesis, and the same for the whole derivative."""
    with report.house_style():
        return {"class_sensitivity": _plate(records, "indirect"), "class_sensitivity_total": _plate(records, "total")}


def _plate(records: Records, variant: str) -> Plate:
    figure = Figure(figsize=(9.6, 3.0))
    means = np.nanmean(records.arrays[f"{variant}/matrix"][:, :, 0].astype(np.float64), axis=1)
    scaled = means / np.maximum(means.mean((1, 2), keepdims=True), np.finfo(np.float32).tiny)
    scale = LogNorm(max(float(scaled.min()), 1e-3), max(float(scaled.max()), 1.0))
    panels = figure.subplots(1, len(CROSSED), sharey=True)
    for axes, condition, matrix in zip(panels, CROSSED, scaled, strict=True):
        image = axes.imshow(np.maximum(matrix, 1e-3), norm=scale)
        axes.grid(visible=False)
        axes.set(title=condition, xlabel="class of the inputs", xticks=range(0, len(matrix), 3))
    panels[0].set(ylabel="class of the loss", yticks=range(0, len(matrix), 3))
    figure.colorbar(image, ax=panels, label="sensitivity / mean")
    through = "through the updates alone" if variant == "indirect" else "by the whole derivative"
    return Plate(figure, f"Sensitivity of each class's loss to the inputs of each class, {through}, averaged over "
                         "training and seeds; each matrix over its own mean.")  # fmt: skip


# 8. Claims ------------------------------------------------------------------------------------------------------
def _cell(tables: Tables, condition: str, statistic: str, variant: str = "indirect") -> report.Cell:
    return report.cell(tables["statistics"], variant=variant, condition=condition, statistic=statistic)


def _values(tables: Tables, statistic: str, variant: str = "indirect") -> str:
    return ", ".join(f"{c} {_cell(tables, c, statistic, variant).value:.3g}" for c in CROSSED)


def _diagonal(tables: Tables) -> Obtained:
    found = min((_cell(tables, condition, "ratio") for condition in CROSSED), key=lambda cell: cell.low)
    note = f"mean of the diagonal over mean of the rest, the lowest condition; {_values(tables, 'ratio')}"
    return Obtained(*found, "interval above 1 in every condition", found.low > 1, note)


def _ratio(tables: Tables, variant: str) -> Obtained:
    found = max((_cell(tables, c, "ratio apart", variant) for c in RANDOM), key=lambda cell: cell.high)
    ratios = _values(tables, "ratio", variant)
    note = f"ratio of real data less that of the nearest random data, paired by seed; {ratios}"
    return Obtained(*found, "< 0, interval below 0 for every kind of random data", found.high < 0, note)


def _spread(tables: Tables) -> Obtained:
    found = min((_cell(tables, condition, "spread apart") for condition in RANDOM), key=lambda cell: cell.low)
    note = (
        "standard deviation of the logarithms off the diagonal, logarithm of real over the nearest random data "
        f"(log 2 = 0.693), paired by seed; {_values(tables, 'spread')}"
    )
    return Obtained(*found, "> log 2, interval above", found.low > np.log(2), note)


CLAIMS = (
    Claim(name="diagonal-higher", statement="The loss of a class depends most on the inputs of that class.",
          source=SOURCE, published="diagonal higher", check=_diagonal),
    Claim(name="more-between-classes", statement="On real data more of the sensitivity is between classes than on "
          "random data.", source=SOURCE, published="more off the diagonal", check=lambda t: _ratio(t, "indirect")),
    Claim(name="more-between-classes-total", statement="The same holds of the whole derivative, with each example's "
          "own place in the loss.", source=SOURCE, check=lambda tables: _ratio(tables, "total")),
    Claim(name="spread-wider", statement="On real data, pairs of classes differ in how they depend on each other; on "
          "random data they are alike.", source=SOURCE, published="visible structure in real data only", check=_spread),
)  # fmt: skip

# 9. Experiment --------------------------------------------------------------------------------------------------
EXPERIMENT = Experiment(
    name="class_sensitivity",
    question="Does the loss of one class depend on the training inputs of other classes?",
    source="Arpit et al. 2017, Fig. 4 (thesis Fig. 3.4)",
    config=Config,
    run=run,
    analyse=analyse,
    figures=figures,
    claims=CLAIMS,
)

if __name__ == "__main__":
    from mlrisk.cli import main

    sys.exit(main(["run", EXPERIMENT.name, *sys.argv[1:]]))

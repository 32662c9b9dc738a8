"""Do networks that memorise learn patterns too? The first layer's filters on real data, random inputs and labels."""

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float
from matplotlib.figure import Figure

from mlrisk import prng, report
from mlrisk.config import setting
from mlrisk.data import (
    CONDITIONS,
    NoiseLevel,
    NoiseLevelSampler,
    NoisyExamples,
    load,
    noisy_examples,
    standardise,
    subset,
)
from mlrisk.errors import BadInput
from mlrisk.experiment import Experiment
from mlrisk.harness import Records, curves, from_fit, judged_steps, make_train, seed_cells, sweep
from mlrisk.harness.accuracy_probes import NoisyAccuracyProbe
from mlrisk.harness.networks import NetworkConfig, make_network
from mlrisk.harness.optimizers import OptimizerConfig, make_optimizer
from mlrisk.measures import low_frequency_share, roughness
from mlrisk.objectives import classification
from mlrisk.report import PALETTE, Claim, Obtained, Plate, Tables
from mlrisk.types import Model, Objective, Params, RandomKey

SOURCE = "Arpit et al. 2017, Figure 2 (thesis Figure 3.2)"
LEVELS = NoiseLevel(jnp.asarray([0.0, 1.0, 0.0]), jnp.asarray([0.0, 0.0, 1.0]))
"""Shares of random inputs and of random labels of the three conditions."""


# 1. Config ------------------------------------------------------------------------------------------------------
@dataclass(frozen=True)
class Config:
    """Question: are filters learnt from random labels structured? Arpit et al. 2017, Figure 2 (thesis Figure 3.2)."""

    dataset: Literal["digits", "mnist", "cifar10"] = setting("cifar10", "which data set")
    data_dir: str | None = setting(None, "where prepared data sets are", identity=False)
    train_size: int = setting(2000, "training examples, drawn with equal classes", at_least=2)
    moments: Literal["global", "pixel"] = setting("global", "mean and variance of randX: of all pixels, or of each")
    network: NetworkConfig = setting(NetworkConfig("cnn"))
    optimizer: OptimizerConfig = setting(OptimizerConfig(momentum=0.9))
    halve_every: int | None = setting(15, "epochs after which the learning rate is halved; null: never", at_least=1)
    batch_size: int = setting(50, "examples in a step", at_least=1)
    epochs: int = setting(25, "passes over the training set", at_least=1)
    judge_every: int = setting(5, "epochs between two looks at the filters; divides the epochs", at_least=1)
    seeds: int = setting(5, "networks per condition: initialisation and order", at_least=2)
    seed: int = setting(0, "root of all random numbers", at_least=0)
    lanes: int | None = setting(None, "lanes abreast on a device (default: chosen)", at_least=1, identity=False)

    def scale(self) -> str:
        """The size of the run in one phrase."""
        size = f"{self.dataset}, {self.train_size:,} examples, {self.network.describe()}"
        return f"{size}, {self.epochs} epochs, {self.seeds} seeds a condition"


class Data(NamedTuple):
    """One training set, with all its inputs or labels replaced where a lane asks for it."""

    noisy: NoisyExamples
    num_classes: int


# 2. Data --------------------------------------------------------------------------------------------------------
def make_data(config: Config, key: RandomKey) -> Data:
    """One class-balanced subset of the training split, standardised, and its randX and randY versions."""
    source = load(config.dataset, config.data_dir)
    pick, noise = prng.streams(key, "subset", "noise")
    if config.train_size > (most := len(source.train.labels)):
        raise BadInput(f"train_size: {config.train_size} is not allowed, {config.dataset} has {most} training examples")
    chosen = standardise(subset(pick, source.train, config.train_size, balanced=True))
    return Data(noisy_examples(noise, chosen, source.num_classes, config.moments), source.num_classes)


# 3. Model -------------------------------------------------------------------------------------------------------
def make_model(config: Config, data: Data) -> Model:
    """The paper's small Alexnet-style CNN."""
    if config.network.name != "cnn":
        raise BadInput(f"network.name: {config.network.name!r} is not allowed, only 'cnn' has filters")
    return make_network(config.network, data.noisy.real.inputs.shape[1:], data.num_classes)


def first_filters(params: Params) -> Float[Array, "rows columns inputs outputs"]:
    """The kernel of the first convolution."""
    return params["params"]["Conv_0"]["kernel"]


# 4. Objective ---------------------------------------------------------------------------------------------------
def make_objective(config: Config, model: Model) -> Objective:
    """Mean cross-entropy of the condition's labels."""
    return classification(model)


# 5. Run ---------------------------------------------------------------------------------------------------------
def run(config: Config, key: RandomKey, run_dir: Path) -> Records:
    """One lane per condition and seed; all conditions of a seed start from the same parameters."""
    data_key, lane_key = prng.streams(key, "data", "lanes")
    data = make_data(config, data_key)
    model = make_model(config, data)
    sampler = NoiseLevelSampler(data.noisy, config.batch_size)
    epoch = sampler.steps_per_epoch
    train = make_train(
        model,
        make_objective(config, model),
        make_optimizer(config.optimizer, halving_steps=config.halve_every and config.halve_every * epoch),
        sampler,
        {"training_set": NoisyAccuracyProbe(data.noisy, model.apply), "filters": _filters_probe},
        num_steps=config.epochs * epoch,
        probe_every=judged_steps(config.epochs, config.judge_every, epoch),
        keep_state=False,
    )
    keys = prng.lane_keys(lane_key, config.seeds)
    fit = sweep(train, keys, LEVELS, lanes=config.lanes or "auto", run_dir=run_dir)
    records = from_fit(fit, probe_every=train.probe_every, settings={"condition": CONDITIONS})
    # a lane's key knows nothing of its condition, so all conditions of a seed start from the same parameters
    begun = jax.jit(
        jax.vmap(lambda key: first_filters(train.start(key, jax.tree.map(lambda x: x[0], LEVELS)).state.params))
    )
    epochs = config.judge_every * np.arange(1 + train.num_blocks)
    return records._replace(arrays=records.arrays | {"filters/initial": np.asarray(begun(keys)), "epochs": epochs})


def _filters_probe(state: Any, key: RandomKey, /) -> dict[str, Array]:
    return {"trained": first_filters(state.params)}


# 6. Analysis ----------------------------------------------------------------------------------------------------
MEASURES = {"low-frequency share": low_frequency_share, "roughness": roughness}
CONTRASTS = (("real", "randY"), ("randY", "initial"), ("randX", "initial"), ("real", "initial"))
Structure = dict[str, dict[str, Float[np.ndarray, "seeds times"]]]


def structure(records: Records) -> Structure:
    """For each quantity and condition the mean over filters along training, from before it on.

    Seeds of which a condition diverged are left out of all conditions; the report names them.
    """
    begun, trained = (records.arrays[f"filters/{name}"] for name in ("initial", "trained"))
    before = np.broadcast_to(begun[None, :, None], (len(CONDITIONS), *begun[:, None].shape))
    filters = np.concatenate([before, trained], axis=2)
    filters = filters[:, np.isfinite(filters).all(axis=(0, *range(2, filters.ndim)))]
    found: Structure = {}
    for name, measure in MEASURES.items():
        values = jax.jit(jax.vmap(jax.vmap(jax.vmap(lambda kernel, of=measure: of(kernel).mean()))))(filters)
        found[name] = dict(zip(CONDITIONS, np.asarray(values, np.float64), strict=True))
    return found


def analyse(records: Records) -> Tables:
    """The filters' structure per condition and its differences, paired by seed. Nothing is selected."""
    found, rows, contrasts = structure(records), [], []
    accuracy = curves(records, "training_set/accuracy", ("condition",))
    for name, conditions in found.items():
        last = {condition: values[:, -1] for condition, values in conditions.items()}
        last["initial"] = conditions["real"][:, 0]
        rows += [{"quantity": name, "condition": c, **seed_cells(values)} for c, values in last.items()]
        contrasts += [{"quantity": name, "of": of, "less": less, **seed_cells(last[of] - last[less])}
                      for of, less in CONTRASTS]  # fmt: skip
    rows += [{"quantity": "training accuracy", "condition": c, **seed_cells(accuracy[c,][:, -1])} for c in CONDITIONS]
    training = [
        {"quantity": name, "condition": condition, "epoch": int(epoch), **seed_cells(values[:, place])}
        for name, conditions in found.items()
        for condition, values in conditions.items()
        for place, epoch in enumerate(records.arrays["epochs"])
    ]
    return {"structure": report.tidy_table(rows, STRUCTURE), "contrasts": report.tidy_table(contrasts, DIFFERENCES),
            "training": report.tidy_table(training, TRAINING)}  # fmt: skip


STRUCTURE = (
    "Per condition after the last epoch, and before training: share of the first layer's energy with "
    "|u| + |v| <= 1 periods a filter, roughness (squared differences of neighbours over energy), each a mean over "
    "filters; accuracy on the condition's own training set. Means over seeds with Student's 95 % intervals."
)
DIFFERENCES = "Differences of two conditions, paired by seed (same initial filters), with Student's 95 % intervals."
TRAINING = "The two quantities along training; epoch 0 is before it. Means over seeds, Student's 95 % intervals."


# 7. Figures -----------------------------------------------------------------------------------------------------
def figures(records: Records, tables: Tables) -> Mapping[str, Plate]:
    """Figure 3.2 of the thesis, and both quantities along training."""
    with report.house_style():
        return {"filters": _filters(records), "changes": _changes(records), "structure": _curves(records)}


def _kernels(records: Records) -> dict[str, Float[np.ndarray, "rows columns inputs outputs"]]:
    """The filters of the first seed, before training and after it."""
    begun, trained = (records.arrays[f"filters/{name}"] for name in ("initial", "trained"))
    return {"initial": begun[0], **dict(zip(CONDITIONS, trained[:, 0, -1], strict=True))}


def _filters(records: Records) -> Plate:
    return _grid(_kernels(records), "of one network before and after training")


def _changes(records: Records) -> Plate:
    kernels = _kernels(records)
    moved = {f"{condition} - initial": kernels[condition] - kernels["initial"] for condition in CONDITIONS}
    return _grid(moved, "of one network: what training changed")


def _grid(kernels: Mapping[str, Float[np.ndarray, "rows columns inputs outputs"]], what: str) -> Plate:
    count = next(iter(kernels.values())).shape[-1]
    across = min(12, count)
    shown = across * min(2, count // across)
    figure = Figure(figsize=(6.4, 0.4 + 0.5 * len(kernels) * shown / across * 12 / across))
    pictures = {name: _pictures(kernel)[:shown] for name, kernel in kernels.items()}
    report.picture_rows(figure.subplots(), pictures, across)
    caption = (f"The first {shown} of {count} first-layer filters {what}, each scaled by its own largest weight (grey "
               "is 0). The same place holds the same filter, which all conditions start from.")  # fmt: skip
    return Plate(figure, caption, "Grids of filters, one block of rows a condition")


def _pictures(kernel: Float[np.ndarray, "rows columns inputs outputs"]) -> Float[np.ndarray, "outputs rows columns c"]:
    colours = np.moveaxis(kernel if kernel.shape[2] in (1, 3) else kernel[:, :, :1], -1, 0)
    return 0.5 + 0.5 * colours / np.abs(colours).max(axis=(1, 2, 3), keepdims=True)


def _curves(records: Records) -> Plate:
    figure, found = Figure(figsize=(7.6, 3.2)), structure(records)
    for axes, (name, curves_of) in zip(figure.subplots(1, 2), found.items(), strict=True):
        report.range_curves(axes, records.arrays["epochs"].tolist(), curves_of, report.CONDITION_LOOKS)
        axes.set(xlabel="epoch", ylabel=name)
        axes.axhline(float(curves_of["real"][:, 0].mean()), color=PALETTE["ink"], lw=1, ls=":", label="initial")
    figure.axes[0].legend()
    seeds = len(found["roughness"]["real"])
    caption = f"Structure of the first layer's filters along training: means over {seeds} seeds, bands their range."
    return Plate(figure, caption)


# 8. Claims ------------------------------------------------------------------------------------------------------
NO_GAIN = {"low-frequency share": 0.01, "roughness": 0.1}
"""Changes that count as none: about 1/20 and 1/30 of what independent weights have."""


def _claim(name: str, statement: str, published: str, quantity: str, pair: tuple[str, str], *, none: bool) -> Claim:
    sign, (of, less) = (1 if quantity == "low-frequency share" else -1), pair
    bound = NO_GAIN[quantity]
    above, below = ("above ", "below ") if sign > 0 else ("below ", "above -")
    criterion = f"no gain: interval {below}{bound}" if none else f"interval {above}0"

    def check(tables: Tables) -> Obtained:
        found = report.cell(tables["contrasts"], quantity=quantity, of=of, less=less)
        gained = sign * np.asarray([found.low, found.high])
        parts = [report.cell(tables["structure"], quantity=quantity, condition=c).value for c in pair]
        note = f"{quantity}, {of} ({parts[0]:.3f}) less {less} ({parts[1]:.3f}), paired by seed"
        agrees = gained.max() < bound if none else gained.min() > 0
        return Obtained(*found, criterion, agrees, note)

    return Claim(name=name, statement=statement, source=SOURCE, published=published, check=check)


def _claims(short: str, quantity: str) -> tuple[Claim, ...]:
    return (
        _claim(f"{short}-randY-structured", f"Filters learnt with random labels show structure ({quantity}).",
               "structure visible", quantity, ("randY", "initial"), none=False),
        _claim(f"{short}-real-more", f"Filters show more of it on real data than with random labels ({quantity}).",
               "clearer on real data", quantity, ("real", "randY"), none=False),
        _claim(f"{short}-randX-none", f"Random inputs have no patterns, and their filters no structure ({quantity}).",
               "not shown; expected", quantity, ("randX", "initial"), none=True),
    )  # fmt: skip


CLAIMS = (*_claims("low", "low-frequency share"), *_claims("smooth", "roughness"))

# 9. Experiment --------------------------------------------------------------------------------------------------
EXPERIMENT = Experiment(
    name="first_layer_filters",
    question="Do the filters of a network that fits random labels show structure, as those of real data do?",
    source="Arpit et al. 2017, Fig. 2 (thesis Fig. 3.2)",
    config=Config,
    run=run,
    analyse=analyse,
    figures=figures,
    claims=CLAIMS,
)

if __name__ == "__main__":
    from mlrisk.cli import main

    sys.exit(main(["run", EXPERIMENT.name, *sys.argv[1:]]))

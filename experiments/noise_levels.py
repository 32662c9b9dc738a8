"""What do shares of noise do to accuracy and to the number of critical samples as training goes on?"""

import itertools
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
from jaxtyping import Float
from matplotlib.figure import Figure

from mlrisk import prng, report
from mlrisk.config import setting
from mlrisk.data import NoiseLevelSampler, NoisyExamples, load, noise_settings, noisy_examples, train_and_validation
from mlrisk.data.noise_levels import KINDS
from mlrisk.errors import BadInput
from mlrisk.experiment import Experiment
from mlrisk.harness import Records, curve_rows, curves, from_fit, judged_steps, make_train, merge, seed_cells, sweep
from mlrisk.harness.accuracy_probes import AccuracyProbe, NoisyAccuracyProbe
from mlrisk.harness.critical_probe import CriticalSamplesProbe
from mlrisk.harness.networks import NetworkConfig, make_network
from mlrisk.harness.optimizers import OptimizerConfig, make_optimizer
from mlrisk.measures import early_stopping, time_to_convergence, value_at
from mlrisk.objectives import classification
from mlrisk.report import Claim, Obtained, Plate, Tables
from mlrisk.types import Examples, Model, Objective, RandomKey

SOURCE = "Arpit et al. 2017, Figures 7 and 8 (thesis Figures 3.7 and 3.8)"
ARMS = ("digits", "photographs")


# 1. Config ------------------------------------------------------------------------------------------------------
@dataclass(frozen=True)
class Arm:
    """One data set with its network and training."""

    dataset: Literal["digits", "mnist", "cifar10"] = setting("digits", "which data set")
    train_size: int = setting(1000, "training examples", at_least=2)
    validation_size: int = setting(300, "validation examples, cut from the training split", at_least=1)
    attacked: int = setting(300, "how many of them are tried for being critical", at_least=1)
    radii: tuple[float, ...] = setting((0.3,), "half the side of the box, in 255ths of the range", above=0, items=1)
    network: NetworkConfig = setting(NetworkConfig())
    optimizer: OptimizerConfig = setting(OptimizerConfig(learning_rate=0.1))
    batch_size: int = setting(50, "examples in a step", at_least=1)
    epochs: int = setting(60, "passes over the training set", at_least=1)
    judge_every: int = setting(1, "epochs between two judgements; divides the epochs", at_least=1)


@dataclass(frozen=True)
class Config:
    """Question: how do accuracy and critical samples change with noise? Figures 7 and 8 of Arpit et al. 2017."""

    digits: Arm = setting(Arm(), "written digits")
    photographs: Arm = setting(Arm(), "photographs")
    data_dir: str | None = setting(None, "where prepared data sets are", identity=False)
    levels: tuple[float, ...] = setting((0.2, 0.4, 0.6, 0.8), "shares, beside none", above=0, at_most=1, items=1)
    attack_steps: int = setting(30, "steps of LASS, at most", at_least=1)
    seeds: int = setting(5, "networks per setting", at_least=2)
    seed: int = setting(0, "root of all random numbers", at_least=0)
    lanes: int | None = setting(None, "lanes abreast on a device (default: chosen)", at_least=1, identity=False)

    def scale(self) -> str:
        """The size of the run in one phrase."""
        arms = (self.digits, self.photographs)
        sizes = " and ".join(f"{arm.train_size:,} of {arm.dataset}, {arm.network.describe()}" for arm in arms)
        return f"{sizes}, {self.seeds} seeds a noise level"


class Data(NamedTuple):
    """A training set with any share of noise, clean validation examples, and the length of a 255th."""

    noisy: NoisyExamples
    validation: Examples
    pixel: Float[np.ndarray, ""]
    num_classes: int


# 2. Data --------------------------------------------------------------------------------------------------------
def make_data(config: Config, key: RandomKey, arm: Arm) -> Data:
    """Training and validation examples, both from the training split; the test split is not used."""
    if arm.attacked > arm.validation_size:
        raise BadInput(f"attacked: {arm.attacked} is not allowed, there are {arm.validation_size} validation examples")
    source = load(arm.dataset, config.data_dir)
    pick, noise = prng.streams(key, "subset", "noise")
    split = train_and_validation(source, pick, arm.train_size, arm.validation_size)
    noisy = noisy_examples(noise, split.train, source.num_classes)
    return Data(noisy, split.validation, 1 / (255 * np.asarray(split.scale)), source.num_classes)


# 3. Model -------------------------------------------------------------------------------------------------------
def make_model(config: Config, arm: Arm, data: Data) -> Model:
    """The arm's MLP or CNN."""
    return make_network(arm.network, data.validation.inputs.shape[1:], data.num_classes)


# 4. Objective ---------------------------------------------------------------------------------------------------
def make_objective(config: Config, model: Model) -> Objective:
    """Mean cross-entropy of the labels that the lane trains on."""
    return classification(model)


# 5. Run ---------------------------------------------------------------------------------------------------------
def run(config: Config, key: RandomKey, run_dir: Path) -> Records:
    """For each data set one sweep over noise levels and seeds, judged along the way."""
    parts = {
        name: _sweep(config, getattr(config, name), prng.stream(key, name), run_dir / "chunks" / name) for name in ARMS
    }
    return merge(parts, "data")


def _sweep(config: Config, arm: Arm, key: RandomKey, run_dir: Path) -> Records:
    data_key, lane_key = prng.streams(key, "data", "lanes")
    data = make_data(config, data_key, arm)
    model = make_model(config, arm, data)
    sampler = NoiseLevelSampler(data.noisy, arm.batch_size)
    attacked = data.validation.inputs[: arm.attacked]
    probes = {
        "training_set": NoisyAccuracyProbe(data.noisy, model.apply),
        "validation": AccuracyProbe(data.validation, model.apply),
        **{f"critical {radius:g}": CriticalSamplesProbe(attacked, model.apply, float(radius * data.pixel),
                                                        num_steps=config.attack_steps) for radius in arm.radii},
    }  # fmt: skip
    settings, hypers = noise_settings(config.levels)
    train = make_train(
        model,
        make_objective(config, model),
        make_optimizer(arm.optimizer),
        sampler,
        probes,
        num_steps=arm.epochs * sampler.steps_per_epoch,
        probe_every=judged_steps(arm.epochs, arm.judge_every, sampler.steps_per_epoch),
        keep_state=False,
    )
    fit = sweep(train, prng.lane_keys(lane_key, config.seeds), hypers, lanes=config.lanes or "auto", run_dir=run_dir)
    records = from_fit(fit, probe_every=train.probe_every, settings=settings)
    return records._replace(arrays=records.arrays | {"epochs": arm.judge_every * (1 + np.arange(train.num_blocks))})


# 6. Analysis ----------------------------------------------------------------------------------------------------
BY = ("data", "noise", "level")
FITTED = 0.9  # training accuracy from which a network counts as fitted to its noisy training set
Summary = dict[str, Any]


def _ratios(records: Records) -> dict[str, str]:
    splits = {split for split in records.table["split"].to_pylist() if split.startswith("critical ")}
    return {f"CSR {s.removeprefix('critical ')}": f"{s}/ratio" for s in sorted(splits, key=lambda s: float(s[9:]))}


def summaries(records: Records) -> dict[tuple[Any, ...], Summary]:
    """Per setting and seed: validation accuracy at its peak and at the end, the epochs, and the critical samples."""
    training, validation = (curves(records, f"{split}/accuracy", BY) for split in ("training_set", "validation"))
    critical = {name: curves(records, metric, BY) for name, metric in _ratios(records).items()}
    found: dict[tuple[Any, ...], Summary] = {}
    for key, values in validation.items():
        epochs = records.arrays[f"{key[0]}/epochs"]
        stop, fit = early_stopping(values, epochs), time_to_convergence(training[key], epochs, FITTED)
        found[key] = {
            "peak accuracy": stop.best,
            "final accuracy": stop.final,
            "early stopping gain": stop.gain,
            "peak epoch": stop.time,
            "peak before fit": np.asarray(stop.time) < np.where(fit.censored, np.inf, fit.time)[..., 0],
            "final training accuracy": training[key][:, -1],
        }
        for name, curve in critical.items():
            if key in curve:
                found[key] |= {f"final {name}": curve[key][:, -1], f"{name} at peak": value_at(curve[key], values)}
    return {key: {name: np.asarray(values) for name, values in summary.items()} for key, summary in found.items()}


def analyse(records: Records) -> Tables:
    """Each quantity per setting over seeds, and how it changes with noise. The peak is chosen on validation data."""
    found = summaries(records)
    rows = [
        {**dict(zip(BY, key, strict=True)), "quantity": name, **seed_cells(values)}
        for key, summary in found.items()
        for name, values in summary.items()
    ]
    trends = [
        {"data": data, "noise": kind, "quantity": name, **seed_cells(values)}
        for data in ARMS
        for kind in KINDS
        for name, values in _trends(found, data, kind).items()
    ]
    return {"levels": report.tidy_table(rows, LEVELS), "trends": report.tidy_table(trends, TRENDS),
            "training": report.tidy_table(_curves(records), TRAINING)}  # fmt: skip


def _trends(found: dict[tuple[Any, ...], Summary], data: str, kind: str) -> Summary:
    """One number a seed: slopes over the share of noise, and how critical samples grow after the middle one's peak."""
    levels = sorted({key[2] for key in found})
    series = [found[data, kind if level else "none", level] for level in levels]
    middle = series[min(2, len(series) - 1)]
    names = [name for name in middle if name.startswith("final CSR") or name.endswith("l accuracy") or "peak a" in name]
    slopes = {f"slope of {n}": np.polyfit(levels, np.stack([one[n] for one in series]), 1)[0] for n in names}
    growth = {}
    for name in (name for name in names if "CSR" in name):
        # no critical sample at all counts as one in a thousand
        before, after = (middle[n] + 1e-3 for n in (f"{name.removeprefix('final ')} at peak", name))
        growth[f"log growth of {name.removeprefix('final ')}"] = np.log(after / before)
    return slopes | growth | {f"middle {n}": middle[n] for n in ("peak before fit", "early stopping gain")}


def _curves(records: Records) -> list[dict[str, Any]]:
    names = {"training accuracy": "training_set/accuracy", "validation accuracy": "validation/accuracy"}
    found = {quantity: curves(records, name, BY) for quantity, name in (names | _ratios(records)).items()}
    parts = (curve_rows(f, BY, lambda key: records.arrays[f"{key[0]}/epochs"], quantity=q) for q, f in found.items())
    return list(itertools.chain.from_iterable(parts))


LEVELS = (
    "Per data set and share of noise, means over seeds with 95 % intervals. The peak is the best judged epoch on clean "
    "validation examples, chosen and judged on the same ones; fitted: training accuracy 0.9; CSR: share of validation "
    "examples that are critical at a radius in 255ths of the range."
)
TRENDS = (
    "Slopes over the share of noise (least squares per seed); at the middle share, log of CSR at the end over CSR at "
    "the peak, share of seeds whose peak comes before the fit, and peak less final accuracy."
)
TRAINING = "Means over seeds along training, with 95 % intervals."


# 7. Figures -----------------------------------------------------------------------------------------------------
def figures(records: Records, tables: Tables) -> Mapping[str, Plate]:
    """Figures 3.7 and 3.8 of the thesis: accuracies and critical samples along training."""
    with report.house_style():
        return {f"{data}_{kind}": _plate(tables, data, kind) for data in ARMS for kind in KINDS}


def _plate(tables: Tables, data: str, kind: str) -> Plate:
    rows = [r for r in tables["training"].to_pylist() if r["data"] == data and r["noise"] in (kind, "none")]
    ratios = list(dict.fromkeys(r["quantity"] for r in rows if r["quantity"].startswith("CSR")))
    figure = Figure(figsize=(3.8 * (1 + len(ratios)) + 1, 3.3))
    panels = figure.subplots(1, 1 + len(ratios), squeeze=False)[0]
    report.level_curves(panels[0], rows, "epoch", ("training accuracy", "validation accuracy"))
    panels[0].set(ylabel="accuracy", ylim=(0, 1.02))
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside right center", title=f"{kind} noise")
    for axes, ratio in zip(panels[1:], ratios, strict=True):
        report.level_curves(axes, rows, "epoch", (ratio,))
        axes.set(ylabel=f"critical samples, radius {ratio.removeprefix('CSR ')}/255", ylim=(0, None))
    return Plate(figure, f"{data}, {kind} noise: accuracy on the training set (solid) and on clean validation examples "
                         "(dotted), and shares of critical validation samples; means, 95 % bands.")  # fmt: skip


# 8. Claims ------------------------------------------------------------------------------------------------------
INF = np.inf  # each row: name, statement, quantity, and the ends between which its interval must lie
EVERYWHERE = (
    ("critical", "more {kind} noise gives more critical samples", "slope of final CSR 0.3", (0, INF)),
    ("peak", "more {kind} noise lowers the maximal validation accuracy", "slope of peak accuracy", (-INF, 0)),
    ("final", "more {kind} noise lowers the final validation accuracy", "slope of final accuracy", (-INF, 0)),
)
LABELS = (
    ("peak-first", "with random labels, validation accuracy peaks before training accuracy is high",
     "middle peak before fit", (0.5, INF)),
    ("sharp-rise", "with random labels, critical samples rise sharply after that peak (by half or more)",
     "log growth of CSR 0.3", (float(np.log(1.5)), INF)),
    ("stopping-matters", "with random labels, early stopping matters", "middle early stopping gain", (0.1, INF)),
)  # fmt: skip
NONE = (("stopping-idle", "without noise, early stopping matters little", "early stopping gain", (-INF, 0.01)),)


def _claim(data: str, kind: str, row: tuple[str, str, str, tuple[float, float]]) -> Claim:
    name, statement, quantity, (least, most) = row
    criterion = f"interval above {least:.3g}" if most == INF else f"interval below {most:.3g}"

    def check(tables: Tables) -> Obtained:
        table = tables["levels" if kind == "none" else "trends"]
        found = report.cell(table, data=data, noise=kind, quantity=quantity)
        return Obtained(*found, criterion, found.low > least and found.high < most, f"{quantity}; over seeds")

    full = f"On {data}, {statement.format(kind=kind)}."
    return Claim(name=f"{data}-{kind}-{name}", statement=full, source=SOURCE, check=check)


CLAIMS = tuple(
    _claim(data, kind, row)
    for data in ARMS
    for kind, rows in (("input", EVERYWHERE), ("label", EVERYWHERE + LABELS), ("none", NONE))
    for row in rows
)

# 9. Experiment --------------------------------------------------------------------------------------------------
EXPERIMENT = Experiment(
    name="noise_levels",
    question="What do shares of noise do to accuracy and to the number of critical samples as training goes on?",
    source="Arpit et al. 2017, Figs. 7, 8 (thesis Figs. 3.7, 3.8)",
    config=Config,
    run=run,
    analyse=analyse,
    figures=figures,
    claims=CLAIMS,
)

if __name__ == "__main__":
    from mlrisk.cli import main

    sys.exit(main(["run", EXPERIMENT.name, *sys.argv[1:]]))

"""Does a network need more capacity to generalise from noisy data? Validation accuracy against width."""

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Float
from matplotlib.figure import Figure

from mlrisk import prng, report
from mlrisk.config import setting
from mlrisk.data import (
    NoiseLevelSampler,
    NoisyExamples,
    load,
    noise_settings,
    noisy_examples,
    standardise,
    train_and_validation,
)
from mlrisk.data.noise_levels import KINDS
from mlrisk.experiment import Experiment
from mlrisk.harness import Records, curves, from_fit, judged_steps, make_train, mean_cells, merge, sweep
from mlrisk.harness.accuracy_probes import AccuracyProbe, NoisyAccuracyProbe
from mlrisk.harness.optimizers import OptimizerConfig, make_optimizer
from mlrisk.measures import student_mean
from mlrisk.models import mlp
from mlrisk.objectives import classification
from mlrisk.report import PALETTE, Claim, Obtained, Plate, Tables
from mlrisk.types import Examples, Model, Objective, RandomKey

SOURCE = "Arpit et al. 2017, Figure 5 (thesis Figure 3.5)"
ARMS = ("digits", "photographs")
FLAT = 0.03
"""A gain in accuracy that is smaller than this counts as no relation."""


# 1. Config ------------------------------------------------------------------------------------------------------
@dataclass(frozen=True)
class Arm:
    """One data set."""

    dataset: Literal["digits", "mnist", "cifar10"] = setting("digits", "which data set")
    train_size: int = setting(1000, "training examples", at_least=2)
    validation_size: int = setting(300, "validation examples, cut from the training split", at_least=1)
    test_size: int = setting(300, "test examples, the first of the test split", at_least=1)


@dataclass(frozen=True)
class Config:
    """Question: is more capacity needed on noisy data? Arpit et al. 2017, Figure 5 (thesis Figure 3.5)."""

    digits: Arm = setting(Arm(), "written digits")
    photographs: Arm = setting(Arm(), "photographs, for the claims on CIFAR-10")
    data_dir: str | None = setting(None, "where prepared data sets are", identity=False)
    levels: tuple[float, ...] = setting((0.4, 0.8), "shares of noise, beside none", above=0, at_most=1, items=1)
    widths: tuple[int, ...] = setting((16, 64, 256, 1024), "units of each of the hidden layers", at_least=1, items=1)
    depth: int = setting(2, "hidden layers", at_least=1)
    optimizer: OptimizerConfig = setting(OptimizerConfig(learning_rate=0.1))
    batch_size: int = setting(50, "examples in a step", at_least=1)
    epochs: int = setting(40, "passes over the training set", at_least=1)
    judge_every: int = setting(1, "epochs between two judgements; divides the epochs", at_least=1)
    seeds: int = setting(5, "networks per setting", at_least=2)
    seed: int = setting(0, "root of all random numbers", at_least=0)
    lanes: int | None = setting(None, "lanes abreast on a device (default: chosen)", at_least=1, identity=False)

    def scale(self) -> str:
        """The size of the run in one phrase."""
        arms = " and ".join(f"{arm.train_size:,} of {arm.dataset}" for arm in (self.digits, self.photographs))
        return f"{arms}, MLP {self.depth} x {min(self.widths)} to {max(self.widths)}, {self.seeds} seeds"


class Data(NamedTuple):
    """A training set with any share of noise, and clean examples to judge on."""

    noisy: NoisyExamples
    validation: Examples
    test: Examples
    num_classes: int


# 2. Data --------------------------------------------------------------------------------------------------------
def make_data(config: Config, key: RandomKey, arm: Arm) -> Data:
    """Training and validation examples from the training split; the test split is only reported on."""
    source = load(arm.dataset, config.data_dir)
    pick, noise = prng.streams(key, "subset", "noise")
    split = train_and_validation(source, pick, arm.train_size, arm.validation_size)
    raw = Examples(*(jnp.asarray(leaf[split.train_index]) for leaf in source.train))
    noisy = noisy_examples(noise, split.train, source.num_classes)
    test = Examples(*(leaf[: arm.test_size] for leaf in source.test))
    return Data(noisy, split.validation, standardise(test, raw), source.num_classes)


# 3. Model -------------------------------------------------------------------------------------------------------
def make_model(config: Config, shape: tuple[int, ...], num_classes: int, width: int) -> Model:
    """An MLP of one width."""
    return mlp(shape, (width,) * config.depth, num_classes)


# 4. Objective ---------------------------------------------------------------------------------------------------
def make_objective(config: Config, model: Model) -> Objective:
    """Mean cross-entropy of the labels that the lane trains on."""
    return classification(model)


# 5. Run ---------------------------------------------------------------------------------------------------------
def run(config: Config, key: RandomKey, run_dir: Path) -> Records:
    """For each data set and width one sweep over noise levels and seeds, judged along the way."""
    arms = {}
    for name in ARMS:
        data_key, lane_key = prng.streams(prng.stream(key, name), "data", "lanes")
        data = make_data(config, data_key, getattr(config, name))
        sweeps = {str(w): _sweep(config, data, w, lane_key, run_dir / "chunks" / name / str(w)) for w in config.widths}
        arms[name] = merge(sweeps, "width")
    return merge(arms, "data")


def _sweep(config: Config, data: Data, width: int, key: RandomKey, run_dir: Path) -> Records:
    model = make_model(config, data.validation.inputs.shape[1:], data.num_classes, width)
    sampler = NoiseLevelSampler(data.noisy, config.batch_size)
    probes = {
        "training_set": NoisyAccuracyProbe(data.noisy, model.apply),
        "validation": AccuracyProbe(data.validation, model.apply),
        "test": AccuracyProbe(data.test, model.apply),
    }
    settings, hypers = noise_settings(config.levels)
    train = make_train(
        model,
        make_objective(config, model),
        make_optimizer(config.optimizer),
        sampler,
        probes,
        num_steps=config.epochs * sampler.steps_per_epoch,
        probe_every=judged_steps(config.epochs, config.judge_every, sampler.steps_per_epoch),
        keep_state=False,
    )
    fit = sweep(train, prng.lane_keys(key, config.seeds), hypers, lanes=config.lanes or "auto", run_dir=run_dir)
    return from_fit(fit, probe_every=train.probe_every, settings=settings)


# 6. Analysis ----------------------------------------------------------------------------------------------------
BY = ("data", "noise", "level", "width")
METRICS = ("final", "best", "test at best", "training")


def _scores(records: Records) -> dict[tuple[Any, ...], dict[str, Float[np.ndarray, " seeds"]]]:
    """Per setting: validation accuracy at the end and at its best epoch, test accuracy there, training accuracy."""
    validation, test, training = (
        curves(records, f"{split}/accuracy", BY) for split in ("validation", "test", "training_set")
    )
    found = {}
    for key, values in validation.items():
        best = values.argmax(axis=1)[:, None]
        at_best = (np.take_along_axis(curve, best, axis=1)[:, 0] for curve in (values, test[key]))
        found[key] = dict(zip(METRICS, (values[:, -1], *at_best, training[key][:, -1]), strict=True))
    return found


def analyse(records: Records) -> Tables:
    """Accuracy per setting, and what the widest network gains. "Best" is chosen, and judged, on validation data."""
    scores = _scores(records)
    rows = [
        {**dict(zip(BY, key, strict=True)), "width": int(key[3]), "metric": metric, **mean_cells(values)}
        for key, metrics in scores.items()
        for metric, values in metrics.items()
    ]
    return {"accuracy": report.tidy_table(rows, ACCURACY), "gain": report.tidy_table(_gains(scores), GAIN)}


def _gains(scores: dict[tuple[Any, ...], dict[str, Float[np.ndarray, " seeds"]]]) -> list[dict[str, Any]]:
    """Per data set and noise level, final accuracy of the widest network less the narrowest, and less that of none."""
    widths = sorted({int(key[3]) for key in scores})
    rows = []
    for data in ARMS:
        levels = list(dict.fromkeys(key[1:3] for key in scores if key[0] == data))
        ends = {
            level: [scores[data, *level, str(width)]["final"] for width in (widths[0], widths[-1])] for level in levels
        }
        clean = ends["none", 0.0][1] - ends["none", 0.0][0]
        for level, (narrow, wide) in ends.items():
            gain, extra = student_mean(wide - narrow), student_mean(wide - narrow - clean)
            curve = [scores[data, *level, str(width)]["final"].mean() for width in widths]
            enough = next(w for w, score in zip(widths, curve, strict=True) if score >= max(curve) - 0.01)
            rows.append({
                "data": data, "noise": level[0], "level": level[1], "enough": enough, "seeds": len(wide),
                "gain": gain.value, "gain low": gain.low, "gain high": gain.high,
                "extra": extra.value, "extra low": extra.low, "extra high": extra.high,
            })  # fmt: skip
    return rows


ACCURACY = (
    "Per data set, noise and width, means over seeds with 95 % intervals: validation accuracy after the last epoch "
    "(final) and at its best epoch (best: chosen and judged on the same validation examples, so a little high), test "
    "accuracy at that epoch, and accuracy on the noisy training set after the last epoch."
)
GAIN = (
    "Final validation accuracy of the widest network less that of the narrowest (gain); how far this is above the "
    "gain without noise, paired by seed (extra); Student's 95 % intervals over seeds; the narrowest width "
    "whose mean is within 0.01 of the best mean (enough)."
)


# 7. Figures -----------------------------------------------------------------------------------------------------
def figures(records: Records, tables: Tables) -> Mapping[str, Plate]:
    """Figure 3.5 of the thesis: final validation accuracy against width, one line a noise level."""
    with report.house_style():
        return {"capacity": _plate(tables, "final", "after the last epoch"),
                "capacity_best": _plate(tables, "best", "at the best epoch (chosen on the same examples)")}  # fmt: skip


def _plate(tables: Tables, metric: str, when: str) -> Plate:
    figure = Figure(figsize=(8.6, 6.2))
    rows = [row for row in tables["accuracy"].to_pylist() if row["metric"] == metric]
    panels, ticks = figure.subplots(2, 2, sharex=True), sorted({row["width"] for row in rows})
    for axes, (data, kind) in zip(panels.flat, ((d, k) for d in ARMS for k in KINDS), strict=True):
        for color, level in zip(PALETTE.values(), sorted({row["level"] for row in rows}), strict=False):
            line = [r for r in rows if r["data"] == data and r["level"] == level and r["noise"] in (kind, "none")]
            values, ends = report.value_and_reach(line)
            axes.errorbar([r["width"] for r in line], values, yerr=ends, color=color, marker="o", capsize=2,
                          label=f"{level:.0%}")  # fmt: skip
        axes.set(
            xscale="log", xticks=ticks, xticklabels=ticks, title=f"{data}, {kind} noise", ylabel="validation accuracy"
        )
    for axes in panels[-1]:
        axes.set_xlabel("units of each hidden layer")
    panels[0, 0].legend(title="noise")
    seeds = tables["gain"]["seeds"][0].as_py()
    return Plate(figure, f"Validation accuracy {when} against width, for shares of noisy training examples; means over "
                         f"{seeds} seeds with 95 % intervals. Validation examples are clean.")  # fmt: skip


# 8. Claims ------------------------------------------------------------------------------------------------------
def _extra(tables: Tables, data: str, kind: str) -> Obtained:
    rows = [row for row in tables["gain"].to_pylist() if (row["data"], row["noise"]) == (data, kind)]
    row = max(rows, key=lambda row: row["level"])
    clean = next(r for r in tables["gain"].to_pylist() if (r["data"], r["noise"]) == (data, "none"))
    note = (
        f"gain in final validation accuracy from the narrowest to the widest network at {row['level']:.0%} {kind} "
        f"noise ({row['gain']:.3f}) less the gain without noise ({clean['gain']:.3f}); enough width (within 0.01 of "
        f"the best): {row['enough']} against {clean['enough']} without noise; Student's interval over seeds"
    )
    ends = (row["extra"], row["extra low"], row["extra high"], row["seeds"])
    return Obtained(*ends, "> 0, interval above 0", row["extra low"] > 0, note)


def _no_relation(tables: Tables) -> Obtained:
    rows = [row for row in tables["gain"].to_pylist() if (row["data"], row["noise"]) == ("photographs", "label")]
    row = max(rows, key=lambda row: row["level"])
    note = (
        f"gain in final validation accuracy from the narrowest to the widest network at {row['level']:.0%} label "
        "noise; Student's interval over seeds"
    )
    flat = row["gain low"] > -FLAT and row["gain high"] < FLAT
    ends = (row["gain"], row["gain low"], row["gain high"], row["seeds"])
    return Obtained(*ends, f"interval within {FLAT} of 0", flat, note)


CLAIMS = (
    Claim(name="digits-input-noise", statement="On MNIST with input noise, performance needs more capacity than on "
          "real data.", source=SOURCE, published="more capacity needed", check=lambda t: _extra(t, "digits", "input")),
    Claim(name="digits-label-noise", statement="On MNIST with label noise, performance needs more capacity than on "
          "real data.", source=SOURCE, published="more capacity needed", check=lambda t: _extra(t, "digits", "label")),
    Claim(name="photographs-input-noise", statement="The same trend with input noise on CIFAR-10.", source=SOURCE,
          published="same trend", check=lambda t: _extra(t, "photographs", "input")),
    Claim(name="photographs-label-noise", statement="With label noise on CIFAR-10, capacity and validation performance "
          "show no relation.", source=SOURCE, published="no relation", check=_no_relation),
)  # fmt: skip

# 9. Experiment --------------------------------------------------------------------------------------------------
EXPERIMENT = Experiment(
    name="capacity",
    question="Does a network need more capacity to generalise from noisy data than from real data?",
    source="Arpit et al. 2017, Fig. 5 (thesis Fig. 3.5)",
    config=Config,
    run=run,
    analyse=analyse,
    figures=figures,
    claims=CLAIMS,
)

if __name__ == "__main__":
    from mlrisk.cli import main

    sys.exit(main(["run", EXPERIMENT.name, *sys.argv[1:]]))

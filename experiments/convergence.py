"""How long does a network take to fit its training set, and how does that change with capacity, data and noise?"""

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import jax.numpy as jnp
import numpy as np
import pyarrow as pa
from matplotlib.figure import Figure

from mlrisk import prng, report
from mlrisk.config import setting
from mlrisk.data import NoiseLevel, NoiseLevelSampler, NoisyExamples, downscale, load, noisy_examples
from mlrisk.data.preprocess import standardise, subset
from mlrisk.errors import BadInput
from mlrisk.experiment import Experiment
from mlrisk.harness import BestRule, Records, from_fit, make_train, merge, sweep
from mlrisk.harness.accuracy_probes import NoisyAccuracyProbe
from mlrisk.harness.arrivals import Arrivals, arrivals, elasticity_rows
from mlrisk.harness.optimizers import OptimizerConfig, make_optimizer
from mlrisk.measures import Interval, geometric_mean_time, log_time_ratio
from mlrisk.models import mlp
from mlrisk.objectives import classification
from mlrisk.report import PALETTE, Claim, Obtained, Plate, Tables
from mlrisk.types import Examples, Model, Objective, RandomKey

JOURNAL = "Arpit et al. 2017, Figure 4 (thesis Figure 3.6)"
WORKSHOP = "Krueger et al., Deep nets don't learn via memorization, ICLR 2017 workshop, abstract"
ARMS = ("coarse", "full")
THRESHOLDS = (1.0, 0.99, 0.95)
BY = ("cell", "noise", "level")
SIGNS = {"size": 1, "width": -1}
"""Elasticities are positive where more examples slow convergence, and where more units speed it."""


# 1. Config ------------------------------------------------------------------------------------------------------
@dataclass(frozen=True)
class Arm:
    """One resolution of the pictures, with the grids of widths and sizes."""

    block: int = setting(1, "side of the blocks of pixels that are averaged", at_least=1)
    widths: tuple[int, ...] = setting((64, 256), "units of each hidden layer, at the fixed size", at_least=1, items=1)
    sizes: tuple[int, ...] = setting((500, 1000), "training examples, at the fixed width", at_least=2, items=1)
    epochs: int = setting(100, "passes over the training set, at most", at_least=1)
    judged: int = setting(1, "judgements in an epoch", at_least=1)


@dataclass(frozen=True)
class Config:
    """Question: what does noise do to time to convergence? Arpit et al. 2017, Figure 4 (thesis Figure 3.6)."""

    dataset: Literal["digits", "mnist"] = setting("digits", "which data set")
    data_dir: str | None = setting(None, "where prepared data sets are", identity=False)
    coarse: Arm = setting(Arm(block=2), "pictures of few pixels, where noise is hard to fit")
    full: Arm = setting(Arm(), "pictures as they are")
    width: int = setting(256, "units of each hidden layer where the size varies", at_least=1)
    size: int = setting(1000, "training examples where the width varies", at_least=2)
    input_levels: tuple[float, ...] = setting((0.2, 0.5, 1.0), "random inputs, rising", above=0, at_most=1, items=1)
    label_level: float = setting(0.5, "share of random labels", above=0, at_most=1)
    depth: int = setting(2, "hidden layers", at_least=1)
    optimizer: OptimizerConfig = setting(OptimizerConfig(learning_rate=0.1))
    batch_size: int = setting(50, "examples in a step", at_least=1)
    seeds: int = setting(5, "networks per setting", at_least=2)
    seed: int = setting(0, "root of all random numbers", at_least=0)
    lanes: int | None = setting(None, "lanes abreast on a device (default: chosen)", at_least=1, identity=False)

    def scale(self) -> str:
        """The size of the run in one phrase."""
        sizes, widths = ({cell[i] for name in ARMS for cell in self.cells(name)} for i in range(2))
        data = f"{min(sizes):,} to {max(sizes):,} examples of {self.dataset}"
        return f"{data}, MLP {self.depth} x {min(widths)} to {max(widths)}, {self.seeds} seeds"

    def cells(self, name: str) -> list[tuple[int, int]]:
        """The pairs of size and width of an arm, each once."""
        arm: Arm = getattr(self, name)
        for field, grid in (("widths", {*arm.widths}), ("sizes", {*arm.sizes})):
            if len(grid) < 2:
                raise BadInput(f"{name}.{field}: {sorted(grid)} is not allowed, a slope needs two different ones")
        return sorted({(self.size, width) for width in arm.widths} | {(size, self.width) for size in arm.sizes})


# 2. Data --------------------------------------------------------------------------------------------------------
def make_data(config: Config, key: RandomKey, arm: Arm, size: int) -> tuple[NoisyExamples, int]:
    """Class-balanced training examples, of which smaller sets are the first, with any share of noise; the classes."""
    source = load(config.dataset, config.data_dir)
    pick, noise = prng.streams(key, "subset", "noise")
    most = max(size for name in ARMS for size, _ in config.cells(name))
    if most > (count := len(source.train.labels)):
        raise BadInput(f"size: {most} is not allowed, {config.dataset} has {count} training examples")
    chosen = Examples(*(leaf[:size] for leaf in subset(pick, source.train, most, balanced=True)))
    real = standardise(downscale(chosen, arm.block))
    return noisy_examples(noise, real, source.num_classes), source.num_classes


# 3. Model -------------------------------------------------------------------------------------------------------
def make_model(config: Config, shape: tuple[int, ...], num_classes: int, width: int) -> Model:
    """An MLP of one width, with He's initial weights; the learning rate does not depend on the width."""
    return mlp(shape, (width,) * config.depth, num_classes)


# 4. Objective ---------------------------------------------------------------------------------------------------
def make_objective(config: Config, model: Model) -> Objective:
    """Mean cross-entropy of the labels that the lane trains on."""
    return classification(model)


# 5. Run ---------------------------------------------------------------------------------------------------------
def run(config: Config, key: RandomKey, run_dir: Path) -> Records:
    """For each arm, size and width one sweep over noise and seeds; a lane stops when all its examples are fitted."""
    parts = {}
    for name in ARMS:
        data_key, lane_key = prng.streams(key, f"{name} data", f"{name} lanes")
        for size, width in config.cells(name):
            noisy, classes = make_data(config, data_key, getattr(config, name), size)
            cell = f"{name} {size} {width}"
            model = make_model(config, noisy.real.inputs.shape[1:], classes, width)
            parts[cell] = _sweep(config, name, noisy, model, lane_key, run_dir / "chunks" / cell.replace(" ", "-"))
    records, fixed = merge(parts, "cell"), {f"fixed/{name}": np.asarray(getattr(config, name)) for name in SIGNS}
    return records._replace(arrays=records.arrays | fixed)


def _sweep(config: Config, name: str, noisy: NoisyExamples, model: Model, key: RandomKey, run_dir: Path) -> Records:
    arm: Arm = getattr(config, name)
    sampler = NoiseLevelSampler(noisy, config.batch_size)
    block = max(1, round(sampler.steps_per_epoch / arm.judged))
    blocks = -(-arm.epochs * sampler.steps_per_epoch // block)
    probes = {"training_set": NoisyAccuracyProbe(noisy, model.apply)}
    objective, optimizer = make_objective(config, model), make_optimizer(config.optimizer)
    stop = BestRule("training_set/accuracy", target=1.0)
    train = make_train(model, objective, optimizer, sampler, probes, blocks * block, block, best=stop, keep_state=False)
    size, inputs = noisy.real.labels.shape[0], list(config.input_levels)
    columns = {"noise": ["none", *["input"] * len(inputs), "label"], "level": [0.0, *inputs, config.label_level]}
    levels = NoiseLevel(jnp.asarray([0.0, *inputs, 0.0]), jnp.asarray([0.0] * (1 + len(inputs)) + [config.label_level]))
    fit = sweep(train, prng.lane_keys(key, config.seeds), levels, lanes=config.lanes or "auto", run_dir=run_dir)
    records = from_fit(fit, probe_every=block, settings=columns)
    # an epoch is as many examples as there are, also where the batches leave some out
    epochs = block * config.batch_size / size * (1.0 + np.arange(blocks))
    return records._replace(arrays={"epochs": epochs})


# 6. Analysis ----------------------------------------------------------------------------------------------------
def analyse(records: Records) -> Tables:
    """Epochs to fit, their elasticities in size and width, and their ratios to real data. Nothing is selected."""
    fixed = {name: int(records.arrays[f"fixed/{name}"]) for name in SIGNS}
    epochs = {name.removesuffix("/epochs"): times for name, times in records.arrays.items() if name.endswith("/epochs")}
    rows, ratios, slopes = [], [], []
    for threshold in THRESHOLDS:
        found = arrivals(records, "training_set/accuracy", BY, threshold, epochs)
        for (cell, noise, level), (own, late) in found.items():
            arm, size, width = cell.split()
            one = {"arm": arm, "size": int(size), "width": int(width), "noise": noise, "level": level}
            facts = {"threshold": threshold, "lower bounds": int(late.sum()), "seeds": len(late)}
            rows.append({**one, **geometric_mean_time(own, late)._asdict(), **facts})
            if noise != "none" and one["width"] == fixed["width"]:
                ratio = log_time_ratio(own, late, *found[cell, "none", 0.0])
                ratios.append({**one, **ratio._asdict(), **facts})
        slopes += [{"threshold": threshold, **row} for along in SIGNS for row in _elasticities(found, along, fixed)]
    return {"elasticities": report.tidy_table(slopes, ELASTICITIES), "ratios": report.tidy_table(ratios, RATIOS),
            "times": report.tidy_table(rows, TIMES)}  # fmt: skip


def _elasticities(found: Arrivals, along: str, fixed: dict[str, int]) -> list[dict[str, Any]]:
    """One row an arm and share of noise, along the settings in which the other number is the fixed one."""
    groups: dict[tuple[Any, ...], dict[float | int, Any]] = {}
    for (cell, noise, level), runs in found.items():
        arm, *numbers = cell.split()
        place = dict(zip(fixed, map(int, numbers), strict=True))
        if all(place[name] == value for name, value in fixed.items() if name != along):
            groups.setdefault((arm, noise, level), {})[place[along]] = runs
    rows = elasticity_rows(groups, {group: (group[0], "none", 0.0) for group in groups}, SIGNS[along])
    names = ("arm", "noise", "level")
    return [{"along": along, **dict(zip(names, g, strict=True)), **row} for g, row in zip(groups, rows, strict=True)]


ELASTICITIES = (
    "Along sizes, d log epochs / d log examples at the fixed width; along widths, -d log epochs / d log units at the "
    "fixed size; by a censored regression with its 95 % interval; and how far it is above that of real data (extra). "
    "Runs that end below the threshold are lower bounds."
)
RATIOS = "At the fixed width, log of the epochs to fit over those on real data, by a censored fit; 95 % intervals."
TIMES = ("Epochs until the accuracy on the own training set reaches the threshold: geometric means over seeds with "
         "Student's 95 % intervals; with lower bounds among them, themselves lower bounds.")  # fmt: skip


# 7. Figures -----------------------------------------------------------------------------------------------------
def figures(records: Records, tables: Tables) -> Mapping[str, Plate]:
    """Figure 3.6 of the thesis for both resolutions, at 100 % and at 99 %, and the elasticities."""
    with report.house_style():
        lines = {f"epochs_{t * 100:.0f}": _lines(records, tables, t) for t in THRESHOLDS[:2]}
        return {**lines, "elasticities": _slopes(tables)}


def _grouped(table: pa.Table, threshold: float) -> tuple[list[dict[str, Any]], dict[str, dict[str, str]]]:
    """The rows at a threshold with the name of their noise, and the look of each."""
    words = {"none": "real", "input": "random inputs", "label": "random labels"}
    rows = [
        {**row, "group": words[row["noise"]] + (f", {row['level']:.0%}" if row["level"] else "")}
        for row in table.to_pylist()
        if row["threshold"] == threshold
    ]
    names = dict.fromkeys(row["group"] for row in rows)
    return rows, {name: {"color": color} for name, color in zip(names, PALETTE.values(), strict=False)}


def _lines(records: Records, tables: Tables, threshold: float) -> Plate:
    figure, (rows, looks) = Figure(figsize=(8.2, 6.4)), _grouped(tables["times"], threshold)
    panels = figure.subplots(2, 2, sharex="col")
    for axes, (arm, along) in zip(panels.flat, ((a, x) for a in ARMS for x in ("width", "size")), strict=True):
        other = "size" if along == "width" else "width"
        fixed = int(records.arrays[f"fixed/{other}"])
        report.arrival_lines(axes, [r for r in rows if (r["arm"], r[other]) == (arm, fixed)], along, looks)
        axes.set(title=f"{arm} pictures, {other} {fixed}", ylabel=f"epochs to {threshold:.0%}")
        axes.set_xlabel("units of each hidden layer" if along == "width" else "training examples")
    figure.legend(*panels[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=3)
    caption = (f"Epochs until {threshold:.0%} of the training set is fitted, against width (left) and size (right), "
               f"for pictures of few pixels (coarse) and whole ones (full): geometric means over {rows[0]['seeds']} "
               "seeds, 95 % intervals. Open triangles are lower bounds: some runs had not arrived.")  # fmt: skip
    return Plate(figure, caption)


def _slopes(tables: Tables) -> Plate:
    figure, (rows, looks) = Figure(figsize=(8.2, 3.2)), _grouped(tables["elasticities"], 1.0)
    for axes, arm in zip(figure.subplots(1, 2, sharey=True), ARMS, strict=True):
        found: dict[str, list[Interval]] = {name: [] for name in looks}
        for row in (row for row in rows if row["arm"] == arm):
            ends = (np.nan if row[end] is None else float(np.clip(row[end], -4, 4)) for end in ("value", "low", "high"))
            found[row["group"]].append(Interval(*ends))
        report.interval_chart(axes, found, looks, ("o", "s"))
        axes.axvline(0, color=PALETTE["ink"], lw=1)
        axes.set(xlabel="elasticity of epochs to 100 %", title=f"{arm} pictures")
    return Plate(figure, "Elasticities of the epochs to 100 % in the number of examples (dots), and in the number of "
                 "units with its sign turned (open squares), with 95 % intervals, cut off at 4.")  # fmt: skip


# 8. Claims ------------------------------------------------------------------------------------------------------
def _at_most_noise(table: pa.Table, threshold: float, **wanted: str) -> dict[str, Any]:
    """The row of the largest share of noise, and of the largest size."""
    rows = [r for r in table.to_pylist() if r["threshold"] == threshold and wanted.items() <= r.items()]
    row = max(rows, key=lambda r: (r["level"], r.get("size", 0)))
    return {name: np.nan if value is None else value for name, value in row.items()}


def _steeper(arm: str, along: str, noise: str) -> Claim:
    def check(tables: Tables) -> Obtained:
        place = {"arm": arm, "along": along}
        row, other = (_at_most_noise(tables["elasticities"], t, noise=noise, **place) for t in THRESHOLDS[:2])
        real = _at_most_noise(tables["elasticities"], 1.0, noise="none", **place)
        note = (f"{row['value']:.3g} at {row['level']:.0%} {noise} noise less {real['value']:.3g} on real data; to "
                f"99 %: {report.format_interval(other['extra'], other['extra low'], other['extra high'])}; "
                f"{row['lower bounds']} of {row['runs']} runs are lower bounds")  # fmt: skip
        ends = (row["extra"], row["extra low"], row["extra high"], row["seeds"])
        return Obtained(*ends, "difference of elasticities, interval above 0", row["extra low"] > 0, note)

    effect = "More data slow convergence" if along == "size" else "More capacity speeds convergence"
    return Claim(name=f"{arm}-{along}-{noise}", statement=f"{effect} more on {noise} noise than on real data ({arm}).",
                 source=JOURNAL, published="noise more affected", check=check)  # fmt: skip


def _slower(arm: str, noise: str, source: str, sign: int) -> Claim:
    word = "longer" if sign > 0 else "shorter"

    def check(tables: Tables) -> Obtained:
        row, *others = (_at_most_noise(tables["ratios"], t, arm=arm, noise=noise) for t in THRESHOLDS)
        ends, rest = ((r["value"], r["low"], r["high"]) for r in (row, others[0]))
        note = (f"log of epochs at {row['level']:.0%} {noise} noise over those on real data, {row['size']} "
                f"examples; to 99 %: {report.format_interval(*rest)}"
                + (f"; a lower bound, from {ends[1]:.3g}: no run arrived" if np.isinf(ends[2]) else ""))  # fmt: skip
        agrees = ends[1] > 0 if sign > 0 else ends[2] < 0
        return Obtained(*ends, row["seeds"], f"interval {'above' if sign > 0 else 'below'} 0", agrees, note)

    return Claim(name=f"{arm}-{noise}-{word}", statement=f"Random {noise}s take {word} to fit than real data ({arm}).",
                 source=source, published=word, check=check)  # fmt: skip


CLAIMS = (
    *(_steeper(arm, along, noise) for arm in ARMS for along in SIGNS for noise in ("input", "label")),
    *(_slower(arm, "label", WORKSHOP, 1) for arm in ARMS),
    *(_slower(arm, "input", source, sign) for arm in ARMS for source, sign in ((WORKSHOP, -1), (JOURNAL, 1))),
)

# 9. Experiment --------------------------------------------------------------------------------------------------
EXPERIMENT = Experiment(
    name="convergence",
    question="How do capacity and data size change the time to fit a training set, with and without noise?",
    source="Arpit et al. 2017, Fig. 4 (thesis Fig. 3.6)",
    config=Config,
    run=run,
    analyse=analyse,
    figures=figures,
    claims=CLAIMS,
)

if __name__ == "__main__":
    from mlrisk.cli import main

    sys.exit(main(["run", EXPERIMENT.name, *sys.argv[1:]]))

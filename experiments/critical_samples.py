"""How many examples lie near a boundary between classes as networks learn real data, random inputs, random labels?"""

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float
from matplotlib.figure import Figure

from mlrisk import prng, report
from mlrisk.config import setting
from mlrisk.data import CONDITIONS, Condition, ConditionSampler, load, noise_conditions, rand_x, train_and_validation
from mlrisk.errors import BadInput
from mlrisk.experiment import Experiment
from mlrisk.harness import Records, curve_rows, curves, from_fit, judged_steps, make_train, merge, seed_cells, sweep
from mlrisk.harness.accuracy_probes import AccuracyProbe
from mlrisk.harness.critical_probe import ConditionCriticalSamplesProbe, CriticalSamplesProbe
from mlrisk.harness.networks import NetworkConfig, make_network
from mlrisk.harness.optimizers import OptimizerConfig, make_optimizer
from mlrisk.measures import student_mean
from mlrisk.objectives import classification
from mlrisk.report import Claim, Obtained, Plate, Tables
from mlrisk.types import Examples, Model, Objective, RandomKey

SOURCE = "Arpit et al. 2017, Figure 9 (thesis Figure 3.9)"
ARMS = ("photographs", "digits")
POINTS = ("training", "validation", "noise")


# 1. Config ------------------------------------------------------------------------------------------------------
@dataclass(frozen=True)
class Arm:
    """One data set with its network and training."""

    dataset: Literal["digits", "mnist", "cifar10"] = setting("digits", "which data set")
    train_size: int = setting(1000, "training examples", at_least=2)
    validation_size: int = setting(300, "validation examples, cut from the training split", at_least=1)
    attacked: int = setting(300, "how many of each kind of points are tried for being critical", at_least=1)
    network: NetworkConfig = setting(NetworkConfig())
    optimizer: OptimizerConfig = setting(OptimizerConfig(learning_rate=0.1))
    halve_every: int | None = setting(None, "epochs after which the learning rate halves", at_least=1)
    batch_size: int = setting(50, "examples in a step", at_least=1)
    epochs: int = setting(60, "passes over the training set", at_least=1)
    judge_every: int = setting(1, "epochs between two judgements; divides the epochs", at_least=1)


@dataclass(frozen=True)
class Config:
    """Question: is what noise teaches a more complex function? Figure 9 of Arpit et al. 2017 (thesis Figure 3.9)."""

    photographs: Arm = setting(Arm(), "photographs")
    digits: Arm = setting(Arm(), "written digits")
    data_dir: str | None = setting(None, "where prepared data sets are", identity=False)
    radius: float = setting(0.3, "half the side of the box, in 255ths of the range", above=0)
    attack_steps: int = setting(10, "steps of LASS, at most", at_least=1)
    seeds: int = setting(5, "networks per condition", at_least=2)
    seed: int = setting(0, "root of all random numbers", at_least=0)
    lanes: int | None = setting(None, "lanes abreast on a device (default: chosen)", at_least=1, identity=False)

    def scale(self) -> str:
        """The size of the run in one phrase."""
        arms = (f"{a.train_size:,} of {a.dataset}, {a.network.describe()}" for a in (self.photographs, self.digits))
        return f"{' and '.join(arms)}, {self.seeds} seeds a condition"


class Data(NamedTuple):
    """The stacked training sets, clean validation examples, fresh noise inputs, and the length of a 255th."""

    conditions: Examples
    validation: Examples
    noise: Float[Array, "m h w c"]
    pixel: Float[np.ndarray, ""]
    num_classes: int


# 2. Data --------------------------------------------------------------------------------------------------------
def make_data(config: Config, key: RandomKey, arm: Arm) -> Data:
    """Training and validation examples from the training split, noise to train on, and noise never trained on."""
    if arm.attacked > (most := min(arm.validation_size, arm.train_size)):
        raise BadInput(f"attacked: {arm.attacked} is not allowed, there are {most} training or validation examples")
    source = load(arm.dataset, config.data_dir)
    pick, noise, fresh = prng.streams(key, "subset", "noise", "fresh")
    split = train_and_validation(source, pick, arm.train_size, arm.validation_size)
    conditions = noise_conditions(noise, split.train, source.num_classes)
    unseen = rand_x(fresh, split.train).examples.inputs[: arm.attacked]
    return Data(conditions, split.validation, unseen, 1 / (255 * np.asarray(split.scale)), source.num_classes)


# 3. Model -------------------------------------------------------------------------------------------------------
def make_model(config: Config, arm: Arm, data: Data) -> Model:
    """The arm's CNN or MLP."""
    return make_network(arm.network, data.validation.inputs.shape[1:], data.num_classes)


# 4. Objective ---------------------------------------------------------------------------------------------------
def make_objective(config: Config, model: Model) -> Objective:
    """Mean cross-entropy of the condition's labels."""
    return classification(model)


# 5. Run ---------------------------------------------------------------------------------------------------------
def run(config: Config, key: RandomKey, run_dir: Path) -> Records:
    """For each data set one sweep over conditions and seeds, searched for critical samples along the way."""
    chunks = run_dir / "chunks"
    parts = {name: _sweep(config, getattr(config, name), prng.stream(key, name), chunks / name) for name in ARMS}
    return merge(parts, "data")


def _sweep(config: Config, arm: Arm, key: RandomKey, run_dir: Path) -> Records:
    data_key, lane_key = prng.streams(key, "data", "lanes")
    data = make_data(config, data_key, arm)
    model = make_model(config, arm, data)
    sampler = ConditionSampler(data.conditions, arm.batch_size)
    halving = arm.halve_every and arm.halve_every * sampler.steps_per_epoch
    train = make_train(
        model,
        make_objective(config, model),
        make_optimizer(arm.optimizer, halving_steps=halving),
        sampler,
        _probes(config, arm, data, model),
        num_steps=arm.epochs * sampler.steps_per_epoch,
        probe_every=judged_steps(arm.epochs, arm.judge_every, sampler.steps_per_epoch),
        keep_state=False,
    )
    hypers, keys = Condition(jnp.arange(len(CONDITIONS))), prng.lane_keys(lane_key, config.seeds)
    fit = sweep(train, keys, hypers, lanes=config.lanes or "auto", run_dir=run_dir)
    records = from_fit(fit, probe_every=train.probe_every, settings={"condition": CONDITIONS})
    facts = {"epochs": arm.judge_every * (1 + np.arange(train.num_blocks)), "attacked": np.asarray(arm.attacked)}
    return records._replace(arrays=records.arrays | facts)


def _probes(config: Config, arm: Arm, data: Data, model: Model) -> dict[str, Any]:
    options = {"apply": model.apply, "radius": float(config.radius * data.pixel), "num_steps": config.attack_steps}
    return {
        "accuracy": AccuracyProbe(data.validation, model.apply),
        "training": ConditionCriticalSamplesProbe(data.conditions.inputs[:, : arm.attacked], **options),
        "validation": CriticalSamplesProbe(data.validation.inputs[: arm.attacked], **options),
        "noise": CriticalSamplesProbe(data.noise, **options),
    }


# 6. Analysis ----------------------------------------------------------------------------------------------------
BY = ("data", "condition")


def analyse(records: Records) -> Tables:
    """CSR at the start, peak and end, how conditions compare, and how curves bend. The peak is that of the mean."""
    ratios = {points: curves(records, f"{points}/ratio", BY) for points in POINTS}
    moments = [
        {"data": data, "condition": condition, "points": points, "when": when, "epoch": epoch, **seed_cells(values)}
        for points, found in ratios.items()
        for (data, condition), curve in found.items()
        for when, (epoch, values) in _moments(curve, records.arrays[f"{data}/epochs"]).items()
    ]
    compared = [
        {"data": data, "comparison": name, **_ratio_cells(over, under, 0.5 / int(records.arrays[f"{data}/attacked"]))}
        for data in ARMS
        for name, over, under in _pairs(ratios, data)
    ]
    shapes = [
        {"data": data, "condition": condition, "points": points, "shape": name, **seed_cells(values)}
        for points, found in ratios.items()
        for (data, condition), curve in found.items()
        for name, values in _shapes(curve).items()
    ]
    accuracies = [
        {"data": data, "condition": condition, "accuracy": name, **seed_cells(curve[:, -1])}
        for name, split in {"training": "train", "validation": "accuracy"}.items()
        for (data, condition), curve in curves(records, f"{split}/accuracy", BY).items()
    ]
    along = [
        row
        for points, found in ratios.items()
        for row in curve_rows(found, BY, lambda key: records.arrays[f"{key[0]}/epochs"], points=points)
    ]
    made = {"moments": (moments, MOMENTS), "comparisons": (compared, COMPARISONS), "shapes": (shapes, SHAPES),
            "accuracies": (accuracies, ACCURACIES), "training": (along, TRAINING)}  # fmt: skip
    return {name: report.tidy_table(rows, caption) for name, (rows, caption) in made.items()}


def _moments(
    curve: Float[np.ndarray, "seeds blocks"], epochs: Any
) -> dict[str, tuple[int, Float[np.ndarray, " seeds"]]]:
    places = {"first": 0, "peak": int(curve.mean(0).argmax()), "end": -1}
    return {when: (int(epochs[place]), curve[:, place]) for when, place in places.items()}


def _pairs(ratios: Mapping[str, Any], data: str) -> list[tuple[str, Any, Any]]:
    real, random_x, random_y = (ratios["validation"][data, condition][:, -1] for condition in CONDITIONS)
    own_noise = ratios["noise"][data, "randX"][:, -1]
    return [("randY / real", random_y, real), ("randX / real", random_x, real),
            ("randX at noise / real", own_noise, real)]  # fmt: skip


def _ratio_cells(over: np.ndarray, under: np.ndarray, half: float) -> dict[str, float | int]:
    """The geometric mean over seeds of the ratio, with half an example added to both counts, so that none is 0."""
    found = student_mean(np.log(over + half) - np.log(under + half))
    return {name: float(np.exp(value)) for name, value in found._asdict().items()} | {"seeds": len(over)}


def _shapes(curve: Float[np.ndarray, "seeds blocks"]) -> dict[str, Float[np.ndarray, " seeds"]]:
    first, middle, end = (curve[:, place] for place in (0, (curve.shape[1] - 1) // 2, -1))
    peak = curve[:, curve.mean(0).argmax()]
    return {"rise": end - first, "slowing": (middle - first) - (end - middle),
            "rise to peak": peak - first, "fall from peak": peak - end}  # fmt: skip


MOMENTS = (
    "Share of critical samples (CSR) at the first judged epoch, at the peak of the mean curve and at the end; means "
    "over seeds with 95 % intervals. Points: the training inputs of the condition, clean validation examples, and "
    "Gaussian noise that no network was trained on."
)
COMPARISONS = "Ratios of CSR at the end, on clean validation examples unless stated; geometric means, 95 % intervals."
SHAPES = (
    "Differences of CSR over training. Rise: end less first. Slowing: rise of the first half of the epochs less that "
    "of the second. Peak: of the mean over seeds, which makes falls from it a little too large."
)
ACCURACIES = "At the end: running mean on the condition's training labels, and accuracy on clean validation examples."
TRAINING = "CSR along training, means over seeds."


# 7. Figures -----------------------------------------------------------------------------------------------------
def figures(records: Records, tables: Tables) -> Mapping[str, Plate]:
    """Figure 3.9 of the thesis, for both data sets, and the same for noise never trained on."""
    with report.house_style():
        return {data: _plate(records, data) for data in ARMS}


def _plate(records: Records, data: str) -> Plate:
    figure = Figure(figsize=(8.4, 3.2))
    panels = figure.subplots(1, len(POINTS), sharey=True)
    for axes, points in zip(panels, POINTS, strict=True):
        found = curves(records, f"{points}/ratio", BY)
        own = {condition: found[data, condition] for condition in CONDITIONS}
        report.range_curves(axes, records.arrays[f"{data}/epochs"].tolist(), own, report.CONDITION_LOOKS)
        axes.set(title=f"{points} points", xlabel="epoch")
    panels[0].set(ylabel="critical sample ratio", ylim=(0, None))
    panels[0].legend()
    return Plate(figure, f"{data}: share of critical samples along training on real data, random inputs and random "
                 "labels; mean and range over seeds. Left: inputs of the training set; middle: clean validation "
                 "examples; right: Gaussian noise that no network was trained on.")  # fmt: skip


# 8. Claims ------------------------------------------------------------------------------------------------------
def _higher(data: str, comparison: str, least: float) -> Claim:
    noise, where = comparison.split(" / ")[0].split(" at ")[0], " at noise" in comparison
    place = "judged on noise like that it was trained on" if where else "judged on clean validation examples"

    def check(tables: Tables) -> Obtained:
        found = report.cell(tables["comparisons"], data=data, comparison=comparison)
        return Obtained(*found, f"interval above {least:g}", found.low > least, "ratio of CSR at the end; over seeds")

    return Claim(name=f"{data}-{comparison.split(' / ')[0].replace(' ', '-')}-above-real", source=SOURCE, check=check,
                 statement=f"On {data}, {noise} leaves a much higher CSR than real data ({place}).",
                 published="much higher for randX and randY than for real")  # fmt: skip


def _shaped(name: str, statement: str, points: str, shapes: tuple[str, ...]) -> Claim:
    def check(tables: Tables) -> Obtained:
        rows = {(condition, shape): report.cell(tables["shapes"], data="photographs", points=points,
                                                condition=condition, shape=shape)
                for condition in CONDITIONS for shape in shapes}  # fmt: skip
        worst = min(rows, key=lambda row: rows[row].low)
        note = f"least sure of three conditions: {worst[0]}, {worst[1]}; difference of CSR; over seeds"
        return Obtained(*rows[worst], "all intervals above 0", rows[worst].low > 0, note)

    return Claim(name=name, statement=statement, source=SOURCE, published="curve shape", check=check)


CLAIMS = (
    *(_higher(data, name, least) for data, least in (("photographs", 1.2), ("digits", 10.0))
      for name in ("randY / real", "randX / real", "randX at noise / real")),
    _shaped("validation-rises", "On validation points CSR rises with training, for all three.", "validation",
            ("rise",)),
    _shaped("validation-levels-off", "On validation points the rise of CSR slows down, for all three.", "validation",
            ("slowing",)),
    _shaped("training-rises-and-falls", "On training points CSR rises and later falls, for all three.", "training",
            ("rise to peak", "fall from peak")),
)  # fmt: skip

# 9. Experiment --------------------------------------------------------------------------------------------------
EXPERIMENT = Experiment(
    name="critical_samples",
    question="How many examples lie near a boundary between classes as networks learn real data or noise?",
    source="Arpit et al. 2017, Fig. 9 (thesis Fig. 3.9)",
    config=Config,
    run=run,
    analyse=analyse,
    figures=figures,
    claims=CLAIMS,
)

if __name__ == "__main__":
    from mlrisk.cli import main

    sys.exit(main(["run", EXPERIMENT.name, *sys.argv[1:]]))

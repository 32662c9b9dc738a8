"""Are some examples easy for every network? Train from many seeds for one epoch, count who gets each one wrong."""

import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pyarrow as pa
from jaxtyping import Float, Int
from matplotlib.figure import Figure

from mlrisk import prng, report
from mlrisk.config import setting
from mlrisk.data import CONDITIONS, Condition, ConditionSampler, load, noise_conditions, standardise, subset
from mlrisk.errors import BadInput
from mlrisk.experiment import Experiment
from mlrisk.harness import Records, from_fit, make_train, sweep
from mlrisk.harness.optimizers import OptimizerConfig, make_optimizer
from mlrisk.harness.probes import ConditionProbe
from mlrisk.measures import RESAMPLED, Interval, binomial_null, overdispersion
from mlrisk.models import alexnet_small, mlp
from mlrisk.objectives import classification
from mlrisk.report import PALETTE, Claim, Obtained, Plate, Tables
from mlrisk.types import Examples, Model, Objective, RandomKey

SOURCE = "Arpit et al. 2017, Figure 1 (thesis Figure 3.1)"


# 1. Config ------------------------------------------------------------------------------------------------------
@dataclass(frozen=True)
class Config:
    """Question: is an example's difficulty its own, or chance? Arpit et al. 2017, Figure 1 (thesis Figure 3.1)."""

    dataset: Literal["digits", "mnist", "cifar10"] = setting("digits", "which data set")
    data_dir: str | None = setting(None, "where prepared data sets are", identity=False)
    train_size: int = setting(1000, "training examples, drawn with equal classes", at_least=2)
    tracked: int = setting(1000, "how many of them are followed", at_least=2)
    moments: Literal["global", "pixel"] = setting("global", "mean and variance of randX: of all pixels, or of each")
    model: Literal["mlp", "cnn"] = setting("mlp", "network")
    hidden_sizes: tuple[int, ...] = setting((256, 256), "hidden units of the mlp", at_least=1)
    channels: tuple[int, ...] = setting((200, 200), "channels of the cnn's two convolutions", at_least=1)
    dense: tuple[int, ...] = setting((384, 192), "units of the cnn's two dense layers", at_least=1)
    crop: int = setting(2, "pixels that the cnn crops on each side", at_least=0)
    kernel: int = setting(5, "side of the cnn's kernels", at_least=1)
    padding: Literal["VALID", "SAME"] = setting("VALID", "padding of the cnn's convolutions (not stated in the paper)")
    pool_stride: int = setting(3, "stride of the cnn's 3 x 3 pools (not stated in the paper)", at_least=1)
    optimizer: OptimizerConfig = setting(OptimizerConfig(learning_rate=0.01))
    batch_size: int = setting(32, "examples in a step", at_least=1)
    epochs: int = setting(1, "passes over the training set before the count", at_least=1)
    seeds: int = setting(100, "networks per condition: initialisation and order", at_least=2)
    seed: int = setting(0, "root of all random numbers", at_least=0)
    lanes: int | None = setting(None, "lanes abreast on a device (default: chosen)", at_least=1, identity=False)

    def scale(self) -> str:
        """The size of the run in one phrase."""
        size = "x".join(map(str, self.hidden_sizes if self.model == "mlp" else self.channels))
        return f"{self.dataset}, {self.train_size:,} examples, {self.model} {size}, {self.seeds} seeds a condition"


class Data(NamedTuple):
    """The stacked training sets, and the tracked rows as people would look at them."""

    conditions: Examples
    pictures: Float[np.ndarray, "tracked h w c"]
    true_labels: Int[np.ndarray, " tracked"]
    index: Int[np.ndarray, " tracked"]
    num_classes: int


# 2. Data --------------------------------------------------------------------------------------------------------
def make_data(config: Config, key: RandomKey) -> Data:
    """One class-balanced training set, standardised, and its randX and randY versions."""
    source = load(config.dataset, config.data_dir)
    pick, noise = prng.streams(key, "subset", "noise")
    if config.train_size > (most := len(source.train.labels)):
        raise BadInput(f"train_size: {config.train_size} is not allowed, {config.dataset} has {most} training examples")
    rows = Examples(jnp.arange(most), source.train.labels)
    index = np.asarray(subset(pick, rows, config.train_size, balanced=True).inputs)
    chosen = Examples(*(jnp.asarray(leaf[index]) for leaf in source.train))
    conditions = noise_conditions(noise, standardise(chosen), source.num_classes, config.moments)
    pictures, labels = (np.asarray(leaf)[: config.tracked] for leaf in chosen)
    return Data(conditions, pictures, labels, index[: config.tracked], source.num_classes)


# 3. Model -------------------------------------------------------------------------------------------------------
def make_model(config: Config, shape: tuple[int, ...], num_classes: int) -> Model:
    """The paper's MLP, or its small Alexnet-style CNN."""
    if config.model == "mlp":
        return mlp(shape, config.hidden_sizes, num_classes)
    sizes = {"channels": config.channels, "dense": config.dense, "kernel": config.kernel, "crop": config.crop}
    return alexnet_small(shape, num_classes, **sizes, padding=config.padding, pool_stride=config.pool_stride)


# 4. Objective ---------------------------------------------------------------------------------------------------
def make_objective(config: Config, model: Model) -> Objective:
    """Mean cross-entropy of the condition's labels."""
    return classification(model)


# 5. Run ---------------------------------------------------------------------------------------------------------
def run(config: Config, key: RandomKey, run_dir: Path) -> Records:
    """One lane per condition and seed, all in one compile; the tracked examples are judged after the last step."""
    data_key, lane_key = prng.streams(key, "data", "lanes")
    data = make_data(config, data_key)
    model = make_model(config, data.conditions.inputs.shape[2:], data.num_classes)
    sampler = ConditionSampler(data.conditions, config.batch_size)
    tracked = jax.tree.map(lambda leaf: leaf[:, : config.tracked], data.conditions)
    train = make_train(
        model,
        make_objective(config, model),
        make_optimizer(config.optimizer),
        sampler,
        {"tracked": ConditionProbe(tracked, model.apply)},
        num_steps=config.epochs * sampler.steps_per_epoch,
        keep_state=False,
    )
    settings = Condition(jnp.arange(len(CONDITIONS)))
    lanes = config.lanes or "auto"
    fit = sweep(train, prng.lane_keys(lane_key, config.seeds), settings, lanes=lanes, run_dir=run_dir)
    records = from_fit(fit, probe_every=train.probe_every, settings={"condition": CONDITIONS})
    facts = {"labels": tracked.labels, "true_labels": data.true_labels, "index": data.index, "pictures": data.pictures}
    return records._replace(arrays=records.arrays | {f"data/{name}": np.asarray(f) for name, f in facts.items()})


# 6. Analysis ----------------------------------------------------------------------------------------------------
def analyse(records: Records) -> Tables:
    """Difficulty by example, and per condition how far it is from chance. Nothing is selected."""
    correct, labels = records.arrays["tracked/correct"][:, :, -1], records.arrays["data/labels"]
    conditions, seeds, tracked = correct.shape
    num_classes = int(labels.max()) + 1
    found = [overdispersion(correct[i], labels[i], num_classes, jax.random.key(i)) for i in range(conditions)]
    rows = [
        {"condition": condition, "statistic": name, **interval._asdict(), "interval over": RESAMPLED[name],
         "seeds": seeds, "examples": tracked}
        for condition, statistics in zip(CONDITIONS, found, strict=True)
        for name, interval in statistics.items()
    ]  # fmt: skip
    difficulty = {
        "condition": np.repeat(CONDITIONS, tracked),
        "index": np.tile(records.arrays["data/index"], conditions),
        "true_label": np.tile(records.arrays["data/true_labels"], conditions),
        "label": labels.reshape(-1),
        "difficulty": 1 - correct.mean(axis=1).reshape(-1),
        "seeds": np.full(conditions * tracked, seeds),
    }
    return {"dispersion": report.tidy_table(rows, DISPERSION),
            "difficulty": report.captioned(pa.table(difficulty), DIFFICULTY)}  # fmt: skip


DISPERSION = (
    "Per condition: accuracy on the tracked examples; variance of difficulty over the binomial variance, over all "
    "examples and within classes; p-value of chance; shares of examples that under 5 % or over 95 % of the seeds "
    "misclassify; correlation of difficulty between halves of the seeds. Intervals are 95 %."
)
DIFFICULTY = (
    "One row per condition and tracked example: its index in the training split, its true label, the label it was "
    "trained and judged with, and the share of seeds that misclassify it."
)


# 7. Figures -----------------------------------------------------------------------------------------------------
def figures(records: Records, tables: Tables) -> Mapping[str, Plate]:
    """Figure 3.1 of the thesis, the dispersion indices, and the easiest and hardest examples of each class."""
    with report.house_style():
        return {
            "sorted_difficulty": _curves(tables),
            "dispersion": _chart(tables),
            "easiest_hardest": _pictures(records, tables),
        }


def _difficulty(tables: Tables, condition: str) -> Float[np.ndarray, " n"]:
    return np.asarray([r["difficulty"] for r in tables["difficulty"].to_pylist() if r["condition"] == condition])


def _curves(tables: Tables) -> Plate:
    figure, seeds = Figure(), tables["dispersion"]["seeds"][0].as_py()
    axes = figure.subplots()
    curves = {condition: _difficulty(tables, condition) for condition in CONDITIONS}
    chance = jnp.full(curves["randX"].shape, curves["randX"].mean(), jnp.float32)
    draws = np.asarray(binomial_null(jax.random.key(0), chance, seeds))
    report.sorted_curves(axes, curves, report.CONDITION_LOOKS, draws, "binomial (95 %)")
    axes.set(
        xlabel="example, sorted by difficulty",
        ylabel=f"misclassification rate over {seeds} seeds",
        ylim=(0, 1),
    )
    axes.legend()
    return Plate(
        figure,
        f"Misclassification rate of each tracked example over {seeds} seeds after training, sorted, with the rates "
        "that equally difficult examples would show (binomial at the mean rate of randX; band: 95 % of draws).",
    )


def _chart(tables: Tables) -> Plate:
    figure = Figure(figsize=(5.6, 2.4))
    axes = figure.subplots()
    names = ("dispersion", "within_class_dispersion")
    rows = {condition: [_found(tables, condition, name) for name in names] for condition in CONDITIONS}
    report.interval_chart(axes, rows, report.CONDITION_LOOKS, ("o", "s"))
    axes.axvline(1, color=PALETTE["ink"], lw=1)
    axes.set(xscale="log", xlabel="variance of difficulty / binomial variance")
    return Plate(
        figure,
        "Over-dispersion of difficulty, with 95 % intervals over examples: circles over all examples, open squares "
        "within classes. The line at 1 is what chance alone gives.",
    )


def _pictures(records: Records, tables: Tables) -> Plate:
    figure, arrays = Figure(figsize=(6.4, 5.6)), records.arrays
    pictures, labels = arrays["data/pictures"], arrays["data/true_labels"]
    report.picture_grid(figure.subplots(), pictures, labels, _difficulty(tables, "real"), each=5)
    caption = "The 5 easiest and 5 hardest real examples of each class, with the share of seeds that misclassify each."
    return Plate(figure, caption)


# 8. Claims ------------------------------------------------------------------------------------------------------
def _found(tables: Tables, condition: str, statistic: str) -> Interval:
    rows = tables["dispersion"].to_pylist()
    row = next(r for r in rows if (r["condition"], r["statistic"]) == (condition, statistic))
    return Interval(row["value"], row["low"], row["high"])


def _obtained(tables: Tables, found: Interval, criterion: str, agrees: bool, note: str) -> Obtained:  # noqa: FBT001
    return Obtained(*found, tables["dispersion"]["seeds"][0].as_py(), criterion, agrees, note)


def _far_over_dispersed(tables: Tables) -> Obtained:
    real, random = _found(tables, "real", "dispersion"), _found(tables, "randX", "dispersion")
    note = "variance of difficulty across examples over the binomial variance; interval over examples"
    criterion = f"> 10 x that of randX ({10 * random.value:.3g})"
    return _obtained(tables, real, criterion, real.low > 10 * random.value, note)


def _many_always_right(tables: Tables) -> Obtained:
    real = _found(tables, "real", "always_right")
    noise = max(_found(tables, condition, "always_right").value for condition in ("randX", "randY"))
    note = "share of examples right in over 95 % of the seeds; interval over examples"
    criterion = f"> 0.1, and < 0.01 for noise (at most {noise:.3g})"
    return _obtained(tables, real, criterion, real.low > 0.1 and noise < 0.01, note)


def _consistent_with_binomial(tables: Tables) -> Obtained:
    found = _found(tables, "randX", "within_class_dispersion")
    note = (
        "variance over binomial variance within classes, as one-epoch networks favour some classes; over all "
        f"examples {_found(tables, 'randX', 'dispersion').value:.3g}; parametric bootstrap "
        f"p = {_found(tables, 'randX', 'p_chance').value:.2g}; interval over examples"
    )
    return _obtained(tables, found, "interval in [0.8, 1.3]", found.low >= 0.8 and found.high <= 1.3, note)


def _in_between(tables: Tables) -> Obtained:
    random_x, random_y, real = (_found(tables, condition, "dispersion") for condition in ("randX", "randY", "real"))
    p_chance = _found(tables, "randY", "p_chance").value
    criterion = f"between randX ({random_x.value:.3g}) and real ({real.value:.3g}), intervals apart, p < 0.05"
    ordered = random_x.high < random_y.low and random_y.high < real.low
    note = f"parametric bootstrap p = {p_chance:.2g}; interval over examples"
    return _obtained(tables, random_y, criterion, ordered and p_chance < 0.05, note)


def _claim(name: str, statement: str, published: str, check: Callable[[Tables], Obtained]) -> Claim:
    return Claim(name=name, statement=statement, source=SOURCE, published=published, check=check)


CLAIMS = (
    _claim("real-over-dispersed", "On real data, some examples are easy and some hard for every network.",
           "far from the binomial curve", _far_over_dispersed),
    _claim("real-always-right", "Almost every network gets many real examples right, and no noise example.",
           "many always right", _many_always_right),
    _claim("randX-binomial", "With random inputs, all examples are equally difficult.",
           "coincides with the binomial curve", _consistent_with_binomial),
    _claim("randY-between", "With random labels, difficulty is spread wider than chance, far less than on real data.",
           "between the two", _in_between),
)  # fmt: skip

# 9. Experiment --------------------------------------------------------------------------------------------------
EXPERIMENT = Experiment(
    name="easy_examples",
    question="Is an example easy or hard for every network, or is it chance which ones a network gets right?",
    source="Arpit et al. 2017, Fig. 1 (thesis Fig. 3.1)",
    config=Config,
    run=run,
    analyse=analyse,
    figures=figures,
    claims=CLAIMS,
)

if __name__ == "__main__":
    from mlrisk.cli import main

    sys.exit(main(["run", EXPERIMENT.name, *sys.argv[1:]]))

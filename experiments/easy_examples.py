"""Are some examples easy for every network? Train from many seeds for one epoch, count who gets each one wrong."""

import functools
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pyarrow as pa
import pyarrow.compute
from jaxtyping import Array, Bool, Float, Int
from matplotlib.figure import Figure

from mlrisk import prng
from mlrisk.config import setting
from mlrisk.data import EpochSampler, load, rand_x, rand_y, standardise, subset
from mlrisk.experiment import Experiment
from mlrisk.harness import Records, from_fit, make_train, sweep
from mlrisk.harness.optimizers import OptimizerConfig, make_optimizer
from mlrisk.measures import (
    binomial_null,
    dispersion_index,
    example_difficulty,
    split_half_reliability,
    within_class_dispersion,
)
from mlrisk.models import alexnet_small, mlp
from mlrisk.objectives import classification
from mlrisk.report import PALETTE, Claim, Obtained, Plate, Tables, bootstrap_interval, captioned, house_style
from mlrisk.types import Examples, Model, Objective, RandomKey

CONDITIONS = ("real", "randX", "randY")


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
    optimizer: OptimizerConfig = OptimizerConfig(learning_rate=0.01)
    batch_size: int = setting(32, "examples in a step", at_least=1)
    epochs: int = setting(1, "passes over the training set before the count", at_least=1)
    seeds: int = setting(100, "networks per condition: initialisation and order", at_least=2)
    seed: int = setting(0, "root of all random numbers", at_least=0)
    lanes: int | None = setting(None, "lanes abreast on a device (default: chosen)", at_least=1, identity=False)

    def scale(self) -> str:
        """The size of the run in one phrase."""
        size = "x".join(map(str, self.hidden_sizes if self.model == "mlp" else self.channels))
        return f"{self.dataset}, {self.train_size} examples, {self.model} {size}, {self.seeds} seeds a condition"


class Hyper(NamedTuple):
    """What differs between lanes of one compile: which condition's data a network sees."""

    condition: Int[Array, ""]


class Data(NamedTuple):
    """The three training sets stacked, conditions first, and the tracked rows as people would look at them."""

    conditions: Examples
    pictures: Float[np.ndarray, "tracked h w c"]
    true_labels: Int[np.ndarray, " tracked"]
    index: Int[np.ndarray, " tracked"]
    num_classes: int


@functools.partial(jax.tree_util.register_dataclass, data_fields=["examples", "order"], meta_fields=[])
@dataclass(frozen=True)
class ConditionSampler:
    """Batches of the condition that a lane's `Hyper` names; ``order`` samples row numbers."""

    examples: Examples
    order: EpochSampler

    def __call__(self, key: RandomKey, step: Int[Array, ""], hyper: Hyper, /) -> Examples:
        """Inputs (batch, ...), labels (batch,)."""
        rows = self.order(key, step).labels
        return jax.tree.map(lambda leaf: leaf[hyper.condition, rows], self.examples)


@functools.partial(jax.tree_util.register_dataclass, data_fields=["examples"], meta_fields=["model"])
@dataclass(frozen=True)
class TrackedProbe:
    """Which tracked examples the network classifies as their condition's label says."""

    examples: Examples
    model: Model

    def __call__(self, state: Any, key: RandomKey, hyper: Hyper, /) -> dict[str, Array]:
        """``correct`` (tracked,) and their mean, ``accuracy``."""
        inputs, labels = jax.tree.map(lambda leaf: leaf[hyper.condition], self.examples)
        correct = jnp.argmax(self.model.apply(state.params, inputs), axis=-1) == labels
        return {"correct": correct, "accuracy": jnp.mean(correct.astype(jnp.float32))}


# 2. Data --------------------------------------------------------------------------------------------------------
def make_data(config: Config, key: RandomKey) -> Data:
    """Real, randX and randY versions of one class-balanced training set; the noise is drawn once and frozen."""
    source = load(config.dataset, config.data_dir)
    pick, x_key, y_key = prng.streams(key, "subset", "randX", "randY")
    labels = source.train.labels
    index = subset(pick, Examples(np.arange(len(labels)), labels), config.train_size, balanced=True).inputs
    pictures = source.train.inputs[index]
    real = standardise(Examples(jnp.asarray(pictures), jnp.asarray(labels[index])))
    versions = (
        real,
        rand_x(x_key, real, moments=config.moments).examples,
        rand_y(y_key, real, source.num_classes).examples,
    )
    tracked = min(config.tracked, config.train_size)
    return Data(
        jax.tree.map(lambda *leaves: jnp.stack(leaves), *versions),
        pictures[:tracked], labels[index][:tracked], np.asarray(index)[:tracked], source.num_classes,
    )  # fmt: skip


# 3. Model -------------------------------------------------------------------------------------------------------
def make_model(config: Config, shape: tuple[int, ...], num_classes: int) -> Model:
    """The paper's MLP, or its small Alexnet-style CNN."""
    if config.model == "mlp":
        return mlp(shape, config.hidden_sizes, num_classes)
    return alexnet_small(shape, num_classes, channels=config.channels, dense=config.dense, crop=config.crop)


# 4. Objective ---------------------------------------------------------------------------------------------------
def make_objective(config: Config, model: Model) -> Objective:
    """Mean cross-entropy of the condition's labels."""
    return classification(model)


# 5. Run ---------------------------------------------------------------------------------------------------------
def run(config: Config, key: RandomKey, run_dir: Path) -> Records:
    """One lane per condition and seed, all in one compile; the tracked examples are judged after the last step."""
    data_key, lane_key = prng.streams(key, "data", "lanes")
    data = make_data(config, data_key)
    shape, tracked = data.conditions.inputs.shape[2:], len(data.index)
    model = make_model(config, shape, data.num_classes)
    rows = jnp.arange(config.train_size)
    order = EpochSampler(Examples(rows, rows), config.batch_size)
    train = make_train(
        model,
        make_objective(config, model),
        make_optimizer(config.optimizer),
        ConditionSampler(data.conditions, order),
        {"tracked": TrackedProbe(jax.tree.map(lambda leaf: leaf[:, :tracked], data.conditions), model)},
        num_steps=config.epochs * order.steps_per_epoch,
        keep_state=False,
    )
    fit = sweep(
        train,
        prng.lane_keys(lane_key, config.seeds),
        Hyper(jnp.arange(len(CONDITIONS))),
        lanes=config.lanes or "auto",
        run_dir=run_dir,
    )
    records = from_fit(fit, probe_every=train.probe_every, settings={"condition": CONDITIONS})
    facts = {
        "data/labels": np.asarray(data.conditions.labels[:, :tracked]),
        "data/true_labels": data.true_labels,
        "data/index": data.index,
        "data/pictures": data.pictures,
    }
    return records._replace(arrays=records.arrays | facts)


# 6. Analysis ----------------------------------------------------------------------------------------------------
def analyse(records: Records) -> Tables:
    """Difficulty by example, and per condition how far it is from chance. Nothing is selected."""
    correct = records.arrays["tracked/correct"][:, :, -1, :]
    labels = records.arrays["data/labels"]
    rows = [_condition(i, name, correct[i], labels[i]) for i, name in enumerate(CONDITIONS)]
    return {
        "dispersion": captioned(
            pa.Table.from_pylist(rows),
            "One row per condition: accuracy on the tracked examples, variance of difficulty over the binomial "
            "variance (overall and within classes), p-value of chance, share of examples right or wrong in over "
            "95 % of the seeds, and correlation of difficulty between halves of the seeds; 95 % intervals.",
        ),
        "difficulty": captioned(
            _difficulty(correct, records),
            "One row per condition and tracked example: its index in the training split, its true label, the label "
            "it was trained and judged with, and the share of seeds that misclassify it.",
        ),
    }


def _condition(number: int, name: str, correct: Bool[np.ndarray, "seeds n"], labels: np.ndarray) -> dict[str, Any]:
    """One row of the dispersion table; intervals resample examples, that of the accuracy resamples seeds."""
    seeds, classes = len(correct), int(labels.max()) + 1
    null_key, split_key = prng.streams(jax.random.key(number), "null", "splits")
    difficulty = np.asarray(example_difficulty(correct))
    pairs = np.column_stack([difficulty, labels])
    within = jax.jit(lambda pairs: within_class_dispersion(pairs[:, 0], pairs[:, 1], seeds, classes))
    overall = jax.jit(lambda pairs: dispersion_index(pairs[:, 0], seeds))
    class_rate = np.asarray([difficulty[labels == k].mean() if (labels == k).any() else 0 for k in range(classes)])
    chance = binomial_null(null_key, jnp.asarray(class_rate[labels], jnp.float32), seeds)
    by_chance = jax.lax.map(lambda draw: within(jnp.column_stack([draw, labels])), chance)
    return {
        "condition": name,
        "seeds": seeds,
        "examples": len(difficulty),
        **_interval("accuracy", correct.mean(axis=1), np.mean),
        **_interval("dispersion", pairs, overall),
        **_interval("within_class", pairs, within),
        "p_chance": float((1 + np.sum(np.asarray(by_chance) >= float(within(pairs)))) / (1 + len(by_chance))),
        "chance_high": float(np.quantile(by_chance, 0.975)),
        "always_right": float(np.mean(difficulty < 0.05)),
        "always_wrong": float(np.mean(difficulty > 0.95)),
        **_spread("reliability", np.asarray(split_half_reliability(split_key, jnp.asarray(correct)))),
    }


def _interval(name: str, samples: np.ndarray, statistic: Any) -> dict[str, float]:
    value, low, high = bootstrap_interval(samples, statistic, seed=0)
    return {name: value, f"{name}_low": low, f"{name}_high": high}


def _spread(name: str, values: np.ndarray) -> dict[str, float]:
    low, high = np.quantile(values, [0.025, 0.975])
    return {name: float(values.mean()), f"{name}_low": float(low), f"{name}_high": float(high)}


def _difficulty(correct: Bool[np.ndarray, "conditions seeds n"], records: Records) -> pa.Table:
    """The table that users join to their own: one row per condition and example, by index in the training split."""
    conditions, seeds, tracked = correct.shape
    return pa.table(
        {
            "condition": np.repeat(CONDITIONS, tracked),
            "index": np.tile(records.arrays["data/index"], conditions).astype(np.int64),
            "true_label": np.tile(records.arrays["data/true_labels"], conditions).astype(np.int64),
            "label": records.arrays["data/labels"].reshape(-1).astype(np.int64),
            "difficulty": 1 - correct.mean(axis=1).reshape(-1),
            "seeds": np.full(conditions * tracked, seeds),
        }
    )


# 7. Figures -----------------------------------------------------------------------------------------------------
def figures(records: Records, tables: Tables) -> Mapping[str, Plate]:
    """Figure 3.1 of the thesis, the dispersion indices, and the easiest and hardest examples of each class."""
    with house_style():
        return {
            "sorted_difficulty": _sorted_curves(tables),
            "dispersion": _dispersion_chart(tables),
            "easiest_hardest": _picture_grid(records, tables),
        }


def _of(tables: Tables, condition: str) -> Float[np.ndarray, " n"]:
    table = tables["difficulty"].filter(pa.compute.equal(tables["difficulty"]["condition"], condition))
    return table["difficulty"].to_numpy()


def _sorted_curves(tables: Tables) -> Plate:
    figure = Figure()
    axes = figure.subplots()
    seeds = tables["dispersion"]["seeds"][0].as_py()
    for condition in CONDITIONS:
        curve = np.sort(_of(tables, condition))
        axes.plot(np.arange(len(curve)), curve, label=condition, **LOOK[condition])
    random = _of(tables, "randX")
    draws = binomial_null(jax.random.key(0), jnp.full(len(random), random.mean()), seeds)
    low, high = np.quantile(np.sort(np.asarray(draws), axis=1), [0.025, 0.975], axis=0)
    axes.fill_between(np.arange(len(random)), low, high, color=PALETTE["ink"], alpha=0.3, lw=0, label="binomial (95 %)")
    axes.set(xlabel="example, sorted by difficulty", ylabel=f"misclassification rate over {seeds} seeds", ylim=(0, 1))
    axes.legend()
    return Plate(
        figure,
        f"Misclassification rate of each tracked example over {seeds} seeds after training, sorted, with the rate "
        "that equally difficult examples would show (binomial at the mean rate of randX; band: 95 % of draws).",
    )


def _dispersion_chart(tables: Tables) -> Plate:
    figure = Figure(figsize=(5.6, 2.4))
    axes = figure.subplots()
    for place, row in enumerate(tables["dispersion"].to_pylist()):
        for shift, name, marker in ((-0.12, "dispersion", "o"), (0.12, "within_class", "s")):
            value, low, high = (row[name + end] for end in ("", "_low", "_high"))
            axes.errorbar(
                value, place + shift, xerr=[[max(value - low, 0)], [max(high - value, 0)]], fmt=marker,
                color=LOOK[row["condition"]]["color"], markerfacecolor="none" if marker == "s" else None,
            )  # fmt: skip
    axes.axvline(1, color=PALETTE["ink"], lw=1)
    axes.set(xscale="log", xlabel="variance of difficulty / binomial variance", yticks=range(3), yticklabels=CONDITIONS)
    axes.invert_yaxis()
    return Plate(
        figure,
        "Over-dispersion of difficulty, with 95 % intervals over examples: circles over all examples, open squares "
        "within classes. The line at 1 is what chance alone gives.",
    )


def _picture_grid(records: Records, tables: Tables, each: int = 5) -> Plate:
    figure = Figure(figsize=(6.4, 5.2))
    labels, pictures = records.arrays["data/true_labels"], records.arrays["data/pictures"]
    difficulty, classes = _of(tables, "real"), np.unique(labels)
    grid = figure.subplots(len(classes), 2 * each + 1, gridspec_kw={"width_ratios": [1] * each + [0.4] + [1] * each})
    for axes in grid.flat:
        axes.axis("off")
    for row, label in zip(grid, classes, strict=True):
        members = np.flatnonzero(labels == label)
        ranked = members[np.argsort(difficulty[members], kind="stable")]
        for axes, example in zip([*row[:each], *row[each + 1 :]], [*ranked[:each], *ranked[-each:]], strict=False):
            axes.imshow(pictures[example].squeeze(), cmap="gray_r" if pictures.shape[-1] == 1 else None)
            axes.set_title(f"{difficulty[example]:.2f}", fontsize=7, pad=1.5)
        row[0].text(-0.35, 0.5, str(label), transform=row[0].transAxes, ha="right", va="center")
    return Plate(
        figure,
        f"The {each} easiest (left) and {each} hardest (right) real examples of each class, "
        "with the share of seeds that misclassify each.",
    )


LOOK = {
    "real": {"color": PALETTE["blue"], "linestyle": "-"},
    "randX": {"color": PALETTE["vermilion"], "linestyle": "--"},
    "randY": {"color": PALETTE["green"], "linestyle": "-."},
}


# 8. Claims ------------------------------------------------------------------------------------------------------
def _row(tables: Tables, condition: str) -> dict[str, Any]:
    return next(row for row in tables["dispersion"].to_pylist() if row["condition"] == condition)


def _far_over_dispersed(tables: Tables) -> Obtained:
    real, random = _row(tables, "real"), _row(tables, "randX")
    return Obtained(
        real["dispersion"], real["dispersion_low"], real["dispersion_high"], real["seeds"],
        f"> 10 x that of randX ({10 * random['dispersion']:.3g})",
        real["dispersion_low"] > 10 * random["dispersion"],
        note="variance of difficulty across examples over the binomial variance",
    )  # fmt: skip


def _consistent_with_binomial(tables: Tables) -> Obtained:
    row = _row(tables, "randX")
    low, high = row["within_class_low"], row["within_class_high"]
    return Obtained(
        row["within_class"], low, high, row["seeds"], "in [0.8, 1.3], interval included", low >= 0.8 and high <= 1.3,
        note=f"within classes, as one-epoch networks favour some; over all examples {row['dispersion']:.3g}; "
        f"parametric bootstrap p = {row['p_chance']:.2g}",
    )  # fmt: skip


def _in_between(tables: Tables) -> Obtained:
    random_x, random_y, real = (_row(tables, name) for name in ("randX", "randY", "real"))
    low, high = random_y["dispersion_low"], random_y["dispersion_high"]
    ordered = random_x["dispersion_high"] < low and high < real["dispersion_low"]
    return Obtained(
        random_y["dispersion"], low, high, random_y["seeds"],
        f"between randX ({random_x['dispersion']:.3g}) and real ({real['dispersion']:.3g}), intervals apart, p < 0.05",
        ordered and random_y["p_chance"] < 0.05,
        note=f"parametric bootstrap p = {random_y['p_chance']:.2g}",
    )  # fmt: skip


def _many_always_right(tables: Tables) -> Obtained:
    real, noise = _row(tables, "real"), [_row(tables, name) for name in ("randX", "randY")]
    samples = (_of(tables, "real") < 0.05).astype(float)
    value, low, high = bootstrap_interval(samples, seed=0)
    most = max(row["always_right"] for row in noise)
    return Obtained(
        value, low, high, real["seeds"], f"> 0.1, and < 0.01 for noise (at most {most:.3g})",
        low > 0.1 and most < 0.01, note="share of examples right in over 95 % of the seeds",
    )  # fmt: skip


SOURCE = "Arpit et al. 2017, Figure 1 (thesis Figure 3.1)"
CLAIMS = (
    Claim(
        name="real-over-dispersed",
        statement="On real data, some examples are easy and some hard for every network.",
        source=SOURCE,
        published="far from the binomial curve",
        check=_far_over_dispersed,
    ),
    Claim(
        name="real-always-right",
        statement="Many real examples are classified rightly from almost every seed, and no noise example is.",
        source=SOURCE,
        published="many always right",
        check=_many_always_right,
    ),
    Claim(
        name="randX-binomial",
        statement="With random inputs, all examples are equally difficult.",
        source=SOURCE,
        published="coincides with the binomial curve",
        check=_consistent_with_binomial,
    ),
    Claim(
        name="randY-between",
        statement="With random labels, difficulty is spread wider than chance, but far less than on real data.",
        source=SOURCE,
        published="between the two",
        check=_in_between,
    ),
)

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
    import sys

    from mlrisk.cli import main

    sys.exit(main(["run", "easy_examples", *sys.argv[1:]]))

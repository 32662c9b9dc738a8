"""Can explicit regularisation keep a network from memorising random labels at no cost on real data?"""

import functools
import itertools
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
from mlrisk.data import NoiseLevelSampler, NoisyExamples, load, noisy_examples, train_and_validation
from mlrisk.experiment import Experiment
from mlrisk.harness import Records, curve_rows, curves, from_fit, judged_steps, make_train, merge, seed_cells, sweep
from mlrisk.harness.accuracy_probes import AccuracyProbe, NoisyAccuracyProbe
from mlrisk.harness.networks import NetworkConfig, make_network
from mlrisk.harness.optimizers import OptimizerConfig, make_optimizer
from mlrisk.measures import lass
from mlrisk.objectives import Adversarial, Regularisers, regularised
from mlrisk.report import PALETTE, Claim, Obtained, Plate, Tables
from mlrisk.types import Examples, Model, Objective, RandomKey

SOURCE = "Arpit et al. 2017, Figures 10 and 11 (thesis Figures 3.10 and 3.11)"
TECHNIQUES = ("none", "dropout", "input_dropout", "input_noise", "hidden_noise", "weight_decay", "adversarial")
LABELS = {"real": 0.0, "randY": 1.0}  # share of random labels
COST = 0.01  # validation accuracy that a regulariser may cost and still count as free


# 1. Config ------------------------------------------------------------------------------------------------------
@dataclass(frozen=True)
class Config:
    """Question: can memorization be cut at no cost? Arpit et al. 2017, Figures 10 and 11."""

    dataset: Literal["digits", "mnist", "cifar10"] = setting("digits", "which data set")
    data_dir: str | None = setting(None, "where prepared data sets are", identity=False)
    train_size: int = setting(1000, "training examples", at_least=2)
    validation_size: int = setting(400, "validation examples, cut from the training split", at_least=1)
    network: NetworkConfig = setting(NetworkConfig())
    optimizer: OptimizerConfig = setting(OptimizerConfig(learning_rate=0.1))
    batch_size: int = setting(50, "examples in a step", at_least=1)
    epochs: int = setting(40, "passes over the training set", at_least=1)
    judge_every: int = setting(1, "epochs between two judgements; divides the epochs", at_least=1)
    dropout: tuple[float, ...] = setting((0.3, 0.5, 0.7, 0.85), "rates on hidden layers", at_least=0, below=1)
    input_dropout: tuple[float, ...] = setting((0.3, 0.6, 0.85), "rates on inputs", at_least=0, below=1)
    input_noise: tuple[float, ...] = setting((0.5, 1.5, 4.0), "deviations on standardised inputs", at_least=0)
    hidden_noise: tuple[float, ...] = setting((0.1, 0.3, 1.0), "deviations on hidden layers", at_least=0)
    weight_decay: tuple[float, ...] = setting((0.001, 0.01, 0.05), "factors of half the squared kernels", at_least=0)
    adversarial: tuple[float, ...] = setting((0.2, 0.5), "weights of the adversarial loss", at_least=0, at_most=1)
    adversarial_dropout: tuple[float, ...] = setting((0.3, 0.5), "rates beside it, among those of dropout", at_least=0)
    radius: float = setting(8.0, "of adversarial training, in 255ths of the range", above=0)
    attack_steps: int = setting(5, "steps of LASS in adversarial training, at most", at_least=1)
    seeds: int = setting(5, "networks per setting", at_least=2)
    seed: int = setting(0, "root of all random numbers", at_least=0)
    lanes: int | None = setting(None, "lanes abreast on a device (default: chosen)", at_least=1, identity=False)

    def scale(self) -> str:
        """The size of the run in one phrase."""
        return f"{self.train_size:,} of {self.dataset}, {self.network.describe()}, {self.seeds} seeds a setting"


class Data(NamedTuple):
    """A training set with real or random labels, clean validation examples, and the length of a 255th."""

    noisy: NoisyExamples
    validation: Examples
    pixel: float
    num_classes: int


class Hyper(NamedTuple):
    """A lane: how strong its technique is, the dropout beside it, and whether its labels are random."""

    strength: Float[Array, "..."]
    dropout: Float[Array, "..."]
    input_noise: Float[Array, "..."]
    label_noise: Float[Array, "..."]


# 2. Data --------------------------------------------------------------------------------------------------------
def make_data(config: Config, key: RandomKey) -> Data:
    """Training and validation examples, both from the training split; the test split is not used."""
    source = load(config.dataset, config.data_dir)
    pick, noise = prng.streams(key, "subset", "noise")
    split = train_and_validation(source, pick, config.train_size, config.validation_size)
    noisy = noisy_examples(noise, split.train, source.num_classes)
    return Data(noisy, split.validation, 1 / (255 * float(split.scale)), source.num_classes)


def settings(config: Config, technique: str) -> tuple[dict[str, list[Any]], Hyper]:
    """The lanes of a technique as columns and as hypers: every strength, with real and with random labels."""
    strengths = [0.0] if technique == "none" else list(getattr(config, technique))
    beside = list(config.adversarial_dropout) if technique == "adversarial" else [0.0]
    strength, rate, labels = zip(*itertools.product(strengths, beside, LABELS), strict=True)
    random = [LABELS[label] for label in labels]
    leaves = (strength, rate, [0.0] * len(random), random)
    columns = {"strength": list(strength), "beside": list(rate), "labels": list(labels)}
    return columns, Hyper(*(jnp.asarray(leaf, jnp.float32) for leaf in leaves))


# 3. Model -------------------------------------------------------------------------------------------------------
def make_model(config: Config, data: Data) -> Model:
    """The MLP or the CNN."""
    return make_network(config.network, data.validation.inputs.shape[1:], data.num_classes)


# 4. Objective ---------------------------------------------------------------------------------------------------
def make_objective(config: Config, model: Model, technique: str, pixel: float) -> Objective:
    """Cross-entropy with one technique at the lane's strength; techniques that are off cost nothing."""
    attack = functools.partial(lass, radius=config.radius * pixel, num_steps=config.attack_steps)

    def parts(hyper: Hyper) -> Regularisers:
        if technique == "adversarial":
            return Regularisers(dropout=hyper.dropout, adversarial=Adversarial(hyper.strength, attack))
        return Regularisers()._replace(**({} if technique == "none" else {technique: hyper.strength}))

    return regularised(model, parts)


# 5. Run ---------------------------------------------------------------------------------------------------------
def run(config: Config, key: RandomKey, run_dir: Path) -> Records:
    """For each technique one sweep over strengths, real and random labels, and seeds."""
    data_key, lane_key = prng.streams(key, "data", "lanes")
    data = make_data(config, data_key)
    model = make_model(config, data)
    sweep_of = functools.partial(_sweep, config, data, model, key=lane_key, run_dir=run_dir / "chunks")
    return merge({technique: sweep_of(technique) for technique in TECHNIQUES}, "technique")


def _sweep(config: Config, data: Data, model: Model, technique: str, key: RandomKey, run_dir: Path) -> Records:
    sampler = NoiseLevelSampler(data.noisy, config.batch_size)
    columns, hypers = settings(config, technique)
    train = make_train(
        model,
        make_objective(config, model, technique, data.pixel),
        make_optimizer(config.optimizer),
        sampler,
        {
            "training_set": NoisyAccuracyProbe(data.noisy, model.apply),
            "validation": AccuracyProbe(data.validation, model.apply),
        },
        num_steps=config.epochs * sampler.steps_per_epoch,
        probe_every=judged_steps(config.epochs, config.judge_every, sampler.steps_per_epoch),
        keep_state=False,
    )
    keys = prng.lane_keys(key, config.seeds)
    fit = sweep(train, keys, hypers, lanes=config.lanes or "auto", run_dir=run_dir / technique)
    records = from_fit(fit, probe_every=train.probe_every, settings=columns)
    return records._replace(arrays={"epochs": config.judge_every * (1 + np.arange(train.num_blocks))})


# 6. Analysis ----------------------------------------------------------------------------------------------------
BY = ("technique", "strength", "beside")
Pair = tuple[Float[np.ndarray, " seeds"], Float[np.ndarray, " seeds"]]


def pairs(records: Records) -> dict[tuple[Any, ...], Pair]:
    """Per setting and seed: final training accuracy on random labels, best validation accuracy with real ones."""
    training, validation = (curves(records, f"{s}/accuracy", (*BY, "labels")) for s in ("training_set", "validation"))
    real = [key[:-1] for key in validation if key[-1] == "real"]
    return {key: (training[*key, "randY"][:, -1], validation[*key, "real"].max(axis=1)) for key in real}


def analyse(records: Records) -> Tables:
    """Both accuracies per setting; per technique, the least memorization that is free.

    Selection: of each technique's settings whose mean best validation accuracy is at most `COST` under that of no
    regularisation, the one with the lowest mean training accuracy on random labels.
    """
    found = pairs(records)
    rows = [
        {**dict(zip(BY, key, strict=True)), "quantity": name, **seed_cells(values)}
        for key, pair in found.items()
        for name, values in zip(("randY training", "real validation"), pair, strict=True)
    ]
    free = [_free(found, technique) for technique in TECHNIQUES]
    selected = {tuple(row[name] for name in BY) for row in free}
    lines = {k: c for k, c in curves(records, "training_set/accuracy", (*BY, "labels")).items() if k[:-1] in selected}
    training = curve_rows(lines, (*BY, "labels"), lambda key: records.arrays[f"{key[0]}/epochs"])
    return {"settings": report.tidy_table(rows, SETTINGS), "free": report.tidy_table(free, FREE),
            "attacked": report.tidy_table(_attacked(found), ATTACKED),
            "training": report.tidy_table(training, TRAINING)}  # fmt: skip


def _free(found: dict[tuple[Any, ...], Pair], technique: str) -> dict[str, Any]:
    """The selected setting of a technique; its mildest one where none is free."""
    plain = found["none", 0.0, 0.0][1]
    mine = {key: pair for key, pair in found.items() if key[0] == technique}
    allowed = {key: pair for key, pair in mine.items() if pair[1].mean() >= plain.mean() - COST}
    key = min(allowed, key=lambda key: allowed[key][0].mean()) if allowed else next(iter(mine))
    memorised, accuracy = mine[key]
    cost = seed_cells(plain - accuracy)
    return {**dict(zip(BY, key, strict=True)), "free": bool(allowed), **seed_cells(memorised),
            "cost": cost["value"], "cost low": cost["low"], "cost high": cost["high"]}  # fmt: skip


def _attacked(found: dict[tuple[Any, ...], Pair]) -> list[dict[str, Any]]:
    """Per rate of dropout and weight: what adversarial training adds to dropout alone, seed by seed."""
    plain = {key[1]: pair for key, pair in found.items() if key[0] == "dropout"}
    return [
        {"weight": weight, "dropout": rate, "quantity": name, **seed_cells(pair[i] - plain[rate][i])}
        for (technique, weight, rate), pair in found.items()
        if technique == "adversarial" and rate in plain
        for i, name in enumerate(("randY training", "real validation"))
    ]


SETTINGS = (
    "Per setting: final training accuracy on random labels, best validation accuracy on real ones (evaluated plain)."
)
FREE = (
    "Per technique: the setting with the lowest final training accuracy on random labels (value) of those whose best "
    "validation accuracy on real data is on average at most 0.01 under the plain one's (cost, paired by seed)."
)
ATTACKED = "What adversarial training adds to dropout alone at the same rate, paired by seed."
TRAINING = "Training accuracy along training at the selected setting of each technique; means over seeds, 95 % bands."


# 7. Figures -----------------------------------------------------------------------------------------------------
def figures(records: Records, tables: Tables) -> Mapping[str, Plate]:
    """Figures 3.10 and 3.11 of the thesis."""
    with report.house_style():
        return {"regularisers": _scatter(tables), "training": _lines(tables)}


def _scatter(tables: Tables) -> Plate:
    axes, rows = (figure := Figure(figsize=(6.4, 4.2))).subplots(), tables["settings"].to_pylist()
    for color, technique, marker in zip(PALETTE.values(), TECHNIQUES[::-1], "os^Dv*X", strict=True):
        x, y = ([r for r in rows if r["technique"] == technique and r["quantity"] == name]
                for name in ("randY training", "real validation"))  # fmt: skip
        label = technique.replace("_", " ").replace("adversarial", "dropout + adversarial")
        dash = "" if technique in ("none", "adversarial") else "-"
        report.crossed_points(axes, x, y, linestyle=dash, marker=marker, color=color, label=label, lw=1)
    axes.set(xlabel="final training accuracy on random labels", ylabel="best validation accuracy on real data",
             ylim=(max(0, y[0]["value"] - 0.15), None))  # fmt: skip
    axes.legend()
    return Plate(figure, "Memorization of random labels against generalisation on real data; one point a strength, "
                         f"means over {rows[0]['seeds']} seeds, 95 % crosses; costs above 0.15 left out.")  # fmt: skip


def _lines(tables: Tables) -> Plate:
    figure, rows = Figure(figsize=(8.6, 3.7)), tables["training"].to_pylist()
    for axes, labels in zip(figure.subplots(1, 2, sharey=True), ("randY", "real"), strict=True):
        for color, technique in zip(PALETTE.values(), TECHNIQUES[::-1], strict=True):
            line = [r for r in rows if (r["technique"], r["labels"]) == (technique, labels)]
            label = f"{technique.replace('_', ' ')} {line[0]['strength']:g}"
            report.banded_line(axes, line, "epoch", color=color, linestyle="-", label=label)
        axes.set(xlabel="epoch", title={"randY": "random labels", "real": "real labels"}[labels])
    figure.axes[0].set_ylabel("training accuracy")
    figure.axes[1].legend(fontsize=7.5)
    return Plate(figure, TRAINING)


# 8. Claims ------------------------------------------------------------------------------------------------------
def _headline(tables: Tables) -> Obtained:
    rows = sorted((row for row in tables["free"].to_pylist() if row["free"]), key=lambda row: row["value"])
    best, ranking = rows[0], ", ".join(f"{row['technique']} {row['value']:.2f}" for row in rows)
    note = (
        f"{best['technique']} {best['strength']:g}: training accuracy on random labels; costs {best['cost']:.3f} "
        f"[{best['cost low']:.3f}, {best['cost high']:.3f}] in validation accuracy. Every technique: {ranking}"
    )
    return Obtained(best["value"], best["low"], best["high"], best["seeds"], "< 0.6", best["high"] < 0.6, note)


def _adversarial(tables: Tables) -> Obtained:
    rows = [row for row in tables["attacked"].to_pylist() if row["quantity"] == "real validation"]
    row = max(rows, key=lambda row: (row["weight"], row["dropout"]))
    note = f"best validation accuracy above dropout {row['dropout']:g} alone, weight {row['weight']:g}, paired by seed"
    return Obtained(row["value"], row["low"], row["high"], row["seeds"], "> 0, interval above 0", row["low"] > 0, note)


CLAIMS = (
    Claim(name="memorization-cut-for-free", statement="Regularisation can keep a network from memorising random labels "
          "without costing validation accuracy on real data.", source=SOURCE, published="flat curves for dropout",
          selection="validation accuracy on real data, see the table 'free'", check=_headline),
    Claim(name="adversarial-on-top", statement="Adversarial training raises validation accuracy over dropout alone.",
          source=SOURCE, published="highest curve", check=_adversarial),
)  # fmt: skip

# 9. Experiment --------------------------------------------------------------------------------------------------
EXPERIMENT = Experiment(
    name="regularisers",
    question="Can explicit regularisation keep a network from memorising random labels at no cost on real data?",
    source="Arpit et al. 2017, Figs. 10, 11 (thesis Figs. 3.10, 3.11)",
    config=Config,
    run=run,
    analyse=analyse,
    figures=figures,
    claims=CLAIMS,
)

if __name__ == "__main__":
    from mlrisk.cli import main

    sys.exit(main(["run", EXPERIMENT.name, *sys.argv[1:]]))

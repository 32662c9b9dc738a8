"""Which examples of a data set does a model learn by heart, and are their labels wrong? An audit on one page."""

import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pyarrow as pa
from jaxtyping import Bool, Float, Int

from mlrisk import prng, report
from mlrisk.config import setting
from mlrisk.data import EpochSampler, standardise
from mlrisk.data.arrays import load_any
from mlrisk.data.mislabelled import mislabel
from mlrisk.errors import BadInput
from mlrisk.experiment import Experiment
from mlrisk.harness import Records, curves, from_fit, make_train, seed_cells, sweep
from mlrisk.harness.accuracy_probes import AccuracyProbe
from mlrisk.harness.auditing import ExampleProbe, critical_examples, training_sensitivity
from mlrisk.harness.optimizers import OptimizerConfig, make_optimizer
from mlrisk.harness.subsets import train_on_subsets
from mlrisk.measures import auroc, early_stopping, precision_at, value_at
from mlrisk.measures.audit import SCORES, Looks, audit_scores, most_frequent, suspicion
from mlrisk.models import alexnet_small, mlp
from mlrisk.models.imported import imported_model
from mlrisk.objectives import classification
from mlrisk.report import Claim, Obtained, Plate, Tables, audits, cell
from mlrisk.types import Examples, Model, Objective, RandomKey


# 1. Config ------------------------------------------------------------------------------------------------------
@dataclass(frozen=True)
class Config:
    """Question: which examples are learned by heart, and are they mislabelled? Thesis chapter 3, turned into a tool.

    Your own data and model: ``--data mine.npz --model mine.py:make_model --corrupt 0``; see `mlrisk.data.arrays` and
    `mlrisk.models.imported` for what the two must hold. A run is known by its settings: after a change inside the
    files, use ``--force``.
    """

    data: str = setting("digits", "a data set's name, or an .npz file with x, y and perhaps x_test, y_test")
    data_dir: str | None = setting(None, "where prepared data sets are", identity=False)
    train_size: int | None = setting(None, "examples to audit (default: all that are not held out)", at_least=2)
    validation_size: int = setting(300, "examples held out to find the best epoch, and to judge it", at_least=2)
    corrupt: float = setting(0.0, "share of labels made wrong, to see if they are found", at_least=0, at_most=0.5)
    model: str = setting("mlp", "mlp, cnn, or your own: module:callable or path/to/file.py:callable")
    hidden_sizes: tuple[int, ...] = setting((256, 256), "hidden units of the mlp", at_least=1)
    channels: tuple[int, ...] = setting((32, 32), "channels of the cnn's two convolutions", at_least=1)
    dense: tuple[int, ...] = setting((128,), "units of the cnn's dense layers", at_least=1)
    kernel: int = setting(5, "side of the cnn's kernels", at_least=1)
    crop: int = setting(0, "pixels that the cnn crops on each side", at_least=0)
    padding: Literal["VALID", "SAME"] = setting("SAME", "padding of the cnn's convolutions")
    pool_stride: int = setting(2, "stride of the cnn's 3 x 3 pools", at_least=1)
    optimizer: OptimizerConfig = setting(OptimizerConfig(learning_rate=0.1))
    batch_size: int = setting(50, "examples in a step", at_least=1)
    epochs: int = setting(30, "passes over the training set", at_least=2)
    seeds: int = setting(10, "networks trained on all examples", at_least=2)
    subsets: int = setting(100, "networks trained on random 70 % of them, for the memorization score", at_least=2)
    directions: int = setting(1, "directions of the curvature, at each epoch and seed", at_least=1)
    radii: tuple[float, ...] = setting((0.025, 0.05, 0.1), "radii of critical samples, in input stds", above=0, items=1)
    sensitivity_seeds: int = setting(2, "trainings that are differentiated (SGD only)", at_least=1)
    sensitivity_times: int = setting(4, "times at which the loss is differentiated", at_least=1)
    seed: int = setting(0, "root of all random numbers", at_least=0)
    lanes: int | None = setting(None, "lanes abreast on a device (default: chosen)", at_least=1, identity=False)

    def scale(self) -> str:
        """The size of the run in one phrase."""
        size = f"{self.train_size:,}" if self.train_size else "all"
        return f"{Path(self.data).stem}, {size} examples, {self.model}, {self.seeds} seeds, {self.subsets} subsets"


class Data(NamedTuple):
    """The audited examples, standardised; two held-out sets; and the audited rows as people would look at them."""

    train: Examples
    choose: Examples
    judge: Examples
    raw: Float[np.ndarray, "n ..."]
    index: Int[np.ndarray, " n"]
    flipped: Bool[np.ndarray, " n"]
    num_classes: int


# 2. Data --------------------------------------------------------------------------------------------------------
def make_data(config: Config, key: RandomKey) -> Data:
    """Random training and validation rows; labels are made wrong in both, as in a set that nobody has cleaned."""
    source = load_any(config.data, config.data_dir)
    pick, wrong = prng.streams(key, "subset", "mislabel")
    most, held = len(source.train.labels), config.validation_size
    size = most - held if config.train_size is None else config.train_size
    if size < 2 or size + held > most:
        raise BadInput(f"train_size: {max(size, 0)} with validation_size {held} is not allowed, at least 2 are needed "
                       f"and {config.data} has {most} training examples for the two together")  # fmt: skip
    order = np.asarray(jax.random.permutation(pick, most))[: held + size]
    drawn = Examples(*(jnp.asarray(np.asarray(leaf)[order]) for leaf in source.train))
    noisy, mask = mislabel(wrong, drawn, source.num_classes, config.corrupt)
    parts = slice(held, None), slice(0, held // 2), slice(held // 2, held)
    train, choose, judge = (Examples(*(leaf[part] for leaf in noisy)) for part in parts)
    if len(source.test.labels) and Path(config.data).suffix == ".npz":
        choose, judge = Examples(*(leaf[:held] for leaf in noisy)), Examples(*map(jnp.asarray, source.test))
    per = "global" if len(source.shape) > 1 else "pixel"
    used, first, second = (standardise(part, train, per=per) for part in (train, choose, judge))
    facts = (np.asarray(train.inputs), order[held:], np.asarray(mask)[held:], source.num_classes)
    return Data(used, first, second, *facts)


# 3. Model -------------------------------------------------------------------------------------------------------
def make_model(config: Config, shape: tuple[int, ...], num_classes: int) -> Model:
    """An MLP, a small CNN, or the user's own model."""
    if ":" in config.model:
        return imported_model(config.model, shape, num_classes)
    if config.model == "mlp":
        return mlp(shape, config.hidden_sizes, num_classes)
    if config.model != "cnn":
        raise BadInput(f"model: {config.model!r} is not mlp, cnn, module:callable or path/to/file.py:callable")
    sizes = {"channels": config.channels, "dense": config.dense, "kernel": config.kernel, "crop": config.crop}
    return alexnet_small(shape, num_classes, **sizes, padding=config.padding, pool_stride=config.pool_stride)


# 4. Objective ---------------------------------------------------------------------------------------------------
def make_objective(config: Config, model: Model) -> Objective:
    """Mean cross-entropy of the given labels."""
    return classification(model)


# 5. Run ---------------------------------------------------------------------------------------------------------
def run(config: Config, key: RandomKey, run_dir: Path) -> Records:
    """Two sweeps, over random subsets and over seeds on all examples; then each seed's network is questioned."""
    data_key, subset_key, lane_key, search_key = prng.streams(key, "data", "subsets", "lanes", "search")
    data = make_data(config, data_key)
    model = make_model(config, data.train.inputs.shape[1:], data.num_classes)
    optimizer, keys = make_optimizer(config.optimizer), prng.lane_keys(lane_key, config.seeds)
    sampler, lanes = EpochSampler(data.train, config.batch_size), config.lanes or "auto"
    subsets = train_on_subsets(
        model, optimizer, data.train, subset_key, models=config.subsets, epochs=config.epochs,
        batch_size=config.batch_size, run_dir=run_dir / "chunks" / "subsets", lanes=lanes,
    )  # fmt: skip
    probes = {
        "examples": ExampleProbe(data.train, model.apply, config.directions),
        "choose": AccuracyProbe(data.choose, model.apply),
        "judge": AccuracyProbe(data.judge, model.apply),
    }
    every = sampler.steps_per_epoch
    train = make_train(model, make_objective(config, model), optimizer, sampler, probes, config.epochs * every, every)
    fit = sweep(train, keys, run_dir=run_dir / "chunks" / "seeds", lanes=lanes)
    records = from_fit(fit, probe_every=every)
    extra = {f"subset/{name}": array for name, array in subsets._asdict().items()}
    extra["critical/found"] = critical_examples(model.apply, fit.state.params, data.train, search_key, config.radii)
    some = keys[: config.sensitivity_seeds]
    sensitivity = training_sensitivity(
        model, config.optimizer, sampler, some, epochs=config.epochs, targets=config.sensitivity_times
    )
    extra |= {} if sensitivity is None else {"sensitivity/mean": sensitivity}
    facts = {"labels": data.train.labels, "index": data.index, "flipped": data.flipped, "inputs": data.raw}
    facts |= {"num_classes": data.num_classes, "subset_models": config.subsets}
    return records._replace(arrays=records.arrays | extra | {f"data/{k}": np.asarray(v) for k, v in facts.items()})


# 6. Analysis ----------------------------------------------------------------------------------------------------
def analyse(records: Records) -> Tables:
    """Every example with its scores, most suspect first; how well each finds wrong labels; and when to stop."""
    arrays = records.arrays
    labels, flipped, classes = (arrays[f"data/{name}"] for name in ("labels", "flipped", "num_classes"))
    scores, predicted = _scores(records), arrays["subset/predicted"]
    say, agreement = most_frequent(predicted, ~arrays["subset/member"], int(classes))
    scores = {"suspicion": suspicion(scores), **scores}
    order = np.argsort(-scores["suspicion"], kind="stable")
    columns = {"index": arrays["data/index"], "label": labels, "models_say": say, "agreement": agreement}
    columns |= {"made_wrong": flipped} | scores
    ranked = pa.table({"rank": np.arange(1, len(order) + 1)} | {name: value[order] for name, value in columns.items()})
    seeds = {name: int(arrays["data/subset_models"]) for name in ("memorization", "held_out_difficulty")}
    kinds = (len(arrays["examples/loss"]), len(arrays.get("sensitivity/mean", ())))
    rows = [{"score": name, **_detection(values, flipped), "seeds": seeds.get(name, kinds[name == "sensitivity"])}
            for name, values in scores.items()]  # fmt: skip
    return {"advice": report.tidy_table(_advice(records), ADVICE), "suspects": report.captioned(ranked, SUSPECTS),
            "detection": report.tidy_table(rows, DETECTION)}  # fmt: skip


def _scores(records: Records) -> dict[str, Float[np.ndarray, " n"]]:
    arrays = records.arrays
    looks = Looks(*(arrays[f"examples/{name}"] for name in Looks._fields))
    member, predicted, critical = (arrays[n] for n in ("subset/member", "subset/predicted", "critical/found"))
    return audit_scores(arrays["data/labels"], looks, member, predicted, critical, arrays.get("sensitivity/mean"))


def _detection(score: Float[np.ndarray, " n"], flipped: Bool[np.ndarray, " n"]) -> dict[str, float]:
    if not flipped.any():
        return dict.fromkeys(("value", "low", "high", "precision"), np.nan)
    return auroc(score, flipped)._asdict() | {"precision": precision_at(score, flipped)}


def _advice(records: Records) -> list[dict[str, Any]]:
    choose, judge = (curves(records, f"{split}/accuracy", ())[()] for split in ("choose", "judge"))
    found = early_stopping(choose, np.arange(1, choose.shape[1] + 1))
    stopped = value_at(judge, choose)
    fitted = (records.arrays["examples/predicted"][:, -1] == records.arrays["data/labels"]).mean(axis=1)
    values = {"fit at the end": fitted, "best epoch": found.time, "accuracy there": stopped,
              "accuracy at the end": judge[:, -1], "gain from stopping": stopped - judge[:, -1]}  # fmt: skip
    return [{"quantity": name, **seed_cells(np.asarray(value, np.float64))} for name, value in values.items()]


ADVICE = (
    "The share of audited examples that end up as labelled (only what is fitted can be memorized: below 0.99, train "
    "longer); the epoch of best accuracy on one held-out set; and accuracies on another, which took no part in the "
    "choice. Means over seeds with Student's 95 % intervals."
)
SUSPECTS = (
    "One row per audited example, most suspect first: its index in the training split, its given label, what most "
    "models say that were trained without it and the share of them, whether the audit itself made the label wrong, "
    "the mean rank in the scores that look at the label (suspicion), and the scores: "
    + "; ".join(f"{name}: {text}" for name, text in SCORES.items()) + "."
)  # fmt: skip
DETECTION = (
    "Per score: the probability that a label made wrong has a higher score than another (AUROC) with DeLong's 95 % "
    "interval over examples, and the share of labels made wrong among as many highest scores as there are of them. "
    "Empty where no labels were made wrong (corrupt is 0)."
)


# 7. Figures -----------------------------------------------------------------------------------------------------
def figures(records: Records, tables: Tables) -> Mapping[str, Plate]:
    """The top suspects where they are pictures, accuracies along training, and how well each score searches."""
    arrays, suspects = records.arrays, tables["suspects"]
    accuracies = {name: curves(records, f"{split}/accuracy", ())[()] for split, name in SPLITS.items()}
    with report.house_style():
        plates = {"accuracy": audits.accuracy_plate(accuracies)}
        if arrays["data/inputs"].ndim == 4 and arrays["data/inputs"].shape[-1] in (1, 3):
            place = {index: row for row, index in enumerate(arrays["data/index"])}
            rows = suspects.slice(0, 30).to_pylist()
            pictures = arrays["data/inputs"][[place[row["index"]] for row in rows]]
            plates = {"suspects": audits.suspects_plate(pictures, rows)} | plates
        if arrays["data/flipped"].any():
            plates |= {
                "search": audits.search_plate(suspects),
                "detection": audits.detection_plate(tables["detection"]),
            }
        return plates


SPLITS = {"train": "training steps", "choose": "held out, to choose", "judge": "held out, to judge"}


# 8. Claims ------------------------------------------------------------------------------------------------------
def _finds(score: str, least: float) -> Callable[[Tables], Obtained]:
    def check(tables: Tables) -> Obtained:
        found, row = cell(tables["detection"], score=score), report.find_row(tables["detection"], score=score)
        note = f"AUROC, interval over examples; {row['precision']:.0%} right among as many suspects as wrong labels"
        if np.isnan(found.value):
            note = "no labels were made wrong: set corrupt above 0 to see how many of them are found"
        return Obtained(*found, f"> {least:g}", found.low > least, note)

    return check


def _early_stopping_gains(tables: Tables) -> Obtained:
    found = cell(tables["advice"], quantity="gain from stopping")
    note = "epoch chosen on one held-out set, judged on another; labels there are wrong as often"
    return Obtained(*found, "> 0", found.low > 0, note)


def _claim(name: str, statement: str, source: str, published: str, check: Callable[[Tables], Obtained]) -> Claim:
    return Claim(name=name, statement=statement, source=source, published=published, check=check)


CLAIMS = (
    _claim("memorization-finds", "Mislabelled examples have high memorization scores.", "Feldman and Zhang 2020",
           "outliers and mislabelled examples", _finds("memorization", 0.9)),
    _claim("curvature-finds", "The loss is more curved around mislabelled examples.", "Garg, Ravikumar and Roy 2024",
           "curvature over epochs detects mislabelled examples", _finds("curvature", 0.9)),
    _claim("loss-finds", "The loss summed over training detects mislabelled examples.", "Ravikumar et al. 2024",
           "stands in for the memorization score", _finds("cumulative_loss", 0.9)),
    _claim("forgetting-finds", "Mislabelled examples are forgotten more often.", "Toneva et al. 2019",
           "noisy labels are forgotten more", _finds("forgetting", 0.5)),
    _claim("early-stopping", "Early stopping matters where examples are mislabelled.", "Arpit et al. 2017, section 4.2",
           "matters with wrong labels", _early_stopping_gains),
)  # fmt: skip

# 9. Experiment --------------------------------------------------------------------------------------------------
EXPERIMENT = Experiment(
    name="memorization_audit",
    question="Which examples does a model learn by heart, which labels are suspect, and when should training stop?",
    source="thesis ch. 3, as a tool",
    config=Config,
    run=run,
    analyse=analyse,
    figures=figures,
    claims=CLAIMS,
)

if __name__ == "__main__":
    from mlrisk.cli import main

    sys.exit(main(["run", EXPERIMENT.name, *sys.argv[1:]]))

"""Which objectives learn the shape of coloured digits, where the colour predicts better in training and then not?"""

import functools
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import jax.numpy as jnp
import numpy as np
from jaxtyping import Float
from matplotlib.figure import Figure

from mlrisk import prng, report
from mlrisk.config import setting
from mlrisk.data.coloured import ColouredSampler
from mlrisk.errors import BadInput, one_of
from mlrisk.experiment import Experiment
from mlrisk.harness import (
    Records,
    block_length,
    coloured_runs,
    curve_rows,
    curves,
    from_fit,
    merge,
    spread_cells,
    sweep,
)
from mlrisk.harness.colour_blocks import ColouredModel, coloured_mlp
from mlrisk.harness.coloured import HeldOutDomainsProbe, TrainingDomainsProbe, domain_objective
from mlrisk.harness.coloured_runs import ColouredSetting, GreyParts, coloured_train
from mlrisk.harness.selection import RULES, by_rule
from mlrisk.measures import Interval, interval_difference
from mlrisk.objectives.domains import METHODS
from mlrisk.report import PALETTE, Claim, Obtained, Plate, Tables
from mlrisk.types import Objective, RandomKey

SOURCE = "Krueger et al. 2021, Table 2 (thesis Table 5.2)"
GREY = "grey"
WORDS = coloured_runs.WORDS | {GREY: "grey oracle"}
PARTS = ("train", "validation", "test")


# 1. Config ------------------------------------------------------------------------------------------------------
@dataclass(frozen=True)
class Config:
    """Question: which objectives ignore a spurious colour? Krueger et al. 2021, Table 2 (thesis Table 5.2)."""

    dataset: Literal["digits", "mnist"] = setting("digits", "which data set")
    data_dir: str | None = setting(None, "where prepared data sets are", identity=False)
    pool: int = setting(1000, "training pictures; the rest of the training split is the test domain", at_least=2)
    label_noise: float = setting(0.25, "probability that a label is wrong", at_least=0, at_most=1)
    train_noise: tuple[float, ...] = setting((0.2, 0.1), "P(colour is not the label's)", at_least=0, at_most=1, items=2)
    test_noise: float = setting(0.9, "the same in the test domain", at_least=0, at_most=1)
    settings: tuple[str, ...] = setting(("default",), "which of the two settings are run: default, tuned", items=1)
    default: ColouredSetting = setting(ColouredSetting(), "the setting of the published code's defaults")
    tuned: ColouredSetting = setting(coloured_runs.TUNED, "the setting that IRM was tuned to, on the test domain")
    grey: ColouredSetting = setting(coloured_runs.ORACLE, "the setting of the oracle that sees no colours")
    judgements: int = setting(25, "times that a network is judged; divides the steps", at_least=1)
    restarts: int = setting(10, "restarts per method: initialisation, split, labels, colours", at_least=2)
    seed: int = setting(0, "root of all random numbers", at_least=0)
    lanes: int | None = setting(None, "lanes abreast on a device (default: chosen)", at_least=1, identity=False)

    def chosen(self) -> dict[str, ColouredSetting]:
        """The settings that are run, by name."""
        if wrong := [name for name in self.settings or ("",) if name not in ("default", "tuned")]:
            raise BadInput(one_of("settings", wrong[0], ("default", "tuned")))
        return {name: getattr(self, name) for name in self.settings}

    def scale(self) -> str:
        """The size of the run in one phrase."""
        widths = ", ".join(f"2 x {one.hidden} ({name})" for name, one in self.chosen().items())
        return f"{self.pool:,} pictures of {self.dataset}, MLP {widths}, {self.restarts} restarts"


# 2. Data --------------------------------------------------------------------------------------------------------
def make_data(config: Config, key: RandomKey) -> GreyParts:
    """Grey pictures for training, validation and test; colours are drawn by each lane."""
    del key
    return coloured_runs.grey_parts(config.dataset, config.data_dir, config.pool)


# 3. Model -------------------------------------------------------------------------------------------------------
def make_model(config: Config, hidden: int, pixels: int, channels: int) -> ColouredModel:
    """Two hidden layers of ReLU, Glorot's uniform weights, one logit."""
    return coloured_mlp(hidden, pixels, channels)


# 4. Objective ---------------------------------------------------------------------------------------------------
def make_objective(config: Config, model: ColouredModel) -> Objective:
    """Equations 5.3 to 5.8 and IRMv1, whichever the lane says, with L2 and the division by the weight."""
    return domain_objective(model, len(config.train_noise))


# 5. Run ---------------------------------------------------------------------------------------------------------
def run(config: Config, key: RandomKey, run_dir: Path) -> Records:
    """For each setting one sweep over methods and restarts, and one of the grey oracle."""
    data_key, lane_key = prng.streams(key, "data", "lanes")
    data = make_data(config, data_key)
    sweep_of = functools.partial(_sweep, config, data, lane_key, run_dir / "chunks")
    parts = {name: sweep_of(name, one, list(METHODS)) for name, one in config.chosen().items()}
    return merge(parts | {GREY: sweep_of(GREY, config.grey, [GREY])}, "setting")


def _sweep(
    config: Config, data: GreyParts, key: RandomKey, run_dir: Path, name: str, one: ColouredSetting, methods: list[str]
) -> Records:
    model = make_model(config, one.hidden, data.train.pictures.shape[1], 1 if name == GREY else 2)
    noise, wrong = jnp.asarray(config.train_noise), config.label_noise
    sampler = ColouredSampler(data.train, noise, wrong)
    held_out = functools.partial(HeldOutDomainsProbe, label_noise=wrong, model=model)
    probes = {
        "train_domains": TrainingDomainsProbe(sampler, model, len(config.train_noise)),
        "validation_domains": held_out(data.validation, noise),
        "test_domain": held_out(data.test, jnp.asarray([config.test_noise])),
    }
    objective = make_objective(config, model)
    every = block_length(one.steps, config.judgements, "judgements")
    train = coloured_train(model, objective, one, sampler, probes, every)
    hypers = coloured_runs.penalties(["erm"] if name == GREY else methods, one)
    keys = prng.lane_keys(key, config.restarts)
    fit = sweep(train, keys, hypers, lanes=config.lanes or "auto", run_dir=run_dir / name)
    records = from_fit(fit, probe_every=train.probe_every, settings={"method": methods})
    return records._replace(arrays={"steps": train.probe_every * (1 + np.arange(train.num_blocks))})


# 6. Analysis ----------------------------------------------------------------------------------------------------
BY = ("setting", "method")
Curves = dict[str, Float[np.ndarray, "restarts judgements"]]


def analyse(records: Records) -> Tables:
    """Accuracies of each setting and method by three rules of selection.

    Selection: the last step, as published; the step with the best accuracy on held-out pictures of the training
    domains; and, for comparison only, the step with the best accuracy in the test domain itself. The table of choices
    takes setting and step by the second rule.
    """
    found = _found(records)
    outcomes = [
        {**dict(zip(BY, key, strict=True)), "rule": rule, "part": part, **spread_cells(values)}
        for key, own in found.items()
        for rule in RULES
        for part, values in by_rule(own, rule).items()
    ]
    choices = [_choice(found, method) for method in METHODS]
    lines = [
        row
        for part in PARTS
        for row in curve_rows({key: own[part] for key, own in found.items()}, BY,
                              lambda key: records.arrays[f"{key[0]}/steps"], part=part)
    ]  # fmt: skip
    return {"outcomes": report.tidy_table(outcomes, OUTCOMES), "choices": report.tidy_table(choices, CHOICES),
            "training": report.tidy_table(lines, TRAINING)}  # fmt: skip


def _found(records: Records) -> dict[tuple[Any, ...], Curves]:
    each = {part: curves(records, f"{part}_domain{'s' * (part != 'test')}/accuracy", BY) for part in PARTS}
    return {key: {part: each[part][key] for part in PARTS} for key in each["test"]}


def _choice(found: dict[tuple[Any, ...], Curves], method: str) -> dict[str, Any]:
    each = {key[0]: by_rule(own, "training domains") for key, own in found.items() if key[1] == method}
    name = max(each, key=lambda one: each[one]["validation"].mean())
    return {"method": method, "setting": name, **spread_cells(each[name]["test"])}


OUTCOMES = (
    "Accuracy in the training domains, on held-out pictures of them (validation), in the test domain; 95 % intervals "
    "over restarts, and standard deviations, as published. Rules: last step (published); each restart's best step by "
    "validation; its best step by the test domain, which no fair comparison may use."
)
CHOICES = "Test accuracy when setting and step are chosen by validation accuracy in the training domains."
TRAINING = "Accuracy along training, means over restarts with 95 % intervals."


# 7. Figures -----------------------------------------------------------------------------------------------------
def figures(records: Records, tables: Tables) -> Mapping[str, Plate]:
    """Table 5.2 as a chart, and accuracies along training."""
    with report.house_style():
        settings = [name for name in dict.fromkeys(tables["outcomes"]["setting"].to_pylist()) if name != GREY]
        lines = {f"training_{name}": _lines(tables, name) for name in settings}
        return {"test_accuracy": _chart(tables, settings), **lines}


def _chart(tables: Tables, settings: list[str]) -> Plate:
    figure = Figure(figsize=(4.4 * len(settings) + 0.8, 3.2))
    rows = tables["outcomes"].to_pylist()
    looks = {word: {"color": color} for word, color in zip(WORDS.values(), COLOURS, strict=True)}
    for axes, name in zip(figure.subplots(1, len(settings), sharey=True, squeeze=False)[0], settings, strict=True):
        found: dict[str, list[Interval]] = {word: [] for word in WORDS.values()}
        for rule in RULES:
            for row in (r for r in rows if r["rule"] == rule and r["part"] == "test" and r["setting"] in (name, GREY)):
                found[WORDS[row["method"]]].append(Interval(row["value"], row["low"], row["high"]))
        report.interval_chart(axes, found, looks, ("o", "s", "^"))
        for place, word in enumerate(found):
            axes.plot(PUBLISHED[word][1], place, "k|", ms=16)
        axes.set(xlabel="accuracy in the test domain", title=name, xlim=(0, 0.8))
    return Plate(figure, "Accuracy in the test domain at the last step (dots), at the step chosen in the training "
                         "domains (squares) and by the test domain itself (triangles); 95 % intervals over restarts. "
                         "Strokes: published, at the last step.")  # fmt: skip


def _lines(tables: Tables, name: str) -> Plate:
    figure, rows = Figure(figsize=(8.6, 3.2)), tables["training"].to_pylist()
    for axes, part in zip(figure.subplots(1, 3, sharey=True), PARTS, strict=True):
        for method, color in zip(METHODS, COLOURS, strict=False):
            line = [r for r in rows if (r["setting"], r["method"], r["part"]) == (name, method, part)]
            report.banded_line(axes, line, "epoch", color=color, label=WORDS[method])
        axes.set(title=part, xlabel="full-batch steps", ylim=(0, 1))
    figure.axes[0].set_ylabel("accuracy")
    figure.legend(*figure.axes[0].get_legend_handles_labels(), loc="outside right center")
    return Plate(figure, f"{name}: accuracy in training domains, on held-out pictures of them, in the test domain.")


COLOURS = (*list(PALETTE.values())[:5], PALETTE["ink"])
PUBLISHED = {"ERM": (0.874, 0.171), "RI": (0.889, 0.223), "MM-REx": (0.724, 0.661), "V-REx": (0.715, 0.687),
             "IRMv1": (0.708, 0.669), "grey oracle": (0.735, 0.730)}  # train and test accuracy, last step # fmt: skip


# 8. Claims ------------------------------------------------------------------------------------------------------
# how far from the published accuracies, train and test, a mean may lie
BANDS = {"erm": (0.01, 0.02), "group_dro": (0.02, 0.06), "mm_rex": (0.03, 0.03), "v_rex": (0.03, 0.03),
         "irm_v1": (0.03, 0.03), GREY: (0.01, 0.01)}  # fmt: skip
ERM_ROW = "published by IRM's code, whose loss is the mean of the risks: twice this weight decay against them"


def _row(tables: Tables, method: str, rule: str, part: str) -> dict[str, Any]:
    """The row of a method, in the tuned setting where both were run."""
    rows = tables["outcomes"].to_pylist()
    return [r for r in rows if (r["method"], r["rule"], r["part"]) == (method, rule, part)][-1]


def _accuracy(method: str, part: str) -> Claim:
    published = PUBLISHED[WORDS[method]][PARTS.index(part) // 2]
    band = BANDS[method][PARTS.index(part) // 2]

    def check(tables: Tables) -> Obtained:
        row = _row(tables, method, "last step", part)
        remark = f"; {ERM_ROW}" if method == "erm" else ""
        note = f"setting {row['setting']}; standard deviation over restarts {row['deviation']:.3f}{remark}"
        ends = (row["value"], row["low"], row["high"], row["seeds"])
        return Obtained(*ends, f"within {band:g} of the published", abs(row["value"] - published) <= band, note)

    selection = "last step; hyper-parameters were published, those of IRM and of the oracle tuned on the test domain"
    return Claim(name=f"{method}-{part}", statement=f"{WORDS[method]}: {part} accuracy.", source=SOURCE,
                 published=f"{published:.3f}", selection=selection, check=check)  # fmt: skip


def _above(first: str, second: str, least: float, statement: str) -> Claim:
    """The mean test accuracy of one method less that of another, as if their intervals were independent."""

    def check(tables: Tables) -> Obtained:
        one, other = (_row(tables, name, "last step", "test") for name in (first, second))
        apart = interval_difference(*(Interval(r["value"], r["low"], r["high"]) for r in (one, other)))
        return Obtained(*apart, one["seeds"], f"interval above {least:g}", apart.low > least)

    name = f"{first}-above-{second}".replace("_", "-")
    return Claim(name=name, statement=statement, source=SOURCE, published="above", selection="last step", check=check)


def _fair(method: str) -> Claim:
    def check(tables: Tables) -> Obtained:
        row = next(r for r in tables["choices"].to_pylist() if r["method"] == method)
        ends = (row["value"], row["low"], row["high"], row["seeds"])
        note = f"setting {row['setting']}, each restart's best step by validation"
        return Obtained(*ends, "interval below 0.5, chance", row["high"] < 0.5, note)

    statement = f"{WORDS[method]} follows the colour when setting and step are chosen in the training domains."
    return Claim(name=f"{method}-fair", statement=statement, source="Gulrajani and Lopez-Paz 2021 (another network)",
                 published="about 0.10", selection="training-domain validation", check=check)  # fmt: skip


CLAIMS = (
    *(_accuracy(method, part) for method in WORDS for part in ("train", "test")),
    _above("v_rex", "erm", 0.3, "V-REx generalises where ERM follows the colour."),
    _above("v_rex", "group_dro", 0.3, "V-REx generalises where group DRO follows the colour."),
    _above("v_rex", "irm_v1", 0.0, "V-REx is above IRM."),
    _above("v_rex", "mm_rex", 0.0, "V-REx is above MM-REx."),
    *(_fair(method) for method in METHODS),
)

# 9. Experiment --------------------------------------------------------------------------------------------------
EXPERIMENT = Experiment(
    name="colored_mnist",
    question="Which objectives ignore a colour that predicts the label in training and misleads in the test domain?",
    source="Krueger et al. 2021, Table 2 (thesis Table 5.2)",
    config=Config,
    run=run,
    analyse=analyse,
    figures=figures,
    claims=CLAIMS,
)

if __name__ == "__main__":
    from mlrisk.cli import main

    sys.exit(main(["run", EXPERIMENT.name, *sys.argv[1:]]))

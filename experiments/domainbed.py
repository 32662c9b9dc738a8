"""Does any algorithm beat ERM in a domain it has not seen? The DomainBed protocol, with its three selection rules."""

import itertools
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from matplotlib.figure import Figure

from mlrisk import prng, report
from mlrisk.config import setting
from mlrisk.data import load
from mlrisk.data.coloured_domains import COLOUR_NOISE, coloured_domains
from mlrisk.data.domain_splits import DomainSampler, DomainSource
from mlrisk.data.picture_domains import picture_domains
from mlrisk.data.rotated import ANGLES, rotated_domains
from mlrisk.errors import BadInput, one_of
from mlrisk.experiment import Experiment
from mlrisk.harness import Records, block_length, from_fit, make_train, merge, sweep
from mlrisk.harness.domain_probe import DomainProbe
from mlrisk.harness.domain_runs import BETWEEN, RULES, Accuracies, accuracy_rows, run_rows
from mlrisk.measures.intervals import Interval
from mlrisk.models.mnist_cnn import CHANNELS, mnist_cnn
from mlrisk.models.resnet import IMAGENET_MEAN, IMAGENET_STD, resnet
from mlrisk.objectives.domain_hyperparameters import draw_hyperparameters, stacked
from mlrisk.objectives.domain_training import algorithm_model, algorithm_objective, algorithm_optimizer, at_step
from mlrisk.objectives.featurised import FeaturisedModel
from mlrisk.report import PALETTE, Claim, Obtained, Plate, Tables
from mlrisk.report.published_domains import NAN, published
from mlrisk.types import Objective, RandomKey

SOURCE = "Gulrajani and Lopez-Paz 2021, ColoredMNIST and RotatedMNIST tables (commit 7df6f06)"


# 1. Config ------------------------------------------------------------------------------------------------------
@dataclass(frozen=True)
class Config:
    """Question: does an algorithm beat ERM in an unseen domain? Krueger et al. 2021, Table 3."""

    domains: Literal["coloured", "rotated", "folder"] = setting("coloured", "what makes the domains")
    dataset: Literal["digits", "mnist"] = setting("digits", "digits to colour or rotate; both splits are pooled")
    data_dir: str | None = setting(None, "where prepared data sets are", identity=False)
    folder: str | None = setting(None, "pictures as domain/class/file, for domains: folder")
    examples: int | None = setting(None, "digits of all domains together (default: all)", at_least=1)
    stride: int = setting(1, "keep every so many rows and columns of the digits", at_least=1)
    channels: tuple[int, ...] = setting(CHANNELS, "of the CNN's four convolutions", at_least=1)
    image_size: int = setting(224, "pixels of a side of the folder's pictures", at_least=1)
    depth: int = setting(50, "layers of the ResNet for the folder's pictures, 18 or 50")
    weights: str | None = setting(None, "pretrained ResNet as .npz with torchvision's names (default: none)")
    algorithms: tuple[str, ...] = setting(("ERM", "IRM", "GroupDRO", "VREx", "CORAL", "MMD"), "by name", items=1)
    test_domains: tuple[str, ...] = setting((), "domains to test on, by name (default: each in turn)")
    leave_one_out: bool = setting(default=True, help="also train without pairs of domains, which the second rule needs")
    draws: int = setting(20, "points of the random search; the first has the defaults", at_least=1)
    trials: int = setting(3, "repetitions: domains, held-out parts and initialisation", at_least=2)
    batch_size: int | None = setting(None, "examples of a domain in a step (default: as drawn)", at_least=2)
    num_steps: int = setting(5001, "of each run; published switching times are scaled with it", at_least=1)
    checkpoints: int = setting(3, "judgements along a run, evenly spaced; divides num_steps", at_least=1)
    judged: int = setting(2500, "examples judged in each part of a domain, at most", at_least=1)
    seed: int = setting(0, "root of all random numbers", at_least=0)
    lanes: int | None = setting(None, "lanes abreast on a device (default: chosen)", at_least=1, identity=False)

    def scale(self) -> str:
        """The size of the run in one phrase."""
        what = f"{self.domains} {self.dataset if self.domains != 'folder' else self.folder}"
        return f"{what}, {self.num_steps:,} steps, {self.draws} draws, {self.trials} trials"


class Data(NamedTuple):
    """Pictures with what makes domains of them, the domains' names, and the number of classes."""

    source: DomainSource
    names: tuple[str, ...]
    num_classes: int


# 2. Data --------------------------------------------------------------------------------------------------------
def make_data(config: Config, key: RandomKey) -> Data:
    """Digits of both splits in one pool, as in the protocol, or the pictures of a folder."""
    if config.domains == "folder":
        if config.folder is None:
            raise BadInput("folder: none given; domains: folder needs one with pictures as domain/class/file")
        pictures = picture_domains(config.folder, config.image_size, IMAGENET_MEAN, IMAGENET_STD)
        return Data(pictures, pictures.names, len(pictures.class_names))
    found = load(config.dataset, config.data_dir)
    inputs, labels = (np.concatenate(pair) for pair in zip(found.train, found.test, strict=True))
    most = config.examples or len(labels)
    if most > len(labels):
        raise BadInput(f"examples: {most} is not allowed, {config.dataset} has {len(labels)}")
    rows = np.asarray(jax.random.permutation(key, len(labels)))[:most]
    small = jnp.asarray(inputs[rows, :: config.stride, :: config.stride, 0])
    if config.domains == "coloured":
        return Data(coloured_domains(small, jnp.asarray(labels[rows])), tuple(COLOUR_NOISE), 2)
    return Data(rotated_domains(small, jnp.asarray(labels[rows])), tuple(f"{angle:g}" for angle in ANGLES), 10)


def held_out(config: Config, names: Sequence[str]) -> list[tuple[str, ...]]:
    """Which domains are left out of training: each test domain, and its pairs for leave-one-domain-out."""
    if wrong := [name for name in config.test_domains if name not in names]:
        raise BadInput(one_of("test_domains", wrong[0], names))
    tested, several = config.test_domains or tuple(names), config.leave_one_out and len(names) > 2
    pairs = [pair for pair in itertools.combinations(names, 2) if several and set(pair) & set(tested)]
    return [*((name,) for name in tested), *pairs]


# 3. Model -------------------------------------------------------------------------------------------------------
def make_model(config: Config, data: Data) -> FeaturisedModel:
    """The CNN for digits, or a ResNet with fixed batch statistics."""
    if config.domains == "folder":
        return resnet(config.depth, data.num_classes, config.weights)
    return mnist_cnn(2 if config.domains == "coloured" else 1, data.num_classes, config.channels)


# 4. Objective ---------------------------------------------------------------------------------------------------
def make_objective(config: Config, network: FeaturisedModel, algorithm: str) -> Objective:
    """The loss of an algorithm."""
    return algorithm_objective(algorithm, network, drops=config.domains == "folder")


# 5. Run ---------------------------------------------------------------------------------------------------------
def run(config: Config, key: RandomKey, run_dir: Path) -> Records:
    """One sweep for each algorithm, number of training domains and batch size; draws and trials are its lanes."""
    data_key, search_key, lane_key = prng.streams(key, "data", "search", "lanes")
    data = make_data(config, data_key)
    held, keys = held_out(config, data.names), prng.lane_keys(lane_key, config.trials)
    parts = {}
    for algorithm in config.algorithms:
        for (size, batch), lanes in _lanes(config, algorithm, held, search_key).items():
            part = f"{algorithm}-{size}-{batch}"
            parts[part] = _sweep(config, data, algorithm, lanes, keys, batch, run_dir / "chunks" / part)
    facts = {"names": np.asarray(data.names), "domains": np.asarray([config.domains])}
    return merge(parts, "part")._replace(arrays=facts)


Lanes = list[tuple[tuple[str, ...], int, dict[str, float]]]


def _lanes(config: Config, algorithm: str, held: list[tuple[str, ...]], key: RandomKey) -> dict[Any, Lanes]:
    """Held-out domains, draw and hyper-parameters, grouped by what has a shape of its own."""
    kind = "large" if config.domains == "folder" else "small"
    found: dict[Any, Lanes] = {}
    for draw in range(config.draws):
        point = draw_hyperparameters(key, algorithm, draw, pictures=kind, num_steps=config.num_steps)
        batch = config.batch_size or int(point["batch_size"])
        for out in held:
            found.setdefault((len(out), batch), []).append((out, draw, point | {"batch_size": float(batch)}))
    return found


def _sweep(config: Config, data: Data, algorithm: str, lanes: Lanes, keys: Any, batch: int, run_dir: Path) -> Records:
    network = make_model(config, data)
    trained = [[place for place, name in enumerate(data.names) if name not in out] for out, _, _ in lanes]
    hypers = stacked([point for _, _, point in lanes]) | {"domains": jnp.asarray(trained, jnp.int32)}
    probes = {p: DomainProbe(data.source, data.names, p, network.apply, config.judged) for p in ("inside", "outside")}
    train = make_train(
        algorithm_model(algorithm, network, len(trained[0])),
        make_objective(config, network, algorithm),
        algorithm_optimizer(algorithm),
        DomainSampler(data.source, batch),
        probes,
        num_steps=config.num_steps,
        probe_every=block_length(config.num_steps, config.checkpoints, "checkpoints"),
        schedule=at_step,
        keep_state=False,
    )
    fit = sweep(train, keys, hypers, lanes=config.lanes or "auto", run_dir=run_dir)
    columns: dict[str, list[Any]] = {"algorithm": [algorithm] * len(lanes), "draw": [draw for _, draw, _ in lanes]}
    columns["held_out"] = [BETWEEN.join(out) for out, _, _ in lanes]
    columns["hyper"] = [", ".join(f"{name} {value:.3g}" for name, value in point.items()) for _, _, point in lanes]
    return from_fit(fit, probe_every=train.probe_every, settings=columns)


# 6. Analysis ----------------------------------------------------------------------------------------------------
def analyse(records: Records) -> Tables:
    """Accuracy in the test domain by algorithm and selection rule; only the oracle sees the test domain."""
    found, domains = Accuracies(records), str(records.arrays["domains"][0])
    rows = [row | {"published": _known(domains, found, row)} for row in accuracy_rows(found)]
    return {"accuracy": report.tidy_table(rows, ACCURACY), "runs": report.tidy_table(list(run_rows(found)), RUNS)}


def _known(domains: str, found: Accuracies, row: dict[str, Any]) -> float:
    """An average over fewer test domains than all has no published number."""
    average = row["test domain"] == "average"
    if average and len(found.tested) < len(found.names):
        return NAN
    place = -1 if average else found.names.index(row["test domain"])
    return published(domains, row["algorithm"], RULES.index(row["rule"]), place)


ACCURACY = (
    "Accuracy in the test domain (its training part, as published) of the run that each rule selects; mean over "
    "trials with Student's 95 % interval and standard error. gain: over the first algorithm, paired by trial."
)
RUNS = "Every draw at its last checkpoint, mean over trials: held-out accuracy in training domains, test accuracy."


# 7. Figures -----------------------------------------------------------------------------------------------------
def figures(records: Records, tables: Tables) -> Mapping[str, Plate]:
    """Accuracy by algorithm, rule and test domain, and what validation says of each draw."""
    with report.house_style():
        return {"selection": _chart(tables), "draws": _scatter(tables)}


def _looks(names: Sequence[str]) -> dict[str, dict[str, Any]]:
    return {n: {"color": c, "linestyle": ""} for n, c in zip(names, itertools.cycle(PALETTE.values()), strict=False)}


def _chart(tables: Tables) -> Plate:
    rows: Any = [{k: NAN if v is None else v for k, v in row.items()} for row in tables["accuracy"].to_pylist()]
    algorithms, rules, tests = (list(dict.fromkeys(r[c] for r in rows)) for c in ("algorithm", "rule", "test domain"))
    figure = Figure(figsize=(1.6 + 1.9 * len(tests), 1.4 + 0.42 * len(algorithms)))
    for axes, test in zip(np.ravel(figure.subplots(1, len(tests), sharey=True)), tests, strict=True):
        here = {a: [r for r in rows if (r["algorithm"], r["test domain"]) == (a, test)] for a in algorithms}
        lines = {a: [Interval(r["value"], r["low"], r["high"]) for r in mine] for a, mine in here.items()}
        report.interval_chart(axes, lines, _looks(algorithms), "os^"[: len(rules)])
        for place, mine in enumerate(here.values()):
            heights = place + 0.24 * (np.arange(len(mine)) - (len(mine) - 1) / 2)
            axes.plot([r["published"] for r in mine], heights, "|", color=PALETTE["ink"], markersize=9)
        axes.set(xlabel=f"accuracy, {test}", xlim=(0, 1))
    shapes = ", ".join(f"{shape} {rule}" for shape, rule in zip(("circle", "square", "triangle"), rules, strict=False))
    return Plate(figure, f"Accuracy in each test domain by selection rule ({shapes}); mean over {rows[0]['seeds']} "
                 "trials, 95 % intervals; bars: published.")  # fmt: skip


def _scatter(tables: Tables) -> Plate:
    rows, axes = tables["runs"].to_pylist(), (figure := Figure()).subplots()
    last, names = rows[-1]["test domain"], list(dict.fromkeys(row["algorithm"] for row in rows))
    for (name, look), marker in zip(_looks(names).items(), itertools.cycle("osv^D*X"), strict=False):
        mine = [row for row in rows if (row["algorithm"], row["test domain"]) == (name, last)]
        axes.plot([r["validation"] for r in mine], [r["test"] for r in mine], label=name, marker=marker, **look)
    axes.legend()
    axes.set(xlabel="held-out accuracy in the training domains", ylabel=f"accuracy in {last}")
    return Plate(figure, f"Every draw of the random search at its last checkpoint, test domain {last}; means over "
                 f"{rows[0]['trials']} trials.")  # fmt: skip


# 8. Claims ------------------------------------------------------------------------------------------------------
def _best_gain(tables: Tables) -> Obtained:
    rows = [r for r in tables["accuracy"].to_pylist() if (r["rule"], r["test domain"]) == (RULES[0], "average")]
    row = max(rows[1:], key=lambda row: row["gain"])
    note = f"{row['algorithm']} over ERM, average over test domains, paired by trial; the best of {len(rows) - 1}"
    low = row["gain low"]
    return Obtained(row["gain"], low, row["gain high"], row["seeds"], "interval reaches below 0.01", low < 0.01, note)


def _published(tables: Tables) -> Obtained:
    row = report.find_row(tables["accuracy"], algorithm="VREx", rule=RULES[0], **{"test domain": "average"})
    criterion, near = f"within 0.03 of {row['published']:.3f}", abs(row["value"] - row["published"]) <= 0.03
    value = row["value"] if np.isfinite(row["published"]) else NAN  # nothing to be judged against
    return Obtained(value, row["low"], row["high"], row["seeds"], criterion, near, "average over domains")


def _follows_colour(tables: Tables) -> Obtained:
    rows = [r for r in tables["accuracy"].to_pylist() if (r["rule"], r["test domain"]) == (RULES[0], "-90%")]
    row = max(rows, key=lambda row: row["value"])
    note = "the best algorithm's: " + ", ".join(f"{r['algorithm']} {r['value']:.3f}" for r in rows)
    return Obtained(row["value"], row["low"], row["high"], row["seeds"], "all < 0.2", row["value"] < 0.2, note)


def _oracle(tables: Tables) -> Obtained:
    row = report.find_row(tables["accuracy"], algorithm="VREx", rule=RULES[2], **{"test domain": "-90%"})
    low, note = row["gain low"], f"V-REx over ERM in -90%, paired by trial; V-REx {row['value']:.3f}"
    return Obtained(row["gain"], low, row["gain high"], row["seeds"], "> 0, interval above 0", low > 0, note)


def _claim(name: str, statement: str, published: str, check: Any, selection: str = RULES[0]) -> Claim:
    return Claim(name=name, statement=statement, source=SOURCE, published=published, selection=selection, check=check)


CLAIMS = (
    _claim("none-beats-erm", "Selected on training domains, no algorithm beats ERM by more than a point on average.",
           "at most +0.6 points on ColoredMNIST", _best_gain),
    _claim("v-rex-average", "V-REx, selected on training domains, has the published average.",
           "51.8 +- 0.1 (52.1 in Krueger et al. 2021, Table 3); RotatedMNIST 97.9", _published),
    _claim("validation-follows-colour", "Selection on training domains keeps networks that follow the colour.",
           "10.0 to 10.2 % in -90%", _follows_colour),
    _claim("oracle-v-rex", "Selected by an oracle, V-REx beats ERM where the colour is reversed.",
           "55.2 +- 4.0 against 28.7 +- 0.5 in -90%", _oracle, RULES[2]),
)  # fmt: skip

# 9. Experiment --------------------------------------------------------------------------------------------------
EXPERIMENT = Experiment(
    name="domainbed",
    question="Does any algorithm beat ERM in a domain it has not seen, when hyper-parameters are chosen without it?",
    source="Krueger et al. 2021, Table 3; Gulrajani and Lopez-Paz 2021",
    config=Config,
    run=run,
    analyse=analyse,
    figures=figures,
    claims=CLAIMS,
)

if __name__ == "__main__":
    from mlrisk.cli import main

    sys.exit(main(["run", EXPERIMENT.name, *sys.argv[1:]]))

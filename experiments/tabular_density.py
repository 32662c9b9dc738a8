"""How well do autoregressive flows fit tables? Affine, spline and deep sigmoidal maps on the same conditioner."""

import functools
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float64
from matplotlib.figure import Figure

from mlrisk import prng, report
from mlrisk.bijectors import Flow, masked_autoregressive_flow
from mlrisk.config import setting
from mlrisk.data import RowSampler, Tabular, bsds300_patches, dequantised_digits, load_tabular
from mlrisk.data.density_benchmark import published, published_row
from mlrisk.data.patches import whole_patches
from mlrisk.data.uci import thinned
from mlrisk.errors import BadInput, one_of
from mlrisk.experiment import Experiment
from mlrisk.harness import BestRule, Fit, Records, from_fit, make_train, sweep
from mlrisk.harness.optimizers import OptimizerConfig, make_optimizer
from mlrisk.harness.probes import LikelihoodProbe, judged
from mlrisk.measures import Interval, gain_rows, score_rows
from mlrisk.models.whitened import Whitening, fit_whitening, gaussian_log_density, standard_normal, whitened
from mlrisk.objectives.density import log_density, maximum_likelihood
from mlrisk.report import PALETTE, Claim, Obtained, Plate, Tables
from mlrisk.types import Model, Objective, RandomKey

SOURCE = "Huang et al. 2018 (NAF), Table 3"
SAMPLES = 16
Table = Literal["digits", "power", "gas", "hepmass", "miniboone", "bsds300", "bsds300_hdf5"]


RECIPES: dict[str, dict[str, Any]] = {
    "maf_affine": {"transformer": "affine"},
    "maf_spline": {"transformer": "spline"},
    "maf_dsf": {"transformer": "dsf"},
    "maf_ddsf": {"transformer": "ddsf"},
    "ddsf_residual_lu": {"transformer": "ddsf", "residual": True, "mixing": "lu"},
}
COSINE = ("ddsf_residual_lu",)
COLORS = dict(zip(RECIPES, ("vermilion", "orange", "sky", "blue", "green"), strict=True))
LOOKS = {name: {"color": PALETTE[color]} for name, color in COLORS.items()}


# 1. Config ------------------------------------------------------------------------------------------------------
@dataclass(frozen=True)
class Config:
    """Question: how far do monotone networks lift autoregressive density models? Huang et al. 2018, Table 3."""

    dataset: Table = setting("digits", "table; bsds300 is cut from photographs, bsds300_hdf5 is the published file")
    data_dir: str | None = setting(None, "where the files are", identity=False)
    train_size: int | None = setting(None, "training rows (default: as published)", at_least=2)
    val_size: int | None = setting(None, "validation rows (default: as published)", at_least=1)
    test_size: int | None = setting(None, "test rows (default: as published)", at_least=2)
    standardise: Literal["scale", "cholesky"] = setting("scale", "fixed first map: scales, or the whole covariance")
    models: tuple[str, ...] = setting(("maf_affine", "maf_ddsf"), "which models", items=1)
    num_layers: int = setting(5, "autoregressive layers", at_least=1)
    hidden_sizes: tuple[int, ...] = setting((100, 100), "hidden units of each conditioner", at_least=1)
    units: int = setting(16, "sigmoids of each map, bins of a spline", at_least=2)
    optimizer: OptimizerConfig = setting(OptimizerConfig(name="adam", learning_rate=1e-3, clip_norm=5.0))
    cosine: bool = setting(default=False, help="decay every model's learning rate to zero, not only ddsf_residual_lu's")
    batch_size: int = setting(100, "rows in a step", at_least=1)
    steps: int = setting(1000, "steps at most", at_least=1)
    probe_every: int = setting(100, "steps between validations; divides steps", at_least=1)
    patience: int | None = setting(30, "validations without a better one before a lane stops", at_least=1)
    average_decay: float = setting(0.998, "of the debiased average of parameters", at_least=0, below=1)
    eval_batch: int = setting(1000, "rows judged at a time", at_least=1, identity=False)
    seeds: int = setting(2, "initialisations and orders for each model", at_least=2)
    seed: int = setting(0, "root of all random numbers", at_least=0)
    lanes: int | None = setting(None, "lanes abreast on a device (default: chosen)", at_least=1, identity=False)

    def scale(self) -> str:
        """The size of the run in one phrase."""
        rows, widths = f"{self.train_size or 'all'} rows", "x".join(map(str, self.hidden_sizes))
        return (f"{self.dataset}, {rows}, {self.num_layers} layers, conditioners {widths}, {self.steps:,} steps of "
                f"{self.batch_size}, {self.seeds} seeds a model")  # fmt: skip


class Data(NamedTuple):
    """The three parts, a fixed map fitted to the training rows, and what a full Gaussian gives each test row."""

    table: Tabular
    whitening: Whitening
    gaussian: Float64[np.ndarray, " test"]


# 2. Data --------------------------------------------------------------------------------------------------------
def make_data(config: Config, key: RandomKey) -> Data:
    """The table of the config, its standardisation, and the Gaussian that every flow must beat."""
    table = _load(config, key)
    gaussian = gaussian_log_density(fit_whitening(table.train, "cholesky"), table.test)
    return Data(table, fit_whitening(table.train, config.standardise), gaussian)


def _load(config: Config, key: RandomKey) -> Tabular:
    sizes = {"train": config.train_size, "val": config.val_size, "test": config.test_size}
    wanted = {part: size for part, size in sizes.items() if size is not None}
    if config.dataset == "bsds300":
        return bsds300_patches(key, config.data_dir, **wanted)
    name = config.dataset.removesuffix("_hdf5")
    table = dequantised_digits(key) if name == "digits" else load_tabular(name, config.data_dir, key=key)
    return thinned(table, key, **wanted)


# 3. Model -------------------------------------------------------------------------------------------------------
def make_model(config: Config, name: str, data: Data) -> Flow:
    """A masked autoregressive flow of that recipe, and before it (seen from the data) the standardisation."""
    if name not in RECIPES:
        raise BadInput(one_of("models", name, RECIPES))
    sizes = {"num_layers": config.num_layers, "hidden_sizes": config.hidden_sizes, "units": config.units}
    flow = masked_autoregressive_flow(len(data.whitening.mean), **sizes, **RECIPES[name])
    return whitened(flow, data.whitening)


# 4. Objective ---------------------------------------------------------------------------------------------------
def make_objective(model: Flow, size: int) -> Objective:
    """Mean negative log-likelihood in nats, of the rows as they are."""
    return maximum_likelihood(model, standard_normal(size))


# 5. Run ---------------------------------------------------------------------------------------------------------
def run(config: Config, key: RandomKey, run_dir: Path) -> Records:
    """Each model over all seeds; test rows are judged once, by the averaged weights that validation chose."""
    data_key, lane_key, sample_key = prng.streams(key, "data", "lanes", "samples")
    data = make_data(config, data_key)
    flows = {name: make_model(config, name, data) for name in config.models}
    keys = prng.lane_keys(lane_key, config.seeds), sample_key
    found = [_fit(config, name, flow, data, keys, run_dir) for name, flow in flows.items()]
    fit, outcomes = jax.tree.map(lambda *leaves: np.stack(leaves), *found)
    facts = {
        "run/dataset": config.dataset.removesuffix("_hdf5"), "run/models": list(flows), "run/layers": config.num_layers,
        "test/gaussian": data.gaussian, "samples/data": data.table.test[:SAMPLES],
    } | ({} if data.table.groups is None else {"test/groups": data.table.groups})  # fmt: skip
    records = from_fit(fit, probe_every=config.probe_every, settings={"model": list(flows)})
    arrays = {name: np.asarray(fact) for name, fact in (facts | outcomes).items()}
    return records._replace(arrays=records.arrays | arrays)


def _fit(
    config: Config, name: str, flow: Flow, data: Data, keys: tuple[Array, RandomKey], run_dir: Path
) -> tuple[Fit, dict[str, Any]]:
    size, steps = len(data.whitening.mean), config.steps
    train, val, test = (jnp.asarray(part, jnp.float32) for part in data.table[:3])
    log_prob = functools.partial(log_density, flow, standard_normal(size))
    optimizer = make_optimizer(config.optimizer, steps if config.cosine or name in COSINE else None)
    learn = make_train(
        Model(flow.init, log_prob), make_objective(flow, size), optimizer,
        RowSampler(train, config.batch_size), {"val": LikelihoodProbe(val, log_prob, config.eval_batch)},
        steps, config.probe_every, average_decay=config.average_decay,
        best=BestRule("val/log_likelihood", "max", config.patience, of="average"),
    )  # fmt: skip
    fit = sweep(learn, keys[0], lanes=config.lanes or "auto", run_dir=run_dir / "chunks" / name)
    best = fit.state.best
    first = jax.tree.map(lambda leaf: jnp.asarray(leaf[0]), best.params)
    draw = jax.jit(lambda params, noise: flow.bijector(params).forward(noise))
    outcomes = {
        "test/log_likelihood": judged(log_prob, best.params, test, config.eval_batch),
        "samples/model": draw(first, jax.random.normal(keys[1], (SAMPLES, size))),
        "best/step": best.step,
        "run/parameters": sum(leaf.size for leaf in jax.tree.leaves(first)),
    }
    return fit._replace(state=None), outcomes


# 6. Analysis ----------------------------------------------------------------------------------------------------
def analyse(records: Records) -> Tables:
    """Test log-likelihoods, and their differences row by row; steps were selected on validation rows."""
    arrays = records.arrays
    names, groups = arrays["run/models"].tolist(), arrays.get("test/groups")
    table, layers = str(arrays["run/dataset"]), int(arrays["run/layers"])
    scores = {"gaussian": np.broadcast_to(arrays["test/gaussian"], arrays["test/log_likelihood"].shape[1:])}
    scores |= dict(zip(names, arrays["test/log_likelihood"].astype(np.float64), strict=True))
    known = {name: published(table, name, layers) for name in scores}
    sizes = dict(zip(names, arrays["run/parameters"].tolist(), strict=True))
    steps = dict(zip(names, arrays["best/step"].mean(axis=1).tolist(), strict=True))
    rows = [
        row | {"published": getattr(known[name], "value", None), "spread": getattr(known[name], "spread", None),
               "parameters": sizes.get(name), "step": steps.get(name), "table": table}
        for row in score_rows(scores, groups) if (name := row["model"])
    ]  # fmt: skip
    gains = [row | {"table": table} for row in gain_rows(scores, groups)]
    return {"scores": report.tidy_table(rows, SCORES), "gains": report.tidy_table(gains, GAINS)}


_ENDS = "95 % intervals: low, high over test rows (photographs, for patches); seeds low, seeds high over seeds."
SCORES = f"Test log-likelihood of each model in nats, mean over seeds, beside the published one. {_ENDS}"
GAINS = f"How far a model is above another on the same test rows, in nats; seeds are paired. {_ENDS}"


# 7. Figures -----------------------------------------------------------------------------------------------------
def figures(records: Records, tables: Tables) -> Mapping[str, Plate]:
    """Validation along training, test scores beside published ones, and samples where rows are pictures."""
    with report.house_style():
        plates = {"training": _curves(records), "scores": _chart(tables)}
        return plates | ({"samples": _samples(records)} if records.arrays["samples/data"].shape[1] in (63, 64) else {})


def _curves(records: Records) -> Plate:
    figure, names = Figure(), records.arrays["run/models"].tolist()
    axes = figure.subplots()
    rows = [r for r in records.table.to_pylist() if (r["split"], r["metric"]) == ("val", "log_likelihood")]
    steps = sorted({r["step"] for r in rows})
    curves = {name: np.reshape([r["value"] for r in rows if r["model"] == name], (-1, len(steps))) for name in names}
    report.range_curves(axes, steps, curves, LOOKS)
    axes.set(xlabel="training step", ylabel="validation log-likelihood (nats)")
    axes.legend()
    return Plate(figure, "Validation log-likelihood of the averaged weights along training; bands: range over seeds.")


def _chart(tables: Tables) -> Plate:
    figure = Figure(figsize=(5.6, 2.8))
    axes, scores = figure.subplots(), tables["scores"].to_pylist()
    shown = [r for r in scores if r["model"] in RECIPES]
    ends = (("low", "high"), ("seeds low", "seeds high"))
    rows = {r["model"]: [Interval(r["value"], r[low], r[high]) for low, high in ends] for r in shown}
    report.interval_chart(axes, rows, LOOKS, ("o", "s"))
    for place, row in enumerate(shown):
        if row["published"] is not None:
            axes.plot(row["published"], place, "D", color=PALETTE["ink"])
    gaussian = _row(tables, "scores", model="gaussian")["value"]
    axes.set(xlabel="test log-likelihood (nats)")
    caption = "Test log-likelihood. 95 % intervals: circles over test rows (or photographs), squares over seeds."
    return Plate(figure, f"{caption} Diamonds: published. A Gaussian with full covariance has {gaussian:.2f}.")


def _samples(records: Records) -> Plate:
    figure, names = Figure(figsize=(5.6, 2.2)), ["data", *records.arrays["run/models"].tolist()]
    rows = np.concatenate([records.arrays["samples/data"][None], records.arrays["samples/model"]])
    pictures = whole_patches(rows) if rows.shape[-1] == 63 else rows.reshape(*rows.shape[:2], 8, 8, 1)
    low, high = np.quantile(pictures[0], [0.01, 0.99])
    dark = np.clip((high - pictures) / (high - low), 0, 1)
    report.picture_rows(figure.subplots(), dict(zip(names, dark, strict=True)), SAMPLES)
    return Plate(figure, "Test rows, and samples of each model's first seed, as pictures.", "Rows of small pictures")


# 8. Claims ------------------------------------------------------------------------------------------------------
def _row(tables: Tables, table: str, **keys: str) -> dict[str, Any]:
    rows = [r for r in tables[table].to_pylist() if all(r[k] == v for k, v in keys.items())]
    if not rows:
        raise BadInput(f"the run has no {' above '.join(keys.values())}")
    return rows[0]


def _above(model: str, other: str) -> Callable[[Tables], Obtained]:
    def check(tables: Tables) -> Obtained:
        gain = _row(tables, "gains", model=model, above=other)
        note = f"nats on {gain['table']}, same rows, paired seeds; over rows [{gain['low']:.3g}, {gain['high']:.3g}]"
        agrees, criterion = min(gain["low"], gain["seeds low"]) > 0, "> 0, over rows and over seeds"
        return Obtained(gain["value"], gain["seeds low"], gain["seeds high"], gain["seeds"], criterion, agrees, note)

    return check


def _reaches(model: str) -> Callable[[Tables], Obtained]:
    def check(tables: Tables) -> Obtained:
        own, gaussian = _row(tables, "scores", model=model), _row(tables, "scores", model="gaussian")["value"]
        least, criterion = gaussian, f"> {gaussian:.2f}, a Gaussian's (none is published at this depth)"
        if own["published"] is not None:
            least = own["published"] - own["spread"]
            criterion = f">= {least:.2f}, the published one less its spread (a Gaussian: {gaussian:.2f})"
        note = f"over rows [{own['low']:.5g}, {own['high']:.5g}]; best after {own['step']:,.0f} steps"
        agrees = own["value"] >= least
        return Obtained(own["value"], own["seeds low"], own["seeds high"], own["seeds"], criterion, agrees, note)

    return check


def _claim(name: str, statement: str, said: str, check: Callable[[Tables], Obtained], source: str = SOURCE) -> Claim:
    rule = "weights at the best validation log-likelihood, test rows judged once"
    return Claim(name=name, statement=statement, source=source, published=said, selection=rule, check=check)


CLAIMS = (
    _claim("ddsf-above-affine", "On the same conditioner, deep dense sigmoidal maps fit better than affine ones.",
           f"{published_row('maf_ddsf')}; affine: {published_row('maf_affine')}", _above("maf_ddsf", "maf_affine")),
    _claim("affine-as-published", "Affine MAF reaches its published test log-likelihood.",
           published_row("maf_affine"), _reaches("maf_affine"), "Papamakarios et al. 2017 (MAF), Table 1"),
    _claim("ddsf-as-published", "MAF-DDSF reaches its published test log-likelihood.",
           published_row("maf_ddsf"), _reaches("maf_ddsf")),
    _claim("beyond-ddsf", "Residual conditioners, LU mixing and cosine decay lift a DDSF flow further.",
           "not published", _above("ddsf_residual_lu", "maf_ddsf"), "beyond (conditioner of Durkan et al. 2019)"),
)  # fmt: skip

# 9. Experiment --------------------------------------------------------------------------------------------------
EXPERIMENT = Experiment(
    name="tabular_density",
    question="How far do monotone networks lift autoregressive density models on tables, at the same conditioner?",
    source="Huang et al. 2018, Table 3", config=Config, run=run, analyse=analyse, figures=figures, claims=CLAIMS,
)  # fmt: skip

if __name__ == "__main__":
    from mlrisk.cli import main

    sys.exit(main(["run", EXPERIMENT.name, *sys.argv[1:]]))

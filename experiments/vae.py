"""Does a richer posterior make a better autoencoder? Digits with Gaussian, affine and neural flow posteriors."""

import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float
from matplotlib.figure import Figure

from mlrisk import prng, report
from mlrisk.bijectors import inverse_autoregressive_flow, neural_autoregressive_flow
from mlrisk.config import setting
from mlrisk.data import EpochSampler, load
from mlrisk.data.binarise import DynamicBinarisation, binarise, binarise_once
from mlrisk.errors import BadInput
from mlrisk.experiment import Experiment
from mlrisk.harness import BestRule, Records, from_fit, make_train, merge, sweep
from mlrisk.harness.optimizers import OptimizerConfig, make_optimizer
from mlrisk.measures import Interval, gain_rows, score_rows
from mlrisk.measures.bounds import data_bounds, data_elbo
from mlrisk.models import mlp_decoder, mlp_encoder, residual_decoder, residual_encoder
from mlrisk.models.amortised import VAE, amortised_vae
from mlrisk.objectives import kl_annealing, negative_elbo
from mlrisk.report import PALETTE, Claim, Obtained, Plate, Tables
from mlrisk.types import Examples, Metrics, Model, Objective, Params, RandomKey

SOURCE = "Huang et al. 2018, section 6.2, table of binarised MNIST (numbers recalled)"
# ELBO and log p of MNIST in nats, 5 seeds each
PUBLISHED = {"gaussian": (-85.00, -81.66), "iaf_affine": (-82.25, -80.05), "iaf_dsf": (-81.92, -79.86)}
POSTERIORS = tuple(PUBLISHED)
SHOWN = 20


# 1. Config ------------------------------------------------------------------------------------------------------
@dataclass(frozen=True)
class Config:
    """Question: do flow posteriors make better VAEs, and DSF better than affine? Huang et al. 2018, section 6.2."""

    dataset: Literal["digits", "mnist"] = setting("digits", "which data set")
    data_dir: str | None = setting(None, "where prepared data sets are", identity=False)
    binarisation: Literal["static", "dynamic"] = setting("static", "training pictures drawn once, or at every step")
    validation_size: int = setting(200, "the last training examples, by which the best epoch is chosen", at_least=1)
    network: Literal["mlp", "residual"] = setting("mlp", "encoder and decoder")
    hidden_sizes: tuple[int, ...] = setting((128,), "hidden units of the mlps", at_least=1)
    encoder_channels: tuple[int, ...] = setting((16, 16, 32, 32, 32), "of the residual encoder", at_least=1)
    decoder_channels: tuple[int, ...] = setting((32, 32, 32, 16, 16), "of the residual decoder", at_least=1)
    context_size: int = setting(64, "numbers that the encoder tells the posterior", at_least=1)
    latent_size: int = setting(8, "latent dimensions", at_least=1)
    flow_layers: int = setting(2, "flow steps after the Gaussian (not stated in the paper)", at_least=1)
    flow_hidden: tuple[int, ...] = setting((64,), "hidden units of each step's conditioner", at_least=1)
    units: int = setting(16, "sigmoids of each deep sigmoidal map", at_least=1)
    optimizer: OptimizerConfig = setting(OptimizerConfig("adam", 1e-3, clip_norm=5.0))
    batch_size: int = setting(64, "examples in a step", at_least=1)
    epochs: int = setting(400, "passes over the training set", at_least=1)
    validate_every: int = setting(1, "epochs between validations; divides epochs", at_least=1)
    kl_warmup: int = setting(50_000, "steps until the KL counts in full", at_least=0)
    free_bits: float = setting(0.1, "nats of (weighted) KL that an example pays at least", at_least=0)
    average_decay: float = setting(0.998, "Polyak average, which is what is judged", at_least=0, below=1)
    tested: int = setting(355, "test examples, evenly spaced", at_least=SHOWN)
    samples: int = setting(2000, "latents per test example for both bounds", at_least=1)
    seeds: int = setting(5, "models per posterior: initialisation, order and noise", at_least=2)
    seed: int = setting(0, "root of all random numbers", at_least=0)
    lanes: int | None = setting(None, "lanes abreast on a device (default: chosen)", at_least=1, identity=False)

    def scale(self) -> str:
        """The size of the run in one phrase."""
        flow = f"{self.flow_layers} flow steps of {'x'.join(map(str, self.flow_hidden))}"
        size = f"{self.network} networks, {self.latent_size} latents, {flow}, {self.epochs} epochs"
        size += f", {self.tested:,} test examples with {self.samples:,} latents each"
        return f"{self.dataset}, {self.binarisation} binarisation, {size}, {self.seeds} seeds"


class Data(NamedTuple):
    """The training batches, and black-and-white pictures (n, h, w, c) to choose and to judge by."""

    sampler: EpochSampler | DynamicBinarisation
    validation: Float[Array, "n h w c"]
    tested: Float[Array, "m h w c"]


# 2. Data --------------------------------------------------------------------------------------------------------
def make_data(config: Config, key: RandomKey) -> Data:
    """Training, validation and test pictures; the last two are drawn once, whatever the binarisation."""
    source = load(config.dataset, config.data_dir)
    train_key, validation_key, test_key = prng.streams(key, "train", "validation", "test")
    inputs, labels = source.train
    kept, most = len(labels) - config.validation_size, len(source.test.labels)
    if kept < config.batch_size:
        raise BadInput(f"validation_size: {config.validation_size} leaves {kept} examples, fewer than a batch")
    if config.tested > most:
        raise BadInput(f"tested: {config.tested} is not allowed, {config.dataset} has {most} test examples")
    grey = Examples(jnp.asarray(inputs[:kept]), jnp.asarray(labels[:kept]))
    static = config.binarisation == "static"
    batches = EpochSampler(binarise_once(train_key, grey) if static else grey, config.batch_size)
    test = np.asarray(source.test.inputs)[np.arange(config.tested) * most // config.tested]
    drawn = binarise(validation_key, jnp.asarray(inputs[kept:])), binarise(test_key, jnp.asarray(test))
    return Data(batches if static else DynamicBinarisation(batches), *drawn)


# 3. Model -------------------------------------------------------------------------------------------------------
def make_model(config: Config, posterior: str, shape: tuple[int, ...]) -> VAE:
    """The paper's residual networks or small mlps, and after the context-dependent Gaussian the posterior's flow."""
    latent, context = config.latent_size, config.context_size
    if config.network == "mlp":
        encoder = mlp_encoder(shape, context, hidden_sizes=config.hidden_sizes)
        decoder = mlp_decoder(latent, shape, hidden_sizes=config.hidden_sizes)
    else:
        encoder = residual_encoder(shape, context, channels=config.encoder_channels)
        decoder = residual_decoder(latent, shape, context, channels=config.decoder_channels)
    sizes = {"num_layers": config.flow_layers, "hidden_sizes": config.flow_hidden, "units": config.units}
    build = {"iaf_affine": inverse_autoregressive_flow, "iaf_dsf": neural_autoregressive_flow}.get(posterior)
    flow = build and build(latent, parallel="forward", context_size=context, **sizes)
    return amortised_vae(encoder, decoder, context_size=context, latent_size=latent, flow=flow)


# 4. Objective ---------------------------------------------------------------------------------------------------
def make_objective(config: Config, model: VAE) -> Objective:
    """Mean of ``-log p(x|z) + max(w (log q(z|x) - log p(z)), free bits)``, w from the annealing schedule."""
    return negative_elbo(model.at, config.free_bits)


# 5. Run ---------------------------------------------------------------------------------------------------------
def run(config: Config, key: RandomKey, run_dir: Path) -> Records:
    """A sweep over seeds for each posterior, all from the same keys; the best epoch's average is tested once."""
    if config.epochs % config.validate_every:
        raise BadInput(f"validate_every: {config.validate_every} does not divide epochs, which is {config.epochs}")
    data_key, lane_key, test_key = prng.streams(key, "data", "lanes", "test")
    data, keys = make_data(config, data_key), prng.lane_keys(lane_key, config.seeds)
    parts = {name: _train(config, name, data, keys, test_key, run_dir / "chunks" / name) for name in POSTERIORS}
    table, arrays = merge(parts, "posterior")
    return Records(table, arrays | {"data/pictures": np.asarray(data.tested[:SHOWN])})


def _train(config: Config, name: str, data: Data, keys: Array, test_key: RandomKey, folder: Path) -> Records:
    model = make_model(config, name, data.tested.shape[1:])

    def validate(state: Any, key: RandomKey) -> Metrics:
        return {"elbo": data_elbo(*model.at(state.average), data.validation, key).elbo.mean()}

    def judge(key: RandomKey, params: Params) -> Metrics:
        bounds_key, prior_key, shown_key = prng.streams(key, "bounds", "prior", "shown")
        bounds = data_bounds(*model.at(params), data.tested, bounds_key, num_samples=config.samples)
        latents, _ = model.posterior(params, data.tested[:SHOWN]).sample_and_log_prob(seed=shown_key)
        both = jnp.concatenate([jax.random.normal(prior_key, (SHOWN, config.latent_size)), latents])
        samples, reconstructions = jnp.split(jax.nn.sigmoid(model.decode(params, both)), 2)
        return bounds._asdict() | {"samples": samples, "reconstructions": reconstructions}

    epoch, lanes = data.sampler.steps_per_epoch, config.lanes or "auto"
    train = make_train(
        Model(model.init, model.decode), make_objective(config, model), make_optimizer(config.optimizer), data.sampler,
        {"validation": validate}, config.epochs * epoch, config.validate_every * epoch,
        schedule=lambda hyper, step: kl_annealing(step, config.kl_warmup),
        average_decay=config.average_decay, best=BestRule("validation/elbo", of="average"),
    )  # fmt: skip
    fit = sweep(train, keys, lanes=lanes, run_dir=folder)
    best, records = fit.state.best, from_fit(fit, probe_every=train.probe_every)
    found = sweep(judge, test_key[None], best.params, lanes=lanes, run_dir=folder / "test")
    arrays = {f"test/{metric}": values[:, 0] for metric, values in found.items()}
    return records._replace(arrays=records.arrays | arrays | {"best/elbo": best.value, "best/step": best.step})


# 6. Analysis ----------------------------------------------------------------------------------------------------
def analyse(records: Records) -> Tables:
    """Test bounds of each posterior, and paired differences. The best epoch was chosen by validation ELBO."""
    scores, gains = [], []
    for metric, found in _nats(records).items():
        known = {name: {"log p": log_p, "ELBO": elbo, "slack": elbo - log_p}[metric]
                 for name, (elbo, log_p) in PUBLISHED.items()}  # fmt: skip
        for row in score_rows(found):
            scores.append({"metric": metric, **row, "published": known[row["model"]]})
        for row in gain_rows(found):
            gains.append({"metric": metric, **row, "published": known[row["model"]] - known[row["above"]]})
    return {"scores": report.tidy_table(scores, SCORES), "gains": report.tidy_table(gains, GAINS)}


def _nats(records: Records) -> dict[str, dict[str, Float[np.ndarray, "seeds examples"]]]:
    """Of each metric and posterior, on the seeds that had a finite validation bound with every posterior."""
    arrays = records.arrays
    whole = np.all([np.isfinite(arrays[f"{name}/best/elbo"]) for name in POSTERIORS], axis=0)
    elbo, log_p = ({name: arrays[f"{name}/test/{bound}"][whole].astype(float) for name in POSTERIORS}
                   for bound in ("elbo", "log_likelihood"))  # fmt: skip
    return {"log p": log_p, "ELBO": elbo, "slack": {name: elbo[name] - log_p[name] for name in POSTERIORS}}


_ENDS = "95 % intervals: low, high over test examples; seeds low, seeds high over seeds. Published: the paper's MNIST."
SCORES = f"Importance-weighted log p, ELBO, and ELBO less log p (slack) of each posterior, in nats. {_ENDS}"
GAINS = f"How far one posterior is above another on the same test examples, seeds paired, in nats. {_ENDS}"


# 7. Figures -----------------------------------------------------------------------------------------------------
LOOKS = {
    "gaussian": {"color": PALETTE["ink"], "linestyle": ":"},
    "iaf_affine": {"color": PALETTE["blue"], "linestyle": "--"},
    "iaf_dsf": {"color": PALETTE["vermilion"], "linestyle": "-"},
}


def figures(records: Records, tables: Tables) -> Mapping[str, Plate]:
    """Learning curves, test bounds, and of each posterior samples and reconstructions."""
    samples, shown = ({name: records.arrays[f"{name}/test/{kind}"][0] for name in POSTERIORS}
                      for kind in ("samples", "reconstructions"))  # fmt: skip
    shown = {"test pictures": records.arrays["data/pictures"]} | shown
    with report.house_style():
        return {
            "learning": _learning(records),
            "bounds": _bounds(tables),
            "samples": _pictures(samples, "Pixel probabilities of latents drawn from the prior"),
            "reconstructions": _pictures(shown, "Test pictures and pixel probabilities of their latents"),
        }


def _learning(records: Records) -> Plate:
    axes, rows = (figure := Figure()).subplots(), [r for r in records.table.to_pylist() if r["split"] == "validation"]
    steps = sorted({row["step"] for row in rows})
    found = {name: [row["value"] for row in rows if row["posterior"] == name] for name in POSTERIORS}
    report.range_curves(axes, steps, {name: np.reshape(f, (-1, len(steps))) for name, f in found.items()}, LOOKS)
    best = max(map(np.nanmax, found.values()))
    axes.set(xlabel="training step", ylabel="validation ELBO (nats)", ylim=(1.2 * best, 0.99 * best))
    axes.legend()
    return Plate(figure, "Validation bound of the averaged weights along training; bands: range over seeds.")


def _bounds(tables: Tables) -> Plate:
    figure = Figure(figsize=(5.6, 2.4))
    axes = figure.subplots()
    rows = {name: [_over_seeds(report.find_row(tables["scores"], metric=metric, model=name))
                   for metric in ("log p", "ELBO")] for name in POSTERIORS}  # fmt: skip
    report.interval_chart(axes, rows, LOOKS, ("o", "s"))
    axes.set(xlabel="nats a test example")
    return Plate(figure, "Importance-weighted log p (circles) and ELBO (squares) of test examples; 95 % over seeds.")


def _pictures(rows: Mapping[str, Float[np.ndarray, "n h w c"]], what: str) -> Plate:
    report.picture_rows((figure := Figure(figsize=(6.4, 1.1 * len(rows)))).subplots(), rows, across=SHOWN // 2)
    return Plate(figure, f"{what}; of each posterior the first seed, nothing chosen.", what)


# 8. Claims ------------------------------------------------------------------------------------------------------
def _over_seeds(row: dict[str, Any]) -> Interval:
    return Interval(row["value"], row["seeds low"], row["seeds high"])


def _level(name: str) -> Callable[[Tables], Obtained]:
    return lambda tables: _judged(
        tables["scores"], "log p", f"within 0.5 of {PUBLISHED[name][1]:.2f}, that of MNIST at the paper's size",
        lambda row: abs(row["value"] - row["published"]) <= 0.5, model=name,
    )  # fmt: skip


def _above(better: str, worse: str, metric: str) -> Callable[[Tables], Obtained]:
    return lambda tables: _judged(
        tables["gains"], metric, "> 0, over test examples and over seeds, on the same of both",
        lambda row: min(row["low"], row["seeds low"]) > 0, model=better, above=worse,
    )  # fmt: skip


def _judged(table: Any, metric: str, criterion: str, agrees: Callable[[Any], bool], **names: str) -> Obtained:
    row, bound = (report.find_row(table, metric=m, **names) for m in (metric, "ELBO"))
    note = f"{metric} in nats, published {row['published']:.2f}; over test [{row['low']:.4g}, {row['high']:.4g}]; "
    note += f"in ELBO {bound['value']:.4g}, published {bound['published']:.2f}"
    return Obtained(*_over_seeds(row), row["seeds"], criterion, agrees(row), note)


def _claim(name: str, statement: str, published: str, check: Callable[[Tables], Obtained]) -> Claim:
    return Claim(name=name, statement=statement, source=SOURCE, published=published,
                 selection="best epoch by validation ELBO of the averaged weights", check=check)  # fmt: skip


CLAIMS = (
    *(_claim(f"{name}-level", f"log p of binarised MNIST with the {name} posterior.", f"{PUBLISHED[name][1]:.2f} nats",
             _level(name)) for name in POSTERIORS),
    _claim("affine-above-gaussian", "An affine autoregressive posterior gives a better model than a Gaussian.",
           "-80.05 against -81.66 nats", _above("iaf_affine", "gaussian", "log p")),
    _claim("dsf-above-affine", "A neural autoregressive posterior gives a better model than an affine one.",
           "-79.86 against -80.05 nats", _above("iaf_dsf", "iaf_affine", "log p")),
    _claim("dsf-tightens", "The bound is closer to the likelihood with a neural autoregressive posterior.",
           "ELBO 2.06 below log p, against 3.34", _above("iaf_dsf", "gaussian", "slack")),
)  # fmt: skip

# 9. Experiment --------------------------------------------------------------------------------------------------
EXPERIMENT = Experiment(
    name="vae",
    question="Does a richer posterior, and a neural autoregressive one most of all, make a better autoencoder?",
    source="Huang et al. 2018, section 6.2",
    config=Config,
    run=run,
    analyse=analyse,
    figures=figures,
    claims=CLAIMS,
)

if __name__ == "__main__":
    from mlrisk.cli import main

    sys.exit(main(["run", EXPERIMENT.name, *sys.argv[1:]]))
